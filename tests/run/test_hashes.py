"""What depends on what: every change reruns what it can touch, says so, and reruns nothing else."""

import json

import nbformat
import pytest

import toy
from midway.run import hashes
from midway.run.steps import StepId
from midway.study import params

ALL = {
    "04_published", "01_intermediate/none/seed1", "01_intermediate/mnli/seed1",
    "02_transfer/none/seed1/part1", "02_transfer/none/seed1/part2",
    "02_transfer/mnli/seed1/part1", "02_transfer/mnli/seed1/part2",
    "03_correlation", "05_report",
}  # fmt: skip
END = {"03_correlation", "05_report"}
MNLI = {s for s in ALL if "/mnli/" in s} | END
TRANSFER = {s for s in ALL if s.startswith("02_")} | END


def changed(plan):
    return {step for step, row in plan.items() if row["state"] != "done"}


SETTINGS = {
    "correlation.alpha=0.01": END | {"04_published"},
    "transfer.lr=0.01": TRANSFER,
    "transfer.languages={tatoeba: [de]}": {s for s in ALL if s.endswith("part2")} | END,
    "transfer.tasks={xnli: {lr: 0.01}}": {s for s in ALL if s.endswith("part1")} | END,
    "intermediate.tasks={mnli: {lr: 0.01}}": MNLI,
    "intermediate.tasks={squad1: {lr: 0.01}}": set(),
    "intermediate.multi_cap=7": set(),
    "intermediate.lr=0.01": ALL - {"04_published"},
    "encoder.layers=3": ALL - {"04_published"},
    "data.seed=3": ALL - {"04_published"},
    "compute.threads=2": set(),
    "compute.save_every=5": set(),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_reruns_what_reads_it(project, setting):
    plan = project.plan("--set", setting)
    assert changed(plan) == SETTINGS[setting]
    key = setting.partition("=")[0]
    why = [w for row in plan.values() for w in row["why"] if w.startswith("params:")]
    assert all(key in w for w in why) and bool(why) == bool(SETTINGS[setting])


def test_the_reason_names_the_old_and_the_new_value(project):
    plan = project.plan("--set", "transfer.lr=2e-4")
    row = plan["02_transfer/none/seed1/part1"]
    assert row["why"] == ["params: transfer.lr 1e-05 -> 0.0002"]
    assert plan["03_correlation"]["why"] == ["upstream: 4 steps will run"]


def test_another_variant_or_seed_leaves_the_others_alone(project):
    variants = "intermediate.variants=[none, mnli, squad1]"
    plan = project.plan("--set", variants, "--set", "seeds=[1, 2]")
    new = {step for step, row in plan.items() if row["state"] == "new"}
    assert changed(plan) == new | END and all("squad1" in s or "seed2" in s for s in new)


@pytest.mark.slow
def test_doses_and_primary_pairs_rerun_what_reads_them(project):
    """Other doses are other encoders of 01; other primary pairs are another plan of 03."""
    plan = project.plan("--set", "intermediate.doses=[0.5, 1.0]")
    new = {step for step, row in plan.items() if row["state"] == "new"}
    assert new == {"02_transfer/mnli@0.5/seed1/part1", "02_transfer/mnli@0.5/seed1/part2"}
    assert changed(plan) - new == MNLI
    assert "upstream: 01_intermediate/mnli/seed1 will run" in plan[min(new)]["why"]
    plan = project.plan("--set", "correlation.primary=[[main, average]]")
    assert changed(plan) == END | {"04_published"}


def test_library_files_rerun_the_notebooks_that_import_them(project):
    lib = project.root / "lib" / "midway"
    for step in ("01_intermediate", "03_correlation", "05_report"):
        path = project.root / "notebooks" / f"{step}.ipynb"
        nb = nbformat.read(path, as_version=4)
        nb.cells[1].source = "from midway.report import figures\n" + nb.cells[1].source
        nbformat.write(nb, path)
    lib = lib / "report"
    lib.joinpath("words.py").write_text("a = 1\n")
    lib.joinpath("figures.py").write_text("def f():\n    from .words import a\n    return a\n")
    assert project.midway("run").returncode == 0
    (lib / "figures.py").write_text("def f():\n    from .words import a\n    return a + 1\n")
    plan = project.plan()
    # drawing decides no number, so what trains is not touched
    assert changed(plan) == END and plan["03_correlation"]["why"] == ["lib: report/figures.py"]
    (lib / "words.py").write_text("a = 2\n")  # imported inside a function of an imported file
    plan = project.plan()
    assert "lib: report/words.py" in plan["03_correlation"]["why"]
    assert plan["01_intermediate/none/seed1"]["state"] == "done"
    with (lib.parent / "run/schedule.py").open("a") as file:  # decides no number
        file.write("\n")
    assert "lib: run/schedule.py" not in str(project.plan())


def test_code_of_a_notebook_reruns_it_and_prose_does_not(project):
    path = project.root / "notebooks" / "03_correlation.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells.insert(0, nbformat.v4.new_markdown_cell("A better explanation"))
    nbformat.write(nb, path)
    assert changed(project.plan()) == set()
    nb.cells[-1].source += "  # changed"
    nbformat.write(nb, path)
    plan = project.plan()
    assert changed(plan) == END
    assert plan["03_correlation"]["why"] == ["notebook: 03_correlation.ipynb"]


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    (tmp_path / "p.yaml").write_text(toy.STUDY)

    def load(**changes):
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return params.load(tmp_path / "p.yaml", named)

    return load


def test_official_files_are_hashed_by_content(study, tmp_path):
    """Another file under the same name is other data; a touched one is not."""
    made = study(data__source="local", data__root="data")
    path = tmp_path / "data/download/XNLI-1.0/xnli.test.tsv"
    assert hashes.data_hashes(made, ["xnli"]) == {"xnli": "absent"}
    path.parent.mkdir(parents=True)
    path.write_text("a\tb\tneutral\n")
    index = tmp_path / "index.json"
    first = hashes.data_hashes(made, ["xnli"], index)
    assert first["xnli"] != "absent" and json.loads(index.read_text())
    path.touch()
    assert hashes.data_hashes(made, ["xnli"], index) == first
    path.write_text("a\tb\tentailment\n")
    assert hashes.data_hashes(made, ["xnli"], index) != first


def test_the_files_of_a_local_encoder_are_hashed(study, tmp_path):
    made = study(encoder__kind="path", encoder__path="enc")
    with pytest.raises(hashes.InputError, match="not a folder"):
        hashes.encoder_hash(made)
    (tmp_path / "enc").mkdir()
    (tmp_path / "enc" / "model.safetensors").write_bytes(b"1")
    first = hashes.encoder_hash(made)
    (tmp_path / "enc" / "model.safetensors").write_bytes(b"22")
    assert hashes.encoder_hash(made) != first


def test_every_target_has_a_key_of_its_own(study):
    """Adding a target to a part must not cost the finished languages of the others."""
    few, more = study(transfer__targets_per_job=1), study(transfer__targets_per_job=9)
    own = {"params": "", "lib": {}, "data": {"mnli": "a", "xnli": "b", "tatoeba": "c"}}
    a = hashes.score_key(few, StepId("02_transfer", "none", 1, "part1"), own, "xnli")
    b = hashes.score_key(more, StepId("02_transfer", "none", 1, "part1"), own, "xnli")
    assert a == b
    other = own | {"data": own["data"] | {"tatoeba": "changed"}}
    assert hashes.score_key(few, StepId("02_transfer", "none", 1, "part1"), other, "xnli") == a


def test_a_sentence_or_a_figure_costs_no_training():
    """01 draws while it trains; what only the drawing imports decides none of its numbers."""
    notebook = hashes.LIB.parents[1] / "notebooks" / "01_intermediate.ipynb"
    names = hashes.library(notebook, "mini", drawing=False)
    assert "encoder/training.py" in names
    assert not [n for n in names if n.startswith(("report/", "correlation/"))]


def test_code_of_other_sources_is_left_out():
    notebook = hashes.LIB.parents[1] / "notebooks" / "01_intermediate.ipynb"
    names = hashes.library(notebook, "local")
    assert "data/local.py" in names and "encoder/training.py" in names
    assert not [n for n in names if n.startswith("data/mini/") or n == "data/hub.py"]
    assert [n for n in hashes.library(notebook, "mini") if n.startswith("data/mini/")]
