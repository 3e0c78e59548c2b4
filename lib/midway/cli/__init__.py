"""The command line: each verb imports what it needs when it runs, so that refusals are quick.

Input: words of the command line. Output: calls of the other rooms, an exit code. A new verb:
beside its kin in ``study`` or ``analysis``.
"""

import contextlib
import os
import sys

import click

import midway.cli.study  # noqa: F401  (its verbs stand first)
from midway.cli import analysis  # noqa: F401
from midway.cli.group import argument, changes, verb, verbs  # noqa: F401
from midway.study.errors import InputError, Unreachable, Visible, one_line


@verb("completion bash")
@argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell):
    """Print a script that completes commands: eval "$(midway completion bash)"."""
    from click.shell_completion import get_completion_class

    print(get_completion_class(shell)(verbs, {}, "midway", "_MIDWAY_COMPLETE").source())


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``midway``; returns the exit code."""
    before = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # closed by who started us
    sys.stdout = Visible(before)
    try:
        code = verbs.main(argv, prog_name="midway", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except click.ClickException as error:  # an unknown option, a missing argument
        verb = getattr(error, "ctx", None)
        help_ = f" ({verb.command_path} --help says more)" if verb else ""
        said = one_line(error.format_message().rstrip("."))
        print(f"midway: {said}{help_}", file=sys.stderr)
        return error.exit_code
    except InputError as error:
        print(f"midway: {one_line(error)}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        print("midway: interrupted", file=sys.stderr)
        return 130
    except Unreachable as error:
        print(f"midway: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:  # the light core is installed alone
        if (name := str(error.name).partition(".")[0]) == "midway":
            raise
        print(f"midway: this needs {name}: pip install 'midway[all]'", file=sys.stderr)
        return 2
    except OSError as error:  # a folder that cannot be written, a disk that is full
        if not isinstance(error, BrokenPipeError):  # `midway plan ... | head`
            where = error.filename or "writing"
            print(f"midway: {where}: {error.strerror or error}", file=sys.stderr)
        with contextlib.suppress(OSError):  # what is left in the buffer: to nobody, without a word
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        sys.stdout = before
