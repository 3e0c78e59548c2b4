"""Cost estimates decide whether somebody books a cluster; they must follow from the params."""

import pytest

from midway import cost, params


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
    assert row["flops"] > 8 * top * trained  # checkpointing: 8, not 6


def test_shared_model_is_trained_once(root):
    rows = {r["name"]: r for r in cost.estimate(load(root, "mini"))}
    assert rows["xquad"]["steps"] == 40 and rows["mlqa"]["steps"] == 0
    assert rows["multi"]["steps"] == 120 and "none" not in rows


def test_cost_grows_with_layers_and_languages(root):
    small, large = load(root, "mini"), load(root, "mini", **{"encoder.layers": 12})
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
    assert "GPU-hours at 100% of 312 TFLOP/s" in capsys.readouterr().out
