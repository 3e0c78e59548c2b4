"""Notebooks where scores are missing: a sentence or an empty table, never a traceback."""

import json
import shutil
from types import SimpleNamespace

import matplotlib
import pytest

import synthetic
import tiny
from midway.data import sources
from midway.run import record, recording
from midway.study import params, tasks, yamlfile

matplotlib.use("Agg")
pytestmark = pytest.mark.usefixtures("one_format")
FEW = {"correlation.permutations": 999, "correlation.resamples": 999}


def run(root, name, **parameters):
    """A notebook's code cells in this process, with these parameters, and the names they left."""
    tree = json.loads((root / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    names: dict = {"__name__": "__main__"}
    for cell in tree["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}.ipynb", "exec"), names)  # noqa: S102
            if "parameters" in cell["metadata"].get("tags", []):
                names |= parameters
    return names


def keep_languages(folder, kept, targets=None):
    """As if the files of all other languages had been missing in 02."""
    for path in folder.glob("02_transfer/**/record.json"):
        tree = json.loads(path.read_text(encoding="utf-8"))
        for target, found in tree["results"]["targets"].items():
            if targets is not None and target not in targets:
                continue
            gone = {k for k in found["languages"] if k not in kept}
            found["missing"] |= {lang: "no file" for lang in gone}
            for lang in gone:
                del found["languages"][lang]
                (path.parent / "scores" / f"{target}.{lang}.json").unlink()
            values = {k: next(iter(v.values())) for k, v in found["languages"].items()}
            other = [v for k, v in values.items() if k != "en"]
            found["english"] = values.get("en")
            found["zero_shot"] = sum(other) / len(other) if other else None
            found["xtreme_mean"] = sum(values.values()) / len(values) if values else None
        record.StepRecord(**{k: v for k, v in tree.items() if k != "sha256"}).write(path)


#: what synthetic.write is given, and the languages that are kept of which targets
STUDIES = {
    "a target without a language": ({}, [], ["xquad"]),
    "no language": ({}, [], None),
    "one language": ({}, ["de"], None),
    "English alone": ({}, ["en"], None),
    "no English": ({}, ["de", "ru"], None),
    "one target": ({"targets": ["xnli"]}, ["en", "de", "ru"], None),
    "one target without training": ({"targets": ["tatoeba"]}, ["de", "ru"], None),
    "one task": ({"variants": ["none", "mnli"]}, ["en", "de", "ru"], None),
    "the baseline alone": ({"variants": ["none"]}, ["en", "de", "ru"], None),
    "one task, one target, one language": (
        {"variants": ["none", "mnli"], "targets": ["xquad"]}, ["de"], None,
    ),
    "no transfer": ({"transferred": []}, ["en", "de", "ru"], None),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["03_correlation", "05_report"])
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_with_few_scores(root, tmp_path, name, notebook):
    options, kept, targets = STUDIES[name]
    folder = tmp_path / "few"
    synthetic.write(root, folder, **{"seeds": (1,)} | options)
    keep_languages(folder, kept, targets)
    where = {"study": str(folder / "params.yaml"), "changes": FEW}
    run(root, notebook, **where, out=str(folder / notebook))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["03_correlation", "05_report"])
@pytest.mark.parametrize("gone", ["01_intermediate", "02_transfer/none", ""])
def test_a_study_of_which_a_part_is_not_there(root, tmp_path, notebook, gone):
    """Nothing finished; no stage 01; no baseline: readers open 03 and 05 at any time."""
    folder = tmp_path / "few"
    if gone:
        synthetic.write(root, folder, ["none", "mnli"], ["xnli"], seeds=(1,))
        shutil.rmtree(folder / gone)
    else:
        synthetic.study(root, folder, seeds=(1,))
    where = {"study": str(folder / "params.yaml"), "changes": FEW}
    run(root, notebook, **where, out=str(folder / notebook))


class Run:
    """Stands in for 02's runs: scores where ``kept`` says so."""

    kept: dict = {}
    tokens = 0

    def __init__(self, study, *_):
        self.targets = list(study.transfer.targets)
        self.study, self.results, self.extra = study, {}, {}

    def evaluate(self, target):
        card = tasks.get(target)
        languages = sources.evaluated(self.study, target)
        kept = [lang for lang in self.kept.get(target, ()) if lang in languages]
        scores = {lang: {card.metric: 50.0, "em": 40.0} for lang in kept}
        self.extra[target] = {lang: {} for lang in scores}
        if card.kind == "pair" and scores:  # of one language only
            self.extra[target][next(iter(scores))] = {"kinds": {"x": {"n": 1, card.metric: 50.0}}}
        if card.kind in ("parallel", "mining"):
            layers = {"1": {"both": 50.0, "f1": 40.0}}
            self.extra[target] = {lang: {"layers": layers} for lang in scores}
        self.results[target] = {
            "languages": scores,
            "missing": {lang: "no file" for lang in languages if lang not in scores},
            "english": scores.get("en", {}).get(card.metric),
            "zero_shot": 50.0 if set(scores) - {"en"} else None,
            "xtreme_mean": 50.0 if scores else None,
        }
        return self.results[target]

    def sweeps(self, target):
        return {k: v["layers"] for k, v in self.extra[target].items() if "layers" in v}


