"""Slurm as submitit and squeue show it, by stand-ins (a real one: tests/slurm/run.py)."""

import os

import pytest

from midway.run import engine, slurm
from midway.run.status import Stop, me
from midway.run.steps import StepId
from midway.study.errors import InputError

SETTINGS = {"executor": "slurm", "options": {"timeout_min": 5, "mem_gb": 1}}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder of commands that stand in for Slurm's; ``jobs`` is what squeue lists."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def command(name, text):
        (folder / name).write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n")
        (folder / name).chmod(0o755)

    (tmp_path / "jobs").touch()
    command("squeue", "echo $@ > asked; cat jobs")
    command("scancel", "echo $@ > cancelled; : > jobs")
    command("srun", "")
    command("sbatch", "cp $1 script; echo Submitted batch job 17")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return command


def made(folder, **settings):
    return slurm.Slurm(folder, Stop(), engine.Profile(**SETTINGS | settings), me())


def test_jobs_of_a_study_have_a_name_of_their_own(tmp_path, cluster):
    """Leftover jobs are cancelled by name: those of another folder must not be."""
    a, b = made(tmp_path / "x" / "mini").name, made(tmp_path / "y" / "mini").name
    assert a != b and a.startswith("midway-mini-") and len(a) <= 50


def test_leftover_jobs_are_cancelled_before_a_resume(tmp_path, cluster, capsys):
    """kill -9 of a run leaves its jobs running; only this study's are cancelled."""
    (tmp_path / "jobs").write_text("11 RUNNING\n12 COMPLETED\n")
    name = made(tmp_path / "mini").name
    assert (tmp_path / "cancelled").read_text() == f"--me --name={name}\n"
    assert f"--name={name}" in (tmp_path / "asked").read_text()
    assert "cancelling 1 job(s)" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_refused(tmp_path, cluster):
    cluster("squeue", "echo squeue: fatal: no configuration >&2; exit 1")
    with pytest.raises(InputError, match="does not reach the cluster .*no configuration"):
        made(tmp_path / "mini")


def test_an_option_that_slurm_does_not_have_is_refused(tmp_path, cluster):
    with pytest.raises(InputError, match="options of slurm: .*queue"):
        made(tmp_path / "mini", options={"queue": "gpu"})


def test_what_a_step_asks_for_is_in_its_script_and_in_no_other(tmp_path, cluster):
    """submitit keeps what it was told: one executor for all would give every step a GPU."""
    own = {"gpus_per_node": 1, "slurm_additional_parameters": {"nice": 7}}
    engine = made(tmp_path / "mini", steps={"01_intermediate": own})
    engine.submit(StepId("01_intermediate", "none", 1))
    first = (tmp_path / "script").read_text()
    engine.submit(StepId("03_correlation"))
    second = (tmp_path / "script").read_text()
    assert "--gpus-per-node=1" in first and "--nice=7" in first and "--gpus" not in second
    for script in (first, second):
        assert "--no-requeue" in script and f"--job-name={engine.name}" in script
        assert "--mem=1GB" in script and "--time=5" in script


@pytest.mark.parametrize(
    ("state", "end", "again"),
    [
        ("FAILED", "died", True), ("NODE_FAIL", "died", True), ("OUT_OF_MEMORY", "died", True),
        ("", "died", True), ("TIMEOUT", "interrupted", True), ("CANCELLED", "interrupted", False),
    ],
)  # fmt: skip
def test_a_job_that_is_gone_without_a_word(tmp_path, cluster, monkeypatch, state, end, again):
    """A kill is tried again, and a time limit; scancel is somebody's wish."""
    monkeypatch.setattr(slurm, "POLL", 0.05)
    monkeypatch.setattr(slurm, "LATE", 0.1)
    with made(tmp_path / "mini") as engine:
        future = engine.submit(StepId("03_correlation"))
        if state:
            (tmp_path / "jobs").write_text(f"17 {state}\n")
        outcome = future.result(20)
    assert outcome.state == end and "Slurm job 17" in outcome.error
    assert (outcome.state == "died" or "time limit" in outcome.error) == again


def test_a_job_that_cannot_be_submitted_fails_its_step_alone(tmp_path, cluster):
    engine = made(tmp_path / "mini")
    cluster("sbatch", "echo sbatch: error: invalid partition >&2; exit 1")
    outcome = engine.submit(StepId("03_correlation")).result(5)
    assert outcome.state == "failed" and "invalid partition" in outcome.error
