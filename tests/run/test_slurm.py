"""What a killed run has left on a Slurm cluster (a real one: tests/slurm/run.py)."""

import os

import pytest

from midway.run import slurm
from midway.study.errors import InputError


def test_slurm_jobs_of_a_study_have_a_name_of_their_own(tmp_path):
    """Leftover jobs are cancelled by name: those of another folder must not be."""
    a, b = slurm.prefix(tmp_path / "x" / "mini"), slurm.prefix(tmp_path / "y" / "mini")
    assert a != b and a.startswith("midway-mini-") and len(a) <= 50


def test_leftover_jobs_on_a_cluster_are_cancelled_before_a_resume(tmp_path, monkeypatch, capsys):
    """kill -9 of a run leaves its jobs running; only this study's are cancelled."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    mine, log = slurm.prefix(tmp_path / "mini"), tmp_path / "log"
    (bin_ / "squeue").write_text(
        f"#!/bin/sh\n[ -e {log} ] && exit 0\necho 11 {mine}-abc\necho 12 midway-other-def\n"
    )
    (bin_ / "scancel").write_text(f"#!/bin/sh\necho $@ >> {log}\n")
    for script in bin_.iterdir():
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    slurm.cancel(tmp_path / "mini")
    assert log.read_text() == "11\n" and "cancelling 1 job(s)" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_refused(tmp_path, monkeypatch):
    """squeue is installed, its controller is away: records must not be retired for that."""
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho squeue: fatal: no configuration >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InputError, match="does not reach the cluster .*no configuration"):
        slurm.cancel(tmp_path / "mini")
