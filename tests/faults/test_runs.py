"""Faults around a whole run: kills at every level, locks, leftovers, unusable folders."""

import json
import os
import shlex
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
        Path(os.environ["MIDWAY_ROOT"], "kernel.pid").write_text(str(os.getpid()))
        time.sleep(100)
    return real(target, lang, **fields)
step.score = score
"""


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
    pid_file = project.root / "kernel.pid"
    pid_file.unlink(missing_ok=True)
    run = project.start("run", *args)
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), 60)
    return run, children(run.pid)


FORK = "forkserver"
KERNEL = "kernel"


def process(below: list[int], what: str, project) -> int:
    """The fork server, or the sleeping kernel."""
    if what == KERNEL:
        return int((project.root / "kernel.pid").read_text())
    lines = {p: Path(f"/proc/{p}/cmdline").read_bytes() for p in below}
    kernel = int((project.root / "kernel.pid").read_text())
    (found,) = [p for p, line in lines.items() if b"forkserver" in line and kernel in children(p)]
    return found


@pytest.mark.parametrize("victim", [FORK, KERNEL])
def test_kill_9_below_a_run(project, victim):
    """The step died, the others go on, exit 1; nobody is left; the next run makes up for it."""
    before = project.numbers()
    lose_a_language(project)
    project.hook(STEP, SLEEP)
    run, below = asleep(project)
    kill(process(below, victim, project))
    _, err = run.communicate(timeout=60)
    assert run.returncode == 1 and f"died: {project.out / STEP}" in err and "signal 9" in err
    wait_for(lambda: all(map(gone, below)), 10)
    assert project.state(STEP)["state"] == project.executed(STEP).metadata.midway.state == "died"
    project.hook(STEP)
    assert project.midway("run").returncode == 0 and project.numbers() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("whom", ["run", "group"])
def test_a_signal_to_a_run(project, number, whom):
    """Ctrl-C reaches the whole group, `kill` the run alone: all end, quietly, with 130."""
    lose_a_language(project)
    project.hook(STEP, SLEEP)
    run, below = asleep(project)
    (os.killpg if whom == "group" else os.kill)(run.pid, number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "the same command resumes" in err
    assert "Traceback" not in err and "Task" not in err and len(err.splitlines()) < 8, err
    wait_for(lambda: all(map(gone, below)), 10)
    state = project.state(STEP)
    assert state["state"] == project.executed(STEP).metadata.midway.state == "interrupted"
    assert state["error"] == number.name


def test_a_run_is_killed_and_resumed(project):
    """kill -9 of the run, while another is refused; then a run to the end: the same numbers."""
    before = project.numbers()
    lose_a_language(project)
    project.hook(STEP, SLEEP)
    run, below = asleep(project)
    second = project.midway("run")
    assert second.returncode == 2 and f"already being run by process {run.pid}" in second.stderr
    kill(run)
    run.wait()
    wait_for(lambda: all(map(gone, below)), 15)  # also while nobody runs anything
    assert not (project.out / STEP / "record.json").exists()
    project.hook(STEP)
    (project.out / STEP / ".weights.abc.tmp").write_text("what a kill in the middle leaves")
    last = project.midway("run")
    assert last.returncode == 0, last.stderr
    assert project.numbers() == before and not list(project.out.rglob("*.tmp"))
    assert "['fr']" in str(project.executed(STEP).cells)  # de was not computed again
    assert json.loads(project.midway("audit", "--json").stdout)["problems"] == []


def test_make_is_terminated(project):
    """`kill` of make, a batch system's way to end a job, must not leave workers behind."""
    lose_a_language(project)
    project.hook(STEP, SLEEP)
    lines = (toy.PROJECT / "Makefile").read_text().splitlines()
    recipe = next(line for line in lines if "midway run" in line)
    recipe = recipe.replace("$(BIN)", f"{shlex.quote(sys.executable)} -m")
    recipe = recipe.replace("$(PARAMS)", str(project.params))
    (project.root / "Makefile").write_text(f".SHELLFLAGS = -euc\nrun:\n{recipe}\n")
    pid_file = project.root / "kernel.pid"
    make = subprocess.Popen(
        ["make", "run"], cwd=project.root, env=project.env, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), 60)
    below = children(make.pid)
    make.terminate()
    make.communicate(timeout=60)
    wait_for(lambda: all(map(gone, below)), 30)


