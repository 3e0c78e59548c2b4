"""midway seal: a signature that a changed study does not keep."""

import shutil
import subprocess

import pytest

from midway.run import audit, seal
from midway.run import record as records
from midway.study.errors import InputError

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")
STEP = "03_correlation"


@pytest.fixture
def key(tmp_path):
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")]
    subprocess.run(command, check=True)
    return tmp_path / "key"


def forge(project):
    """What only a signature shows: a score is changed, and every hash after it made anew."""
    path = project.out / STEP / "record.json"
    record = records.load(path)
    record.model_copy(update={"results": {"rho": 0.9}}).write(path)
    return project.midway("run", "--until", STEP)


def test_a_sealed_study_is_checked_by_audit(project, key):
    done = project.midway("seal", "--key", key)
    assert done.returncode == 0 and done.stdout.strip().endswith("seal.txt.sig"), done.stderr
    found = audit.audit(project.out)
    assert found["problems"] == [] and any("signed with SHA256:" in n for n in found["notes"])
    assert len((project.out / seal.NAME).read_text().splitlines()) == 10  # params and nine records


def test_a_forgery_does_not_keep_the_seal(project, key):
    seal.seal(project.out, key)
    assert forge(project).returncode == 0
    found = audit.audit(project.out)["problems"]
    assert "seal.txt: records or settings have changed since they were signed" in found
    (project.out / seal.NAME).write_text(seal.contents(project.out))  # the list, too
    assert (
        "seal.txt: the signature does not belong to this list"
        in audit.audit(project.out)["problems"]
    )


def test_a_study_with_a_problem_is_not_signed(project, key):
    (project.out / "index.html").write_text("better")
    done = project.midway("seal", "--key", key)
    assert done.returncode == 1 and "problem: 05_report" in done.stdout
    assert not (project.out / seal.NAME).exists()


def test_a_key_that_is_none_is_refused_in_one_line(project, tmp_path):
    (tmp_path / "key").write_text("no key")
    for path, words in (("nowhere", "no such file"), ("key", "--key")):
        with pytest.raises(InputError, match=words):
            seal.seal(project.out, tmp_path / path)
    assert not (project.out / seal.NAME).exists()
