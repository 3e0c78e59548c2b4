"""Choice quality and recommendations, against values worked by hand."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

import synthetic
from midway.correlation import arrays, choice, tables

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


def test_quality_beside_random_and_fixed(folder):
    X, Y, skip = arrays.wide(tables.predictors(folder), tables.outcomes(folder))
    table = choice.quality(X, Y, skip=skip)
    rows = table[table["target"] == "average"].set_index("predictor")
    gain = Y["average"].groupby(level=0).mean()
    assert rows.loc["random choice", "regret_1"] == pytest.approx(gain.max() - gain.mean())
    assert rows.loc["always mnli", "regret_1"] == pytest.approx(gain.max() - gain["mnli"])
    assert rows.loc["no intermediate task", "regret_1"] == pytest.approx(gain.max())
    assert rows.loc["main", "regret_1"] == 0 and rows.loc["main", "ndcg"] > 0.999
    assert rows.loc["loss", "regret_1"] == 0  # less is better
    assert rows.loc["cosine_gap", "ndcg"] < 0.95
    assert rows.loc["logme", "n"] == len(gain)
    band = rows.loc["random choice", ["low", "high"]].tolist()
    assert band == pytest.approx(np.quantile(gain.max() - gain, [0.025, 0.975]))
    assert rows.drop(index="random choice")[["low", "high"]].isna().all(axis=None)


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


def test_early_choice_of_an_empty_study():
    none = pd.DataFrame(columns=tables.PREDICTORS)
    outcomes = pd.DataFrame(columns=tables.OUTCOME)
    assert choice.early(none, outcomes).empty
    assert choice.quality(pd.DataFrame(), pd.DataFrame()).empty


FAMILY = dict(zip("abcdefghij", "NNSSMMMQCX", strict=True))


def draw(rng, icc, columns):
    """Ten tasks in six families whose values share the part ``icc`` within a family."""
    _, place = np.unique(list(FAMILY.values()), return_inverse=True)
    common = np.sqrt(icc) * rng.standard_normal((6, columns))[place]
    return common + np.sqrt(1 - icc) * rng.standard_normal((10, columns))


def judged(rng, icc=0.0, rules=12, rho=0.0, **options):
    gain = draw(rng, icc, 1)
    merit = rho * gain + np.sqrt(1 - rho**2) * draw(rng, icc, rules)
    merit, gain = pd.DataFrame(merit, list(FAMILY)), pd.Series(gain[:, 0], list(FAMILY))
    return choice.nested(merit, gain, FAMILY, permutations=99, **options)


@pytest.mark.slow
@pytest.mark.parametrize("icc", [0, 0.9])
def test_noise_is_called_better_than_chance_in_five_percent(icc):
    """Also where tasks of one family are near copies; 200 studies, error .015."""
    rng = np.random.default_rng(1)
    said = [judged(rng, icc)["p"].iloc[0] < 0.05 for _ in range(200)]
    assert np.mean(said) <= 0.05 + 2 * 0.0154


def test_a_real_rule_is_found_on_unseen_tasks():
    table = judged(np.random.default_rng(0), rho=0.98)
    row = table.iloc[0]
    assert row["kind"] == "nested" and row["tried"] == 12 and row["families"] == 6
    assert row["p"] < 0.05 and row["saved"] > row["high"] > 0 > row["low"]
    assert row["regret"] == pytest.approx(row["random"] - row["saved"])


def test_nested_choice_by_hand():
    """Four tasks, one rule: it prefers d > c > b > a, the gains are 0, 1, 2, 3 but c and d swap."""
    merit = pd.DataFrame({"m": [0.0, 1, 2, 3]}, list("abcd"))
    gain = pd.Series([0.0, 1, 3, 2], list("abcd"))
    table = choice.nested(merit, gain, rivals=pd.DataFrame({"size": [3.0, 2, 1, 0]}, list("abcd")))
    lost = 1 / 6  # one point in one of six choices
    assert table["regret"].iloc[0] == pytest.approx(lost)
    assert table["random"].iloc[0] == pytest.approx((1 + 3 + 2 + 2 + 1 + 1) / 2 / 6)
    rival = table[table["kind"] == "rival"].iloc[0]
    assert rival["rule"] == "size" and rival["saved"] == pytest.approx(-table["saved"].iloc[0])
    # of 24 ways to deal the gains: the right order, and three with two neighbours swapped
    assert table["p"].iloc[0] == pytest.approx(4 / 24)


def test_the_rule_is_chosen_on_other_families_only():
    """A rule that knows the answer within the pair alone must not be chosen by it."""
    gain = pd.Series([0.0, 1, 2, 3], list("abcd"))
    merit = pd.DataFrame({"good": gain, "bad": -gain, "tie": [0.0, 0, 0, 1]})
    # where d is left to choose on, good and tie are equally right; tie is a coin for the others
    assert choice.nested(merit, gain)["regret"].iloc[0] == pytest.approx((1 + 2 + 1) / 4 / 6)
    copies = dict.fromkeys("ab", "one") | dict.fromkeys("cd", "two")
    assert choice.nested(merit, gain, copies).empty  # two families: nothing is left to choose on


def test_always_the_fixed_task_is_a_coin_elsewhere():
    gain = pd.Series([4.0, 1, 2, 3], ["mnli", "b", "c", "d"])
    merit = pd.DataFrame({"m": [0.0, 1, 2, 3]}, gain.index)
    row = choice.nested(merit, gain).set_index("rule").loc["always mnli"]
    assert row["saved"] == pytest.approx((3 + 2 + 1) / 2 / 6)
