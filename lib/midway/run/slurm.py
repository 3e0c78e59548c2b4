"""Engine for a Slurm cluster: a job for each step, submitted by submitit."""

import hashlib
import pickle
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import Future
from pathlib import Path

from midway.run.progress import say
from midway.run.status import Outcome, Stop
from midway.run.step import job as step_job
from midway.study.errors import InputError

POLL = 3.0  # seconds between looks at the queue
LATE = 60  # seconds after which a shared disk surely shows a new file
ENDS = {"TIMEOUT": "the time limit", "CANCELLED": "scancel", "PREEMPTED": "preemption"}


def ask(*words: str) -> str:
    """Output of a Slurm command; InputError if there is no cluster."""
    if not shutil.which(words[0]):
        raise InputError(f"--profile slurm: there is no {words[0]} here; is it a login node?")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"--profile slurm: {words[0]} does not reach the cluster ({why})")
    return done.stdout


class Slurm:
    """Slurm jobs of one study; all have the same name, by which left-over jobs are found."""

    def __init__(self, folder: Path, stop: Stop, wanted, owner: dict):
        own = re.sub(r"[^\w-]", "-", folder.name, flags=re.ASCII)[:24]
        self.name = f"midway-{own}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
        self.folder, self.halt, self.owner = folder, stop, owner
        self.slots, self.tries = wanted.jobs, wanted.tries
        self.asked, self.kinds = wanted.options, wanted.steps
        self.jobs: dict[str, tuple] = {}  # id -> its job and Future
        self.over = threading.Event()
        left = self.queue()
        self._executor()  # wrong options are refused before anything is cancelled
        if left:
            say(f"cancelling {len(left)} job(s) that an earlier run left on the cluster")
            self.stop()

    def queue(self) -> dict[str, str]:
        """Jobs of this study that Slurm knows -> state."""
        text = ask("squeue", "--me", f"--name={self.name}", "-h", "-t", "all", "-o", "%i %T")
        known = dict(line.split() for line in text.splitlines() if line.strip())
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        self.ended = {i: s for i, s in known.items() if s in (*over, "PREEMPTED", "BOOT_FAIL")}
        return {i: s for i, s in known.items() if i not in self.ended}

    def stop(self) -> None:
        """Cancel all jobs of this study and wait until they are gone, at most a minute."""
        subprocess.run(["scancel", "--me", f"--name={self.name}"], timeout=60)
        for _ in range(60):
            if not self.queue():
                break
            time.sleep(1)

    def _executor(self, step: str = ""):
        import submitit

        options = dict(self.asked | self.kinds.get(step, {}))
        more = {"no-requeue": True} | options.pop("slurm_additional_parameters", {})  # Midway does
        own = {"name": self.name, "slurm_wckey": "", "slurm_additional_parameters": more}
        try:
            made = submitit.AutoExecutor(self.folder / ".jobs" / "%j", cluster="slurm")
            made.update_parameters(**own | options)  # sticky: one executor for each job
        except Exception as error:
            line = str(error).splitlines()[0]
            raise InputError(f"profiles: options of {step or 'slurm'}: {line}") from None
        return made

    def submit(self, sid) -> Future:
        made, future = self._executor(sid.step), Future()
        try:
            job = made.submit(step_job, sid, self.folder / "params.yaml", self.owner)
        except Exception as error:
            future.set_result(Outcome("failed", f"sbatch: {' '.join(str(error).split())[:300]}"))
            return future
        self.jobs[job.job_id] = job, future, self.folder / sid.path / "record.json"
        return future

    def _watch(self) -> None:
        """Ask squeue, which every cluster has, for all jobs at once; sacct may keep no accounts."""
        while not self.over.wait(POLL):
            jobs = dict(self.jobs)  # a copy: submit adds to them meanwhile
            try:
                known = self.queue() if jobs else {}
            except (InputError, OSError, subprocess.SubprocessError):
                continue  # the controller does not answer for a moment
            for number, job in jobs.items():
                if number not in known:
                    self._ended(number, *job, self.ended.get(number, ""))

    def _ended(self, number, job, future, record, state) -> None:
        del self.jobs[number]
        end = time.monotonic() + LATE
        while state in ("", "COMPLETED") and not self.halt and time.monotonic() < end:
            if job.paths.result_pickle.exists():
                break
            time.sleep(1)
        try:
            how, outcome = pickle.loads(job.paths.result_pickle.read_bytes())
            if how != "success":
                outcome = Outcome("failed", " ".join(str(outcome).split())[-300:])
            while outcome.state == "done" and not record.exists() and time.monotonic() < end:
                time.sleep(1)
            if outcome.state == "done":
                shutil.rmtree(job.paths.folder, ignore_errors=True)
        except (OSError, EOFError, pickle.UnpicklingError):  # killed, its node, its time limit
            why = ENDS.get(state, "")
            text = f"Slurm job {number} ended as {state or 'unknown'}"
            outcome = Outcome("interrupted", f"{text}: {why}") if why else Outcome("died", text)
        future.set_result(outcome)

    def __enter__(self):
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for pattern in (".submission_file*", "*.pkl"):  # of jobs that Slurm has taken
            for path in (self.folder / ".jobs").glob(pattern):
                path.unlink(missing_ok=True)
