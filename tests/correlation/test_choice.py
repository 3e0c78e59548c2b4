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


def nested_by_hand(merit, gain, names):
    """Points saved a choice, pair of families by pair of families, in plain loops."""
    saved = choices = 0
    for one, two in combinations(sorted(set(names)), 2):
        right = dict.fromkeys(merit, 0.0)
        for a, b in combinations(range(len(gain)), 2):
            if names[a] != names[b] and not {names[a], names[b]} & {one, two}:
                for rule, m in merit.items():
                    right[rule] += np.sign(m[a] - m[b]) * (gain[a] - gain[b])
        best = [r for r in merit if right[r] >= max(right.values()) - 1e-9]
        for a, b in combinations(range(len(gain)), 2):
            if {names[a], names[b]} == {one, two}:
                way = np.mean([np.sign(merit[r][a] - merit[r][b]) for r in best])
                saved, choices = saved + way * (gain[a] - gain[b]) / 2, choices + 1
    return saved / choices


def test_nested_choice_by_brute_force():
    """Selection, ties between rules, and the band and p over all deals of the families' means."""
    rng = np.random.default_rng(3)
    names, units = "AABBCDD", list("abcdefg")
    gain = np.round(rng.normal(0, 3, 7), 1)
    rules = {"m": rng.random(7), "same": None, "x": rng.integers(0, 3, 7).astype(float)}
    rules["same"] = 2 * rules["m"]
    merit = pd.DataFrame(rules, units).assign(flat=1.0, part=[np.nan] + [1.0, 2] * 3)
    family = dict(zip(units, names, strict=True))
    row = choice.nested(merit, pd.Series(gain, units), family, alpha=0.2).iloc[0]
    assert row["tried"] == 3 and (row["n"], row["families"]) == (7, 4)
    assert row["saved"] == pytest.approx(nested_by_hand(rules, gain, names))
    mean = {f: gain[[n == f for n in names]].mean() for f in "ABCD"}
    dealt = []
    for order in permutations("ABCD"):
        moved = dict(zip("ABCD", order, strict=True))
        new = [g - mean[n] + mean[moved[n]] for g, n in zip(gain, names, strict=True)]
        dealt.append(nested_by_hand(rules, np.array(new), names))
    assert row["p"] == pytest.approx(np.mean(np.array(dealt) >= row["saved"] - 1e-9))
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(dealt, [0.1, 0.9]))
    coin = [
        abs(gain[a] - gain[b]) / 2 for a, b in combinations(range(7), 2) if names[a] != names[b]
    ]
    assert row["random"] == pytest.approx(np.mean(coin))
    assert row["regret"] == pytest.approx(np.mean(coin) - row["saved"])


def test_p_of_a_sample_of_deals_counts_the_study_itself():
    """(b + 1) / (m + 1): 23 deals of the 24 are a sample, 24 are all."""
    merit, gain = pd.DataFrame({"m": range(4)}, list("abcd")), pd.Series(range(4), list("abcd"))
    exact, sample = (choice.nested(merit, gain, permutations=k)["p"][0] for k in (24, 23))
    assert exact == pytest.approx(1 / 24) and sample >= 1 / 24
    assert (sample * 24) == pytest.approx(round(sample * 24))
    few = choice.nested(merit, gain * 1.0, permutations=9)["p"][0]
    assert few * 10 == pytest.approx(round(few * 10)) and few >= 0.1
    against = choice.nested(merit, -gain, permutations=23)["p"][0]  # the worst order: all deals
    assert against == 1
    swapped = gain[["a", "b", "d", "c"]].set_axis(gain.index)  # 4 of the 24 deals save no less
    some = [choice.nested(merit, swapped, permutations=23, seed=s)["p"][0] for s in range(20)]
    assert np.mean(some) == pytest.approx((23 * 4 / 24 + 1) / 24, abs=0.04)


def test_eight_families_are_dealt_9999_times():
    """With the study itself 10,000, so that p has four decimals."""
    gain = pd.Series([3.0, 0, 5, 1, 4, 7, 2, 6], list("abcdefgh"))
    p = choice.nested(pd.DataFrame({"m": np.arange(8.0)}, gain.index), gain)["p"][0]
    assert 0.02 < p < 0.98 and p * 10_000 == pytest.approx(round(p * 10_000), abs=1e-6)


