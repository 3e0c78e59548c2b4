"""The command line: each verb imports what it needs when it runs, so that refusals are quick."""

import argparse
import json
import os
import sys
from pathlib import Path

from midway import __version__
from midway.study.errors import InputError, Unreachable, Visible, meant, one_line

IN_PROJECT = ("run", "plan", "status", "audit", "doctor", "fetch")  # the others take any files
EXAMPLES = """examples:
  midway run params/mini.yaml                 run the study, make outputs/mini/index.html
  midway run params/mini.yaml --set seeds=[1,2,3] --set study=three
  midway plan params/mini.yaml                what is done, what would run and why
  midway status outputs/mini --json           how every step ended
  midway audit outputs/mini --rerun 01_intermediate/mnli/seed1
  midway doctor params/mini.yaml              is everything there that the study needs?
  midway fetch params/hub_laptop.yaml         download it, then run without a network

exit codes: 0 ok, 1 a step failed or something does not agree, 2 bad input, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="midway", epilog=EXAMPLES, formatter_class=raw, allow_abbrev=False,
        description="How do the scores of an intermediate task relate to cross-lingual transfer?",
    )  # fmt: skip
    top.add_argument("-V", "--version", action="version", version=f"midway {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, help, *examples, study=False, folder=False):
        lines = [f"  midway {name} {e}" for e in examples]
        p = verbs.add_parser(
            name, help=help, description=help, allow_abbrev=False, formatter_class=raw,
            epilog="\n".join(["examples:", *lines]) if lines else None,
        )  # fmt: skip
        if study:
            p.add_argument("params", type=Path, help="params file, e.g. params/mini.yaml")
            p.add_argument(
                "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
                help="change one setting, e.g. transfer.steps=20; may be repeated",
            )  # fmt: skip
        if folder:
            p.add_argument("folder", type=Path, help="a study's outputs, e.g. outputs/mini")
        return p

    steps = "a stage (02_transfer) or a folder (01_intermediate/mnli); may be repeated"
    p = verb(
        "run", "bring a study up to date",
        "params/smoke.yaml", "params/smoke.yaml --set seeds=[1,2] --set study=two",
        "params/smoke.yaml --force 02_transfer/mnli --until 03_correlation", study=True,
    )  # fmt: skip
    p.add_argument("--cores", type=int, help="default: all; a job takes compute.threads")
    p.add_argument("--profile", help="a file of profiles/, e.g. slurm")
    p.add_argument("--until", metavar="STEP", help="stop after this stage, e.g. 02_transfer")
    again = {"metavar": "STEP", "action": "append", "default": []}
    p.add_argument("--force", **again, help=f"run again {steps}")
    p.add_argument("-n", "--dry-run", action="store_true", help="only show the plan")
    p = verb(
        "plan", "show every step: new, done or changed, and why; start nothing",
        "params/mini.yaml", "params/xlmr_large.yaml --cost --peak-tflops 125", study=True,
    )  # fmt: skip
    p.add_argument("--json", action="store_true", help="as JSON")
    p.add_argument("--force", **again, help="as in run")
    p.add_argument("--cost", action="store_true", help="instead: steps, tokens, FLOPs, GPU-hours")
    p.add_argument("--peak-tflops", type=float, default=312.0, help="of your GPU (A100, bf16: 312)")
    p.add_argument("--utilisation", type=float, default=0.35, help="share of it that is reached")
    p = verb(
        "status", "show how every step of a study ended",
        "outputs/mini", "outputs/mini --json", folder=True,
    )  # fmt: skip
    p.add_argument("--json", action="store_true", help="as JSON")
    p = verb(
        "audit", "check that records, notebooks, files and params agree",
        "outputs/mini", "outputs/mini --rerun 01_intermediate/mnli/seed1", folder=True,
    )  # fmt: skip
    p.add_argument("--rerun", metavar="STEP", help="run a step elsewhere and compare numbers")
    p.add_argument("--json", action="store_true", help="as JSON")
    verb(
        "doctor", "check encoder, data, disk, device and versions",
        "params/mini.yaml", "params/local_sample.yaml --set data.root=/path/to/data", study=True,
    )  # fmt: skip
    verb(
        "fetch", "download all that a study reads, ahead of a run without a network",
        "params/hub_laptop.yaml", "params/xlmr_large.yaml --set data.root=data", study=True,
    )  # fmt: skip
    p = verb("score", "score predictions in XTREME's submission layout", "predictions labels")
    p.add_argument("predictions", type=Path, help="folder <task>/test-<lang>.tsv|json")
    p.add_argument("labels", type=Path, help="folder of the labels, same layout")
    p.add_argument("--json", action="store_true", help="as JSON")
    p = verb("correlate", "correlate the columns of a table of your own")
    p.add_argument("table", type=Path, help="CSV: one row per intermediate task")
    own = {"nargs": argparse.REMAINDER, "help": argparse.SUPPRESS}
    p.add_argument("rest", **own).required = False
    p = verb("recommend", "which intermediate task would the metrics have chosen?", folder=True)
    p.add_argument("rest", **own).required = False
    p = verb(
        "design", "how many tasks, families, seeds, doses and rows for which power, at which cost",
        "outputs/mini --effect 0.6 --tests 3",
    )  # fmt: skip
    p.add_argument("folder", type=Path, nargs="?", help="a finished study, e.g. outputs/mini")
    p.add_argument("--effect", type=float, default=0.5, help="true correlation to find (0.5)")
    p.add_argument("--power", type=float, default=0.8, help="share of studies to find it in (0.8)")
    p.add_argument("--tests", type=int, default=1, help="pairs that are corrected for (1)")
    p.add_argument("--alpha", type=float, default=0.05)
    p.add_argument("--json", action="store_true", help="as JSON")
    p = verb("compare", "put two studies side by side: settings, gains, correlations",
             "outputs/mini outputs/other", folder=True)  # fmt: skip
    p.add_argument("other", type=Path, help="the other study's outputs")
    p = verb("completion", "print a script that completes commands in your shell")
    p.epilog = 'bash: eval "$(midway completion bash)"\nzsh:  eval "$(midway completion zsh)"'
    p.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return top


def changes(pairs: list[str]) -> dict[str, object]:
    """``['a.b=1']`` -> ``{'a.b': 1}``; values are read as in a params file."""
    from midway.study.yamlfile import parse

    found = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key.strip():
            raise InputError(f"--set {pair!r}: write KEY=VALUE, e.g. transfer.steps=20")
        try:
            found[key.strip()] = parse(text)
        except InputError as error:
            raise InputError(f"--set {key}: {error}") from None
    return found


def project(verb: str) -> None:
    """InputError where a verb needs the project's notebooks and there are none."""
    from midway.study.files import root

    if verb in IN_PROJECT and not (root() / "notebooks").is_dir():
        raise InputError(
            f"{verb} needs the project's folder (notebooks/, params/), which {root()} is not: use "
            "a clone's own environment, or set MIDWAY_ROOT to the clone"
        )


