"""Status and lock files: who runs a study or a step, and how a step's last execution ended."""

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from midway.run.progress import say
from midway.study.errors import InputError
from midway.study.files import read_json, write_atomic

CODES = {"done": 0, "failed": 1, "died": 138, "interrupted": 130}  # state -> exit code
SINCE = time.time()
SILENT = 180  # seconds after which a step of another machine counts as dead
STALE_LOCK = 600  # seconds after which a silent lock of another machine is taken over


@dataclass
class Outcome:
    """How a notebook ended; ``cell`` counts code cells from 1."""

    state: str
    error: str = ""
    cell: int | None = None

    @property
    def code(self) -> int:
        return CODES[self.state]


class Stop:
    """Reason to stop the steps; empty while they run. Signal handlers set it, so it has no lock."""

    reason = ""

    def __bool__(self) -> bool:
        return bool(self.reason)


def me() -> dict:
    """Identity of this process for lock and state files; for display only."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": SINCE}


def alive(out: Path, state: dict) -> bool:
    """Whether a step in state ``running`` is being executed; on another host, by its heartbeat.

    On this host the lock decides; the operating system frees it when the process ends.
    """
    try:
        if state.get("host") == socket.gethostname():
            with open(out / ".lock", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        age = time.time() - (out / "state.json").stat().st_mtime
        return "host" in state and age < SILENT
    except BlockingIOError:
        return True
    except OSError:
        return False


def read_state(out: Path) -> dict:
    """Read state.json of a step's folder; {} if there is none.

    A step left as running by a process that has ended is done if it has a record, else died.
    """
    out, path = Path(out), Path(out) / "state.json"
    state = read_json(path)
    if state.get("state") == "running" and not alive(out, state):
        state["state"] = "done" if path.with_name("record.json").exists() else "died"
        state["error"] = "" if state["state"] == "done" else "killed, or its machine went down"
    return state


def write_state(out: Path, state: dict) -> None:
    path, text = Path(out) / "state.json", json.dumps(state, indent=1) + "\n"
    try:
        write_atomic(path, text)
    except OSError:  # a full disk: overwrite the old file in place
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def only_one(out: Path):
    """Hold a step's folder; InputError when another process holds it.

    The operating system frees the lock when its process ends.
    """
    with open(out / ".lock", "a", encoding="utf-8") as lock:
        for attempt in range(6):  # alive() holds it for a moment
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == 5:
                    pid = read_state(out).get("pid", "unknown")
                    raise InputError(f"{out}: process {pid} already runs this step") from None
                time.sleep(0.2)
        yield


@contextlib.contextmanager
def lock(folder: Path):
    """Hold a study's folder and give the lock's path; InputError when another run holds it.

    On this machine the operating system frees the lock of a dead run. A lock of another machine
    (shared folder) counts as held until it has been silent for ten minutes.
    """
    path = folder / ".lock"
    with open(path, "a", encoding="utf-8") as f:
        other = read_json(path)
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = other.get("pid", "unknown")
            raise InputError(
                f"{folder}: already being run by process {pid}; wait or stop it"
            ) from None
        mine = me()
        age = time.time() - path.stat().st_mtime
        if other and other.get("host") != mine["host"] and age < STALE_LOCK:
            raise InputError(
                f"{folder}: being run on {other.get('host')} (process {other.get('pid')}, "
                f"last sign {age:.0f} s ago); stop it there or, if it is gone, delete {path}"
            )
        if other:
            say(f"taking over from process {other.get('pid')}, which has ended")
        f.truncate(0)
        f.write(json.dumps(mine))
        f.flush()
        try:
            yield path
        finally:
            f.truncate(0)
