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

from midway.run import kernel, machine
from midway.run.status import Stop
from midway.run.step import job, run_step
from midway.run.steps import STEPS
from midway.study import yamlfile
from midway.study.errors import InputError, meant
from midway.study.files import root

COMMON = {"executor": str, "jobs": int, "tries": int, "options": dict, "steps": dict}


def profile(name: str | None) -> dict:
    """Settings of a profile; {} for this machine. InputError for an unknown or wrong one."""
    if name is None:
        return {}
    folder = root() / "profiles"
    if not re.fullmatch(r"[\w-]+", name) or not (folder / f"{name}.yaml").is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise InputError(f"unknown profile {name!r}; known: {', '.join(known)}")
    path = folder / f"{name}.yaml"
    try:
        settings = dict(yamlfile.parse(path.read_text(encoding="utf-8")) or {})
    except (InputError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None
    for key, value in settings.items():
        if key not in COMMON:
            raise InputError(f"{path}: unknown key {key!r}; {meant(key, COMMON)}")
        if not isinstance(value, COMMON[key]) or isinstance(value, bool):
            raise InputError(f"{path}: {key}: found {value!r}, expected {COMMON[key].__name__}")
    for stage, value in settings.get("steps", {}).items():
        if stage not in STEPS:
            raise InputError(f"{path}: steps: unknown step {stage!r}; {meant(stage, STEPS)}")
        if not isinstance(value, dict):
            raise InputError(f"{path}: steps: {stage}: found {value!r}, expected settings")
    if "executor" not in settings:
        raise InputError(f"{path}: executor is missing: write slurm or a Python class's full name")
    return settings


def engine(study, folder: Path, stop: Stop, cores: int | None, settings: dict, owner: dict):
    """The engine of a profile's settings, not yet entered as a context."""
    if not settings:
        return Local(study, folder, stop, cores)
    settings = settings | ({"jobs": cores} if cores else {})
    env = kernel.environment(root(), study.compute.threads)
    os.environ |= {k: env[k] for k in ("PYTHONPATH", "PYTHONUTF8", "MIDWAY_ROOT")}  # of its jobs
    if settings["executor"] == "slurm":
        from midway.run.slurm import Slurm

        return Slurm(folder, stop, settings, owner)
    return Pool(folder, stop, settings, owner)


class Local:
    """This machine: a thread for each slot, a kernel for each step."""

    tries = 1

    def __init__(self, study, folder: Path, stop: Stop, cores: int | None):
        self.study, self.folder, self.halt = study, folder, stop
        self.slots = max(1, (cores or machine.cores()) // study.compute.threads)
        self.gpus = len(machine.gpus(study.compute))
        if self.gpus:
            self.slots = min(self.slots, self.gpus)

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        importlib.import_module("midway.run.notebook")  # once, before the threads
        env = kernel.environment(root(), self.study.compute.threads)
        self.stack.enter_context(kernel.forking(env, wanted=not self.gpus))  # CUDA cannot be forked
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

    def __init__(self, folder: Path, stop: Stop, settings: dict, owner: dict):
        self.folder, self.owner = folder, owner
        self.slots, self.tries = settings.get("jobs", 50), settings.get("tries", 2)
        self.extra = settings.get("steps", {})
        module, _, name = settings["executor"].rpartition(".")
        try:
            made = getattr(importlib.import_module(module), name)
            self.pool = made(**settings.get("options", {}))
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise InputError(f"--profile: executor {settings['executor']}: {error}") from None

    def submit(self, sid):
        more = self.extra.get(sid.step, {})
        return self.pool.submit(job, sid, self.folder / "params.yaml", self.owner, **more)

    def stop(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown(wait=False, cancel_futures=True)
