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
    """True where nobody looks: in a run, under papermill or nbconvert, and in a pipe.

    Their client, nbclient, can wait for ever for a cell with an output widget (nbclient issue 312).
    It is known by what it tells the kernel: that nobody can answer ``input``.
    """
    if os.environ.get("MIDWAY_RUNNER"):
        return True
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell is None:
        return not sys.stderr.isatty()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return not parent.get("content", {}).get("allow_stdin", True)


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
