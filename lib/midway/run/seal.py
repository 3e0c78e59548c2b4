"""Sign a finished study, as git signs commits: with an SSH key, by ssh-keygen.

Hashes show that files agree; a signature shows who made them. Records contain the hash of every
product, so it is enough to sign the list of the records' hashes (``seal.txt``, ``seal.txt.sig``).
"""

import shutil
import subprocess
from pathlib import Path

from midway.run.steps import steps
from midway.study import params
from midway.study.errors import InputError
from midway.study.files import sha256, write_atomic

NAME = "seal.txt"
SPACE = "midway"  # ssh-keygen's namespace: the purpose of the signature


def contents(study_dir: Path) -> str:
    """``<sha256>  <path>`` of the settings and of every record, as sha256sum writes it."""
    study = params.load(study_dir / "params.yaml")
    paths = ["params.yaml", *(f"{sid.path}/record.json" for sid in steps(study))]
    there = [path for path in paths if (study_dir / path).is_file()]
    return "".join(f"{sha256(study_dir / path)}  {path}\n" for path in there)


def _ssh(*words: str, given: bytes | None = None) -> subprocess.CompletedProcess:
    if not shutil.which("ssh-keygen"):
        raise InputError("midway seal: ssh-keygen is missing; install OpenSSH 8.2 or newer")
    return subprocess.run(["ssh-keygen", *words], input=given, capture_output=True)


def seal(study_dir: Path, key: Path) -> Path:
    """Sign a study with a private SSH key; the signature's path. InputError if that fails."""
    if not key.is_file():
        raise InputError(f"--key: {key}: no such file; ssh-keygen -t ed25519 makes one")
    path = write_atomic(study_dir / NAME, contents(study_dir))
    signature = path.with_name(f"{NAME}.sig")
    signature.unlink(missing_ok=True)
    done = _ssh("-Y", "sign", "-f", str(key), "-n", SPACE, str(path))
    if done.returncode or not signature.exists():
        path.unlink()
        why = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise InputError(f"--key: {key}: {why[-1]}")
    return signature


def check(study_dir: Path) -> tuple[list[str], list[str]]:
    """Problems and notes of a seal; empty if the study is not sealed."""
    path, signature = study_dir / NAME, study_dir / f"{NAME}.sig"
    if not path.exists() and not signature.exists():
        return [], []
    try:
        signed = path.read_bytes()
        done = _ssh("-Y", "check-novalidate", "-n", SPACE, "-s", str(signature), given=signed)
    except (InputError, OSError) as error:
        return [f"{NAME}: its signature cannot be checked: {error}"], []
    if done.returncode:
        return [f"{NAME}: the signature does not belong to this list"], []
    if signed.decode(errors="replace") != contents(study_dir):
        return [f"{NAME}: records or settings have changed since they were signed"], []
    key = done.stdout.decode(errors="replace").strip().rpartition(" key ")[2]
    return [], [f"signed with {key}; Midway cannot know who owns this key"]
