"""`midway run`: run the steps of a study in order; a step is judged when all steps above are done.

One run at a time per study. An engine (midway.run.engine) runs the steps. An early report of the
finished steps is built, and built again as results arrive.
"""

import os
import shutil
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from midway.data import sources
from midway.encoder import checkpoints
from midway.run import engine as engines
from midway.run import plan as planning
from midway.run.hashes import INDEX
from midway.run.progress import Progress, say
from midway.run.status import Outcome, Stop, lock, me, read_state
from midway.run.step import forget, on_signals, run_step, settle
from midway.run.steps import STEPS, StepId, steps, upstream
from midway.study import params, yamlfile
from midway.study.errors import InputError
from midway.study.files import root, write_atomic

NEEDED_MB = 100  # free disk space without which no run is started
REPORT_EVERY = 180.0  # seconds between early reports, or ten times what one takes
REPORT = StepId(STEPS[4])


def outputs(study: params.Study) -> Path:
    """The folder of a study; its name has been checked to be a plain name."""
    return root() / "outputs" / study.study


def settle_all(study, folder: Path, cluster: bool) -> None:
    """Mark the unfinished steps of a killed run; InputError if one is still running."""
    for sid in steps(study):
        end = settle(folder / sid.path)
        here = end.get("host") == me()["host"]
        if end.get("state") == "running" and (here or not cluster):
            where = f"process {end.get('pid')} of {end.get('host')}"
            more = "" if here else ", or resume with the profile that started it"
            raise InputError(f"{folder / sid.path}: being executed by {where}; wait for it{more}")


def stages(until: str | None) -> tuple[str, ...]:
    """The stages up to ``until``; InputError if it is unknown."""
    if until is None:
        return STEPS
    if until not in STEPS:
        raise InputError(f"--until: unknown step {until!r}; known: {', '.join(STEPS)}")
    wanted = STEPS[: STEPS.index(until) + 1]
    return tuple(s for s in wanted if s != STEPS[3] or until in STEPS[3:])


def check(study) -> None:
    """InputError if something that steps need does not exist: encoder.path, data.root, a task."""
    if study.encoder.kind == "hub":
        checkpoints.check_cached(*study.encoder.place)
    elif study.encoder.kind == "path":
        checkpoints.check_folder(study.encoder.folder, "encoder.path")
    if study.data.source != "mini":
        sources.refuse(study)


def run(study, cores=None, profile=None, until=None, force=()) -> int:
    """Bring a study up to date; the exit code: 0, 1 (a step failed) or 130 (interrupted)."""
    folder, wanted = outputs(study), stages(until)
    for name in force:
        planning.matching(study, name)
    wish = engines.profile(profile)  # a wrong one is refused before anything is written
    check(study)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / ".writable", "")
        (folder / ".writable").unlink()
        free = shutil.disk_usage(folder).free / 2**20
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    if free < NEEDED_MB:
        raise InputError(f"{folder}: {free:.0f} MB free on this disk; a run needs {NEEDED_MB} MB")
    stop = Stop()
    with lock(folder) as held:
        engine = engines.engine(study, folder, stop, cores, wish, me())
        settle_all(study, folder, cluster=wish is not None)
        return Run(study, folder, held, engine, stop).run(wanted, tuple(force))


def report(folder: Path) -> int:
    """Build the report of a study's folder again; the exit code.

    It writes a record if all steps that it shows are done; otherwise it is a draft.
    """
    study = params.load(folder / "params.yaml")
    with lock(folder):
        items = planning.plan(study, folder)
        draft = not all(i.ready for i in items if i.sid != REPORT)
        (folder / REPORT.path / "record.json").unlink(missing_ok=True)
        end = run_step(REPORT, folder / "params.yaml", draft=draft)
    say(end.error or folder / "index.html", sys.stderr if end.code else sys.stdout)
    return end.code


def urgency(sid: StepId) -> tuple:
    """Order of steps: baseline, published numbers, then the longest; all of 01 before 02."""
    variant = sid.variant or ""
    return variant == "none", sid.step == STEPS[3], variant[:5] == "multi", sid.step == STEPS[0]


