"""Progress bars of long loops, in notebooks and on terminals only.

Examples
--------
>>> from midway import progress
>>> [n for n in progress.bar(range(3), "counting")]
[0, 1, 2]
"""

import os
import sys


def quiet() -> bool:
    """True in a run, which has its own progress line, and in a pipe."""
    shell = sys.modules.get("IPython")
    in_notebook = shell is not None and shell.get_ipython() is not None
    return bool(os.environ.get("MIDWAY_RUNNER")) or not (in_notebook or sys.stderr.isatty())


def bar(things, what: str, total: int | None = None, done: int = 0):
    """Iterate with a progress bar; ``done`` of ``total`` items are finished already."""
    if quiet():
        return things
    from tqdm.auto import tqdm
    from tqdm.notebook import tqdm_notebook

    options = {"desc": what, "total": total, "initial": done, "leave": False, "mininterval": 0.3}
    if issubclass(tqdm, tqdm_notebook):
        return _in_cell(tqdm(things, display=False, **options))
    return tqdm(things, **options)


def _in_cell(widget):
    """Iterate with a bar that leaves nothing in the cell: a saved notebook has no live widgets."""
    from IPython.display import display

    place = display(widget.container, display_id=True)
    try:
        yield from widget
    finally:
        place.update({"text/plain": ""}, raw=True)
