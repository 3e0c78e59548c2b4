"""Execute one notebook through papermill and record how it ended.

papermill marks every cell "completed" when the kernel dies, rewrites the file in place and depends
on an installed kernelspec. This engine starts kernels of the calling interpreter over IPC, renames
whole notebooks into place, bounds their output, and ends as exactly one of done, failed, died and
interrupted. A kernel never outlives its runner.
"""

import ast
import contextlib
import html
import re
import time
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.parameterize import parameterize_notebook

from midway.run import client, kernel
from midway.run.status import Outcome, Stop
from midway.study import errors
from midway.study.errors import InputError, meant
from midway.study.files import root, write_atomic

BANNER = "midway-banner"
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|MemoryError|bad_alloc")
ADVICE = " [memory: halve batch_size and double accumulation, or lower compute.eval_tokens]"


def execute(
    notebook: Path, out: Path, parameters: dict, threads: int = 1,
    beat=None, stop: Stop | None = None, env: dict | None = None,
) -> Outcome:  # fmt: skip
    """Execute ``notebook`` into ``out``/notebook.ipynb; errors inside it are returned, not raised.

    ``parameters`` are injected after the cell tagged *parameters*; the kernel's folder is the
    project's root. ``beat`` is called about once a second; ``stop`` ends the notebook; ``env`` is
    added to the kernel's environment. Raises InputError for a wrong notebook or parameter.
    """
    nb = _read(notebook)
    try:
        _check_parameters(nb, parameters)
    except InputError as error:
        raise InputError(f"{notebook}: {error}") from None
    nb.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    nb = parameterize_notebook(nb, parameters, kernel_name="python3", language="python")
    _mark(nb, None, 0)
    start = time.monotonic()
    stop = stop if stop is not None else Stop()
    manager = client.Manager(nb, Path(out) / "notebook.ipynb", beat, stop)
    given = kernel.environment(root(), threads) | (env or {})
    try:
        manager.notebook_start()
        client.Client(
            manager, kernel_name="python3", kernel_manager_class=client.Kernel,
            shutdown_kernel="immediate", startup_timeout=120, timeout=None,
        ).execute(cwd=str(root()), env=given)  # fmt: skip
        if manager.error:
            raise manager.error
        outcome = Outcome("done")
    except CellExecutionError as error:
        text = errors.one_line(f"{error.ename}: {error.evalue}")[:300]
        outcome = Outcome("failed", text + ADVICE * bool(OUT_OF_MEMORY.search(str(error))))
    except DeadKernelError as error:
        outcome = Outcome("died", errors.one_line(error))
    except Exception as error:  # the kernel did not start, or the engine itself is at fault
        outcome = Outcome("failed", errors.one_line(f"{type(error).__name__}: {error}")[:300])
    manager.notebook_complete()
    if stop and outcome.state != "done":
        outcome = Outcome("interrupted", stop.reason)
    if outcome.state != "done":
        outcome.cell = manager.current
    _mark(nb, outcome, time.monotonic() - start)
    manager.save(final=True)
    return outcome


def _read(path: Path):
    """Read a notebook in the form that papermill needs: format 4, with tags and its metadata."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        nb = nbformat.reads(text, as_version=4)
        if '"nbformat"' not in text:
            raise ValueError("it has no nbformat")
        for cell in nb.cells:
            tags = cell.metadata.get("tags") or []
            cell.metadata["tags"] = [tags] if isinstance(tags, str) else list(tags)
            if cell.cell_type == "code":  # some editors leave these out
                empty = {"execution_count": None, "outputs": []}
                cell.update({k: v for k, v in empty.items() if k not in cell})
        nbformat.validate(nb, relax_add_props=True)
        if not isinstance(nb.metadata.get("papermill"), dict):
            nb.metadata["papermill"] = {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:
        raise InputError(f"{path}: not a notebook ({errors.one_line(error)[:200]})") from None
    return nb


def _check_parameters(nb, given: dict) -> None:
    """Refuse a parameter that the notebook's parameter cell does not assign, or of another type."""
    cell = next((c for c in nb.cells if "parameters" in c.metadata.tags), None)
    if cell is None:
        raise InputError("the notebook has no cell tagged 'parameters'")
    known = {}
    try:
        nodes = ast.parse(cell.source).body
    except (SyntaxError, ValueError):
        raise InputError(
            "the notebook's cell tagged 'parameters' is not plain Python: keep only assignments"
        ) from None
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            known[name] = None
            with contextlib.suppress(ValueError, TypeError):
                known[name] = ast.literal_eval(node.value)
    for name, value in given.items():
        if name not in known:
            raise InputError(f"unknown notebook parameter {name!r}; {meant(name, known)}")
        kind = type(known[name])
        numbers = isinstance(value, int) and kind is float
        if None not in (known[name], value) and type(value) is not kind and not numbers:
            raise InputError(
                f"notebook parameter {name!r}: found {value!r}, expected {kind.__name__}"
            )


def _mark(nb, outcome: Outcome | None, seconds: float) -> None:
    """Write the state into the notebook's metadata and banner cell."""
    state = outcome.state if outcome else "running"
    nb.metadata["midway"] = {"state": state, "error": outcome.error if outcome else ""}
    text = f"`{state}`"
    if outcome:
        text += f" after {seconds:.1f} s" if seconds else ""
        text += f" in code cell {outcome.cell}" if outcome.cell else ""
        text += f": <code>{html.escape(outcome.error)}</code>" if outcome.error else ""
        if state != "done":
            text += ". Cells below that point have not run."
    banner = next((c for c in nb.cells if BANNER in (c.metadata.get("tags") or [])), None)
    if banner is None:
        banner = nbformat.v4.new_markdown_cell(metadata={"tags": [BANNER]}, id=BANNER)
        nb.cells.insert(0, banner)
    banner.source = text


def restate(out: Path, outcome: Outcome) -> None:
    """Overwrite the recorded status of an executed notebook."""
    with contextlib.suppress(OSError, ValueError):
        path = out / "notebook.ipynb"
        nb = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        _mark(nb, outcome, 0)
        write_atomic(path, nbformat.writes(nb), client.READ_ONLY)
