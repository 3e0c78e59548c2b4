"""midway run: what is done twice, what is kept, who may run, and what is said."""

import json
import os
import subprocess
import sys
import time

import pytest

import toy
from midway.run import notebook as runner
from midway.run import plan as planning
from midway.run import progress, schedule, status
from midway.study import params
from midway.study.errors import InputError


@pytest.fixture
def project(tmp_path, tmp_path_factory):
    return toy.finished(tmp_path / "p", tmp_path_factory.getbasetemp())


def test_nothing_to_do_is_said_at_once_and_without_snakemake(project):
    """Also: the study was finished in an unkind place (see toy.finished) and copied here."""
    before = {p: p.stat().st_mtime_ns for p in project.out.rglob("record.json")}
    start = time.monotonic()
    done = project.midway("run")
    assert done.returncode == 0 and "nothing to do: all 9 steps are done" in done.stderr
    assert done.stdout.strip() == str(project.out / "index.html")
    assert time.monotonic() - start < 5
    assert {p: p.stat().st_mtime_ns for p in project.out.rglob("record.json")} == before


def test_plan_starts_and_writes_nothing(tmp_path):
    project = toy.Toy(tmp_path / "p")
    plan = project.plan()
    assert len(plan) == 9 and {row["state"] for row in plan.values()} == {"new"}
    assert not project.out.exists()
    assert project.midway("run", "--dry-run").stdout.endswith("0 of 9 steps are done, 9 to run\n")
    first = project.midway("run", "-n", "--until", "01_intermediate").stdout
    assert first.endswith("0 of 2 steps are done, 2 to run\n")


@pytest.mark.slow
def test_a_variant_left_out_and_taken_back_is_not_run_again(project):
    before = project.numbers()
    assert project.midway("run", "--set", "intermediate.variants=[none]").returncode == 0
    assert not list(project.out.glob("0*/mnli/**/record.json"))  # not in tables, nor in the page
    again = project.midway("run")
    assert again.returncode == 0 and project.numbers() == before
    assert "[2/2] 05_report" in again.stderr and "01_intermediate" not in again.stderr


@pytest.mark.slow
def test_same_results_upstream_bring_the_records_below_back(project):
    """A reformatted library file costs the steps that use it, not all that read their results."""
    path = project.root / "notebooks" / "01_intermediate.ipynb"
    path.write_text(path.read_text().replace("step.finish(", "_ = step.finish("))
    done = project.midway("run")
    assert done.returncode == 0, done.stderr
    assert "01_intermediate/none/seed1 done in" in done.stderr
    assert "02_transfer/none/seed1/part1 unchanged" in done.stderr


def test_a_late_draft_leaves_the_final_report_alone(project):
    """A draft started just before the final report, and slower, must not retire its record."""
    page, end = project.out / "05_report" / "record.json", project.state("05_report")
    before = page.read_bytes()
    runner = [sys.executable, "-m", "midway.run.notebook", "05_report", "params.yaml", "--draft"]
    assert subprocess.run(runner, cwd=project.out, env=project.env).returncode == 0
    assert page.read_bytes() == before and project.state("05_report") == end


@pytest.mark.slow
def test_force_and_until(project):
    first = project.state("03_correlation")["started"]
    done = project.midway("run", "--force", "03_correlation", "--until", "03_correlation")
    assert done.returncode == 0 and "[1/1] 03_correlation" in done.stderr
    assert project.state("03_correlation")["started"] > first
    assert json.loads(project.midway("status", "--json").stdout)


WRONG = {
    "--force 03_corelation": "unknown step '03_corelation'; did you mean '03_correlation'?",
    "--force mnli": "did you mean '01_intermediate/mnli' or '02_transfer/mnli'?",
    "--force 02_transfer/mnl": "did you mean '02_transfer/mnli'?",
    "--force zzz": "name a stage (01_intermediate, 02_transfer, 03_correlation, 04_published, ",
    "--until 02": "--until: unknown step '02'; known: 01_intermediate",
    "--profile ../../etc": "unknown profile '../../etc'; known: kubernetes, local, slurm",
    "--profile nope --dry-run": "unknown profile 'nope'",
    "--until 02 --dry-run": "--until: unknown step '02'",
    "--cores 0": "--cores: found 0, expected at least 1",
}


