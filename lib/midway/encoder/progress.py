"""A bar for loops that take long: in a notebook or on a terminal, never in a run or a pipe."""

import os
import sys


def quiet() -> bool:
    """Whether nobody looks: a run has its own progress line, a pipe wants none."""
    shell = sys.modules.get("IPython")
    in_notebook = shell is not None and shell.get_ipython() is not None
    return bool(os.environ.get("MIDWAY_RUNNER")) or not (in_notebook or sys.stderr.isatty())


def bar(things, what: str, total: int | None = None, done: int = 0):
    """Iterate over ``things`` with a bar that goes at the end; ``done`` of ``total`` before."""
    if quiet():
        return things
    from tqdm.auto import tqdm

    return tqdm(things, desc=what, total=total, initial=done, leave=False, mininterval=0.3)