def study_of(args):
    from midway.study import params

    study = params.load(args.params, changes(args.changes))
    if getattr(args, "cores", None) is not None and args.cores < 1:
        raise InputError(f"--cores: found {args.cores}, expected at least 1")
    project(args.verb)
    return study


def folder_of(args) -> Path:
    """A study's outputs folder; InputError when it is none."""
    if not (args.folder / "params.yaml").is_file():
        from midway.study import yamlfile
        from midway.study.files import root

        found = (root() / "outputs").glob("*/params.yaml")
        newest = sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)[:6]
        there = ", ".join(yamlfile.shown(p.parent) for p in newest)
        hint = f"there are {there}" if there else "`midway run` makes one"
        raise InputError(
            f"{args.folder}: not a study's outputs (there is no params.yaml in it); {hint}"
        )
    project(args.verb)
    return args.folder.resolve()


def run(args) -> int:
    from midway.run import engine, schedule

    study = study_of(args)
    if args.dry_run:  # what run would refuse is refused
        engine.profile(args.profile)
        return plan(args, schedule.stages(args.until))
    return schedule.run(study, args.cores, args.profile, args.until, args.force)


def plan(args, stages=None) -> int:
    from midway.run import plan as planning
    from midway.run import schedule
    from midway.study.files import root

    if getattr(args, "json", False) and args.cost:
        raise InputError("--cost is text only: leave out --json")
    study = study_of(args)
    if not getattr(args, "cost", False):  # what a study will cost is asked before it has its data
        schedule.check(study)
    items = planning.plan(study, root() / "outputs" / study.study, tuple(args.force))
    items = [i for i in items if stages is None or i.sid.step in stages]
    if getattr(args, "json", False):
        rows = [{"step": i.sid.path, "state": i.state, "why": i.why} for i in items]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif getattr(args, "cost", False):
        from midway.run import cost

        print(cost.text(study, args.peak_tflops, args.utilisation))
        print(planning.summary(items))
    else:
        print(planning.show(items))
    return 0


