"""Recommendations: gains with their noise, and no advice where the noise decides."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import synthetic
from midway.correlation import advice, recommend, tables, words
from midway.study.errors import InputError


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("outputs") / "study"
    synthetic.write(root, path)
    return path


def noise(V, own=1.0, shared=0.0, free=20, seeds=1):
    zero = np.zeros((V, V))
    return {"own": (own, free), "shared": (shared, free, 0.0), "per": np.full(V, 1 / seeds),
            "items": zero, "languages": zero}  # fmt: skip


def test_equal_tasks_are_drawn_together():
    """The best of nine equal tasks looks better than it is: the winner's curse."""
    gain = np.random.default_rng(3).standard_normal(9)
    true = recommend.posterior(gain, noise(9), 4000, np.random.default_rng(0))
    assert true.mean(0).max() - true.mean(0).min() < 0.6 * np.ptp(gain)
    assert (true.argmax(1) == gain.argmax()).mean() < advice.SURE


def test_clear_gains_stay_as_they_were_measured():
    gain = np.array([0.0, 10, 20, 30, 40])
    true = recommend.posterior(gain, noise(5), 4000, np.random.default_rng(0))
    np.testing.assert_allclose(true.mean(0), gain, atol=0.3)
    np.testing.assert_allclose(true.std(0), 1, atol=0.15)


def test_the_baselines_noise_moves_all_gains_together():
    gain = np.array([0.0, 10, 20])
    true = recommend.posterior(gain, noise(3, 0.01, 9.0), 4000, np.random.default_rng(0))
    assert true.std(0).min() > 2.5 and (true[:, 1] - true[:, 0]).std() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 1.0, 6.0])
def test_intervals_contain_what_another_study_measures_and_are_of_use(shared):
    """95 % intervals of a repetition, from two seeds: one degree of freedom for the baseline."""
    rng, hits, wide, said = np.random.default_rng(5), [], [], []
    for _ in range(100):
        truth = rng.normal(1, 2, 8)
        first, second = (
            truth + rng.standard_normal((2, 8)) + shared**0.5 * rng.standard_normal((2, 1))
            for _ in "ab"
        )
        rest = first - first.mean(0) - first.mean(1, keepdims=True) + first.mean()
        parts = noise(8, (rest**2).sum() / 7, 0.0, 7, 2)
        parts["shared"] = (first.mean(1).var(ddof=1), 1, 1 / 8)
        true = recommend.posterior(first.mean(0), parts, 2000, rng)
        again = true + recommend._errors(parts, 8, 2000, rng)
        low, high = np.quantile(again, [0.025, 0.975], axis=0)
        hits.append((low <= second.mean(0)) & (second.mean(0) <= high))
        wide.append(np.median(high - low))
        best = true.mean(0).argmax()
        if (true.argmax(1) == best).mean() >= advice.SURE:
            said.append(best == truth.argmax())
    assert np.mean(hits) >= 0.9 and np.mean(said or [1]) >= 0.9
    ideal = 2 * 1.96 * np.sqrt(1 + shared)  # of a repetition, were the variances known
    assert np.median(wide) < 2 * ideal


def test_a_finished_study(folder):
    table, facts = recommend.recommend(folder)
    gain = tables.outcomes(folder).set_index(["variant", "target"])["gain"]
    rows = table.set_index("variant")
    assert set(table["source"]) == {"measured"} and facts["seed_noise"] == "measured"
    for variant in rows.index:
        assert rows.loc[variant, "gain"] == pytest.approx(gain.loc[(variant, "average")].mean())
    assert ((table["low"] <= table["gain"]) & (table["gain"] <= table["high"])).all()
    assert set(facts["noise"]) == {"seeds", "baseline", "items", "languages"}
    assert 0 <= facts["low"] <= facts["expected"] <= facts["high"]
    assert facts["expected"] < facts["random"]
    assert facts["noise"]["items"] > 1  # n = 100 at about 40 %: not forgotten without predictions