@pytest.mark.parametrize("option", WRONG)
def test_wrong_options_are_refused_and_nothing_is_written(tmp_path, option):
    project = toy.Toy(tmp_path / "p")
    done = project.midway("run", *option.split())
    assert done.returncode == 2 and WRONG[option] in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not project.out.exists()


@pytest.mark.parametrize("verb", ["run", "run -n", "plan", "plan --json"])
def test_a_missing_data_folder_is_refused_before_a_kernel_starts(tmp_path, root, verb):
    """Eight kernels started and failed one after another, with the same line in each."""
    project, start = toy.Toy(tmp_path / "p"), time.monotonic()
    local = ["--set", "data.source=local", "--set", f"data.root={tmp_path}/nowhere"]
    project.env["PYTHONPATH"] = str(root / "lib")  # a toy has no sources
    done = project.midway(*verb.split(), *local)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"data.root: {tmp_path}/nowhere is not a folder; name the one" in done.stderr
    assert not project.out.exists() and time.monotonic() - start < 5


def test_one_run_at_a_time(tmp_path):
    with schedule.lock(tmp_path):
        with pytest.raises(InputError, match=f"already being run by process {os.getpid()}"):
            with schedule.lock(tmp_path):
                pass
    with schedule.lock(tmp_path):
        pass


def test_the_lock_of_a_dead_run_is_taken_over(tmp_path, capsys):
    (tmp_path / ".lock").write_text(json.dumps(status.me() | {"pid": 4_194_305}))
    with schedule.lock(tmp_path):
        assert "taking over from process 4194305" in capsys.readouterr().err


def test_the_lock_of_another_machine_is_respected_while_it_gives_signs(tmp_path, capsys):
    path = tmp_path / ".lock"
    path.write_text(json.dumps({"pid": 7, "ticks": "1", "host": "node17"}))
    with pytest.raises(InputError, match="being run on node17 .* if it is gone, delete"):
        with schedule.lock(tmp_path):
            pass
    os.utime(path, (time.time() - 3600,) * 2)
    with schedule.lock(tmp_path):
        assert "taking over" in capsys.readouterr().err


def test_a_step_that_a_cluster_is_executing_is_not_started_here(tmp_path):
    """Two writers on one folder: what a resume on a cluster's login node could do."""
    project = toy.Toy(tmp_path / "p")
    folder = project.out / "01_intermediate/mnli/seed1"
    folder.mkdir(parents=True)
    there = {"state": "running", "host": "node17", "pid": 1, "ticks": "1"}
    (folder / "state.json").write_text(json.dumps(there))
    done = project.midway("run")
    assert done.returncode == 2 and "being executed on node17" in done.stderr


def test_a_torn_lock_file_is_no_obstacle(tmp_path):
    (tmp_path / ".lock").write_text('{"pid": ')
    with schedule.lock(tmp_path):
        pass


def test_nothing_of_a_study_goes_through_a_shell(tmp_path):
    """Snakemake gets a list of arguments; its rules get names that were checked, quoted."""
    folder = tmp_path / "a $(touch x); b"
    command = schedule.command(folder, ["01_intermediate/mnli+shuffled/seed1/record.json"], 2, None)
    assert str(folder) in command and command[-2:][0] == "--"
    text = (toy.PROJECT / "Snakefile").read_text()
    assert all(":q}" in w for w in text.replace('"', " ").split() if w.startswith("{wildcards"))


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_cores_mean_jobs_at_a_time_on_a_cluster(tmp_path, profile):
    """The login node's cores say nothing about what a cluster may run."""
    command = schedule.command(tmp_path, [], 3, profile)
    assert command[command.index("--jobs") + 1] == "3" and "--cores" not in command
    assert "--jobs" not in schedule.command(tmp_path, [], None, profile)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (62.4, "1:02"), (3725, "1:02:05")])
