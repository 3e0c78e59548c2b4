"""midway run: what is done twice, what is kept, who may run, and what is said."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import toy
from midway.run import plan as planning
from midway.run import progress, schedule, status, step
from midway.study import params
from midway.study.errors import InputError
from toy import ONE_STEP


def test_nothing_to_do_is_said_at_once(project):
    """Also: the study was finished in an unkind place (see toy.finished) and copied here."""
    before = {p: p.stat().st_mtime_ns for p in project.out.rglob("record.json")}
    done = project.midway("run")
    assert done.returncode == 0 and "nothing to do: all 9 steps are done" in done.stderr
    assert done.stdout.strip() == str(project.out / "index.html")
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
    assert "mnli" not in (project.out / "index.html").read_text()
    again = project.midway("run")
    assert again.returncode == 0 and project.numbers() == before
    assert "[2/2] 05_report" in again.stderr and "01_intermediate" not in again.stderr


@pytest.mark.slow
def test_same_results_upstream_leave_the_records_below_as_they_are(project):
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
    runner = [sys.executable, str(ONE_STEP), "05_report", "params.yaml", "--draft"]
    assert subprocess.run(runner, cwd=project.out, env=project.env).returncode == 0
    assert page.read_bytes() == before and project.state("05_report") == end


@pytest.mark.slow
def test_the_report_needs_the_published_numbers():
    """`--until 05_report` left 04 out and then waited for it without end."""
    assert schedule.stages("05_report") == schedule.stages(None)
    assert schedule.stages("03_correlation")[-1] == "03_correlation"


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
    "--profile ../../etc": "unknown profile '../../etc'; known: slurm",
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
    project = toy.Toy(tmp_path / "p")
    local = ["--set", "data.source=local", "--set", f"data.root={tmp_path}/nowhere"]
    project.env["PYTHONPATH"] = str(root / "lib")  # a toy has no sources
    done = project.midway(*verb.split(), *local)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"data.root: {tmp_path}/nowhere is not a folder; name the one" in done.stderr
    assert not project.out.exists()


def test_one_run_at_a_time(tmp_path):
    with status.lock(tmp_path):
        with pytest.raises(InputError, match=f"already being run by process {os.getpid()}"):
            with status.lock(tmp_path):
                pass
    with status.lock(tmp_path):
        pass


def test_the_lock_of_a_dead_run_is_taken_over(tmp_path, capsys):
    (tmp_path / ".lock").write_text(json.dumps(status.me() | {"pid": 4_194_305}))
    with status.lock(tmp_path):
        assert "taking over from process 4194305" in capsys.readouterr().err


def test_the_lock_of_another_machine_is_respected_while_it_gives_signs(tmp_path, capsys):
    path = tmp_path / ".lock"
    path.write_text(json.dumps({"pid": 7, "host": "node17"}))
    with pytest.raises(InputError, match="being run on node17 .* if it is gone, delete"):
        with status.lock(tmp_path):
            pass
    os.utime(path, (time.time() - 3600,) * 2)
    with status.lock(tmp_path):
        assert "taking over" in capsys.readouterr().err


def test_a_step_that_a_cluster_is_executing_is_not_started_here(tmp_path):
    """Two writers on one folder: what a resume on a cluster's login node could do."""
    project = toy.Toy(tmp_path / "p")
    folder = project.out / "01_intermediate/mnli/seed1"
    folder.mkdir(parents=True)
    there = {"state": "running", "host": "node17", "pid": 1}
    (folder / "state.json").write_text(json.dumps(there))
    done = project.midway("run")
    assert done.returncode == 2 and "being executed by process 1 of node17" in done.stderr


def test_a_torn_lock_file_is_no_obstacle(tmp_path):
    (tmp_path / ".lock").write_text('{"pid": ')
    with status.lock(tmp_path):
        pass


PROFILES = {
    "executor: slurm\nqueue: gpu": "unknown key 'queue'",
    "executor: slurm\njobs: many": "jobs: found 'many'; input should be a valid integer",
    "jobs: 3": "key 'executor' is missing",
    "[1, 2]": "expected lines such as 'key: value', found list",
    "executor: slurm\nsteps: {02: {mem_gb: 3}}": "steps: unknown step",
    "executor: nowhere.Pool": "executor nowhere.Pool: No module named 'nowhere'",
    "executor: json.Pool": "executor json.Pool: module 'json' has no attribute 'Pool'",
    "executor: Pool": "executor Pool: Empty module name",
    "executor: slurm": "--profile slurm: there is no squeue here",
    "executor: [": "mine.yaml",
}


@pytest.mark.parametrize("text", PROFILES)
def test_a_wrong_profile_is_refused_in_one_line(tmp_path, text):
    project = toy.Toy(tmp_path / "p")
    (project.root / "profiles/mine.yaml").write_text(text)
    done = project.midway("run", "--profile", "mine", env={"PATH": "/nowhere"})
    assert done.returncode == 2 and PROFILES[text] in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list(project.out.rglob("record.json"))


POOL = """executor: concurrent.futures.ProcessPoolExecutor
jobs: 2
options: {max_workers: 2}
"""


@pytest.mark.slow
def test_any_executor_of_the_standard_contract_runs_a_study(project):
    """What a cluster's executor gets: steps by name, and their outcomes as values."""
    before = project.numbers()
    (project.root / "profiles/pool.yaml").write_text(POOL)
    done = project.midway("run", "--profile", "pool", "--force", "02_transfer", "--cores", "1")
    assert done.returncode == 0 and "1 at a time" in done.stderr, done.stderr
    assert project.numbers() == before


