"""Execute one step of a study; notebook, state file, record and exit code always agree.

A step ends as exactly one of done (exit code 0), failed (1), died (138) and interrupted (130). Its
record is deleted before anything changes and written again only when the step is complete.
"""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

from midway.run import hashes, machine, record
from midway.run.record import now
from midway.run.status import Outcome, Stop, me, only_one, read_state, write_state
from midway.study import params
from midway.study.errors import InputError, one_line
from midway.study.files import file_hash, root

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def settle(out: Path) -> dict:
    """Mark a step as died whose process was killed (kill -9, power cut)."""
    state = read_state(out)
    if state.get("state") in ("done", "died") and "finished" not in state:
        write_state(out, state | {"finished": now()})
        if state["state"] == "died":
            from midway.run import notebook

            notebook.restate(Path(out), Outcome("died", state["error"]))
    return state


def run_step(sid, study_file, draft=False, stop=None, owner=None) -> Outcome:
    """Execute one step of a study; record.json is written only if the step ended without an error.

    A ``draft`` (the report of an unfinished study) leaves no record, so that it is made again.
    ``owner``: content of the study's lock while the run that started this step is alive. Raises
    InputError for a bad study file, or when another process executes the step.
    """
    study_file, stop = Path(os.path.abspath(study_file)), stop if stop is not None else Stop()
    study = params.load(study_file)
    out = study_file.parent / sid.path
    out.mkdir(parents=True, exist_ok=True)
    with only_one(out):
        if draft and (out / "record.json").exists():  # the final report exists: keep it
            return Outcome("done", "unchanged")
        (out / "record.json").unlink(missing_ok=True)
        for name in (record.PENDING, "notebook.ipynb", "state.json"):  # of an earlier execution
            (out / name).unlink(missing_ok=True)
        for path in [*out.rglob(".*.tmp"), *out.rglob("*.part")]:  # of a kill while writing
            with contextlib.suppress(OSError):
                path.unlink()
        forget(study, sid, out)
        state = {"state": "running", **vars(sid), "draft": draft, **me(), "started": now()}
        write_state(out, state)
        start = time.monotonic()
        try:
            outcome = _run_step(sid, study, study_file, out, draft, stop, owner)
        except InputError as error:
            outcome = Outcome("failed", one_line(error))
        except Exception as error:  # do not leave the state "running"
            outcome = Outcome("failed", one_line(f"{type(error).__name__}: {error}"))
        finished = {"finished": now(), "seconds": round(time.monotonic() - start, 2)}
        write_state(out, state | vars(outcome) | {"exit_code": outcome.code} | finished)
    return outcome


def _run_step(sid, study, study_file, out, draft, stop, owner) -> Outcome:
    from midway.run import notebook  # papermill: plan and status do not need it

    given = {"study": _relative(study_file), "out": _relative(out)}
    given |= {k: v for k, v in vars(sid).items() if k != "step" and v is not None}
    with machine.own_gpu(study.compute, stop, wanted=bool(sid.variant)) as env:
        outcome = notebook.execute(
            sid.notebook, out, given, study.compute.threads,
            _beat(out / "state.json", study_file.with_name(".lock"), owner, stop), stop, env,
        )  # fmt: skip
    if outcome.state != "done":
        return outcome
    try:
        whole = record.load(out / record.PENDING)
        whole.files["notebook.ipynb"] = file_hash(out / "notebook.ipynb")
        if not draft:
            whole.write(out / "record.json")
            _tidy(out, whole.files)
        (out / record.PENDING).unlink()
    except (InputError, OSError) as error:
        outcome = Outcome("failed", f"the notebook ended without its record: {one_line(error)}")
        notebook.restate(out, outcome)
    return outcome


def forget(study, sid, out: Path) -> None:
    """Remove scores that were made under other settings: they must not be shown as this study's."""
    paths = [p for p in (out / "scores").glob("*.json") if not p.name.endswith(".training.json")]
    own = hashes.hashes(study, sid, out, ignore_missing=True) if paths else {}
    for path in paths:
        try:
            score = record.load_score(path)
            kept = score.key == hashes.score_key(study, sid, own, score.target)
        except (InputError, KeyError):
            kept = False
        if not kept:
            path.unlink(missing_ok=True)


def _tidy(out: Path, files: dict[str, str]) -> None:
    """Remove files of earlier settings from a finished step's folder."""
    folders = {name.split("/")[0] for name in files if "/" in name} - {".."}
    for path in [p for folder in folders for p in (out / folder).rglob("*") if p.is_file()]:
        if path.relative_to(out).as_posix() not in files:
            path.unlink(missing_ok=True)


def _relative(path: Path) -> str:
    """Path for a notebook: relative to the root if possible, so that the project can be moved."""
    return path.relative_to(root()).as_posix() if path.is_relative_to(root()) else str(path)


def _beat(state_file: Path, lock: Path, owner: dict | None, stop: Stop):
    """Heartbeat of a step, which also checks that the run that started the step is still there."""

    def beat():
        try:
            os.utime(state_file)
            if owner and json.loads(lock.read_text(encoding="utf-8") or "{}") != owner:
                stop.reason = "the run that started this step is gone"
        except (OSError, ValueError):  # a shared disk that does not answer for a moment
            pass

    return beat


@contextlib.contextmanager
def on_signals(stop: Stop, more: dict | None = None):
    """Inside this block SIGINT, SIGTERM, SIGHUP and ``more`` set ``stop``, and end nothing."""
    words = {number: number.name for number in HANDLED} | (more or {})

    def handle(number, _frame):
        stop.reason = stop.reason or words[number]

    old = {number: signal.signal(number, handle) for number in words}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def job(sid, study_file: Path, owner: dict):
    """Execute a step in a process of an executor; signals of a scheduler interrupt it."""
    stop = Stop()
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ValueError):  # in a thread only the owner's lock can end it
            near = {signal.SIGUSR2: "the time limit is near"}  # as submitit asks Slurm to
            held.enter_context(on_signals(stop, near))
        return run_step(sid, study_file, stop=stop, owner=owner)