ALL = ["xnli", "udpos", "xquad", "tatoeba", "bucc2018"]
SCORED = {
    "every language of one target is missing": {"xnli": ["en", "de"], "tatoeba": ["de"]},
    "every language of the first target is missing": {"xquad": ["en", "de"]},
    "nothing at all": {},
    "English alone": {"xnli": ["en"], "xquad": ["en"]},
    "no English": {"xnli": ["de"], "xquad": ["ru"], "tatoeba": ["de"]},
    "one language of one target": {"udpos": ["fi"]},
}


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("source", ["mini", "local"])
def test_a_chunk_goes_on_without_a_target(root, tmp_path, monkeypatch, name, source):
    """StopIteration in a display cell lost all targets of the chunk."""
    folder = tmp_path / "few"
    synthetic.write(
        root, folder, variants=["none", "mnli"], targets=ALL, seeds=(1,), transferred=[]
    )
    (tmp_path / "data").mkdir()
    changes = (
        {} if source == "mini" else {"data.source": "local", "data.root": str(tmp_path / "data")}
    )
    out = folder / "02_transfer/mnli/seed1/part1"
    finished = {}

    def finish(results, **_):
        finished.update(results)
        return out

    monkeypatch.setattr(Run, "kept", SCORED[name])
    monkeypatch.setattr("midway.transfer.targets.Run", Run)
    monkeypatch.setattr(recording, "begin", lambda *_: SimpleNamespace(finish=finish))
    where = {"study": str(folder / "params.yaml"), "changes": changes, "out": str(out)}
    run(root, "02_transfer", **where)
    assert set(finished["targets"]) == set(ALL)


def test_first_rows_of_what_is_there(root, tmp_path):
    study = synthetic.study(root, tmp_path / "s")
    rows = sources.first_rows(study, "xnli", 2)
    assert len(rows) == 2 and len({row["lang"] for row in rows}) == 2
    local = {"data.source": "local", "data.root": str(tmp_path)}
    assert sources.first_rows(params.load(tmp_path / "s/params.yaml", local), "xnli") == []


@pytest.mark.slow
def test_published_numbers_under_another_alpha(root, tmp_path):
    """A check that only 0.05 meets made every run with another `correlation.alpha` fail."""
    changes = FEW | {"correlation.alpha": 0.1}
    found = run(root, "04_published", changes=changes, out=str(tmp_path / "04_published"))
    assert found["results"]["answer"]


SMALL = {
    "encoder.kind": "path", "encoder.layers": 3, "encoder.frozen_layers": 1,
    "intermediate.train_size": 2, "intermediate.eval_size": 2, "intermediate.probe_size": 4,
    "intermediate.steps": 2, "intermediate.max_length": 60, "intermediate.stride": 10,
    "intermediate.batch_size": 4, "transfer.train_size": 4, "transfer.steps": 2,
    "transfer.max_length": 60, "transfer.stride": 10, "data.dev_size": 8, "data.test_size": 4,
    "transfer.languages": {},
}  # fmt: skip


def one_row_of(monkeypatch, *splits):
    """As if a file held a single row."""
    load = sources.load

    def first(name, split, *more, **options):
        rows = load(name, split, *more, **options)
        return rows.select([0]) if split in splits else rows

    monkeypatch.setattr(sources, "load", first)


@pytest.mark.slow
@pytest.mark.parametrize("splits", [(), ("dev",), ("train", "dev")])
@pytest.mark.parametrize("variant", ["none", "mnli", "squad1", "ccg", "hellaswag"])
def test_few_rows_to_train_and_measure(root, tmp_path, monkeypatch, variant, splits):
    """Two training rows are allowed, and a cell showed three; a gap of one pair divided by 0."""
    one_row_of(monkeypatch, *splits)
    changes = SMALL | {"encoder.path": str(tiny.checkpoint(tmp_path / "encoder"))}
    out = tmp_path / "outputs/x/01_intermediate" / variant / "seed1"
    found = run(root, "01_intermediate", changes=changes, variant=variant, out=str(out))
    for point in found["trajectory"]:
        assert all(value == value for value in point["metrics"].values())
    assert ("cosine_gap" in found["trajectory"][0]["metrics"]) == ("dev" not in splits)


@pytest.mark.slow
@pytest.mark.parametrize("splits", [("test",), ("train", "dev", "test")])
@pytest.mark.parametrize("target", ["xnli", "udpos", "xquad", "bucc2018", "tatoeba"])
def test_one_row_to_transfer_to(root, tmp_path, monkeypatch, target, splits):
    changes = SMALL | {
        "encoder.path": str(tiny.checkpoint(tmp_path / "encoder")), "transfer.targets": [target]
    }  # fmt: skip
    study = tmp_path / "outputs/x"
    above = study / "01_intermediate/none/seed1"
    run(root, "01_intermediate", changes=changes, variant="none", out=str(above))
    one_row_of(monkeypatch, *splits)
    where = {"variant": "none", "part": "part1", "out": str(study / "02_transfer/none/seed1/part1")}
    found = run(root, "02_transfer", changes=changes, **where)
    result = found["run"].results[target]
    assert result["languages"] or all(result["missing"].values())  # mining needs a gold pair


@pytest.mark.slow
def test_a_tour_of_one_row(root, tmp_path, monkeypatch, clone):
    """A batch of 16 of one training row; a check that only pretrained encoders pass."""
    encoder = {"encoder.path": str(tiny.checkpoint(tmp_path / "encoder", positions=300))}
    study = params.load(root / "params/smoke.yaml", SMALL | encoder)
    (tmp_path / "p.yaml").write_text(yamlfile.dump(study.fold()), encoding="utf-8")
    one_row_of(monkeypatch, "train", "dev", "test")
    found = run(root, "00_tour", study=str(tmp_path / "p.yaml"), steps=1)
    assert found["scores"].notna().all()
