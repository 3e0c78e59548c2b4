"""Who is at work in a folder, and how the last execution ended: state and lock files."""

import json
import os
import socket
import time
from pathlib import Path


def started_at(pid: int) -> str | None:
    """A process's start time in kernel ticks; with its id it names the process for good."""
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
        ticks = started_at(int(who.get("pid", 0)))
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
    if state.get("state") == "running" and not alive(state, path):
        state |= {"state": "died", "error": "the runner was killed"}
    return state
