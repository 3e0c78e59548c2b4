"""Work by hand: it has something to read in a new clone, and leaves finished studies alone."""

import pytest

import synthetic
from midway.run import outputs
from midway.study.errors import InputError
from pack_sample import pack


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    """A project of its own, with a small sample."""
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    synthetic.write(root, tmp_path / "made", seeds=(1,))
    synthetic._record(synthetic.study(root, tmp_path / "made", seeds=(1,)),
                      tmp_path / "made/03_correlation", "03_correlation",
                      None, None, None, {})  # fmt: skip
    (tmp_path / "docs/sample").mkdir(parents=True)
    (tmp_path / "params").symlink_to(root / "params")
    pack(tmp_path / "made", tmp_path / outputs.SAMPLE)
    return tmp_path


def put(root, project, name, when, variants=synthetic.VARIANTS, outcome="average"):
    folder = project / "outputs" / name
    study = synthetic.study(root, folder, variants, seeds=(1,))
    n = len(set(variants) - {"none", "multi"})
    results = {"correlation": [{"outcome": outcome, "rho": 0.5, "n": n}]}
    synthetic._record(study, folder / "03_correlation", "03_correlation", None, None, None, results)
    path = folder / "03_correlation/record.json"
    path.write_text(path.read_text().replace("2026-01-01T00:01", when))


def test_a_new_clone_reads_the_sample(root, project):
    """The heart of the course must not be empty before the first run, nor after a smoke run."""
    put(root, project, "smoke", "2026-02-01T00:01", ["none", "mnli", "squad1"])
    put(root, project, "no_average", "2026-02-01T00:01", outcome="xnli")
    found = outputs.latest()
    assert found.folder == project / "outputs/by_hand/sample" and "sample" in found.about
    assert (found.folder / "01_intermediate/mnli/seed1/record.json").exists()
    assert found.study.intermediate.variants == synthetic.VARIANTS


def test_the_newest_finished_study_is_read(root, project):
    """Who has run a study wants to see that one, and to know which one it is."""
    put(root, project, "new", "2026-03-01T00:01")
    put(root, project, "old", "2026-02-01T00:01")
    (project / "outputs/running").mkdir()
    found = outputs.latest()
    assert found.folder == project / "outputs/new"
    assert "outputs/new" in found.about and "2026-03-01 00:01" in found.about
    assert outputs.latest("params/smoke.yaml").folder == project / "outputs/smoke"


def test_work_by_hand_has_its_own_folder(project):
    path = outputs.by_hand("smoke", "01_intermediate", "mnli", "seed1")
    assert path == project / "outputs/by_hand/smoke/01_intermediate/mnli/seed1"


def test_the_same_study_gives_the_same_sample(project):
    """A sample that changes its bytes without a reason cannot be reviewed."""
    again = pack(project / "made", project / "again.zip")
    assert again.read_bytes() == (project / outputs.SAMPLE).read_bytes()


def test_a_bad_params_file_is_refused(project):
    with pytest.raises(InputError, match="none.yaml"):
        outputs.latest("params/none.yaml")
