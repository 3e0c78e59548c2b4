"""Verbs that read results: recommend, design, compare, correlate, score, list."""

import re
import sys
from importlib.util import find_spec
from itertools import takewhile

import click

from midway.cli.group import FILE, a_folder, argument, as_json, in_project, option, outputs, verb
from midway.study.errors import InputError
from midway.study.files import root

LISTS = ("tasks", "encoders", "params")


@verb(
    "recommend outputs/mini --target xquad", "recommend outputs/mini --target retrieval --budget .4"
)
@a_folder
@option("--target", default="average", show_default=True, help="A target, a group or 'average'.")
@option("--predictor", default="main", show_default=True, help="Ranks tasks without a gain.")
@option("--budget", type=float, help="Choose early, with this share of the compute, e.g. 0.4.")
@as_json
def recommend(folder, target, predictor, budget, as_json):
    """Show which intermediate task is expected to help most, and how certain that is."""
    from midway.correlation import recommend as choosing

    if find_spec("datasets") is None:
        say = "no test rows without midway[all]: the noise of test items is taken as binomial"
        print(say, file=sys.stderr)
    return choosing.report(folder, target.lower(), predictor, budget, as_json)


@verb("design outputs/mini --effect 0.6 --tests 3")
@outputs(required=False)
@option("--effect", default=0.5, show_default=True, help="True correlation to find.")
@option("--power", default=0.8, show_default=True, help="Share of studies that find it.")
@option("--tests", default=1, show_default=True, help="Pairs that are tested.")
@option("--alpha", default=0.05, show_default=True)
@as_json
def design(folder, effect, power, tests, alpha, as_json):
    """Show power and cost for other numbers of tasks, families, seeds, doses and rows."""
    for name, value in {"effect": effect, "power": power, "alpha": alpha}.items():
        if not 0 < value < 1:
            raise InputError(f"--{name}: found {value}, expected a number between 0 and 1")
    if tests < 1:
        raise InputError(f"--tests: found {tests}, expected at least 1")
    from midway.correlation import design as planning

    parts = planning.of_study(folder) if folder else planning.Parts()
    print(planning.show(parts, as_json, effect=effect, aim=power, alpha=alpha, tests=tests))


@verb("compare outputs/mini outputs/other")
@a_folder
@outputs("other")
def compare(folder, other):
    """Put two studies side by side: settings, gains, correlations."""
    from midway.report import compare as side

    found = side.compare(folder, other)
    print(side.text(found))
    path = folder.parent / f"compare_{folder.name}_{other.name}.html"
    print(side.write(found, folder, other, path))


@verb(
    'correlate results.csv --unit task --predictors "dev_*" --outcomes "gain_*" --out tables',
    "correlate lib/midway/correlation/published_data/pruksachatkun2020_runs.csv \\\n"
    '    --unit int_task --run run --predictors "edges-*_PRB" --outcomes "*_TRG"',
    "correlate lm_eval_output --unit model \\\n"
    '    --predictors "arc_easy/acc,none" --outcomes "piqa/*"',
)
@argument("table", type=FILE)
@option("--unit", required=True, help="Column of the units, e.g. tasks (several columns: a,b).")
@option("--run", help="Column of the runs of a unit, e.g. seeds.")
@option("--predictors", required=True, multiple=True, help="Names or patterns like '*_PRB'.")
@option("--outcomes", required=True, multiple=True, help="Names or patterns like '*_TRG'.")
@option("--names", help="Long table: the column of names.")
@option("--values", help="Long table: the column of values.")
@option("--rows-are-runs", is_flag=True, help="Rows of one unit are its runs.")
@option("--missing", multiple=True, help="Text of a missing number.")
@option("--separator", help="Separator of a text table: one character, or tab.")
@option("--method", default="spearman", show_default=True,
        type=click.Choice(["spearman", "pearson", "kendall"]))  # fmt: skip
@option("--permutations", default=100_000, show_default=True)
@option("--resamples", default=9999, show_default=True, help="Resamples of the bootstrap.")
@option("--alpha", default=0.05, show_default=True)
@option("--seed", default=0, show_default=True, help="Seed of permutations and bootstrap.")
@option("--out", help="Folder for correlation.csv, .md and .tex.")
def correlate(table, **options):
    """Correlate the columns of a table of your own.

    The table is printed to standard output as CSV, sentences about it to standard error.
    """
    from midway.correlation import any_table

    return any_table.report(table, **options)


@verb("score predictions labels")
@argument("predictions", type=FILE)
@argument("labels", type=FILE)
@as_json
def score(predictions, labels, as_json):
    """Score predictions in XTREME's submission layout (<task>/test-<lang>.tsv or .json)."""
    from midway.transfer import submission

    print(submission.main_score(predictions, labels, as_json))


@verb("list tasks", "list encoders", "list params", name="list")
@argument("what", type=click.Choice(LISTS), required=False)
def list_(what):
    """List the tasks, the encoders that were tried, or the params files; by default all three."""
    for each in [what] if what else LISTS:
        if not what:
            print(f"{each}:")
        if each == "tasks":
            from midway.study import tasks

            cards = [*tasks.INTERMEDIATE.values(), *tasks.TARGETS.values()]
            rows = [(c.name, c.role, c.kind, c.title) for c in cards]
        elif each == "encoders":
            from midway.encoder import architectures

            shapes = architectures.SHAPES.items()
            rows = [(name, shape.cls.rpartition(".")[2]) for name, shape in shapes]
        else:
            in_project("list params")
            rows = []
            for file in sorted((root() / "params").glob("*.yaml")):
                lines = takewhile(lambda x: x.startswith("#"), file.read_text("utf-8").split("\n"))
                about = " ".join(line.strip("# ") for line in lines)
                first = re.split(r"(?<!al\.)(?<=[.?]) ", about)[0]
                rows.append((f"params/{file.name}", first))
        width = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(f"{cell:<{w}}" for cell, w in zip(row, width, strict=True)).rstrip())
