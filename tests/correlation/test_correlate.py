"""Correlations and their uncertainty, against SciPy, statsmodels and values worked by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from midway.correlation import intervals as iv
from midway.correlation import resampling as rs
from midway.correlation.correlate import (
    COLUMNS,
    METHODS,
    compare,
    correlate,
    critical,
    stratified,
)
from midway.study.errors import InputError

SCIPY = {
    "spearman": lambda a, b: stats.spearmanr(a, b)[0],
    "pearson": lambda a, b: stats.pearsonr(a, b)[0],
    "kendall": lambda a, b: stats.kendalltau(a, b)[0],
}
FEW = {"permutations": 999, "resamples": 199}


def frames(n=9, p=3, o=2, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, p)), rng.standard_normal((n, o))
    if ties:
        x, y = np.round(x * 1.5), np.round(y * 1.5)
    units = [f"u{i}" for i in range(n)]
    return (
        pd.DataFrame(x, units, [f"p{i}" for i in range(p)]),
        pd.DataFrame(y, units, [f"o{i}" for i in range(o)]),
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_equal_scipy(method, ties):
    X, Y = frames(ties=ties)
    for row in correlate(X, Y, method=method, **FEW).itertuples():
        assert row.rho == pytest.approx(SCIPY[method](X[row.predictor], Y[row.outcome]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_exact_p_equals_scipy(method, ties):
    """At n = 6 all 720 orders are tried, as scipy.stats.permutation_test does."""
    X, Y = frames(n=6, p=1, o=1, seed=3, ties=ties)
    row = correlate(X, Y, method=method, **FEW).iloc[0]

    def size(x):
        return abs(SCIPY[method](x, Y["o0"]))

    expected = stats.permutation_test(
        (X["p0"],), size, permutation_type="pairings", alternative="greater", n_resamples=np.inf
    )
    assert row.p == pytest.approx(expected.pvalue)
    assert row.p_maxt == pytest.approx(row.p)  # a family of one needs no correction


def test_exact_spearman_p_by_hand():
    """n = 5, perfect order: 2 of 120 orders are as extreme."""
    X, Y = pd.DataFrame({"a": range(5)}), pd.DataFrame({"b": [1, 4, 9, 16, 25]})
    row = correlate(X, Y, **FEW).iloc[0]
    assert (row.rho, row.p) == (1.0, pytest.approx(2 / 120))
    assert "Fisher z" in row.note and row.low < 1 and row.high == 1


def test_monte_carlo_p_agrees_with_exact_distribution():
    """At n = 9 sampled orders give the exact p within Monte-Carlo error, and never zero."""
    X, Y = frames(n=9, p=4, o=3, seed=1)
    table = correlate(X, Y, permutations=9999, resamples=99)
    counts = 9
    from midway.correlation.null import _squared_rank_differences

    ways = _squared_rank_differences(counts)
    values = np.abs(1 - 6 * np.arange(len(ways)) / (counts * (counts**2 - 1)))
    for row in table.itertuples():
        exact = ways[values >= abs(row.rho) - 1e-9].sum() / ways.sum()
        assert abs(row.p - exact) < 4 * np.sqrt(exact * (1 - exact) / 9999) + 2e-4
        assert row.p >= 1 / 10_000


def test_false_discovery_equals_statsmodels():
    table = correlate(*frames(p=4, o=5), **FEW)
    np.testing.assert_allclose(table["q_bh"], multipletests(table["p"], method="fdr_bh")[1])


def test_family_p_is_between_p_and_bonferroni():
    table = correlate(*frames(n=7, p=5, o=4), permutations=5040, resamples=99)
    assert table.attrs["exact"] and table.attrs["cells"] == 20
    assert (table["p_maxt"] >= table["p"]).all()
    assert (table["p_maxt"] <= np.minimum(1, table["p"] * 20) + 1e-12).all()


def test_family_of_copies_costs_nothing():
    """max-T knows dependence: nine copies of one predictor are one test; Bonferroni pays nine."""
    X, Y = frames(p=1, o=1)
    many = pd.concat({f"c{i}": X["p0"] for i in range(9)}, axis=1)
    table = correlate(many, Y, **FEW)
    assert np.allclose(table["p_maxt"], table["p"])


def test_leave_one_out_range_by_brute_force():
    X, Y = frames(p=1, o=1)
    row = correlate(X, Y, **FEW).iloc[0]
    left = [stats.spearmanr(X["p0"].drop(u), Y["o0"].drop(u))[0] for u in X.index]
    assert (row.loo_low, row.loo_high) == (pytest.approx(min(left)), pytest.approx(max(left)))


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_bca_interval_equals_scipy(method):
    """Against scipy.stats.bootstrap(method='BCa'), within Monte-Carlo error of both."""
    X, Y = frames(n=25, p=1, o=1, seed=5)
    Y["o0"] += X["p0"].to_numpy()
    row = correlate(X, Y, method=method, permutations=99, resamples=9999).iloc[0]
    other = stats.bootstrap(
        (X["p0"], Y["o0"]), SCIPY[method], paired=True, method="BCa", n_resamples=1999, rng=1
    ).confidence_interval
    assert row.low == pytest.approx(other.low, abs=0.06)
    assert row.high == pytest.approx(other.high, abs=0.03)


def test_constant_columns_and_missing_cells_say_why():
    """A constant column gives nan with the reason, and others keep their own n."""
    X, Y = frames(n=9, p=3)
    X["p0"], X.loc["u0", "p1"] = 1.0, np.nan
    X["p2"] = [1.0, 2.0] + [np.nan] * 7
    table = correlate(X, Y, **FEW).set_index(["predictor", "outcome"])
    assert table.loc[("p0", "o0"), "note"] == "constant predictor"
    assert np.isnan(table.loc[("p0", "o0"), "rho"])
    assert table.loc[("p1", "o0"), "n"] == 8
    rest = stats.spearmanr(X["p1"][1:], Y["o0"][1:])[0]
    assert table.loc[("p1", "o0"), "rho"] == pytest.approx(rest)
    assert "too few" in table.loc[("p2", "o0"), "note"]
    assert table.attrs["cells"] == 2  # the family holds only cells with data


def test_too_few_units_to_reach_alpha_is_said():
    X, Y = frames(n=4, p=1, o=1)
    row = correlate(X, Y, **FEW).iloc[0]
    assert np.isnan(row.critical) and row.note == "n = 4 cannot reach 0.05"


def test_runs_are_averaged_not_counted():
    """Three runs of nine tasks are nine units: rho and p are those of the means."""
    X, Y = frames(n=9, p=1, o=1)
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([X.index, [1, 2, 3]])
    XR = X.loc[index.get_level_values(0)].set_axis(index) + 0.1 * rng.standard_normal((27, 1))
    YR = Y.loc[index.get_level_values(0)].set_axis(index) + 0.1 * rng.standard_normal((27, 1))
    row = correlate(XR, YR, **FEW).iloc[0]
    means = XR.groupby(level=0).mean()["p0"], YR.groupby(level=0).mean()["o0"]
    assert row.n == 9 and row.rho == pytest.approx(stats.spearmanr(*means)[0])
    short = correlate(XR.iloc[:-2], YR.iloc[:-2], **FEW).iloc[0]  # unequal numbers of runs
    assert short.n == 9 and np.isfinite([short.run_low, short.run_high]).all()
    assert row.run_low < row.rho < row.run_high


def test_equal_means_tie_whatever_the_order_of_runs():
    """Means of .1 .2 .3 in another order differ in the last bit; that must not make a rank."""
    X, Y = frames(n=6, p=1, o=1)
    X["p0"] = [0.2, 0.2, 0.5, 0.6, 0.7, 0.8]
    index = pd.MultiIndex.from_product([X.index, range(3)])
    XR = X.loc[index.get_level_values(0)].set_axis(index)
    XR.iloc[0:3, 0], XR.iloc[3:6, 0] = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]
    YR = Y.loc[index.get_level_values(0)].set_axis(index)
    expected = stats.spearmanr(X["p0"], Y["o0"])[0]
    assert correlate(XR, YR, **FEW)["rho"][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n", "alpha", "value"),
    [(7, 0.05, 0.786), (8, 0.05, 0.738), (9, 0.05, 0.7), (10, 0.05, 0.648), (12, 0.05, 0.587)]
    + [(7, 0.05 / 9, 0.964), (8, 0.05 / 9, 0.905), (9, 0.05 / 9, 0.867)],
)
def test_smallest_critical_rho(n, alpha, value):
    """Published tables of critical values; Bonferroni over the nine targets."""
    assert critical(n, alpha) == pytest.approx(value, abs=5e-4)


def test_smallest_critical_of_other_methods_and_sizes():
    assert np.isnan(critical(4)) and np.isnan(critical(2))
    assert critical(9, 0.05, "kendall") == pytest.approx(0.556, abs=5e-4)
    assert critical(9, 0.05, "pearson") == pytest.approx(0.666, abs=5e-4)
    assert critical(13) == pytest.approx(0.553, abs=5e-3)  # Student's t beyond 12
    assert critical(12) > critical(13) > critical(33)


def test_compare_prefers_the_better_predictor():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(30)
    X = pd.DataFrame({"good": y + 0.1 * rng.standard_normal(30), "bad": rng.standard_normal(30)})
    table = compare(X, pd.DataFrame({"o": y, "o2": y}), "good", "bad", resamples=999)
    row = table.set_index("outcome").loc["mean of outcomes"]
    assert row["low"] > 0 and row["p"] < 0.05
    assert row["difference"] == pytest.approx(row["rho_a"] - row["rho_b"])
    X["copy"] = X["good"] * 2
    same = compare(X, pd.DataFrame({"o": y}), "good", "copy", resamples=199).iloc[0]
    assert same["difference"] == 0 and same["p"] == 1


def test_sign_of_a_predictor_of_which_less_is_better():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(12)
    X = pd.DataFrame({"accuracy": y, "loss": -y})
    Y, names = pd.DataFrame({"o": y}), {"a": "accuracy", "b": "loss"}
    row = compare(X, Y, **names, signs=(1, -1), resamples=199)
    assert row["difference"].iloc[0] == 0


def test_strata_are_not_pooled():
    """Two encoders with rho = -1 within each, and +1 between: pooled it looks positive."""
    x = np.r_[np.arange(8), np.arange(8) + 20.0]
    y = np.r_[-np.arange(8), -np.arange(8) + 20.0]
    units = [f"u{i}" for i in range(16)]
    X, Y = pd.DataFrame({"p": x}, units), pd.DataFrame({"o": y}, units)
    pooled = correlate(X, Y, **FEW).iloc[0]
    strata = pd.Series(["a"] * 8 + ["b"] * 8, units)
    row = stratified(X, Y, strata, permutations=999).iloc[0]
    assert pooled.rho > 0.3 and row.rho < -0.9 and row.p < 0.01 and row.strata == 2
    assert row.highest == pytest.approx(-1)


def test_one_stratum_equals_fisher_mean_of_itself():
    X, Y = frames(n=10, p=2, o=2)
    one = stratified(X, Y, pd.Series("a", X.index), permutations=9999)
    plain = correlate(X, Y, permutations=9999, resamples=99)
    np.testing.assert_allclose(one["rho"], plain["rho"])
    np.testing.assert_allclose(one["p"], plain["p"], atol=0.02)
    z = (np.arctanh(one["high"]) + np.arctanh(one["low"])) / 2
    np.testing.assert_allclose(np.tanh(z), one["rho"])


def test_strata_with_opposite_signs_are_flagged():
    x = np.tile(np.arange(8.0), 2)
    y = np.r_[[0, 2, 1, 3, 5, 4, 6, 7], [7, 6, 4, 5, 3, 1, 2, 0]]
    X, Y = pd.DataFrame({"p": x}), pd.DataFrame({"o": y})
    row = stratified(X, Y, pd.Series(["a"] * 8 + ["b"] * 8), permutations=99).iloc[0]
    assert row.note == "signs differ" and abs(row.rho) < 0.2


BAD = {
    "text": (lambda X: X.assign(p0="many"), "text where numbers"),
    "infinite": (lambda X: X.assign(p0=np.inf), "infinite"),
    "twice": (lambda X: pd.concat([X, X]), "occurs twice"),
    "same name": (lambda X: X.set_axis(["a", "a", "b"], axis=1), "occurs twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_in_one_line(name):
    X, Y = frames()
    change, message = BAD[name]
    with pytest.raises(InputError, match=message) as error:
        correlate(change(X), Y, **FEW)
    assert "\n" not in str(error.value)


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="method"):
        correlate(*frames(), method="phi")
    with pytest.raises(InputError, match="permutations"):
        correlate(*frames(), permutations=9)


def test_same_seed_same_table():
    a, b = correlate(*frames(), **FEW), correlate(*frames(), **FEW)
    pd.testing.assert_frame_equal(a, b)
    assert list(a.columns) == COLUMNS


values = st.lists(st.integers(-20, 20), min_size=6, max_size=9)


@settings(max_examples=40, deadline=None)
@given(values, st.integers(0, 1000))
def test_rank_statistics_are_invariant_under_monotone_maps(x, seed):
    """Percent or fraction, loss or log-loss: ranks, p and intervals do not change; ties stay."""
    x = np.array(x, float)
    y = np.random.default_rng(seed).integers(-3, 4, len(x)).astype(float)
    few = {"permutations": 199, "resamples": 99}
    for method in ("spearman", "kendall"):
        a = correlate(pd.DataFrame({"x": x}), pd.DataFrame({"y": y}), method=method, **few)
        b = correlate(
            pd.DataFrame({"x": np.exp(x / 5)}), pd.DataFrame({"y": y**3}), method=method, **few
        )
        pd.testing.assert_frame_equal(a, b)


@settings(max_examples=40, deadline=None)
@given(values, st.sampled_from(METHODS))
def test_sign_flip_flips_rho_and_keeps_p(x, method):
    x = np.array(x, float)
    y = np.random.default_rng(1).standard_normal(len(x))
    few = {"permutations": 199, "resamples": 99}
    X, Y = pd.DataFrame({"x": x}), pd.DataFrame({"y": y})
    a, b = correlate(X, Y, method=method, **few), correlate(-X, Y, method=method, **few)
    np.testing.assert_allclose(a["rho"], -b["rho"])
    np.testing.assert_allclose(a[["p", "p_maxt", "q_bh"]], b[["p", "p_maxt", "q_bh"]])
    np.testing.assert_allclose(a["loo_low"], -b["loo_high"])


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(8)), st.sampled_from(METHODS))
def test_order_of_rows_does_not_matter(order, method):
    """rho, leave-one-out and (at exact n) p are functions of the set of units."""
    X, Y = frames(n=8, ties=True)
    kept = slice(0, 6)
    X, Y = X.iloc[kept], Y.iloc[kept]
    order = [i for i in order if i < 6]
    a = correlate(X, Y, method=method, **FEW)
    b = correlate(X.iloc[order], Y.iloc[order], method=method, **FEW)
    columns = ["n", "rho", "p", "p_maxt", "q_bh", "loo_low", "loo_high", "critical"]
    pd.testing.assert_frame_equal(a[columns], b[columns], check_exact=False)
    mixed = correlate(X.iloc[order], Y, method=method, **FEW)  # aligned by name, not by place
    pd.testing.assert_frame_equal(mixed[columns], a[columns], check_exact=False)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_missing_cells_equal_the_complete_part(seed):
    """A cell with missing values has the exact p of its complete units alone."""
    X, Y = frames(n=6, p=2, o=2, seed=seed)
    X.iloc[0, 0] = np.nan
    whole = correlate(X, Y, **FEW)
    alone = correlate(X[["p0"]].iloc[1:], Y.iloc[1:], **FEW)
    np.testing.assert_allclose(whole["p"][:2], alone["p"])
    np.testing.assert_allclose(whole["rho"][:2], alone["rho"])


def test_null_deviation_is_exact():
    """The unit of max-T: sd of rho and tau over all orders."""
    x = np.arange(6.0)[:, None]
    keys, exact = rs.orders(6, 720, None)
    for method in METHODS:
        null = np.concatenate([v for _, v in rs.null(x, x, keys, method)])
        assert exact and null.std() == pytest.approx(iv.null_sd(6, method))


def test_pairs_can_be_left_out_of_the_family():
    """A predictor that belongs to one target (LogME) must not swell the correction of others."""
    X, Y = frames(p=2, o=2)
    whole = correlate(X, Y, **FEW)
    part = correlate(X, Y, skip={("p0", "o1"), ("p1", "o0"), ("p1", "o1")}, **FEW)
    assert part[["predictor", "outcome"]].to_numpy().tolist() == [["p0", "o0"]]
    assert part["p_maxt"][0] == pytest.approx(part["p"][0]) and part.attrs["cells"] == 1
    assert part["rho"][0] == whole["rho"][0]


def test_nothing_measured_yet_is_an_answer_not_a_crash():
    X, Y = frames(p=2, o=1)
    table = correlate(X.iloc[:0], Y.iloc[:0], **FEW)
    assert len(table) == 2 and set(table["note"]) == {"no unit has both values"}
    assert table.attrs["cells"] == 0
    assert list(correlate(X[[]], Y[[]], **FEW).columns) == COLUMNS