def status(args) -> int:
    from midway.run import plan as planning

    rows = planning.status(folder_of(args))
    text = json.dumps(rows, indent=1, ensure_ascii=False) if args.json else planning.matrix(rows)
    print(text)
    return 0


def audit(args) -> int:
    from midway.run import audit as auditing

    folder = folder_of(args)
    found = auditing.rerun(folder, args.rerun) if args.rerun else auditing.audit(folder)
    print(json.dumps(found, indent=1, ensure_ascii=False) if args.json else auditing.show(found))
    return 1 if found["problems"] else 0


def doctor(args) -> int:
    study = study_of(args)
    from midway.run import doctor as checking

    rows = checking.checks(study)
    print(checking.show(rows))
    return 0 if all(row["ok"] is not False for row in rows) else 1


def fetch(args) -> int:
    study = study_of(args)
    from midway.run import fetch as fetching

    return fetching.fetch(study)


def score(args) -> int:
    from midway.transfer import submission as scoring

    print(scoring.main_score(args.predictions, args.labels, args.json))
    return 0


def correlate(args) -> int:
    from midway.correlation import any_table

    return any_table.main(args.table, args.rest)


def compare(args) -> int:
    from midway.report import compare as side

    first, args.folder = folder_of(args), args.other
    other = folder_of(args)
    found = side.compare(first, other)
    print(side.text(found))
    path = first.parent / f"compare_{first.name}_{other.name}.html"
    print(side.write(found, first, other, path))
    return 0


def recommend(args) -> int:
    from midway.correlation import recommend as choosing

    asks = {"-h", "--help"} & set(args.rest)
    return choosing.main(args.folder if asks else folder_of(args), args.rest)


def design(args) -> int:
    from midway.correlation import design as planning

    for name in ("effect", "power", "alpha"):
        if not 0 < getattr(args, name) < 1:
            raise InputError(f"--{name}: {getattr(args, name)}; between 0 and 1")
    if args.tests < 1:
        raise InputError(f"--tests: {args.tests}; at least 1")
    parts = planning.of_study(folder_of(args)) if args.folder else planning.Parts()
    options = {"effect": args.effect, "aim": args.power, "alpha": args.alpha, "tests": args.tests}
    print(planning.show(parts, args.json, **options))
    return 0


def completion(args) -> int:
    import shtab

    top = parser()
    verbs = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    for verb in verbs.choices.values():
        for action in verb._actions:
            if action.type is Path:
                action.complete = shtab.FILE
    print(shtab.complete(top, args.shell))
    return 0


def read(argv: list[str]) -> argparse.Namespace:
    """The arguments; a mistake ends with 2, the usage of its verb and what may have been meant."""
    top = parser()
    verbs = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction)).choices
    if not argv:
        top.print_help(sys.stderr)
        top.exit(2)
    if argv[0] not in verbs and not argv[0].startswith("-"):
        top.error(f"unknown verb {argv[0]!r}; {meant(argv[0], verbs)}")
    if argv[0] in ("correlate", "recommend") and argv[1:] in (["-h"], ["--help"]):
        argv = [argv[0], ".", "--help"]  # these read their own options, after the first argument
    args, unknown = top.parse_known_args(argv)
    if unknown:
        known = [o for a in verbs[args.verb]._actions for o in a.option_strings]
        hint = meant(unknown[0].partition("=")[0], known, cutoff=0.6)
        if hasattr(args, "rest"):
            hint = "options come after the first argument"
        verbs[args.verb].error(f"unknown argument {' '.join(unknown)}; {hint}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``midway``; returns the exit code."""
    args = read(sys.argv[1:] if argv is None else argv)
    sys.stdout, before = Visible(sys.stdout), sys.stdout
    try:
        code = globals()[args.verb](args) or 0
        sys.stdout.flush()
        return code
    except ModuleNotFoundError as error:  # the light core is installed alone
        if (name := str(error.name).partition(".")[0]) == "midway":
            raise
        print(f"midway {args.verb} needs {name}: pip install 'midway[all]'", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"midway: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("midway: interrupted", file=sys.stderr)
        return 130
    except Unreachable as error:
        print(f"midway: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `midway plan ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a folder that cannot be written, a disk that is full
        if error.filename is None:
            raise
        print(f"midway: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    finally:
        sys.stdout = before


if __name__ == "__main__":
    sys.exit(main())