def test_nobody_reads_what_a_run_says(project):
    """`midway run 2>&1 | head -1`: a closed pipe is neither an end nor a success by itself."""
    lose_a_language(project)
    command = f"{project.shell('run')} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=project.env, cwd=project.root, timeout=100)
    assert done.returncode == 0 and (project.out / STEP / "record.json").exists()
    project.hook(STEP, "1/0")
    lose_a_language(project)
    done = subprocess.run(["bash", "-c", command], env=project.env, cwd=project.root, timeout=100)
    assert done.returncode == 1


HERE = "import time; Path(os.environ['MIDWAY_ROOT'], 'here').touch(); time.sleep(2)"
GIVEN_UP = {
    "Ctrl-C": ["transfer.lr=1e-3", "intermediate.lr=1e-3"],
    "kill -9": ["transfer.lr=1e-3", "transfer.targets=[xnli]"],
    "to the end": ["transfer.targets=[xnli]", "intermediate.lr=1e-3", "seeds=[1,2]"],
}


@pytest.mark.parametrize(("how", "setting"), [(k, v) for k in GIVEN_UP for v in GIVEN_UP[k]])
def test_a_setting_that_is_tried_and_given_up(tmp_path, tmp_path_factory, how, setting):
    """The old file again ends with the old numbers, and with files that are their records' own."""
    project = toy.finished(tmp_path / "p", tmp_path_factory.getbasetemp(), tell=True)
    before = project.numbers()
    if how == "to the end":
        assert project.midway("run", "--set", setting).returncode == 0
    else:
        steps = ["01_intermediate/mnli/seed1", "02_transfer/mnli/seed1/part1"]
        for step in steps:
            project.hook(step, HERE)
        run = project.start("run", "--set", setting)
        wait_for(lambda: run.poll() is not None or (project.root / "here").exists(), 60)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGINT if how == "Ctrl-C" else signal.SIGKILL)
        run.communicate(timeout=60)
        for step in steps:
            project.hook(step)
    done = project.midway("run")
    assert done.returncode == 0, done.stderr
    assert project.numbers() == before
    found = json.loads(project.midway("audit", "--json").stdout)
    assert found["problems"] == [], found
    assert "nothing to do" in project.midway("run").stderr


def test_scores_of_a_setting_that_was_given_up_are_not_shown(project):
    """Ctrl-C in the middle of a step under another learning rate, then the old file: a page of
    the unfinished study would show numbers of both."""
    project.notebook("02_transfer", toy.numbered("02_transfer"))
    project.hook(STEP, SLEEP)
    pid_file = project.root / "kernel.pid"
    run = project.start("run", "--set", "transfer.lr=0.5", "--until", "02_transfer")
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), 60)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    (given_up,) = (project.out / STEP / "scores").glob("*.json")
    assert "50.5" in given_up.read_text()
    project.hook("01_intermediate/none/seed1")
    project.hook(STEP, "1/0")
    assert project.midway("run", "--until", "02_transfer").returncode == 1
    assert not given_up.exists()


def test_what_earlier_settings_left_is_removed_when_a_step_is_finished(project):
    """Else audit would call a language, which somebody took out of the study, a forgery."""
    left = project.out / STEP / "predictions/xnli/test-sw.tsv"
    left.write_text("a")
    assert project.midway("run", "--force", STEP, "--until", "02_transfer").returncode == 0
    assert not left.exists()


