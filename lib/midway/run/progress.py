"""Progress of a run: one line per finished step, and an estimate of the time left.

On a terminal a last line is drawn again each second: what runs, how far the run is, time left.
"""

import contextlib
import os
import shutil
import sys
import time

from midway.run.steps import STEPS, StepId
from midway.study.errors import one_line

CLEAR = "\r\x1b[K"  # of the live line


def live() -> bool:
    """Whether the live line can be drawn: stderr is a terminal that can clear a line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def say(text: object, to=None) -> None:
    """Print a message to stderr or ``to``; a closed pipe (`run | head`) does not stop the run."""
    stream = to or sys.stderr
    try:
        if live():
            print(CLEAR, end="", file=sys.stderr, flush=True)
        print("\n".join(map(one_line, str(text).split("\n"))), file=stream, flush=True)
    except (BrokenPipeError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def span(seconds: float) -> str:
    """Seconds as 0:42, 12:03 or 3:04:05."""
    minutes, s = divmod(int(seconds + 0.5), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def kind(sid: StepId) -> tuple:
    """Key of steps with similar run times: stage and part; none and multi have their own."""
    name = (sid.variant or "").partition("+")[0]
    return sid.step, name if name in ("none", "multi") else "", sid.part


class Progress:
    """Progress lines, and how long each kind of step takes."""

    def __init__(self, items, todo, slots: int):
        """``items``: the plan; ``todo``: the steps that will be run or looked at."""
        self.todo, self.total, self.slots = set(todo), len(todo), slots
        self.start, self.drawn = time.monotonic(), 0.0
        self.took: dict[tuple, list[float]] = {}
        self.since: dict[StepId, float] = {}  # running step -> its start
        for item in items:
            if item.ready and item.record:
                self.took.setdefault(kind(item.sid), []).append(item.record.cost.wall_s)

    def started(self, sid: StepId) -> None:
        self.since[sid] = time.monotonic()

    def ended(self, sid: StepId, how: str, seconds: float | None = None) -> None:
        self.todo.discard(sid)
        self.since.pop(sid, None)
        if seconds is not None:
            self.took.setdefault(kind(sid), []).append(seconds)
            how += f" in {span(seconds)}"
        say(self.line(f"{sid.path} {how}"))

    def line(self, text: str) -> str:
        """``text`` after the count of steps, before the time that has passed and that is left."""
        done, passed = self.total - len(self.todo), span(time.monotonic() - self.start)
        return f"[{done}/{self.total}] {text} ({passed}{self.left()})"

    def draw(self) -> None:
        """Draw the live line again when a second has passed."""
        if not self.since or time.monotonic() < self.drawn + 1 or not live():
            return
        self.drawn = time.monotonic()
        text = self.line("running " + ", ".join(sid.path for sid in self.since))
        width = shutil.get_terminal_size().columns - 1
        text = text if len(text) <= width else text[: width - 1] + "…"
        with contextlib.suppress(OSError):
            print(CLEAR + text, end="", file=sys.stderr, flush=True)

    def left(self) -> str:
        """Estimate of the time left; "at most" while only a longer kind of step has been timed.

        ``none`` is transferred first and computes what others then share; ``multi`` trains longest.
        """
        means = {k: sum(v) / len(v) for k, v in self.took.items()}
        longer = {STEPS[0]: "multi", STEPS[1]: "none"}
        word, many, one = "about", [], 0.0
        for sid in self.todo:
            if sid.step not in longer:
                one += 0 if sid.step == STEPS[3] else means.get(kind(sid), 15.0)
                continue
            takes = means.get(kind(sid))
            if takes is None:
                takes, word = means.get((sid.step, longer[sid.step], sid.part)), "at most"
            if takes is None:
                return ""
            spent = time.monotonic() - self.since[sid] if sid in self.since else 0.0
            many.append(max(0.0, takes - spent))
        if not self.todo:
            return ""
        many = max(max(many), sum(many) / self.slots) if many else 0.0
        return f", {word} {span(many + one)} left"
