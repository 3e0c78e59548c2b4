"""What a step ran on, for its record: packages, commit and hardware; no host or user name."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch transformers tokenizers datasets numpy pandas scipy scikit-learn papermill"
).split()


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
    from midway.provenance import root

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