class Run:
    """One run of a study; it holds the lock of the study's folder."""

    def __init__(self, study, folder: Path, held: Path, engine, stop: Stop):
        self.study, self.folder, self.held = study, folder, held
        self.engine, self.stop = engine, stop
        self.good: set[StepId] = set()
        self.bad: dict[StepId, Outcome | None] = {}  # None: not run, because a step above it failed
        self.tried: dict[StepId, int] = {}
        self.running: dict = {}  # Future -> step

    def run(self, wanted, force) -> int:
        folder = self.folder
        items = planning.plan(self.study, folder, force)
        text, path = yamlfile.dump(self.study.fold()), folder / "params.yaml"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text)
        todo = [i.sid for i in items if not i.ready and i.sid.step in wanted]
        if not todo:
            say(f"nothing to do: all {sum(i.sid.step in wanted for i in items)} steps are done")
            return self._close()
        for item in items:  # an early report shows scores of steps that are not finished, too
            if item.sid.step == STEPS[1] and not item.ready and not item.record:
                forget(self.study, item.sid, folder / item.sid.path)
        self.good = {i.sid for i in items if i.ready}
        self.forced = {s for f in force for s in planning.matching(self.study, f)}
        say(f"{len(todo)} of {len(items)} steps to run, {self.engine.slots} at a time")
        self.progress = Progress(items, todo, self.engine.slots)
        with on_signals(self.stop), self.engine, ThreadPoolExecutor(1) as aside:
            self.report = Report(folder, aside, self.stop)
            self._loop(sorted(todo, key=urgency, reverse=True))
            if self.stop:
                self._stop()
                return 130
            if REPORT not in self.good and REPORT.step in wanted or self.bad:
                self.report.wait()
                self.report.told = True
                self.report.begin()
                self.report.wait()
        for sid, end in self.bad.items():
            if end:
                notebook = folder / sid.path / "notebook.ipynb"
                say(f"{end.state}: {notebook if notebook.exists() else sid.path}\n    {end.error}")
        if self.bad:
            skipped = sum(end is None for end in self.bad.values())
            rest = f"; {skipped} more need them" if skipped else ""
            say(f"steps that were not done: {len(self.bad) - skipped}{rest}")
        return self._close()

    def _close(self) -> int:
        """Say which data were missing and where the report is; the exit code."""
        for line in planning.without(self.study, self.folder):
            say(line)
        page = self.folder / "index.html"
        say(page if page.exists() else self.folder, sys.stdout)
        return 1 if self.bad else 0

    def _loop(self, pending: list[StepId]) -> None:
        while (pending or self.running) and not self.stop:
            os.utime(self.held)
            for sid in list(pending):
                above = set(upstream(self.study, sid))
                if above & self.bad.keys():
                    pending.remove(sid)
                    self.progress.todo.discard(sid)
                    self.bad[sid] = None
                elif above <= self.good and len(self.running) < self.engine.slots:
                    pending.remove(sid)
                    if self._due(sid, above):
                        self._submit(sid)
                    else:
                        self.good.add(sid)
                        self.progress.ended(sid, "unchanged")
            for future in wait(self.running, 0.3, FIRST_COMPLETED).done:
                self._ended(self.running.pop(future), future)
            self.progress.draw()
            self.report.look(any(s != REPORT for s in [*pending, *self.running.values()]))

    def _due(self, sid: StepId, above) -> bool:
        """Whether a step must run, once all steps above it are done."""
        if not above or sid in self.forced:
            return True
        return not planning.judge(self.study, self.folder, sid, self.folder / INDEX).ready

    def _submit(self, sid: StepId) -> None:
        if sid == REPORT:
            self.report.wait()
        self.tried[sid] = self.tried.get(sid, 0) + 1
        self.progress.started(sid)
        self.running[self.engine.submit(sid)] = sid

    def _ended(self, sid: StepId, future) -> None:
        try:
            end = future.result()
        except InputError as error:  # another process executes the step
            end = Outcome("failed", str(error))
        except Exception as error:  # the engine lost the job
            said = settle(self.folder / sid.path).get("error") or f"{type(error).__name__}: {error}"
            end = Outcome("died", said)
        if end.state == "done":
            self.good.add(sid)
            self.report.fresh = True
            took = read_state(self.folder / sid.path).get("seconds")
            self.progress.ended(sid, "done", took or 0.0)
            return
        again = end.state == "died" or "time limit" in end.error
        if again and self.tried[sid] < self.engine.tries and not self.stop:
            say(f"{sid.path} {end.state}: {end.error}; it is submitted again")
            self._submit(sid)
            return
        self.bad[sid] = end
        self.progress.ended(sid, f"{end.state}: {end.error}")

    def _stop(self) -> None:
        say("stopping ...")
        self.engine.stop()
        left = wait([*self.running, *filter(None, [self.report.future])], 60).not_done
        for sid in self.running.values():
            settle(self.folder / sid.path)
        say("interrupted; finished steps are kept, and the same command resumes")
        if left:  # a kernel that hangs in its start: it ends with this process
            os._exit(130)


class Report:
    """Drafts of the report while steps run; a draft leaves no record."""

    def __init__(self, folder: Path, aside: ThreadPoolExecutor, stop: Stop):
        self.folder, self.aside, self.stop = folder, aside, stop
        self.fresh, self.told, self.future = True, False, None
        self.began, self.pause = 0.0, 0.0

    def look(self, more: bool) -> None:
        """Start a draft when it is due; ``more``: other steps still have to run."""
        if self.future and self.future.done():
            self.wait()
            self.pause = max(REPORT_EVERY, 10 * (time.monotonic() - self.began))
        published = (self.folder / STEPS[3] / "record.json").exists()
        due = time.monotonic() - self.began > self.pause
        if due and more and published and self.fresh and not self.future:
            self.begin()

    def begin(self) -> None:
        self.fresh, self.began = False, time.monotonic()
        (self.folder / REPORT.path / "record.json").unlink(missing_ok=True)  # of another page
        asked = {"draft": True, "stop": self.stop}
        self.future = self.aside.submit(run_step, REPORT, self.folder / "params.yaml", **asked)

    def wait(self) -> None:
        """Wait for the draft that is being written."""
        if not self.future:
            return
        try:
            end = self.future.result()
        except (InputError, OSError) as error:
            end = Outcome("failed", str(error))
        self.future = None
        if end.state in ("failed", "died"):
            say(f"the early report could not be made: {end.error}")
        elif end.state == "done" and not self.told:
            self.told = True
            say(f"report (updated as results arrive): {self.folder / 'index.html'}")
