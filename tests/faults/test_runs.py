"""Faults around a whole run: kills at every level, locks, leftovers, unusable folders."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import toy
from toy import gone, kill, wait_for

STEP = "02_transfer/none/seed1/part1"
SLEEP = """import time
real = step.score
def score(target, lang, **fields):
    if lang == "fr":
        Path(out, "kernel.pid").write_text(str(os.getpid()))
        time.sleep(100)
    return real(target, lang, **fields)
step.score = score
"""


@pytest.fixture
def project(tmp_path, tmp_path_factory):
    """A finished study of which one language of one target has been lost."""
    return toy.finished(tmp_path / "p", tmp_path_factory.getbasetemp())


def lose_a_language(project):
    (project.out / STEP / "record.json").unlink()
    (project.out / STEP / "scores" / "xnli.fr.json").unlink()


def children(pid: int) -> list[int]:
    """All processes below one, by /proc."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *children(child)]
    return found


def asleep(project, *args):
    """A run whose second language sleeps: the run, and all processes below it."""
    pid_file = project.out / STEP / "kernel.pid"
    pid_file.unlink(missing_ok=True)
    run = project.start("run", *args)
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), 60)
    return run, children(run.pid)


@pytest.mark.slow
def test_a_run_is_killed_at_every_level_and_resumed(project):
    """kill -9 of Snakemake, kill -9 of the run, Ctrl-C, then a run to the end: the same numbers."""
    before = project.numbers()
    lose_a_language(project)
    project.hook(STEP, SLEEP)

    run, below = asleep(project)
    (engine,) = [p for p in below if "snakemake" in Path(f"/proc/{p}/cmdline").read_text()][:1]
    kill(engine)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 1 and "stopping 1 step(s)" in err
    wait_for(lambda: all(map(gone, below)), 10)
    assert project.state(STEP)["state"] == "interrupted"

    run, below = asleep(project)
    second = project.midway("run")
    assert second.returncode == 2 and f"already being run by process {run.pid}" in second.stderr
    kill(run)
    run.wait()
    wait_for(lambda: all(map(gone, below)), 15)  # also while nobody runs anything
    assert not (project.out / STEP / "record.json").exists()

    run, below = asleep(project)
    os.kill(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "the next run goes on from there" in err
    wait_for(lambda: all(map(gone, below)), 10)
    assert project.executed(STEP).metadata.midway.state == "interrupted"

    project.hook(STEP)
    for name in ("locks", "incomplete"):  # as a killed Snakemake leaves them
        (project.out / ".snakemake" / name).mkdir(parents=True, exist_ok=True)
        (project.out / ".snakemake" / name / "0.input.lock").write_text(f"{project.out}/x\n")
    last = project.midway("run")
    assert last.returncode == 0, last.stderr
    assert project.numbers() == before
    assert "['fr']" in str(project.executed(STEP).cells)  # de was not computed again
    assert json.loads(project.midway("audit", "--json").stdout)["problems"] == []


@pytest.mark.slow
def test_interrupted_before_the_first_step(tmp_path):
    """Ctrl-C while the GPUs are asked for is heard, and the study can be run again."""
    project = toy.Toy(tmp_path / "p")
    asked, tool = tmp_path / "asked", tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ntouch {asked}\nexec sleep 60\n")
    tool.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    project.env.pop("CUDA_VISIBLE_DEVICES", None)
    run = project.start("run", env=env)
    wait_for(asked.exists)
    os.kill(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 130 and err.strip().endswith("interrupted"), err
    assert project.midway("run").returncode == 0


@pytest.mark.slow
def test_one_step_fails(tmp_path):
    """The others go on; the failed notebook is named; the page is there; exit code 1."""
    project = toy.Toy(tmp_path / "p")
    project.hook("01_intermediate/mnli/seed1", "raise ValueError('the learning rate is too high')")
    done = project.midway("run", "--set", "transfer.targets=[tatoeba]")
    assert done.returncode == 1
    path = project.out / "01_intermediate/mnli/seed1/notebook.ipynb"
    assert f"failed: {path}" in done.stderr and "the learning rate is too high" in done.stderr
    assert (project.out / "02_transfer/none/seed1/part1/record.json").exists()
    page = (project.out / "index.html").read_text()
    assert "02_transfer/none" in page and "mnli" not in page
    assert not (project.out / "05_report" / "record.json").exists()  # the page is unfinished
    status = project.midway("status").stdout
    assert "failed" in status and "the learning rate is too high" in status


def test_outputs_cannot_be_written(tmp_path):
    """Said before anything is trained."""
    project = toy.Toy(tmp_path / "p")
    (project.root / "outputs").write_text("a file, not a folder")
    done = project.midway("run")
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody with fewer rights")
def test_outputs_are_read_only(tmp_path):
    project = toy.Toy(tmp_path / "p")
    project.out.mkdir(parents=True)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(project.out.parent)])
    if mount.returncode:
        pytest.skip("this machine does not allow mounting a read-only folder")
    try:
        done = project.midway("run")
        assert done.returncode == 2 and "Read-only file system" in done.stderr
    finally:
        subprocess.run(["umount", "-l", str(project.out.parent)], check=True)


