"""Choice quality and recommendations, against values worked by hand."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

import synthetic
from midway.correlation import choice, tables
from midway.study.errors import InputError

GAIN = np.array([1.0, 4.0, 2.0, 0.0])


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("outputs") / "study"
    synthetic.write(root, path)
    return path


def test_regret_by_hand():
    """The metric ranks third, first, second: its first choice has gain 2 of 4."""
    merit = np.array([2.0, 1.0, 3.0, 0.0])
    assert choice.regret(merit, GAIN, 1) == 2
    assert choice.regret(merit, GAIN, 2) == 2
    assert choice.regret(merit, GAIN, 3) == 0
    assert choice.regret(merit, GAIN, 9) == 0


def test_tied_metrics_share_the_regret():
    """Otherwise the order of rows in a file would decide."""
    assert choice.regret(np.array([1.0, 1.0, 0.0, 0.0]), GAIN, 1) == pytest.approx(4 - 2.5)
    assert choice.regret(np.array([5.0, 1.0, 1.0, 0.0]), GAIN, 2) == pytest.approx(4 - (4 + 2) / 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=6), st.integers(1, 6))
def test_expected_best_by_enumeration(gains, k):
    gains, k = np.array(gains, float), min(k, len(gains))
    every = [max(c) for c in combinations(gains, k)]
    assert choice.expected_best(gains, k) == pytest.approx(np.mean(every))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=3, max_size=5), st.integers(1, 3), st.randoms())
def test_regret_with_ties_is_the_mean_over_orders(merits, k, rnd):
    merit = np.array(merits, float)
    gain = np.array([rnd.random() for _ in merits])
    found = []
    for order in permutations(range(len(merit))):
        first = sorted(order, key=lambda i: -merit[i])[:k]
        found.append(gain.max() - max(gain[i] for i in first))
    assert choice.regret(merit, gain, k) == pytest.approx(np.mean(found))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=3, max_size=8), st.integers(0, 99))
def test_ndcg_equals_scikit_learn(merits, seed):
    gain = np.random.default_rng(seed).random(len(merits))
    merit = np.array(merits, float)
    worth = gain - gain.min()
    expected = ndcg_score([worth], [merit])
    assert choice.ndcg(merit, gain) == pytest.approx(expected)


def test_the_interval_of_regret_is_that_of_single_draws():
    """All draws are computed at once; ties among drawn candidates included."""
    X = pd.DataFrame({"m": [1.0, 2.0, 2.0, 0.0]}, index=list("abcd"))
    Y = pd.DataFrame({"t": GAIN}, index=list("abcd"))
    row = choice.quality(X, Y, resamples=199, seed=3).query("kind == 'predictor'").iloc[0]
    draws = np.random.default_rng(3).integers(0, 4, (199, 4))
    single = [choice.regret(X["m"].to_numpy()[d], GAIN[d]) for d in draws]
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(single, [0.025, 0.975]))


def test_quality_beside_random_and_fixed(folder):
    X, Y, skip = tables.wide(tables.predictors(folder), tables.outcomes(folder))
    table = choice.quality(X, Y, skip=skip, resamples=99)
    rows = table[table["target"] == "average"].set_index("predictor")
    gain = Y["average"].groupby(level=0).mean()
    assert rows.loc["random choice", "regret_1"] == pytest.approx(gain.max() - gain.mean())
    assert rows.loc["always mnli", "regret_1"] == pytest.approx(gain.max() - gain["mnli"])
    assert rows.loc["no intermediate task", "regret_1"] == pytest.approx(gain.max())
    assert rows.loc["main", "regret_1"] == 0 and rows.loc["main", "ndcg"] > 0.999
    assert rows.loc["loss", "regret_1"] == 0  # less is better
    assert rows.loc["cosine_gap", "ndcg"] < 0.95
    assert rows.loc["logme", "n"] == 9  # multi is composed of the nine


def test_early_choice_by_hand(folder):
    """At 20 % of training `main` already ranks as at the end: one kept variant, no regret."""
    runs = choice.early(
        tables.predictors(folder), tables.outcomes(folder), costs=tables.costs(folder)
    )
    row = runs.set_index(["predictor", "fraction", "k"]).loc[("main", 0.2, 1)]
    assert row["regret"] == 0
    # ten variants, 60 s for each half: .2 of ten first halves, and .8 + 1 of the one kept
    assert row["compute"] == pytest.approx((0.2 * 10 + 0.8 + 1) / 20)
    assert row["saved"] == pytest.approx(1 - row["compute"])
    assert "accuracy" not in set(runs["predictor"])  # SQuAD has none: no choice among all
    chance = runs[runs["predictor"] == "random choice"].groupby("k")["regret"].mean()
    assert chance.is_monotonic_decreasing


def test_recommendation_of_a_finished_study(folder):
    table, cost = choice.recommend(folder, resamples=999)
    assert table["variant"][0] == "multi" and set(table["source"]) == {"measured"}
    gain = tables.outcomes(folder).set_index(["variant", "target"])["gain"]
    assert table["gain"][0] == pytest.approx(gain.loc[("multi", "average")].mean())
    assert ((table["low"] <= table["gain"]) & (table["gain"] <= table["high"])).all()
    assert 0 <= cost["low"] <= cost["expected"] <= cost["high"] + 1e-9 < cost["random"]


def test_recommendation_from_what_is_finished(root, tmp_path):
    """Variants that are trained but not transferred are placed by the metric, and named so."""
    some = ["none", "anli", "mnli", "qqp", "squad1", "ccg"]
    synthetic.write(root, tmp_path / "s", transferred=some, noise=0.1)
    table, _ = choice.recommend(tmp_path / "s", "xquad", resamples=499)
    row = table.set_index("variant").loc["csqa"]
    assert row["source"] == "predicted from main" and row["seeds"] == 0
    assert table["variant"][0] == "multi" and row["low"] < row["gain"] < row["high"]
    absent, _ = choice.recommend(tmp_path / "s", "xquad", predictor="no_such", resamples=99)
    assert set(absent["variant"]) == set(some) - {"none"}


def test_too_few_to_predict_from(root, tmp_path):
    synthetic.write(root, tmp_path / "s", transferred=["none", "anli", "mnli"])
    table, _ = choice.recommend(tmp_path / "s", resamples=99)
    rest = table.set_index("variant").loc["csqa"]
    assert np.isnan(rest["gain"]) and rest["source"] == "trained, not transferred yet"
    assert table["variant"][0] in ("anli", "mnli")


def test_refusals_in_one_line(root, tmp_path, folder):
    synthetic.study(root, tmp_path / "s")
    with pytest.raises(InputError, match="none.*finished"):
        choice.recommend(tmp_path / "s")
    with pytest.raises(InputError, match="one of"):
        choice.recommend(folder, "xquat")
    with pytest.raises(InputError, match="budget"):
        choice.main(folder, ["--budget", "2"])


def test_groups_and_the_verb(folder, capsys):
    table, _ = choice.recommend(folder, "retrieval", resamples=99)
    assert table["variant"][0] == "multi"
    assert choice.main(folder, ["--target", "xnli", "--budget", "0.4"]) == 0
    out = capsys.readouterr().out
    assert "none 0.0" in " ".join(out.split())  # stands in the ranking
    assert "expected regret" in out and "Early choice within 40%" in out


@pytest.mark.parametrize(
    ("gain", "low", "says"),
    [
        (-1.5, -2, "Take none for xnli: no intermediate task is expected to help"),
        (0.4, -1, "Take mnli for xnli: +0.4 points (-1.0 to +1.4)"),
        (2.0, 1, "Take mnli for xnli"),
    ],
)
def test_a_loss_is_never_recommended(gain, low, says):
    row = pd.Series({"variant": "mnli", "gain": gain, "low": low, "high": gain + 1})
    cost = {"expected": 0.0, "low": 0.0, "high": 0.0, "random": 1.0}
    words = choice.advice(row, "xnli", cost)
    assert words.startswith(says)
    assert ("Not shown to be better than none" in words) == (low < 0 < gain)


def test_early_choice_of_an_empty_study():
    none = pd.DataFrame(columns=tables.PREDICTORS)
    outcomes = pd.DataFrame(columns=tables.OUTCOME)
    assert choice.early(none, outcomes).empty
    assert choice.quality(pd.DataFrame(), pd.DataFrame()).empty
