"""Faults in and around one step: what a runner says when it, or the kernel, is killed for real."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import toy
from toy import gone, kill, wait_for

STEP = "01_intermediate/none/seed1"
SLEEP = """import os, pathlib, time
print("going on", flush=True)
time.sleep(1)  # for the runner to read it: what is still on its way dies with the kernel
pathlib.Path(out, "kernel.pid").write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def project(tmp_path):
    return toy.Toy(tmp_path / "p")


def running(project, step=STEP, env=None):
    """A step that sleeps in its third cell; the runner and its kernel's process id."""
    project.hook(step, SLEEP)
    runner = subprocess.Popen(
        project.step_command(step), env=project.env | (env or {}), cwd=project.root,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    path = project.out / step / "kernel.pid"
    wait_for(lambda: path.exists() and path.read_text())
    return runner, int(path.read_text())


def test_kill_9_of_the_runner(project):
    """The kernel dies with it, the folder says died, the notebook can be read, a rerun works."""
    runner, kernel = running(project)
    time.sleep(1.2)
    kill(runner)
    runner.wait()
    wait_for(lambda: gone(kernel), 5)
    assert project.executed(STEP).metadata.midway.state == "running"
    assert not (project.out / STEP / "record.json").exists()
    rows = json.loads(project.midway("status", "--json").stdout)
    assert {r["step"]: r["state"] for r in rows}[STEP] == "died"
    nb = project.executed(STEP)
    assert nb.metadata.midway.state == "died" and project.state(STEP)["state"] == "died"
    assert nb.cells[-1].metadata.papermill.status == "pending"
    project.hook(STEP)
    assert project.step(STEP).returncode == 0 and project.state(STEP)["state"] == "done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_runner(project, number):
    runner, kernel = running(project)
    kill(runner, number)
    assert runner.wait(20) == 130
    wait_for(lambda: gone(kernel), 5)
    state, nb = project.state(STEP), project.executed(STEP)
    assert state["state"] == nb.metadata.midway.state == "interrupted" and state["exit_code"] == 130
    assert "going on" in str(nb.cells)


def test_kill_9_of_the_kernel(project):
    runner, kernel = running(project)
    kill(kernel)
    assert runner.wait(20) == 138
    assert project.state(STEP)["state"] == project.executed(STEP).metadata.midway.state == "died"
    assert "signal 9" in runner.stderr.read()


def test_two_runners_of_one_step(project):
    runner, _ = running(project)
    second = project.step(STEP)
    assert second.returncode == 2 and "already runs this step" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    kill(runner, signal.SIGTERM)
    runner.wait(20)


def test_a_notebook_that_ends_without_its_record(project):
    project.hook(STEP, "import sys; sys.exit(0)")
    done = project.step(STEP)
    assert done.returncode == 1 and "without its record" in done.stderr
    assert project.state(STEP)["state"] == project.executed(STEP).metadata.midway.state == "failed"


def test_a_cell_fails_after_the_record_was_written(project):
    """The record is only there when the whole notebook is."""
    cells = [*toy.CELLS["01_intermediate"], "1/0"]
    project.notebook("01_intermediate", cells)
    assert project.step(STEP).returncode == 1
    assert not (project.out / STEP / "record.json").exists()
    assert project.plan()[STEP]["why"] == ["failed last time: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize("name", ["record.json", "notebook.ipynb", "checkpoint.bin"])
def test_kill_9_in_the_middle_of_writing(tmp_path, name):
    """Half of the new content is on disk when the process dies: readers see the old one, whole."""
    path = tmp_path / name
    path.write_bytes(b"old and whole")
    code = """
import os, sys, time
from midway.study import files
real = os.fdopen
class Slow:
    def __init__(self, f): self.f = f
    def __enter__(self): return self
    def __exit__(self, *_): self.f.close()
    def write(self, data):
        self.f.write(data[: len(data) // 2]); self.f.flush(); os.fsync(self.f.fileno())
        print("half", flush=True); time.sleep(60)
os.fdopen = lambda *a: Slow(real(*a))
files.write_atomic(sys.argv[1], b"n" * 100_000)
"""
    env = os.environ | {"PYTHONPATH": str(toy.PROJECT / "lib")}
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], env=env, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "half\n"
    kill(writer)
    writer.wait()
    assert path.read_bytes() == b"old and whole"


def test_a_killed_step_keeps_its_finished_languages(project):
    """Only what is missing is computed when it runs again."""
    assert project.step(STEP).returncode == 0
    step = "02_transfer/none/seed1/part1"
    cells = list(toy.CELLS["02_transfer"])
    cells[4] = cells[4].replace(
        "            computed", "            die(lang)\n            computed"
    )
    project.notebook("02_transfer", cells)
    project.hook(step, "die = lambda lang: os._exit(9) if lang == 'fr' else None")
    assert project.step(step).returncode == 138
    scores = sorted(p.name for p in (project.out / step / "scores").iterdir())
    assert scores == ["xnli.de.json", "xnli.fr.json"]
    (project.out / step / "scores" / "xnli.fr.json").write_text('{"torn')
    project.hook(step, "die = lambda lang: None")
    assert project.step(step).returncode == 0
    assert "['fr']" in str(project.executed(step).cells)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_disk_full_during_a_step(project, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)])
    if mount.returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    try:
        (project.root / "outputs").symlink_to(disk)
        project.hook(STEP, "Path(out, 'weights').write_bytes(b'x' * 10_000_000)")
        done = project.step(STEP)
        assert done.returncode == 1 and "No space left on device" in done.stderr
        assert not (disk / "toy" / STEP / "record.json").exists()
        assert project.state(STEP)["state"] == "failed"  # not "running" for ever
        whole = project.midway("run")
        assert whole.returncode == 2 and "MB free on this disk" in whole.stderr
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