@pytest.mark.parametrize("damage", ["torn", "empty", "edited", "other schema", "not UTF-8"])
def test_a_damaged_record_is_made_again(project, damage):
    """It is neither used nor an exception: the plan says what is wrong with it."""
    path = project.out / "03_correlation" / "record.json"
    text = path.read_text()
    new = {
        "torn": text[:300].encode(),
        "empty": b"",
        "edited": text.replace("0.5", "0.9").encode(),
        "other schema": text.replace('"schema_version": 1', '"schema_version": 7').encode(),
        "not UTF-8": text.encode("utf-16"),
    }
    path.write_bytes(new[damage])
    row = project.plan()["03_correlation"]
    assert row["state"] == "changed" and row["why"][0].startswith("record:")


def test_removed_weights_are_only_missed_when_they_are_needed(project):
    """Big files may go once everything that reads them is done."""
    (project.out / "01_intermediate/mnli/seed1/encoder.safetensors").unlink()
    assert all(row["state"] == "done" for row in project.plan().values())
    plan = project.plan("--set", "transfer.steps=3")
    assert plan["01_intermediate/mnli/seed1"]["why"] == ["file: encoder.safetensors is gone"]
    assert plan["01_intermediate/none/seed1"]["state"] == "done"


NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
WITNESS = """
import json, os, subprocess, sys, time
from pathlib import Path
from midway.run import status as state
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
code = "import time; time.sleep(100)"
ours = subprocess.Popen([sys.executable, "-c", code, "midway.run.notebook"])
time.sleep(0.5)
pid = {"other": other.pid, "again": ours.pid, "run": os.getpid()}.get(sys.argv[1], sys.argv[1])
pid = int(pid) if str(pid).lstrip("-").isdigit() else json.loads(pid)
ticks = "1" if sys.argv[1] == "again" else state.started_at(pid)
folder = Path("outputs/toy/01_intermediate/none/seed1")
folder.mkdir(parents=True)
left = {"state": "running", "pid": pid, "ticks": ticks, "host": state.me()["host"]}
(folder / "state.json").write_text(json.dumps(left))
run = [sys.executable, "-m", "midway", "run", "params/toy.yaml", "--until", "01_intermediate"]
done = subprocess.run(run, capture_output=True, text=True)
print(done.stderr)
sys.exit(9 if other.poll() is not None or ours.poll() is not None else done.returncode)
"""


@pytest.mark.skipif(
    subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0,
    reason="this machine does not allow a PID namespace, and nothing else may be signalled",
)
@pytest.mark.parametrize("pid", ["-1", "0", "1", '"1"', "null", "1e300", "other", "again", "run"])
def test_a_process_id_in_a_file_is_only_a_hint(tmp_path, pid):
    """A torn state.json with pid -1 made `midway run` signal every process of the machine."""
    project = toy.Toy(tmp_path / "p")
    command = [*NAMESPACE, sys.executable, "-c", WITNESS, pid]
    done = subprocess.run(
        command, cwd=project.root, env=project.env, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