def test_one_seed_says_where_its_noise_is_from(root, tmp_path):
    synthetic.write(root, tmp_path / "s", seeds=(1,))
    table, facts = recommend.recommend(tmp_path / "s")
    assert "assumed" in facts["seed_noise"]
    assert any("assumed" in line for line in advice.advice(table, "average", facts))
    wide = (table["high"] - table["low"]).min()
    assert wide > 2 * np.sqrt(2 * 0.09 * table["gain"].var())  # 1 - .91, for task and baseline


def test_what_is_not_transferred_is_predicted_only_by_a_line_that_is_any_good(root, tmp_path):
    some = ["none", "anli", "mnli", "qqp", "squad1", "hellaswag", "ccg"]
    synthetic.write(root, tmp_path / "s", transferred=some, noise=0.1)
    table, _ = recommend.recommend(tmp_path / "s", "xquad")
    row = table.set_index("variant").loc["csqa"]
    assert row["source"] == "predicted from main" and row["seeds"] == 0
    assert row["low"] < row["expected"] < row["high"] and np.isnan(row["gain"])
    noisy, _ = recommend.recommend(tmp_path / "s", "xquad", predictor="cosine_gap")
    row = noisy.set_index("variant").loc["csqa"]
    assert row["source"] == "trained, not transferred yet" and np.isnan(row["expected"])
    absent, _ = recommend.recommend(tmp_path / "s", "xquad", predictor="no_such")
    assert set(absent["variant"]) == set(some) - {"none"}


def test_refusals_in_one_line(root, tmp_path, folder):
    synthetic.study(root, tmp_path / "s")
    with pytest.raises(InputError, match="none.*finished"):
        recommend.recommend(tmp_path / "s")
    with pytest.raises(InputError, match="one of"):
        recommend.recommend(folder, "xquat")
    with pytest.raises(InputError, match="budget"):
        recommend.report(folder, share=2)
    with pytest.raises(InputError, match="--predictor: 'cosine_gp'; did you mean 'cosine_gap'"):
        recommend.report(folder, predictor="cosine_gp")
    with pytest.raises(InputError, match="every early choice costs more"):
        recommend.budget(folder, "average", 0.001)


def test_the_verb(folder, capsys):
    assert recommend.report(folder, "xnli", share=0.4) == 0
    out = capsys.readouterr().out
    assert "no intermediate task" in out and words.MICROWORLD in out
    assert "rules tried" in out and "by luck alone" in out and "by chance" in out
    assert recommend.report(folder, "retrieval", as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"gains", "facts", "words"} <= set(found) and found["gains"][0]["low"] is not None


def test_what_a_repetition_would_find():
    """Normal draws of mean m, sd 1: P(draw > 1.96), the repetition's half interval."""
    draws = np.random.default_rng(0).standard_normal(200_000)
    for mean in (0.0, 2.0, 3.3):
        expected = norm.sf(1.96 - mean)
        assert recommend._found(pd.Series(draws + mean), 0.05) == pytest.approx(expected, abs=0.005)


ROW = {"variant": "mnli", "gain": 2.0, "expected": 1.5, "low": 0.5, "high": 3.0, "p_best": 0.99,
       "p_helps": 0.99, "source": "measured", "seeds": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "Take mnli for xnli"),
        ({"repeat_best": 0.94}, "Cannot tell which task is best for xnli: it may be mnli, qqp"),
        ({"repeat_helps": 0.94}, "Cannot tell whether any intermediate task helps xnli"),
        ({"repeat_helps": 0, "repeat_hurts": 0.95}, "Take none for xnli"),
    ],
)
def test_advice_is_cannot_tell_unless_it_is_sure(change, says):
    """A sentence names a task only if a repetition with other seeds would most likely say so."""
    table = pd.DataFrame([ROW, ROW | {"variant": "qqp", "expected": -2, "p_best": 0.06}])
    facts = {"expected": 0.2, "random": 1.0, "noise": {"seeds": 0.5}, "seed_noise": "measured",
             "repeat_helps": 0.95, "repeat_best": 0.95, "repeat_hurts": 0.0} | change  # fmt: skip
    (line, noise) = advice.advice(table, "xnli", facts)
    assert line.startswith(says) and "with other seeds and test items +0.5 to +3.0" in line
    assert noise == "Noise of one gain: seeds 0.5; seed noise measured."
