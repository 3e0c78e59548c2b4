"""What a person sees of a run: progress lines, and the report of what there is so far."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from midway.run import hashes
from midway.run.status import me, read_state
from midway.run.steps import STEPS, StepId
from midway.study.files import root

REPORT_EVERY = 180.0  # seconds between early reports, or ten times what one takes


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def span(seconds: float) -> str:
    """Seconds as 0:42, 12:03 or 3:04:05."""
    minutes, s = divmod(int(seconds + 0.5), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def kind(sid: StepId) -> tuple:
    """Steps that take about as long: of one stage and part; none and multi are apart."""
    name = (sid.variant or "").partition("+")[0]
    return sid.step, name if name in ("none", "multi") else "", sid.part


def die_with_parent() -> None:
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def environment(profile: str | None) -> dict[str, str]:
    """Environment of Snakemake and its jobs."""
    lib = str(hashes.LIB.parent)
    paths = [lib, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    master = {} if profile else {"MIDWAY_MASTER": json.dumps(me())}
    return os.environ | master | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "MIDWAY_ROOT": str(root()),
        "PYTHONUTF8": "1",
    }  # fmt: skip


class Watch:
    """Progress lines and early reports, from the state files that the runners write."""

    def __init__(self, study, folder: Path, items, slots: int):
        self.study, self.folder, self.slots = study, folder, slots
        self.todo = {i.sid: None for i in items if not i.ready}
        self.total, self.ended, self.failed = len(self.todo), 0, []
        self.start = time.monotonic()
        self.took: dict[tuple, list[float]] = {}
        self.since: dict[StepId, float] = {}  # when a step was first seen running
        for item in items:
            if item.ready and item.record:
                self.took.setdefault(kind(item.sid), []).append(item.record.cost.wall_s)
        self._seen = {sid: self._mark(sid) for sid in self.todo}
        self._draft, self._drafted, self._fresh, self._pause = None, 0.0, True, REPORT_EVERY
        self._told = False

    def _mark(self, sid):
        end = read_state(self.folder / sid.path)
        return (end.get("started"), end.get("state"))

    def look(self) -> None:
        """Say what has ended since the last look."""
        for sid in list(self.todo):
            end = read_state(self.folder / sid.path)
            same = (end.get("started"), end.get("state")) == self._seen[sid]
            done = (self.folder / sid.path / "record.json").exists()
            if same or end.get("draft"):
                if not done:
                    continue
                same = True
            elif end.get("state") in (None, "running"):
                if end.get("state"):
                    self.since.setdefault(sid, time.monotonic())
                continue
            self.todo.pop(sid)
            self.ended, self._fresh = self.ended + 1, True
            how = f"{end.get('state')}: {end.get('error')}"
            if same:
                how = "unchanged"
            elif done:
                self.took.setdefault(kind(sid), []).append(end.get("seconds") or 0.0)
                how = f"done in {span(end.get('seconds') or 0)}"
            else:
                self.failed.append((sid, end))
            elapsed = span(time.monotonic() - self.start)
            say(f"[{self.ended}/{self.total}] {sid.path} {how} ({elapsed}{self.left()})")

    def left(self) -> str:
        """Estimate of the time left; "at most" while a kind of step is only known by a longer one.

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

    def report(self, last: bool = False) -> None:
        """Make the page of an unfinished study now and then; ``last``: at the end, and wait."""
        if self._draft is not None and (last or self._draft.poll() is not None):
            self._ended(self._draft.wait())
            self._pause = max(REPORT_EVERY, 10 * (time.monotonic() - self._drafted))
            self._draft = None
        due = last or time.monotonic() - self._drafted > self._pause or not self._drafted
        published = (self.folder / STEPS[3] / "record.json").exists() or last
        open_ = last or any(sid.step != STEPS[4] for sid in self.todo)  # else the final one comes
        if self._draft is None and due and self._fresh and published and open_:
            hurry = last or not self._drafted
            self._fresh, self._drafted = False, time.monotonic()
            step = [sys.executable, "-m", "midway.run.notebook", STEPS[4], "params.yaml", "--draft"]
            self._draft = subprocess.Popen(
                ["nice", "-n", "0" if hurry else "10", *step], cwd=self.folder,
                env=environment(None), start_new_session=True, preexec_fn=die_with_parent,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            if last:
                self._told = True  # the path is printed at the end anyway
                self._ended(self._draft.wait())

    def _ended(self, code: int) -> None:
        if code not in (0, -signal.SIGTERM, 130):
            error = read_state(self.folder / STEPS[4]).get("error") or f"exit code {code}"
            say(f"the early report could not be made: {error}")
        elif code == 0 and not self._told:
            self._told = True
            say(f"a first report, renewed now and then: {self.folder / 'index.html'}")

    def stop(self) -> None:
        if self._draft is not None:
            self._draft.terminate()
            self._draft.wait()
