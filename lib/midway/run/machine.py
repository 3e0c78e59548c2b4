"""What a step runs on: its GPU of several; for its record packages, commit and hardware."""

import contextlib
import fcntl
import os
import platform
import random
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


def kernel_environment(threads: int) -> dict[str, str]:
    """Environment of a kernel: thread counts, this library, UTF-8 and a fixed hash seed."""
    names = "OMP MKL OPENBLAS NUMEXPR RAYON".split()
    lib = str(Path(__file__).resolve().parents[2])
    paths = [
        lib,
        *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != lib),
    ]
    return os.environ | {f"{n}_NUM_THREADS": str(threads) for n in names} | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's advice is none for a headless run
        "MIDWAY_ROOT": str(root()),
        "MIDWAY_RUNNER": str(os.getpid()),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what ipykernel sets
        # glibc: keep freed memory up to these sizes (bytes) instead of faulting it in again
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
    }  # fmt: skip


@contextlib.contextmanager
def own_gpus(compute):
    """Hold one GPU as long as a step takes: its process and kernel see no other.

    Waits while other steps, of whatever study of this user, hold them all. A single GPU (what a
    cluster gives a job) is taken as it is.
    """
    names = gpus(compute)
    if len(names) <= 1:
        yield
        return
    before, held = os.environ.get("CUDA_VISIBLE_DEVICES"), None
    while held is None:
        for name in names:
            path = Path(tempfile.gettempdir(), f"midway-{os.getuid()}-gpu-{name}.lock")
            lock = open(path, "w")  # noqa: SIM115  (held open: closing it frees the GPU)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            held = lock
            break
        else:
            time.sleep(1 + random.random())
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    try:
        yield
    finally:
        held.close()
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def cpu_seconds() -> float:
    """Seconds of all cores that this process and its ended children have used."""
    return sum(os.times()[:4])


def environment() -> dict[str, Any]:
    """Python, packages, commit and hardware; no host or user name."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    model, flags = platform.processor() or platform.machine(), ""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            elif name.strip() == "flags":
                flags = value
                break
    except OSError:
        pass
    return {
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": model,
        "cores": os.cpu_count(),
        "bf16": any(f in flags.split() for f in ("avx512_bf16", "amx_bf16", "avx_ne_convert")),
        **commit(),
    }


def commit() -> dict[str, Any]:
    def run(*args):
        return subprocess.run(
            ["git", "-C", str(root()), *args], capture_output=True, text=True, timeout=10
        )

    try:
        head = run("rev-parse", "HEAD")
        if head.returncode:
            return {"commit": None, "dirty": None}
        state = run("status", "--porcelain", "--untracked-files=no")
        return {"commit": head.stdout.strip(), "dirty": bool(state.stdout.strip())}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def torch_state() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    cuda = torch.cuda.is_available()
    return {
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
    }


def hub_files() -> dict[str, Any]:
    """Files of the hub that this process has read -> sha256; nothing where it read none."""
    repository = sys.modules.get("midway.study.repository")
    return {"hub_files": dict(repository.READ)} if repository and repository.READ else {}
