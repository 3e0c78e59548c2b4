"""Setting up .venv: nothing in use is removed, and a wrong Python is named in one line."""

import shutil
import subprocess

import pytest

STUB = """#!/bin/sh
case "$1" in
-V) echo "Python {version}" ;;
-c) exit {bad} ;;
-m) [ "$2" != venv ] || { mkdir -p .venv/bin; cp "$0" .venv/bin/python; } ;;
esac
"""


@pytest.fixture
def clone(root, tmp_path):
    """A clone with two stub interpreters, so that nothing is installed."""
    for name in ("Makefile", "setup_venv.sh", "requirements.lock", "pyproject.toml"):
        shutil.copy(root / name, tmp_path / name)
    for version in ("3.10.1", "3.11.2", "3.12.9"):
        bad = int(version < "3.11")
        python = tmp_path / f"python{version}"
        python.write_text(STUB.replace("{version}", version).replace("{bad}", str(bad)))
        python.chmod(0o755)

    def make(version, *more):
        command = ["make", "run", *([f"PYTHON=./python{version}"] if version else []), *more]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return tmp_path, make


def test_an_old_python_is_refused_with_the_version_needed(clone):
    folder, make = clone
    done = make("3.10.1")
    assert done.returncode and not (folder / ".venv").exists()
    assert "Midway needs Python 3.11 or newer, and ./python3.10.1 is Python 3.10.1" in done.stderr
    assert "is not there" in make("9").stderr


def test_another_python3_on_the_path_leaves_the_venv_alone(clone):
    """It was deleted, 2.2 GB and a running study with it."""
    folder, make = clone
    assert "Setting up" in make("3.11.2").stdout
    (folder / ".venv" / "mark").touch()
    assert "up" not in make(None).stdout and (folder / ".venv" / "mark").exists()
    said = make("3.12.9").stdout
    assert "it has Python 3.11.2, and ./python3.12.9 is Python 3.12.9" in said
    assert not (folder / ".venv" / "mark").exists()


def test_a_venv_in_use_is_not_removed(clone):
    folder, make = clone
    make("3.11.2")
    busy = subprocess.Popen(
        ["bash", "-c", f"exec -a {folder.resolve()}/.venv/bin/python sleep 60"], cwd="/"
    )
    try:
        (folder / "requirements.lock").write_text("torch==0\n")
        done = make("3.11.2")
        assert done.returncode and f"processes use it: {busy.pid}" in done.stderr
        assert (folder / ".venv" / "bin" / "python").exists()
    finally:
        busy.kill()
        busy.wait()
    assert "Removing .venv and making it again: requirements.lock" in make("3.11.2").stdout
