"""The notebooks of the answer, cell by cell: on a whole study and on unfinished ones."""

import json

import pandas as pd
import pytest

import synthetic
from midway.run import record as records


def execute(root, name, capsys, **parameters):
    """Run a notebook's code cells with other parameters; returns its names and its output."""
    tree = json.loads((root / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    space: dict = {}
    for cell in tree["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and len(cell["source"]) <= 20
            exec("".join(cell["source"]), space)  # noqa: S102
            if "parameters" in cell["metadata"].get("tags", []):
                assert set(parameters) <= set(space)
                space |= parameters
    pd.reset_option("^display")
    return space, capsys.readouterr().out


@pytest.mark.slow
def test_published_runs_by_itself(root, tmp_path, one_format, capsys):
    changes = {"correlation.permutations": 999, "correlation.resamples": 199}
    space, out = execute(root, "04_published", capsys, out=str(tmp_path / "o"), changes=changes)
    assert "60 of 250 cells are significant" in out and "18 of 20 agree" in out
    record = records.load(space["path"])
    assert {"units", "averages", "rules", "words"} <= set(record.results)
    assert "tables/units.tex" in record.files and "figures/xstilts_v1.svg" in record.files


@pytest.mark.slow
def test_correlation_of_a_whole_study(root, tmp_path, capsys):
    folder = tmp_path / "study"
    synthetic.write(root, folder)
    where = {"study": str(folder / "params.yaml"), "out": str(folder / "03_correlation")}
    where["changes"] = {"correlation.primary": [["main_gain", "average"]],
                        "correlation.permutations": 20_000}  # fmt: skip
    space, out = execute(root, "03_correlation", capsys, **where)
    assert "UNFINISHED" not in out and "9 tasks in 5 families, 2 seed(s)" in out
    record = records.load(folder / "03_correlation" / "record.json")
    assert record.results["n"] == 9 and len(record.results["claims"]) == 10
    for section in ("answer", "reliability", "between", "within", "choice", "limits"):
        assert record.results["sections"][section], section
    assert any("predicts better than chance" in line for line in space["sentences"])
    assert any(line.startswith("1 primary pair tested") for line in space["sentences"])
    for name in ("tables/correlation.csv", "tables/gains.tex", "figures/forest.pdf"):
        assert name in record.files


@pytest.mark.slow
@pytest.mark.parametrize(
    "variants", [[], ["none"], ["none", "mnli"], ["none", "mnli", "qqp", "squad1"]]
)
def test_correlation_of_an_unfinished_study_says_so(root, tmp_path, one_format, capsys, variants):
    """Somebody who opens 03 while a study runs gets what there is, and no record of it."""
    folder = tmp_path / "study"
    if variants:
        synthetic.write(root, folder, variants=variants, seeds=(1,))
    synthetic.study(root, folder, seeds=(1,))
    where = {"study": str(folder / "params.yaml"), "out": str(folder / "03_correlation")}
    space, out = execute(root, "03_correlation", capsys, **where)
    assert "UNFINISHED" in out and not (folder / "03_correlation" / "record.json").exists()
    assert not any("rises with" in line or "predicts" in line for line in space["sentences"])
    assert (folder / "03_correlation" / "tables" / "claims.md").is_file()


@pytest.mark.slow
def test_several_encoders_are_averaged_not_pooled(root, tmp_path, one_format, capsys):
    for name in ("a", "b"):
        synthetic.write(root, tmp_path / name, seeds=(1,))
    where = {
        "study": str(tmp_path / "a" / "params.yaml"),
        "out": str(tmp_path / "a" / "03_correlation"),
        "encoders": {"small": str(tmp_path / "a"), "large": str(tmp_path / "b")},
    }
    _, out = execute(root, "03_correlation", capsys, **where)
    assert "strata" in out
