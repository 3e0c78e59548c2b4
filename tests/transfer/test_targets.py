"""Intermediate training and transfer end to end on a tiny encoder: what a job does and resumes."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from midway.data import sources
from midway.encoder import training
from midway.evaluation import summary
from midway.intermediate import variant as intermediate
from midway.run import record, recording
from midway.study import params, tasks
from midway.study.errors import InputError, MissingData
from midway.study.files import plain
from midway.study.variants import LONGER
from midway.transfer import targets
from tiny import checkpoint

TARGETS = ["xnli", "udpos", "xquad", "mlqa", "bucc2018", "tatoeba"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = checkpoint(tmp_path_factory.mktemp("tiny"))
    phase = {"train_size": 24, "steps": 2, "batch_size": 4, "lr": 1e-3, "max_length": 64}
    return params.Study(
        study="tiny",
        encoder={
            "kind": "path",
            "path": str(folder),
            "frozen_layers": 1,
            "frozen_embeddings": True,
            "dropout": 0.0,
        },
        data={"dev_size": 60, "test_size": 60},
        intermediate=phase
        | {
            "variants": ["none", "mnli"],
            "checkpoints": 2,
            "eval_size": 12,
            "probe_size": 8,
            "probe_languages": ["de"],
            "tasks": {"multi": {"steps": 3}},
        },
        transfer=phase
        | {
            "targets": TARGETS,
            "languages": {
                "xnli": ["en", "de"],
                "udpos": ["en", "de"],
                "xquad": ["en", "de"],
                "mlqa": ["en"],
                "bucc2018": ["de"],
                "tatoeba": ["de", "fr"],
            },
        },
        compute={"precision": "fp32"},
    )


def train(study, root, variant, seed=1):
    out = root / "01_intermediate" / variant / f"seed{seed}"
    step = recording.begin(out, "01_intermediate", study, variant, seed)
    run = intermediate.Run(study, variant, seed, out)
    run.train()
    step.finish(run.results(), files=run.save())
    return out, run


def begin(study, root, variant, seed=1):
    out = root / "02_transfer" / variant / f"seed{seed}" / "part1"
    step = recording.begin(out, "02_transfer", study, variant, seed, "part1")
    upstream = root / "01_intermediate" / params.split_dose(variant)[0] / f"seed{seed}"
    return targets.Run(study, variant, seed, "part1", step, upstream)


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    """A finished variant: folder and results."""
    root = tmp_path_factory.mktemp("outputs")
    train(study, root, "mnli")
    run = begin(study, root, "mnli")
    for target in run.targets:
        run.evaluate(target)
    run.step.finish({"targets": run.results}, tokens=run.tokens)
    return root, run.results


@pytest.mark.slow
def test_every_target_gives_its_main_score_in_every_language(study, done):
    root, results = done
    summary.check(results, TARGETS)
    for target in TARGETS:
        card = tasks.get(target)
        assert set(results[target]["languages"]) == set(sources.evaluated(study, target))
        for values in results[target]["languages"].values():
            assert 0 <= values[card.metric] <= 100
    assert results["xquad"]["steps"] == results["mlqa"]["steps"] == 2
    assert math.isfinite(results["xnli"]["logme"])


@pytest.mark.slow
def test_retrieval_says_which_layer_and_shows_all(done):
    root, _ = done
    folder = root / "02_transfer/mnli/seed1/part1/scores"
    for name in ("tatoeba.de.json", "bucc2018.de.json"):
        extra = json.loads((folder / name).read_text(encoding="utf-8"))["extra"]
        assert sorted(map(int, extra["layers"])) == [1, 2, 3] and extra["layer"] == 3


@pytest.mark.slow
def test_second_run_computes_nothing_again(study, done, monkeypatch):
    """A killed job must redo only what is missing."""
    root, results = done

    def never(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "fit", never)
    monkeypatch.setattr(targets.predict, "logits", never)
    run = begin(study, root, "mnli")
    again = {target: run.evaluate(target) for target in run.targets}
    assert json.dumps(plain(again)) == json.dumps(plain(results))


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["gone", "edited", "prediction"])
def test_lost_or_edited_language_is_computed_again_and_equal(study, done, harm):
    root, results = done
    folder = root / "02_transfer/mnli/seed1/part1"
    path = folder / "scores/xnli.de.json"
    before = path.read_text(encoding="utf-8")
    if harm == "gone":
        path.unlink()
    elif harm == "edited":
        path.write_text(before.replace('"accuracy": ', '"accuracy": 9'), encoding="utf-8")
    else:
        given = folder / json.loads(before)["predictions"]
        given.write_text("entailment\n", encoding="utf-8")
    run = begin(study, root, "mnli")
    assert run.evaluate("xnli")["languages"] == results["xnli"]["languages"]
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_missing_language_is_named_and_the_others_go_on(study, tmp_path, monkeypatch):
    """XTREME users met silent 0.0 scores; a gap must be a gap with its reason."""
    train(study, tmp_path, "none")
    real = sources.load

    def load(task, split, lang, *args, **kwargs):
        if (task, split, lang) == ("xnli", "test", "de"):
            raise MissingData(task, lang, split, "no file de.tsv", "somewhere")
        return real(task, split, lang, *args, **kwargs)

    monkeypatch.setattr(sources, "load", load)
    run = begin(study, tmp_path, "none")
    found = run.evaluate("xnli")
    assert set(found["languages"]) == {"en"} and "no file de.tsv" in found["missing"]["de"]
    assert found["zero_shot"] is None and found["english"] is not None
    kept = json.loads((run.out / "scores/xnli.de.json").read_text(encoding="utf-8"))
    assert kept["metrics"] == {} and "de.tsv" in kept["missing"]
    assert "hypothesis_only" in found["controls"]["en"], "the baseline brings the blind control"


@pytest.mark.slow
def test_target_without_training_rows_does_not_stop_the_others(study, tmp_path, monkeypatch):
    train(study, tmp_path, "none")
    real = sources.load

    def load(task, split, lang, *args, **kwargs):
        if (task, split) == ("udpos", "train"):
            raise MissingData(task, lang, split, "no file train-en.tsv", "somewhere")
        return real(task, split, lang, *args, **kwargs)

    monkeypatch.setattr(sources, "load", load)
    run = begin(study, tmp_path, "none")
    found = run.evaluate("udpos")
    assert not found["languages"] and set(found["missing"]) == {"en", "de"}
    assert run.evaluate("tatoeba")["zero_shot"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant", ["multi", "mnli+shuffled", "squad1+mlm", "mnli+translated", "csqa", "ccg"]
)
def test_every_kind_of_variant_trains_and_is_measured(study, tmp_path, variant):
    out, run = train(study, tmp_path, variant)
    assert len(run.trajectory) == 3 and (out / "encoder.safetensors").exists()
    last = run.trajectory[-1]["metrics"]
    assert {"main", "loss", "contrast", "ece", "p_at_1", "cosine_gap"} <= set(last)
    assert all(math.isfinite(v) for v in last.values())
    kept = record.load(out / "record.json").results
    assert kept["label_shuffled"] == ("shuffled" in variant)
    # Nine languages share what English alone would have: 9 * (24 // 9).
    assert kept["train_n"] == {"multi": 9 * 24, "mnli+translated": 18}.get(variant, 24)
    if "translated" in variant:
        assert len(set(run.rows["mnli"]["lang"])) > 3


@pytest.mark.slow
def test_a_dose_is_the_encoder_of_that_moment(study, tmp_path, monkeypatch):
    """Half of a training, carried on, is what a training of half the steps would have left."""
    changes = {"steps": 4, "doses": [0.5, 1.0], "decay": 0.0, "warmup": 0.0}
    dosed = study.model_copy(update={"intermediate": study.intermediate.model_copy(update=changes)})
    out, run = train(dosed, tmp_path / "a", "mnli")
    assert [(p["step"], p.get("dose")) for p in run.trajectory] == [(0, None), (2, 0.5), (4, 1.0)]
    half = load_file(out / intermediate.weights_file("mnli@0.5"))
    whole = load_file(out / intermediate.weights_file("mnli"))
    assert set(half) == set(whole) and not all(torch.equal(half[k], whole[k]) for k in half)
    orders = training.training_order
    monkeypatch.setattr(training, "training_order", lambda *a: orders(a[0], a[1], 4, a[3])[: a[2]])
    short = dosed.intermediate.model_copy(update={"steps": 2, "doses": [1.0]})
    other, _ = train(study.model_copy(update={"intermediate": short}), tmp_path / "b", "mnli")
    same = load_file(other / intermediate.weights_file("mnli"))
    assert all(torch.equal(half[k], same[k]) for k in half)
    carried = begin(dosed, tmp_path / "a", "mnli@0.5")
    assert all(torch.equal(t, half[k]) for k, t in carried.start.items())
    files = record.load(out / "record.json").files
    assert set(files) >= {"encoder.safetensors", "encoder-0.5.safetensors"}


@pytest.mark.slow
def test_the_longer_baseline_trains_as_much_as_the_others_together(study, tmp_path):
    """More steps on the target are the simplest rival of an intermediate task."""
    train(study, tmp_path, LONGER)
    found = begin(study, tmp_path, LONGER).evaluate("udpos")
    assert found["steps"] == study.transfer.steps + study.intermediate.steps


@pytest.mark.slow
def test_training_states_of_other_settings_are_not_continued(study, tmp_path):
    """They would give weights that belong to no settings at all."""
    every = study.model_copy(update={"compute": study.compute.model_copy(update={"save_every": 1})})
    out = tmp_path / "01_intermediate/mnli/seed1"

    def resumed(settings):
        step = recording.begin(out, "01_intermediate", settings, "mnli", 1)  # as the notebook does
        run = intermediate.Run(settings, "mnli", 1, out, step.key)
        run.train()
        return run.fit.resumed_from

    plan = every.intermediate.model_copy(update={"lr": 2e-3})
    assert [resumed(every), resumed(every)] == [0, 1]
    assert resumed(every.model_copy(update={"intermediate": plan})) == 0


@pytest.mark.slow
def test_attention_over_layers_trains(study, tmp_path):
    encoder = study.encoder.model_copy(update={"aggregation": "attention"})
    own = study.model_copy(update={"encoder": encoder})
    train(own, tmp_path, "none")
    run = begin(own, tmp_path, "none")
    assert run.evaluate("udpos")["english"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("most", [0, 4 * 3 * 16 * 60])
def test_layers_are_not_swept_beyond_memory(study, tmp_path, monkeypatch, most):
    """All layers of BUCC's half a million sentences would not fit; the chosen one must still do."""
    monkeypatch.setattr(targets, "SWEEP_BYTES", most)
    train(study, tmp_path, "none")
    run = begin(study, tmp_path, "none")
    assert run.evaluate("bucc2018")["zero_shot"] is not None
    assert "3" in run.sweeps("bucc2018")["de"]


@pytest.mark.slow
def test_best_development_score_decides_what_is_kept(study, tmp_path):
    """XNLI is answered by MNLI's head, on development rows of its own; also beside states."""
    phases = {
        name: getattr(study, name).model_copy(update={"selections": 2, "checkpoints": 1})
        for name in ("intermediate", "transfer")
    }
    compute = study.compute.model_copy(update={"save_every": 1})
    own = study.model_copy(update=phases | {"compute": compute})
    out, run = train(own, tmp_path, "mnli")
    assert run.selected in (1, 2) and [p["step"] for p in run.trajectory] == [0, 2]
    assert run.trajectory[-1]["metrics"] == run.measure(2, 2)["metrics"]
    assert not (out / "states").exists()
    run = begin(own, tmp_path, "mnli")
    assert run.evaluate("xnli")["selected_step"] in (1, 2)
    assert not (run.out / "states/mnli").exists() and not run.tuned


def test_variant_without_its_data_is_refused(study, tmp_path):
    data = params.Data(source="local", root=str(tmp_path))
    with pytest.raises(InputError, match="mnli"):
        intermediate.Run(study.model_copy(update={"data": data}), "mnli", 1, tmp_path / "a/b/c")
