"""What depends on what: every change reruns what it can touch, says so, and reruns nothing else."""

import ast
import json
from pathlib import Path

import nbformat
import pytest

import midway
import toy
from midway.run import hashes
from midway.run.steps import STEPS, StepId
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


TABLES = END | {"04_published"}
LIBRARY = {
    "report/figures.py": TABLES,  # drawing decides no number, so what trains is not touched
    "report/style.css": TABLES,
    "report/new.py": TABLES,
    "correlation/correlate.py": TABLES,
    "transfer/targets.py": TRANSFER,
    "encoder/training.py": ALL - {"04_published"},
    "data/mini/frames.py": ALL - {"04_published"},
    "kinds/pair.py": ALL,
    "data/hub.py": set(),
    "run/schedule.py": set(),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_a_library_file_reruns_the_steps_that_use_it(project, name):
    with (project.root / "lib/midway" / name).open("a") as file:
        file.write("\n")
    plan = project.plan()
    assert changed(plan) == LIBRARY[name]
    why = {w for row in plan.values() for w in row["why"] if w.startswith("lib: ")}
    assert all(w.startswith(f"lib: {name}") for w in why) and bool(why) == bool(LIBRARY[name])


def imported(path: Path, text: str) -> set[Path]:
    """Library files that a source imports anywhere, functions included."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: imports of this project are absolute"
            names |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    face = {f"midway.{name}": target.partition(":")[0] for name, target in midway.FACE.items()}
    places = [hashes.LIB.parent.joinpath(*face.get(name, name).split(".")) for name in names]
    files = {f for p in places for f in (p.with_suffix(".py"), p / "__init__.py")}
    return {f for f in files if f.is_file() and f.is_relative_to(hashes.LIB)}


@pytest.mark.parametrize("step", STEPS)
def test_what_a_notebook_imports_is_hashed(step):
    """A package that is wrongly left out would leave results of older code as done."""
    path = hashes.LIB.parents[1] / "notebooks" / f"{step}.ipynb"
    todo = set().union(*(imported(path, cell) for cell in hashes.cells(path)))
    seen, hashed = set(), hashes.library(step, "mini", "local", "hub")
    drawing = ("report/", "study/names.py") if step in STEPS[:2] else ("encoder/progress.py",)
    while todo:
        path = todo.pop()
        name = path.relative_to(hashes.LIB).as_posix()
        if path not in seen and not name.startswith((*hashes.BOOKKEEPING, *drawing)):
            assert name in hashed
            todo |= imported(path, path.read_text())
        seen.add(path)


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
    names = hashes.library("01_intermediate", "mini")
    assert "encoder/training.py" in names
    assert not [n for n in names if n.startswith(("report/", "correlation/"))]


def test_code_of_other_sources_is_left_out():
    names = hashes.library("01_intermediate", "local")
    assert "data/local.py" in names and "encoder/training.py" in names
    assert not [n for n in names if n.startswith("data/mini/") or n == "data/hub.py"]
    mini = hashes.library("01_intermediate", "mini")
    assert "data/mini/languages/de.yaml" in mini and "data/local.py" not in mini