@pytest.mark.slow
def test_the_page_is_made_again_when_it_was_changed(project):
    (project.out / "index.html").write_text("edited")
    assert project.plan()["05_report"]["why"] == ["file: ../index.html was changed"]
    assert project.midway("run").returncode == 0
    (project.out / "index.html").unlink()
    done = project.midway("run")
    assert "[1/1] 05_report done" in done.stderr and (project.out / "index.html").exists()


def test_products_are_compared_by_content_even_where_times_were_put_back(project):
    path = project.out / "01_intermediate/mnli/seed1/encoder.safetensors"
    assert project.plan()["01_intermediate/mnli/seed1"]["state"] == "done"
    when = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-1] + b"2")
    os.utime(path, ns=(when, when))
    row = project.plan()["01_intermediate/mnli/seed1"]
    assert row["why"] == ["file: encoder.safetensors was changed"]


def test_files_are_readable_by_colleagues(project):
    """Unless the umask says otherwise: mkstemp's 600 shut them out of a shared folder."""
    for path in project.out.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o444 == 0o444, path


def test_records_and_notebooks_do_not_tell_whose_machine_it_was(project):
    """docs/records.md: no host or user name, no home folder, no environment value."""
    for path in [*project.out.rglob("record.json"), *project.out.rglob("notebook.ipynb")]:
        text = path.read_text()
        assert "finished toy" not in text, path  # the folder where it was run
        if path.suffix == ".json":
            assert f'"{socket.gethostname()}' not in text and str(Path.home()) not in text


def test_a_stage_on_another_disk(project):
    """A folder of the study may be a link to where there is space."""
    elsewhere = project.root / "scratch"
    (project.out / "01_intermediate").rename(elsewhere)
    (project.out / "01_intermediate").symlink_to(elsewhere)
    done = project.midway("run", "--force", "01_intermediate/mnli", "--until", "01_intermediate")
    assert done.returncode == 0 and (elsewhere / "mnli/seed1/record.json").exists(), done.stderr
    assert json.loads(project.midway("audit", "--json").stdout)["problems"] == []


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (62.4, "1:02"), (3725, "1:02:05")])
def test_times_are_written_as_people_read_them(seconds, text):
    assert progress.span(seconds) == text


def test_the_time_left_is_not_overstated(tmp_path):
    """none's transfer also computes what others share: no mean with it, only an upper bound."""
    tasks = "none, anli, mnli, qqp, squad1, squad2, hellaswag, ccg, cosmosqa, csqa, multi"
    text = f"study: t\nseeds: [1]\nintermediate: {{steps: 2, variants: [{tasks}]}}\n"
    (tmp_path / "t.yaml").write_text(text + "transfer: {steps: 2, targets: [xnli]}\n")
    study = params.load(tmp_path / "t.yaml")
    items = planning.plan(study, tmp_path)
    shown = progress.Progress(items, [i.sid for i in items], slots=2)
    assert shown.left() == ""

    def end(*done, seconds):
        for sid in [s for s in shown.todo if (s.step[:2], s.variant) in done]:
            shown.todo.discard(sid)
            shown.took.setdefault(progress.kind(sid), []).append(seconds)

    trained = [("01", v) for v in study.intermediate.variants if v not in ("none", "multi")]
    end(("04", None), seconds=9)
    end(("01", "none"), seconds=19)
    assert shown.left() == ""  # how long training takes is not known
    end(("01", "multi"), seconds=91)
    end(("02", "none"), seconds=158)
    assert shown.left() == ", at most 20:30 left"  # 9 x 91 and 10 x 158 on two, 30 at the end
    end(*trained, seconds=23)
    end(("02", "multi"), ("02", "anli"), seconds=60)
    left = shown.left()
    assert left.startswith(", about ") and left < ", about 5:"
    end(*((f"0{k}", v) for k in (2, 3, 5) for v in (*study.intermediate.variants, None)), seconds=9)
    assert shown.left() == ""


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

    monkeypatch.setattr(step, "write_state", denied)
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


def test_the_live_line_is_for_terminals_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    """A log file full of carriage returns cannot be read; on a terminal a message stands alone."""
    (tmp_path / "t.yaml").write_text("study: t\nintermediate: {steps: 2}\ntransfer: {steps: 2}\n")
    study = params.load(tmp_path / "t.yaml")
    items = planning.plan(study, tmp_path)
    shown = progress.Progress(items, [i.sid for i in items], slots=2)
    shown.started(items[0].sid)
    shown.draw()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    shown.draw()
    shown.draw()  # not again within a second
    progress.say("a message")
    line, rest = capsys.readouterr().err.removeprefix(progress.CLEAR).split(progress.CLEAR)
    assert line.startswith(f"[0/{len(items)}] running ") and len(line) < 60
    assert rest == "a message\n"


def test_the_report_is_built_again_and_a_cleaned_study_is_whole(project):
    """Whoever makes room or renews the page must not find a study that no longer agrees."""
    (project.out / "cache").mkdir(exist_ok=True)
    (project.out / "cache/x.npy").write_bytes(bytes(2_000_000))
    assert project.midway("clean").stdout == "2 MB freed\n"
    assert not (project.out / "cache").exists()
    done = project.midway("report")
    assert (done.returncode, done.stdout.strip()) == (0, str(project.out / "index.html"))
    assert json.loads(project.midway("audit", "--json").stdout)["problems"] == []
    assert "nothing to do" in project.midway("run").stderr


def test_a_report_of_an_unfinished_study_is_a_draft(project):
    """A record of it would call the page final, and the next run would leave it as it is."""
    (project.out / "02_transfer/mnli/seed1/part1/record.json").unlink()
    assert project.midway("report").returncode == 0
    assert not (project.out / "05_report/record.json").exists()
    done = project.midway("run", "-v")
    assert done.returncode == 0 and (project.out / "05_report/record.json").exists()
    assert "02_transfer/mnli/seed1/part1" in done.stdout
