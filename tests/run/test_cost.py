"""Cost estimates decide whether somebody books a cluster; they must follow from the params."""

import json

import pytest

from midway.run import cost
from midway.study import params


def load(root, name, **changes):
    return params.load(root / "params" / f"{name}.yaml", changes)


def test_hand_worked_xnli_on_xlmr_large(root):
    """392,702 MNLI examples, two epochs in batches of 4: 196,351 steps of about 49 pieces."""
    study = load(root, "xlmr_large")
    row = next(r for r in cost.estimate(study) if r["name"] == "xnli")
    assert row["steps"] == 196_351
    top, low = cost.weights(study)
    assert top == 24 * 12 * 1024**2 and low == 0
    trained = 196_351 * 4 * cost.PIECES["mnli"]
    assert row["tokens"] == pytest.approx(trained + cost.TESTED["xnli"] * cost.PIECES["xnli"])
    assert row["flops"] > 6 * top * trained
    again = load(root, "xlmr_large", **{"compute.gradient_checkpointing": True})
    row = next(r for r in cost.estimate(again) if r["name"] == "xnli")
    assert row["flops"] > 8 * top * trained  # one more pass forward


# (rows, pieces) of a batch -> peak in GB, measured on an H200 with XLM-R Large in bf16
MEASURED = {(24, 256): 14.43, (16, 384): 14.43, (8, 384): 10.96, (32, 256): 16.78, (32, 200): 14.76}


@pytest.mark.parametrize(("rows", "pieces"), MEASURED)
def test_memory_is_as_measured_on_a_gpu(root, rows, pieces):
    """Who books a card by this number must not run out of memory, nor pay for twice as much."""
    one = {"variants": ["none", "mnli"], "tasks": {}, "batch_size": rows, "max_length": pieces}
    changes = {f"intermediate.{key}": value for key, value in one.items()}
    study = load(root, "xlmr_large", **changes, **{"transfer.targets": ["tatoeba"]})
    assert cost.memory_gb(study)["total"] == pytest.approx(MEASURED[rows, pieces], abs=0.85)


def test_small_batches_wait_for_the_processor(root):
    """Four rows a batch take a GPU no longer than its processor needs to start the kernels."""
    study = load(root, "xlmr_large")
    row = next(r for r in cost.estimate(study) if r["name"] == "xnli")
    assert row["passes"] == row["steps"]
    fast, slow = (cost._seconds(study, row, tflops) for tflops in (1000.0, 100.0))
    assert fast == slow == row["steps"] * 24 * cost.LAUNCH
    split = load(root, "xlmr_large", **{"transfer.tasks.xnli.accumulation": 4})
    row = next(r for r in cost.estimate(split) if r["name"] == "xnli")
    assert cost._seconds(split, row, 1000.0) == 4 * fast


def test_shared_model_is_trained_once(root):
    study = load(root, "mini")
    rows = {r["name"]: r for r in cost.estimate(study)}
    assert rows["xquad"]["steps"] == study.training("transfer", "xquad").steps
    assert rows["mlqa"]["steps"] == 0
    assert (
        rows["multi"]["steps"] == study.training("intermediate", "multi").steps
        and "none" not in rows
    )


def test_cost_grows_with_layers_and_languages(root):
    three = {"encoder.frozen_layers": 3}
    small, large = (load(root, "mini", **three, **{"encoder.layers": n}) for n in (6, 12))
    total = [sum(r["flops"] for r in cost.estimate(s)) for s in (small, large)]
    assert total[1] == pytest.approx(3 * total[0], rel=0.05)  # 9 trained layers against 3
    few = load(root, "mini", **{"transfer.languages.xnli": ["en"]})
    assert sum(r["tokens"] for r in cost.estimate(few)) < sum(
        r["tokens"] for r in cost.estimate(small)
    )


def test_text_states_its_assumptions(root):
    text = cost.text(load(root, "xlmr_large"))
    assert "counted, not measured" in text and "312 TFLOP/s" in text and "memory" in text


def test_unknown_hub_encoder_is_counted_like_large(root):
    changes = {"encoder": {"kind": "hub", "name": "a/b", "revision": "0" * 40}}
    assert cost.shape(load(root, "smoke", **changes)) == (24, 1024, 4096)


def test_plan_prints_the_estimate(root, capsys, monkeypatch):
    from midway import cli

    monkeypatch.chdir(root)
    assert (
        cli.main(["plan", "params/xlmr_base_afternoon.yaml", "--cost", "--utilisation", "1"]) == 0
    )
    out = capsys.readouterr().out
    assert "GPU-hours at up to 100% of 312 TFLOP/s" in out and "steps are done" in out
    assert "new: upstream" not in out  # the table, not hundreds of steps before it
    no_data_yet = ["params/local_sample.yaml", "--set", "data.root=/nowhere"]
    assert cli.main(["plan", *no_data_yet, "--cost"]) == 0
    capsys.readouterr()
    for option in ("--utilisation", "--peak-tflops"):
        assert cli.main(["plan", "params/smoke.yaml", "--cost", option, "0"]) == 2
        assert option in capsys.readouterr().err


def test_a_task_of_ones_own_is_counted(root, monkeypatch):
    """A card that was added has no measured size; the estimate must not end in a traceback."""
    for name in ("PIECES", "TESTED"):
        monkeypatch.delitem(getattr(cost, name), "pawsx")
    rows = {r["name"]: r for r in cost.estimate(load(root, "xlmr_large"))}
    assert rows["pawsx"]["tokens"] > 7 * 2_000 * 100


def test_a_run_refuses_an_unusable_encoder_before_it_starts(root, tmp_path, capsys, monkeypatch):
    """One line and exit code 2, not one failed notebook per variant."""
    from midway import cli

    monkeypatch.chdir(root)
    sets = {"study": "unusable", "encoder.kind": "path", "encoder.path": tmp_path / "x"}
    args = [a for key, value in sets.items() for a in ("--set", f"{key}={value}")]
    for command in ("run", "plan"):
        more = ["--cost"] if command == "plan" else []
        assert cli.main([command, "params/smoke.yaml", *args, *more]) == 2
        assert "encoder.path: " in capsys.readouterr().err.splitlines()[-1]
    assert not (root / "outputs" / "unusable").exists()


def test_the_vocabulary_is_the_encoders_own(root):
    """XLM-V's 901,629 pieces are 692 M weights; RemBERT's embeddings are 256 wide, not 1152."""

    def gb(name):
        changes = {"encoder": {"kind": "hub", "name": name, "revision": "0" * 40}}
        return cost.memory_gb(load(root, "smoke", **changes))["weights"]

    assert gb("a/xlm-v-base") - gb("a/xlm-roberta-base") == pytest.approx(
        4 * 768 * (901_629 - 250_002) / 1e9
    )
    layers = 32 * (4 * 1152**2 + 2 * 1152 * 4608)
    assert gb("google/rembert") == pytest.approx(4 * (layers + 250_300 * 256) / 1e9)


def test_an_encoder_in_the_hubs_cache_is_counted_by_its_own_config(root, tmp_path, monkeypatch):
    """A name that no table knows was counted like XLM-R Large even after its download."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--a--b" / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    sizes = {"num_hidden_layers": 5, "hidden_size": 8, "intermediate_size": 16, "vocab_size": 100}
    (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    changes = {"encoder": {"kind": "hub", "name": "a/b", "revision": "0" * 40}}
    assert cost.shape(load(root, "smoke", **changes)) == (5, 8, 16)