def test_times_are_written_as_people_read_them(seconds, text):
    assert progress.span(seconds) == text


def test_the_time_left_is_not_overstated(tmp_path, root):
    """none's transfer also computes what others share: no mean with it, only an upper bound."""
    study = params.load(root / "params/mini.yaml")
    watch = progress.Watch(study, tmp_path, planning.plan(study, tmp_path), slots=2)
    assert watch.left() == ""

    def end(*done, seconds):
        for sid in [s for s in watch.todo if (s.step[:2], s.variant) in done]:
            watch.todo.pop(sid)
            watch.took.setdefault(progress.kind(sid), []).append(seconds)

    trained = [("01", v) for v in study.intermediate.variants if v not in ("none", "multi")]
    end(("04", None), seconds=9)
    end(("01", "none"), seconds=19)
    assert watch.left() == ""  # how long training takes is not known
    end(("01", "multi"), seconds=91)
    end(("02", "none"), seconds=158)
    assert watch.left() == ", at most 20:30 left"  # 9 x 91 and 10 x 158 on two, 30 at the end
    end(*trained, seconds=23)
    end(("02", "multi"), ("02", "anli"), seconds=60)
    left = watch.left()
    assert left.startswith(", about ") and left < ", about 5:"
    end(*((f"0{k}", v) for k in (2, 3, 5) for v in (*study.intermediate.variants, None)), seconds=9)
    assert watch.left() == ""


def test_a_stopped_draft_of_the_report_is_no_failed_step(tmp_path):
    """Ctrl-C while an early report is written: nothing of the study is lost by it."""
    project = toy.Toy(tmp_path / "p")
    ends = {"05_report": "interrupted", "01_intermediate/mnli/seed1": "interrupted"}
    for path, end in ends.items():
        (project.out / path).mkdir(parents=True)
        tree = {"state": end, "draft": path == "05_report", "error": "SIGINT"}
        (project.out / path / "state.json").write_text(json.dumps(tree))
    (project.out / "params.yaml").write_text(toy.STUDY)
    lines = project.midway("status").stdout.splitlines()
    assert "05_report: new" in lines
    assert "01_intermediate/mnli/seed1: interrupted: SIGINT" in lines
    assert lines[-1] == "9 steps: 8 new, 1 interrupted"


def test_the_status_of_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """A colleague's study on a shared disk, whose runner was killed: looking needs no writing."""
    project = toy.Toy(tmp_path / "p")
    folder = project.out / "01_intermediate/mnli/seed1"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps(status.me() | {"state": "running", "pid": 1}))
    (project.out / "params.yaml").write_text(toy.STUDY)
    monkeypatch.setenv("MIDWAY_ROOT", str(project.root))

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(runner, "write_atomic", denied)
    states = {row["step"]: row["state"] for row in planning.status(project.out)}
    assert states["01_intermediate/mnli/seed1"] == "died"


def test_status_gives_a_shared_reason_once(tmp_path):
    """One changed file makes every step stale: 300 lines that say so hide what failed."""
    new = ["lib: params.py", "upstream: 01_intermediate/mnli/seed1 will run"]
    facts = {"state": "stale", "seconds": None, "error": None}
    rows = [
        facts | {"step": f"02_transfer/mnli/seed{k}/part{p}", "why": new[: 1 + k % 2]}
        for k in range(3)
        for p in (1, 2)
    ]
    rows.append(facts | {"step": "03_correlation", "why": new[1:]})
    text = planning.matrix(rows)
    assert "02_transfer/mnli/seed0/part1 and 5 more: stale: lib: params.py" in text
    assert text.count("params.py") == 1 and "upstream" not in text
    assert text.splitlines()[0].split() == ["variant", "02_transfer", "part1", "part2"]
