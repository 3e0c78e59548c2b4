"""Execute one notebook through papermill so that it says truthfully how it ended.

``python -m midway.run.notebook STEP outputs/x/params.yaml [--variant V] [--seed N] [--part P]``

papermill marks every cell "completed" when the kernel dies, rewrites the file in place and depends
on an installed kernelspec. This engine starts kernels of the calling interpreter over IPC, renames
whole notebooks into place, bounds their output, and ends as exactly one of done (exit code 0),
failed (1), died (138) and interrupted (130) in notebook, state.json and exit code alike. A kernel
never outlives its runner, nor a runner the `midway run` that started it.
"""

import argparse
import contextlib
import fcntl
import html
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from midway.run import hashes, machine
from midway.run import record as records
from midway.run.record import now
from midway.run.status import alive, me, read_state
from midway.run.steps import STEPS, StepId
from midway.study import errors, files, params
from midway.study.errors import InputError
from midway.study.files import sha256, write_atomic

CODES = {"done": 0, "failed": 1, "died": 138, "interrupted": 130}
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BANNER = "midway-banner"


@dataclass
class Outcome:
    """How a notebook ended; ``cell`` counts code cells from 1."""

    state: str
    error: str = ""
    cell: int | None = None

    @property
    def code(self) -> int:
        return CODES[self.state]


class Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP, or the run that started this job is gone."""


def settle(out: Path) -> dict:
    """Write down what became of a runner that could not do so itself (kill -9, power cut)."""
    out, state = Path(out), read_state(out)
    if state.get("state") == "died" and "finished" not in state:
        write_atomic(out / "state.json", json.dumps(state | {"finished": now()}, indent=1) + "\n")
        restate(out, Outcome("died", state["error"]))
    return state


def one_line(text: str, limit: int = 300) -> str:
    """Text without colours, line ends and control characters."""
    return errors.one_line(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).strip())[:limit]


def formats():
    """nbformat and papermill without two optional parts: 1.5 of 2.3 core-seconds of a step's start.

    jsonschema compiles a grammar for IRIs (rfc3987_syntax), papermill looks for Hadoop
    (pyarrow.fs); notebooks on disk need neither.
    """
    unused = [name for name in ("rfc3987_syntax", "pyarrow.fs") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(unused))
    try:
        import nbformat
        import papermill.execute  # noqa: F401
    finally:
        for name in unused:
            del sys.modules[name]
    return nbformat


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
    banner = next((c for c in nb.cells if BANNER in c.metadata.get("tags", [])), None)
    if banner is None:
        banner = formats().v4.new_markdown_cell(metadata={"tags": [BANNER]}, id=BANNER)
        nb.cells.insert(0, banner)
    banner.source = text


def execute(notebook: Path, out: Path, parameters: dict, threads: int = 1, tick=None) -> Outcome:
    """Run ``notebook`` into ``out``/notebook.ipynb; never raises for what happens inside it.

    ``parameters`` are injected after the cell tagged *parameters*; the kernel's folder is the
    project's root. ``tick`` is called about once a second and may raise :class:`Interrupted`.
    """
    nbformat = formats()
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from papermill.engines import papermill_engines
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    from midway.run import engine

    try:
        nb = load_notebook_node(nbformat.read(notebook, as_version=4))
    except Exception as error:
        raise InputError(f"{notebook}: not a notebook ({one_line(str(error))})") from None
    engine.check_parameters(nb, parameters)
    nb.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    nb = parameterize_notebook(nb, parameters, kernel_name="python3", language="python")
    _mark(nb, None, 0)
    start, outcome = time.monotonic(), None
    manager = engine.Manager(nb, Path(out) / "notebook.ipynb", tick)
    papermill_engines.register("midway", engine.Engine)
    try:
        papermill_engines.execute_notebook_with_engine(
            "midway", nb, "python3", manager=manager, threads=threads
        )
        outcome = Outcome("done")
    except CellExecutionError as error:
        outcome = Outcome(
            "failed", one_line(f"{error.ename}: {error.evalue}") + engine.advice(str(error))
        )
    except DeadKernelError as error:
        outcome = Outcome("died", one_line(str(error)))
    except KeyboardInterrupt as error:
        outcome = Outcome("interrupted", one_line(str(error)))
    except Exception as error:  # the kernel did not start, or the engine itself is at fault
        outcome = Outcome("failed", one_line(f"{type(error).__name__}: {error}"))
    if outcome.state != "done":
        outcome.cell = manager.current
    _mark(nb, outcome, time.monotonic() - start)
    manager.save(final=True)
    return outcome


def run_step(sid, study_file: Path, out: Path | None = None, draft: bool = False) -> Outcome:
    """Execute one step of a study; its record.json appears only when all went well.

    A ``draft`` (the report of an unfinished study) leaves no record, so that it is made again.
    A step whose record was retired, but whose inputs turn out to be the same, gets its record back
    without being run. Raises InputError for a bad study file, or when another runner is at work.
    """
    study = params.load(study_file)
    out = Path(out) if out else Path(study_file).resolve().parent / sid.path
    out.mkdir(parents=True, exist_ok=True)
    # the final report waits for a draft of itself that is being written
    patience = 300 if sid.step == STEPS[4] and not draft else 0
    gpu = machine.own_gpus(study.compute) if sid.variant else contextlib.nullcontext()
    with _only_one(out, patience), gpu:
        return _run_step(sid, study, Path(study_file), out, draft)


@contextlib.contextmanager
def _only_one(out: Path, patience: float):
    end = time.monotonic() + patience
    with open(out / ".lock", "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > end:
                    pid = read_state(out).get("pid", "unknown")
                    raise InputError(f"{out}: another runner (process {pid}) is at work") from None
                time.sleep(0.2)
        yield


def _run_step(sid, study, study_file, out, draft) -> Outcome:
    record, stale = out / "record.json", out / "record.stale.json"
    pending = out / records.PENDING
    if draft and record.exists():  # the final one was quicker: a draft must not undo it
        return Outcome("done", "unchanged")
    if record.exists():
        os.replace(record, stale)
    if not draft and restorable(sid, study, out):
        os.replace(stale, record)
        return Outcome("done", "unchanged")
    pending.unlink(missing_ok=True)
    for name in ("notebook.ipynb", "state.json"):  # an old end must not pass for this one's
        (out / name).unlink(missing_ok=True)
    state = {"state": "running", **vars(sid), "draft": draft, **me(), "started": now()}
    write_atomic(out / "state.json", json.dumps(state, indent=1) + "\n")
    given = {"study": _relative(study_file), "out": _relative(out)}
    given |= {k: v for k, v in vars(sid).items() if k != "step" and v is not None}
    start = time.monotonic()
    try:
        outcome = execute(
            sid.notebook, out, given, study.compute.threads, _watch(out / "state.json")
        )
    except KeyboardInterrupt as error:  # before its first cell
        outcome = Outcome("interrupted", str(error))
    except InputError as error:
        outcome = Outcome("failed", one_line(str(error)))
    for number in HANDLED if threading.current_thread() is threading.main_thread() else ():
        signal.signal(number, signal.SIG_IGN)  # the last words are said undisturbed
    if outcome.state == "done":
        try:
            whole = records.load(pending)
            whole.files["notebook.ipynb"] = sha256(out / "notebook.ipynb")
            if not draft:
                whole.write(record)
                stale.unlink(missing_ok=True)
            pending.unlink()
        except (InputError, OSError) as error:
            outcome = Outcome("failed", f"the notebook ended without its record: {error}")
            restate(out, outcome)
    state |= {
        "state": outcome.state,
        "finished": now(),
        "seconds": round(time.monotonic() - start, 2),
        "exit_code": outcome.code,
        "cell": outcome.cell,
        "error": outcome.error,
    }
    write_atomic(out / "state.json", json.dumps(state, indent=1) + "\n")
    return outcome


def restate(out: Path, outcome: Outcome) -> None:
    """Give an executed notebook another end than it had by itself."""
    nbformat = formats()
    with contextlib.suppress(OSError, ValueError):
        path = out / "notebook.ipynb"
        nb = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        _mark(nb, outcome, 0)
        write_atomic(path, nbformat.writes(nb))


def restorable(sid, study, out: Path) -> bool:
    """Is a retired record true again (its inputs came out as they were), and all it names there?"""
    try:
        old = records.load(out / "record.stale.json")
        current = hashes.hashes(study, sid, out)
        if hashes.reasons(old, study, sid, current):
            return False
        return all(sha256(out / name) == value for name, value in old.files.items())
    except (InputError, OSError):
        return False


def _relative(path: Path) -> str:
    """A path as the notebook gets it: below the root whenever possible, so that it can move."""
    path, root = Path(path).resolve(), files.root()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _watch(state_file: Path):
    """Heart beat, and a look whether the run that started this job is still there."""
    master = json.loads(os.environ.get("MIDWAY_MASTER") or "{}")

    def tick():
        with contextlib.suppress(OSError):
            os.utime(state_file)
        if master.get("host") == socket.gethostname() and not alive(master):
            raise Interrupted("the run that started this step is gone")

    return tick


def _on_signal(number, _frame):
    raise Interrupted(signal.Signals(number).name)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="midway.run.notebook", description=__doc__.splitlines()[0]
    )
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("study", type=Path, help="params file; its folder receives the step")
    parser.add_argument("--variant")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--part")
    parser.add_argument("--out", type=Path, help="another folder for the step")
    parser.add_argument("--draft", action="store_true", help="leave no record")
    a = parser.parse_args(argv)
    for number in HANDLED:
        signal.signal(number, _on_signal)
    sid = StepId(a.step, a.variant, a.seed, a.part)
    try:
        outcome = run_step(sid, a.study, a.out, a.draft)
    except InputError as error:
        print(f"midway: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"midway: {sid.path}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if outcome.code:
        print(f"midway: {sid.path}: {outcome.state}: {outcome.error}", file=sys.stderr)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
