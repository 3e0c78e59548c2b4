"""Where steps run: this machine, Slurm, or any `concurrent.futures` executor.

An engine has ``slots`` (steps at a time), ``tries`` (starts of a step that died), ``submit(sid)``,
which gives a Future of an Outcome, and ``stop()``; it is a context manager. A profile
(``profiles/NAME.yaml``) names an engine and its settings.
"""

import contextlib
import importlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from midway.run import kernel, machine
from midway.run.status import Stop
from midway.run.step import job, run_step
from midway.run.steps import STEPS
from midway.study import yamlfile
from midway.study.errors import InputError, meant
from midway.study.files import root
from midway.study.params import Strict
from midway.study.refusals import explain


class Profile(Strict):
    """Settings of an engine other than this machine."""

    executor: str  # slurm, or a Python class by its full name
    jobs: int = Field(50, ge=1)  # steps at a time
    tries: int = Field(2, ge=1)  # of a step whose job was killed or ran out of time
    options: dict = {}
    steps: dict[Any, dict] = {}  # what single steps need instead, by their names


def profile(name: str | None) -> Profile | None:
    """A profile's settings; None for this machine. InputError for an unknown or wrong one."""
    if name is None:
        return None
    folder = root() / "profiles"
    path = folder / f"{name}.yaml"
    if not re.fullmatch(r"[\w-]+", name) or not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise InputError(f"unknown profile {name!r}; known: {', '.join(known)}")
    try:
        found = Profile(**{str(k): v for k, v in yamlfile.read(path).items()})
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Profile)}") from None
    for stage in found.steps:
        if stage not in STEPS:
            raise InputError(f"{path}: steps: unknown step {stage!r}; {meant(stage, STEPS)}")
    return found


def engine(study, folder: Path, stop: Stop, cores: int | None, wanted: Profile | None, owner: dict):
    """The engine of a profile, not yet entered as a context."""
    if not wanted:
        return Local(study, folder, stop, cores)
    wanted = wanted.model_copy(update={"jobs": cores or wanted.jobs})
    env = kernel.environment(root(), study.compute.threads)
    os.environ |= {k: env[k] for k in ("PYTHONPATH", "PYTHONUTF8", "MIDWAY_ROOT")}  # of its jobs
    if wanted.executor == "slurm":
        from midway.run.slurm import Slurm

        return Slurm(folder, stop, wanted, owner)
    return Pool(folder, stop, wanted, owner)


class Local:
    """This machine: a thread for each slot, a kernel for each step."""

    tries = 1

    def __init__(self, study, folder: Path, stop: Stop, cores: int | None):
        self.study, self.folder, self.halt = study, folder, stop
        slots = max(1, (cores or machine.cores()) // study.compute.threads)
        self.slots = min(slots, len(machine.gpus(study.compute)) or slots)

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        importlib.import_module("midway.run.notebook")  # once, before the threads
        env = kernel.environment(root(), self.study.compute.threads)
        self.stack.enter_context(kernel.forking(env))
        self.pool = self.stack.enter_context(ThreadPoolExecutor(self.slots))
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def submit(self, sid):
        return self.pool.submit(run_step, sid, self.folder / "params.yaml", stop=self.halt)

    def stop(self) -> None:
        """Do nothing: steps check the same Stop."""


class Pool:
    """Any executor (PEP 3148) by its full name; ``steps`` has keyword arguments of its submit."""

    def __init__(self, folder: Path, stop: Stop, wanted: Profile, owner: dict):
        self.folder, self.owner, self.extra = folder, owner, wanted.steps
        self.slots, self.tries = wanted.jobs, wanted.tries
        module, _, name = wanted.executor.rpartition(".")
        try:
            self.pool = getattr(importlib.import_module(module), name)(**wanted.options)
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise InputError(f"--profile: executor {wanted.executor}: {error}") from None

    def submit(self, sid):
        more = self.extra.get(sid.step, {})
        return self.pool.submit(job, sid, self.folder / "params.yaml", self.owner, **more)

    def stop(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown(wait=False, cancel_futures=True)
