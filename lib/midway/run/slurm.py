"""Jobs of a study on a Slurm cluster (submitted by Snakemake's executor; ``profiles/slurm``)."""

import hashlib
import re
import shutil
import subprocess
import time
from pathlib import Path

from midway.run.progress import say
from midway.study.errors import InputError


def prefix(folder: Path) -> str:
    """Name that Slurm jobs of this study begin with."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", folder.name)[:24]
    return f"midway-{name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def cancel(folder: Path) -> None:
    """Cancel jobs that a killed run left on the cluster: else two would write to one folder."""
    if not shutil.which("squeue"):
        raise InputError("--profile slurm: there is no squeue here; is this a Slurm login node?")
    listing = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%i %j"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if listing.returncode:
        why = (listing.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"--profile slurm: squeue does not reach the cluster ({why})")
    jobs = [x.split() for x in listing.stdout.splitlines()]
    left = [j[0] for j in jobs if len(j) == 2 and j[1].startswith(prefix(folder))]
    if left:
        say(f"cancelling {len(left)} job(s) that an ended run has left on the cluster")
        subprocess.run(["scancel", *left], timeout=60)
        for _ in range(60):
            time.sleep(1)
            jobs = subprocess.run(
                ["squeue", "--noheader", "--format=%i", f"--jobs={','.join(left)}"],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            if not jobs.stdout.strip():
                break
