"""Status and lock files: who executes a step, and how its last execution ended."""

import json
import os
import signal
import socket
import time
from pathlib import Path


def started_at(pid: object) -> str | None:
    """A process's start time in kernel ticks; with its id it names the process for good."""
    if type(pid) is not int or pid < 1:  # from a torn or edited file: 0 and -1 mean many processes
        return None
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        try:
            os.kill(pid, 0)
            return ""
        except (OSError, OverflowError):
            return None


def me() -> dict:
    """Identity of this process for lock and state files."""
    return {"pid": os.getpid(), "ticks": started_at(os.getpid()), "host": socket.gethostname()}


def alive(who: dict, heartbeat: Path | None = None) -> bool:
    """Is the process of a lock or state file running? On another host: has it beaten lately?"""
    if who.get("host") == socket.gethostname():
        ticks = started_at(who.get("pid"))
        return ticks is not None and ticks == who.get("ticks")
    try:
        return heartbeat is not None and time.time() - heartbeat.stat().st_mtime < 180
    except OSError:
        return False


def read_state(out: Path) -> dict:
    """state.json of a step's folder, {} when there is none; a dead runner's state is 'died'."""
    path = Path(out) / "state.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(state, dict):
        return {}
    if state.get("state") == "running" and not alive(state, path):
        state |= {"state": "died", "error": "the runner was killed"}
    return state


def send(who: dict, number: signal.Signals) -> bool:
    """Signal the process that a file names, if it surely is one of ours; whether it was sent.

    A process id in a file is a hint: the file may be torn, edited or copied, and the id may have
    been used again. The process must have the recorded start time, belong to this user and be
    Midway by its command line; it is held by a pidfd, so it cannot be replaced in between.
    """
    pid = who.get("pid")
    if not (hasattr(os, "pidfd_open") and type(pid) is int and pid > 1 and pid != os.getpid()):
        return False
    try:
        fd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return False
    try:
        place = Path(f"/proc/{pid}")
        ours = place.stat().st_uid == os.geteuid() and alive(who)
        if ours and b"midway" in place.joinpath("cmdline").read_bytes():
            signal.pidfd_send_signal(fd, number)
            return True
    except OSError:
        pass
    finally:
        os.close(fd)
    return False
