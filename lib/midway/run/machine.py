"""GPU assignment and core count; packages, commit and hardware for the record."""

import contextlib
import fcntl
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from midway.study.files import root

PACKAGES = (
    "torch transformers tokenizers datasets numpy pandas scipy scikit-learn papermill"
).split()


def gpus(compute) -> list[str]:
    """Ids of the GPUs that jobs may use: CUDA_VISIBLE_DEVICES or else all; no torch is imported."""
    if compute.device == "cpu":
        return []
    found = os.environ.get("CUDA_VISIBLE_DEVICES")
    if found is None:
        tool = shutil.which("nvidia-smi")
        if tool is None:
            return []
        query = [tool, "--query-gpu=uuid", "--format=csv,noheader"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            return []
        found = "" if done.returncode else done.stdout.strip().replace("\n", ",")
    return [name.strip() for name in found.split(",") if name.strip() not in ("", "-1")]


@contextlib.contextmanager
def own_gpu(compute, stop=None, wanted: bool = True):
    """Hold a GPU while a step runs; yields the environment variables for its kernel.

    Waits while other steps of this user, of any study, hold all GPUs. A GPU that
    CUDA_VISIBLE_DEVICES names twice takes two steps. A single one (as in a job of a cluster) is
    used without a lock.
    """
    names = gpus(compute) if wanted else []
    if len(names) < 2:
        yield {}
        return
    with contextlib.ExitStack() as held:
        while not stop:
            for i, name in enumerate(names):
                again = f"-{n}" if (n := names[:i].count(name)) else ""
                path = Path(tempfile.gettempdir(), f"midway-{os.getuid()}-gpu-{name}{again}.lock")
                lock = open(path, "w")  # noqa: SIM115  (held open: closing it frees the GPU)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    lock.close()
                    continue
                held.enter_context(lock)
                yield {"CUDA_VISIBLE_DEVICES": name}
                return
            time.sleep(1 + random.random())
        yield {}


def cores() -> int:
    """Processor cores that this process may use: its affinity, and a container's quota."""
    from joblib import cpu_count  # a part of scikit-learn, which plan and status do without

    return cpu_count()


def cpu_seconds() -> float:
    """Seconds of all cores that this process and its ended children have used."""
    return sum(os.times()[:4])


def environment() -> dict[str, Any]:
    """Python, packages, commit and hardware; no host or user name."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    first = {}  # what Linux says of the first core
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
        first = dict(re.findall(r"^(.+?)\s*: (.*)$", text, re.M))
    flags = first.get("flags", "").split()
    return {
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": first.get("model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "bf16": any(f in flags for f in ("avx512_bf16", "amx_bf16", "avx_ne_convert")),
        **commit(),
    }


def commit() -> dict[str, Any]:
    def git(*args) -> str:
        words = ["git", "-C", str(root()), *args]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        head, state = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
        return {"commit": head, "dirty": bool(state)}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def used() -> dict[str, Any]:
    """What this process used: torch's threads, GPU and peak of its memory, files of the hub."""
    torch, repository = map(sys.modules.get, ("torch", "midway.study.repository"))
    found: dict[str, Any] = {}
    if torch is not None:
        found |= {"threads": torch.get_num_threads(), "gpu": None}
        if torch.cuda.is_available():
            peak = round(torch.cuda.max_memory_allocated() / 2**20, 1)
            found |= {"gpu": torch.cuda.get_device_name(), "gpu_peak_mb": peak}
    return found | ({"hub_files": dict(repository.READ)} if repository and repository.READ else {})
