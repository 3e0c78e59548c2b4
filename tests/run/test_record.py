"""Records: written whole or not at all, unchanged since, and readable for ever."""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midway.run import record as records
from midway.run import recording
from midway.study import params
from midway.study.errors import InputError
from midway.study.files import sha256, write_atomic

CHANGES = {"intermediate.steps": 2, "transfer.steps": 2}


@pytest.fixture
def study(tmp_path):
    (tmp_path / "p.yaml").write_text("study: t\n")
    return params.load(tmp_path / "p.yaml", CHANGES)


@pytest.fixture
def step(tmp_path, study, monkeypatch):
    import toy

    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    monkeypatch.delenv("MIDWAY_RUNNER", raising=False)
    toy.write_notebook(tmp_path / "notebooks", "04_published", ["study = None", "1"])
    return recording.begin(tmp_path / "outputs/t/04_published", "04_published", study)


def test_a_record_says_what_it_was_made_from_and_what_it_cost(step, tmp_path):
    (step.out / "tables").mkdir()
    (step.out / "tables" / "a.csv").write_text("x")
    record = records.load(step.finish({"rho": 0.5}, ["tables"], tokens=10))
    assert record.results == {"rho": 0.5} and record.state == "done"
    assert record.files == {"tables/a.csv": sha256(step.out / "tables" / "a.csv")}
    assert set(record.hashes) == {"params", "lib", "notebook", "encoder", "data", "upstream"}
    assert record.cost.wall_s >= 0 and record.cost.peak_rss_mb > 1 and record.cost.tokens == 10
    assert record.environment["packages"]["numpy"] == np.__version__


def test_numpy_values_are_unpacked_and_undefined_numbers_are_null(step):
    """A diverged loss must not end a night's work, nor pass for a number."""
    values = {"a": np.float32(1.5), "b": np.arange(2), "c": float("nan"), "d": np.inf, "e": {1, 2}}
    results = records.load(step.finish(values)).results
    assert results == {"a": 1.5, "b": [0, 1], "c": None, "d": None, "e": [1, 2]}


def test_under_the_runner_the_record_waits_for_the_notebooks_end(step, monkeypatch):
    """Else a step whose last cell fails would count as done."""
    monkeypatch.setenv("MIDWAY_RUNNER", "1")
    assert step.finish({}).name == records.PENDING
    assert not (step.out / "record.json").exists()


def test_a_product_that_is_not_there_is_an_error(step):
    with pytest.raises(InputError, match="named as a product"):
        step.finish({}, ["nothing.csv"])


def test_a_product_outside_the_step_is_an_error(step, tmp_path):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(InputError, match="not in"):
        step.finish({}, ["../../../secret"])


def test_a_finished_language_is_not_computed_again(step):
    predictions = step.out / "predictions/xnli/test-de.tsv"
    write_atomic(predictions, "entailment\n")
    step.score("xnli", "de", n=1, metrics={"accuracy": 100.0}, predictions=predictions)
    assert step.scored("xnli", "de").metrics == {"accuracy": 100.0}
    assert step.scored("xnli", "fr") is None


@pytest.mark.parametrize("fault", ["edited", "torn", "prediction", "missing"])
def test_a_score_that_cannot_be_trusted_is_computed_again(step, fault):
    predictions = step.out / "predictions/xnli/test-de.tsv"
    write_atomic(predictions, "entailment\n")
    missing = "no such file" if fault == "missing" else None
    step.score("xnli", "de", metrics={"accuracy": 10.0}, predictions=predictions, missing=missing)
    path = step.out / "scores/xnli.de.json"
    if fault == "edited":
        path.write_text(path.read_text().replace("10.0", "90.0"))
    elif fault == "torn":
        path.write_text(path.read_text()[:-40])
    elif fault == "prediction":
        predictions.write_text("contradiction\n")
    assert step.scored("xnli", "de") is None


def test_records_of_a_newer_schema_are_refused_by_version(step):
    path = step.finish({})
    tree = json.loads(path.read_text()) | {"schema_version": 99}
    path.write_text(json.dumps(tree))
    with pytest.raises(InputError, match="schema version 99; this midway reads 1 to 1"):
        records.load(path)


def test_records_of_every_older_schema_still_load(step, monkeypatch):
    """Old results stay readable for ever: each schema has its upgrade."""
    assert set(records.UPGRADES) == set(range(1, records.SCHEMA_VERSION))
    path = step.finish({"rho": 1})
    monkeypatch.setattr(records, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(records, "UPGRADES", {1: lambda t: t | {"schema_version": 2}})
    assert records.load(path).results == {"rho": 1}


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 0.999))
def test_a_torn_record_is_refused_in_one_line(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("torn") / "s.json"
    text = records.ScoreRecord(target="xnli", lang="de").text().rstrip()
    path.write_text(text[: int(cut * len(text))])
    with pytest.raises(InputError) as error:
        records.load_score(path)
    assert "\n" not in str(error.value)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_noticed(data, tmp_path_factory):
    """Whatever byte is changed: the record does not load, or is not what it was hashed as."""
    path = tmp_path_factory.mktemp("byte") / "s.json"
    raw = bytearray(records.ScoreRecord(target="xnli", lang="de", n=3).text().encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    new = data.draw(st.integers(0, 255).filter(lambda b: b != raw[place]))
    raw[place] = new
    path.write_bytes(raw)
    try:
        found = records.load_score(path)
    except InputError:
        return
    assert found.text().encode() != bytes(raw)


def test_writing_is_whole_or_nothing(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "new" / "a.json", "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["a.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_documented_schema_is_the_one_in_use(root):
    """docs/records.md is generated: python tests/make_records_page.py"""
    import make_records_page

    assert (root / "docs" / "records.md").read_text(encoding="utf-8") == make_records_page.page()