def test_the_clock_is_set_back(project):
    """File times decide nothing: records of tomorrow stay, and work of today is seen."""
    for path in project.out.rglob("*"):
        os.utime(path, (2e9, 2e9))
    assert "nothing to do" in project.midway("run").stderr
    (project.out / STEP / "predictions/xnli/test-de.tsv").write_text("b\n")
    os.utime(project.out / STEP / "predictions/xnli/test-de.tsv", (2e9, 2e9))
    assert project.plan()[STEP]["why"] == ["file: predictions/xnli/test-de.tsv was changed"]


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
    plan = project.plan("--set", "correlation.alpha=0.01")  # 03 reads records, not weights
    assert plan["01_intermediate/mnli/seed1"]["state"] == "done"
    plan = project.plan("--set", "transfer.steps=3")
    assert plan["01_intermediate/mnli/seed1"]["why"] == ["file: encoder.safetensors is gone"]
    assert plan["01_intermediate/none/seed1"]["state"] == "done"


WHOLE = """path = Path(out).parents[3] / "01_intermediate/mnli/seed1/encoder.safetensors"
if path.read_bytes() != b"mnli 1":
    raise ValueError(f"{path}: damaged")
"""


def test_weights_that_a_disk_has_damaged_are_made_again(project):
    """Size and times are as they were: 02 refused them at every run, and 01 was called done."""
    before, path = project.numbers(), project.out / "01_intermediate/mnli/seed1/encoder.safetensors"
    project.hook("02_transfer/mnli/seed1/part1", WHOLE)
    (project.out / "02_transfer/mnli/seed1/part1/record.json").unlink()
    project.plan()
    path.write_bytes(b"mnlI 1")
    stat, index = path.stat(), project.out / ".hashes.json"
    known = json.loads(index.read_text())
    known[str(path)][0] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    index.write_text(json.dumps(known))
    done = project.midway("run")
    assert done.returncode == 1 and "encoder.safetensors: damaged" in done.stderr
    assert project.plan()["01_intermediate/mnli/seed1"]["why"] == [
        "file: encoder.safetensors was changed"
    ]
    assert project.midway("run").returncode == 0 and project.numbers() == before


@pytest.mark.parametrize("content", ["[]", "5", '{"x": 3}', '{"x": []}', "{", ""])
def test_a_damaged_index_of_hashes_is_none(project, content):
    (project.out / ".hashes.json").write_text(content.replace("x", str(project.out / "index.html")))
    assert {row["state"] for row in project.plan().values()} == {"done"}


NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
WITNESS = """
import json, os, socket, subprocess, sys, time
from pathlib import Path
from midway.run import status
code = "import time; time.sleep(100)"
others = [subprocess.Popen([sys.executable, "-c", code, x]) for x in ("", "midway.run.step")]
pid = {"other": others[0].pid, "ours": others[1].pid, "run": os.getpid()}.get(sys.argv[1])
pid = json.loads(sys.argv[1]) if pid is None else pid
folder = Path("outputs/toy/01_intermediate/none/seed1")
folder.mkdir(parents=True)
left = status.me() | {"state": "running", "pid": pid}
(folder / "state.json").write_text(json.dumps(left))
for path in (folder / ".lock", Path("outputs/toy/.lock")):
    path.write_text(json.dumps(status.me() | {"pid": pid}))
run = [sys.executable, "-m", "midway", "run", "params/toy.yaml", "--until", "01_intermediate"]
done = subprocess.run(run, capture_output=True, text=True)
print(done.stderr)
sys.exit(9 if any(p.poll() is not None for p in others) else done.returncode)
"""


@pytest.mark.skipif(
    subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0,
    reason="this machine does not allow a PID namespace, and nothing else may be signalled",
)
@pytest.mark.parametrize("pid", ["-1", "0", "1", '"1"', "null", "1e300", "other", "ours", "run"])
def test_a_process_id_in_a_file_is_only_a_hint(tmp_path, pid):
    """A torn state.json with pid -1 made `midway run` signal every process of the machine."""
    project = toy.Toy(tmp_path / "p")
    command = [*NAMESPACE, sys.executable, "-c", WITNESS, pid]
    done = subprocess.run(
        command, cwd=project.root, env=project.env, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