def test_quality_needs_two_tasks_and_two_values():
    X = pd.DataFrame({"main": [1.0, 2, 3, np.nan], "flat": 1.0, "few": [1.0, 2, np.nan, np.nan],
                      "one": [1.0, np.nan, np.nan, np.nan], "logme:b": [4.0, 3, 2, 1]},
                     list("wxyz"))  # fmt: skip
    Y = pd.DataFrame({"a": [0.0, 5, 3, 9], "b": [1.0, np.nan, np.nan, np.nan], "c": 2.0},
                     list("wxyz"))  # fmt: skip
    table = choice.quality(X, Y, skip={("logme:b", "a")}, fixed="x", alpha=0.5)
    assert set(table["target"]) == {"a", "c"}
    a = table[table["target"] == "a"].set_index("predictor")
    assert list(a.index) == ["random choice", choice.NO_TASK, "always x", "main", "few"]
    assert a["regret_1"].tolist() == [9 - 17 / 4, 9, 4, 2, 0] and a["n"].tolist() == [4] * 3 + [
        3,
        2,
    ]
    assert a.loc["main", ["regret_3"]].item() == 0
    assert a.loc["random choice", "regret_3"] == pytest.approx(9 - (9 * 3 + 5) / 4)
    band = np.quantile([9.0, 4, 6, 0], [0.25, 0.75])
    assert a.loc["random choice", ["low", "high"]].tolist() == pytest.approx(band)
    c = table[table["target"] == "c"].set_index("predictor")  # equal gains: no order to find
    assert c.loc["random choice", "regret_1"] == 0 and np.isnan(c.loc["main", "ndcg"])


def test_looks_within_two_percent_are_one():
    assert choice.looks([1.0, 0.0, 0.325, 1 / 3, 0.5, 0.5]) == [0.0, 1 / 3, 0.5, 1.0]
    assert choice.looks([0.1, 0.12, 0.15]) == pytest.approx([0.12, 0.15], abs=0.021)


def trajectory(values, seed=1, name="main"):
    """Rows of `tables.predictors` for tasks a, b, ...: values[task] at fractions 0, .5 and 1."""
    rows = [
        {"variant": v, "seed": seed, "fraction": f, "predictor": name, "value": x, "target": np.nan}
        for v, xs in values.items()
        for f, x in zip((0.0, 0.5, 1.0), xs, strict=True)
    ]
    return pd.DataFrame(rows)


def test_early_choice_over_seeds_and_prices():
    """Regret is the mean over seeds with its range; a look counts from 0.001 before it."""
    first = {"a": [0, 1, 3], "b": [0, 2, 2], "c": [0, 3, 1]}
    table = pd.concat(
        [trajectory(first), trajectory({**first, "c": [0, 0, 1]}, 2), trajectory(first, 1, "loss")]
    )
    gains = pd.DataFrame(
        [(v, s, "average", g) for s in (1, 2) for v, g in (("a", 6.0), ("b", 4.0), ("c", 1.0))],
        columns=["variant", "seed", "target", "gain"],
    )
    more = pd.DataFrame(
        [("none", 1, "average", 0.0), ("a", 1, "xnli", 99.0)], columns=gains.columns
    )
    cost = [
        (v, s, step, x)
        for v, s in [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("c", 2)]
        for step, x in (("01_intermediate", 2.0 if v == "a" else 1.0), ("02_transfer", 6.0))
    ]
    cost = pd.DataFrame(cost, columns=["variant", "seed", "step", "cpu_s"])
    found = choice.early(table, pd.concat([gains, more]), costs=cost, keep=(1, 3))
    rows = found.set_index(["predictor", "fraction", "k"])
    assert set(found["k"]) == {1}  # keeping three of three is no choice
    half, end = rows.loc[("main", 0.5, 1)], rows.loc[("main", 1.0, 1)]
    assert (half["regret"], half["low"], half["high"]) == (3.5, 2, 5) and end["regret"] == 0
    assert half["seeds"] == 2 and half["n"] == 3 and rows.loc[("loss", 0.5, 1), "seeds"] == 1
    spent = 0.5 * 4 + (0.5 * 2 + 6 + 2 * (0.5 + 6)) / 3
    assert half["compute"] == pytest.approx(spent / 22)
    assert end["compute"] == pytest.approx((4 + 6) / 22) and end["saved"] == pytest.approx(12 / 22)
    assert rows.loc[("random choice", 0.5, 1), "regret"] == pytest.approx(6 - 11 / 3)
    assert ("main", 0.0, 1) not in rows.index  # all equal: no choice
    for bad in (None, cost.iloc[1:], cost.assign(cpu_s=np.nan), cost.iloc[::2]):  # steps alone
        row = choice.early(table, gains, costs=bad, names=["main"]).iloc[-1]
        assert row["predictor"] == "main" and row["compute"] == pytest.approx(1.0)
    late = table.assign(fraction=table["fraction"] + 0.0009)
    two = choice.early(pd.concat([table, late]), gains, names=["main"]).set_index(
        ["predictor", "fraction", "k"]
    )
    assert len(two) == 10 and choice.early(table, gains, "xnli").empty
