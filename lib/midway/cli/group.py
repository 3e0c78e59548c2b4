"""The command's verbs as a group of click, and what several verbs share."""

import functools
import json
from pathlib import Path

import click

from midway import __version__
from midway.study.errors import InputError
from midway.study.files import root

EPILOG = """\b
examples:
  midway run params/mini.yaml                 run the study, make outputs/mini/index.html
  midway run params/mini.yaml --set seeds=[1,2,3] --set study=three
  midway plan params/mini.yaml                what is done, what would run and why
  midway status outputs/mini --json           how every step ended
  midway report outputs/mini                  build the report again
  midway audit outputs/mini --rerun 01_intermediate/mnli/seed1
  midway doctor params/mini.yaml              what is missing for this study, and where to get it
  midway fetch params/hub_laptop.yaml         download it, then run without a network

\b
exit codes: 0 ok, 1 a step failed or something does not agree, 2 bad input, 130 interrupted
"""
IN_PROJECT = (*"run plan status report audit seal doctor fetch compare".split(), "list params")
FILE = click.Path(path_type=Path)


class Verbs(click.Group):
    """Verbs in the order in which they are needed; ``help VERB`` is ``VERB --help``."""

    def parse_args(self, ctx, args):
        return super().parse_args(ctx, [*args[1:2], "--help"] if args[:1] == ["help"] else args)

    def list_commands(self, ctx):
        return list(self.commands)


@click.group(
    cls=Verbs, epilog=EPILOG, no_args_is_help=False, invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)  # fmt: skip
@click.version_option(__version__, "-V", "--version", message="midway %(version)s")
@click.pass_context
def verbs(ctx):
    """Does a better score on an English intermediate task predict better zero-shot transfer?"""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)


def verb(*examples, name=None):
    """A verb with its examples below its help."""
    text = "\b\nexamples:\n" + "\n".join(f"  midway {e}" for e in examples)
    return lambda function: verbs.command(name, epilog=text)(function)


def outputs(name: str = "folder", required: bool = True):
    """An argument: a study's outputs folder, checked."""

    def checked(ctx, _param, value):
        found = value and folder_of(value)
        in_project(ctx.info_name)
        return found

    return argument(name, type=FILE, callback=checked, required=required)


def a_study(function):
    """A params file and ``--set``, of which the verb gets the study."""

    @functools.wraps(function)
    def verb(params, changes_, **options):
        from midway.study import params as settings

        study = settings.load(params, changes_)
        in_project(function.__name__)
        return function(study, **options)

    return argument("params", type=FILE)(changed(verb))


option, argument = click.option, click.argument
as_json, a_folder = option("--json", "as_json", is_flag=True, help="Print JSON."), outputs()
changed = option(
    "--set",
    "changes_",
    multiple=True,
    metavar="KEY=VALUE",
    callback=lambda ctx, param, pairs: changes(pairs),
    help="Change one setting, e.g. transfer.steps=20; may be repeated.",
)
forced = option(
    "--force",
    multiple=True,
    metavar="STEP",
    help="Run again a stage (02_transfer) or a folder (01_intermediate/mnli).",
)


def say_json(value) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def changes(pairs) -> dict[str, object]:
    """``['a.b=1']`` -> ``{'a.b': 1}``; values are read as in a params file."""
    from midway.study.yamlfile import parse

    found = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key.strip():
            raise InputError(f"--set {pair!r}: the = is missing: KEY=VALUE, e.g. transfer.steps=20")
        try:
            found[key.strip()] = parse(text)
        except InputError as error:
            raise InputError(f"--set {key}: {error}") from None
    return found


def in_project(name: str) -> None:
    """InputError where a verb needs the project's notebooks and there are none."""
    if name in IN_PROJECT and not (root() / "notebooks").is_dir():
        raise InputError(
            f"{name} needs the project's folder (notebooks/, params/), which {root()} is not: use "
            "a clone's own environment, or set MIDWAY_ROOT to the clone"
        )


def folder_of(folder: Path) -> Path:
    """A study's outputs folder; InputError when it is none."""
    if not (folder / "params.yaml").is_file():
        from midway.study import yamlfile

        found = (root() / "outputs").glob("*/params.yaml")
        newest = sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)[:6]
        there = ", ".join(yamlfile.shown(p.parent) for p in newest)
        hint = f"there are {there}" if there else "`midway run` makes one"
        raise InputError(f"{folder}: not a study's outputs (there is no params.yaml in it); {hint}")
    return folder.resolve()
