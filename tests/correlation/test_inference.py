"""Ties, Monte-Carlo error, crossed seeds, families, primary pairs, many units, random effects."""

import inspect
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from midway.correlation import families as fm
from midway.correlation import intervals as iv
from midway.correlation import resampling as rs
from midway.correlation import strata
from midway.correlation.correlate import METHODS, compare, correlate, critical, stratified
from midway.correlation.null import affordable
from midway.study.errors import InputError

FEW = {"permutations": 999, "resamples": 199}


def frames(n=9, p=3, o=2, seed=0, names="pq"):
    rng = np.random.default_rng(seed)
    units = [f"u{i}" for i in range(n)]
    X = pd.DataFrame(rng.standard_normal((n, p)), units, [f"p{i}" for i in range(p)])
    return X, pd.DataFrame(rng.standard_normal((n, o)), units, [f"o{i}" for i in range(o)])


# ties


def test_gains_equal_on_paper_tie_with_one_seed():
    """30.1 - 28.7 and 35.6 - 34.2 are 1.4 both; ranks between them would be rounding."""
    gain = np.array([30.1 - 28.7, 35.6 - 34.2, 3.0, -2.0, 0.5, 40.3 - 38.9])
    assert len(set(gain[[0, 1, 5]])) > 1
    X, Y = pd.DataFrame({"p": [3.0, 1, 2, 6, 5, 4]}), pd.DataFrame({"o": gain})
    expected = stats.spearmanr(X["p"], gain.round(6))[0]
    for method in METHODS:
        row = correlate(X, Y, method=method, **FEW).iloc[0]
        if method == "spearman":
            assert row["rho"] == pytest.approx(expected)
        exact = correlate(X, Y.round(6), method=method, **FEW).iloc[0]
        assert (row["rho"], row["p"]) == pytest.approx((exact["rho"], exact["p"]))


def test_small_differences_are_no_ties():
    """What differs by more than rounding keeps its order, at any scale and beside large values."""
    for a in ([1.0, 1 + 1e-9, 1 + 2e-9], [1e-20, 2e-20, 3e-20], [10.0, 11.0, 1e9]):
        assert len(np.unique(rs.tied(np.array(a)[:, None]))) == 3
    some = np.array([[1.0, np.nan], [1 + 1e-14, 5.0], [2.0, np.nan]])
    out = rs.tied(some)
    assert out[0, 0] == out[1, 0] and np.isnan(out[[0, 2], 1]).all() and out[1, 1] == 5


# p values and their Monte-Carlo error


def test_at_least_100_000_permutations_by_default():
    assert inspect.signature(correlate).parameters["permutations"].default >= 100_000


def test_p_is_never_zero():
    """(b + 1) / (m + 1): a perfect order of 15 units has p = 1 / 1000 after 999 permutations."""
    X = pd.DataFrame({"p": range(15)})
    row = correlate(X, X.rename(columns={"p": "o"}), **FEW).iloc[0]
    assert row["p"] == row["p_maxt"] == 1 / 1000
    assert iv.p_value(np.array([0, 9]), 99, False).tolist() == [0.01, 0.1]
    many = pd.DataFrame({"p": range(3000)})
    row = correlate(many, many.rename(columns={"p": "o"}), **FEW).iloc[0]
    assert 0 < row["p"] < 1e-300


def test_monte_carlo_error_stands_beside_max_t():
    """Clopper-Pearson at 99 %, as SciPy gives it; none where every permutation was tried."""
    low, high = iv.monte_carlo(np.array([0, 50, 999]), 999, False)
    for k, a, b in zip((0, 50, 999), low, high, strict=True):
        known = stats.binomtest(k, 999).proportion_ci(0.99, "exact")
        assert (a, b) == pytest.approx((known.low, known.high))
    table = correlate(*frames(n=10), **FEW)
    assert (table["p_mc_low"] <= table["p_maxt"]).all()
    assert (table["p_maxt"] <= table["p_mc_high"]).all()
    exact = correlate(*frames(n=6), **FEW)
    assert (exact["p_mc_low"] == exact["p_maxt"]).all() and exact.attrs["exact"]


def test_chance_expectation_counts_only_cells_that_can_reach_alpha():
    X, Y = frames(n=9, p=3, o=1)
    X.loc["u4":, "p0"] = np.nan  # four units: no order reaches .05
    table = correlate(X, Y, **FEW)
    assert table.attrs["cells"] == 3 and table.attrs["expected"] == pytest.approx(2 * 0.05)


def test_missing_values_share_the_permutations_of_complete_cells():
    """Restricting a permutation to the units with data keeps their order, and is uniform."""
    orders, exact = rs.orders(7, 5000, np.random.default_rng(0))
    part = rs.restrict(orders, np.array([1, 4, 6]))
    assert part.shape == (5000, 3) and not exact
    assert [v for v in orders[0] if v in (1, 4, 6)] == [[1, 4, 6][v] for v in part[0]]
    _, counts = np.unique(part, axis=0, return_counts=True)
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 0.001


# intervals


def test_bca_equals_scipy_on_skewed_data():
    """Bias and acceleration matter here: the percentile interval is elsewhere."""
    rng = np.random.default_rng(4)
    x = rng.lognormal(0, 1, 14)
    y = x + rng.lognormal(0, 1, 14)
    row = correlate(pd.DataFrame({"x": x}), pd.DataFrame({"y": y}), method="pearson",
                    permutations=99, resamples=40_000).iloc[0]  # fmt: skip

    def pearson(a, b, axis=-1):
        return stats.pearsonr(a, b, axis=axis).statistic

    ends = [
        stats.bootstrap((x, y), pearson, paired=True, n_resamples=40_000, method=m, rng=1)
        for m in ("BCa", "percentile")
    ]
    known, plain = (e.confidence_interval for e in ends)
    assert (row["low"], row["high"]) == pytest.approx((known.low, known.high), abs=0.015)
    assert abs(plain.low - known.low) + abs(plain.high - known.high) > 0.06


def runs_with_opposite_signs():
    """Seed 0 orders the outcome as the predictor, seed 1 the other way and three times as far."""
    x = np.arange(8.0)
    index = pd.MultiIndex.from_product([[f"u{i}" for i in range(8)], [0, 1]])
    X = pd.DataFrame({"p": np.repeat(x, 2)}, index)
    return X, pd.DataFrame({"o": np.column_stack([x, -3 * x]).ravel()}, index)


def test_crossed_seeds_are_drawn_jointly():
    """One draw of seeds for all units: every resample is in perfect order, one way or the other."""
    _, xs, ys, crossed = rs.arrays(*runs_with_opposite_signs())
    assert crossed
    rng = np.random.default_rng(0)
    joint = rs.bootstrap(xs, ys, "spearman", 400, rng, crossed=True).ravel()
    assert set(joint[~np.isnan(joint)].round(6)) == {-1.0, 1.0}
    assert 0.15 < (joint > 0).mean() < 0.35  # seed 0 alone: one draw in four
    nested = rs.bootstrap(xs, ys, "spearman", 400, rng, crossed=False).ravel()
    assert (np.abs(nested) < 0.9).mean() > 0.3
    X, Y = runs_with_opposite_signs()
    a, b = (correlate(X, Y, crossed=c, **FEW).iloc[0] for c in (True, False))
    assert a["run_high"] == 1 and b["run_high"] < 1


def test_runs_are_crossed_if_their_labels_are_shared():
    X, Y = runs_with_opposite_signs()
    assert correlate(X, Y, **FEW).attrs["crossed"]
    own = pd.MultiIndex.from_tuples([(u, f"{u}.{r}") for u, r in X.index])
    table = correlate(X.set_axis(own), Y.set_axis(own), **FEW)
    assert not table.attrs["crossed"] and table.attrs["runs"] == 2
    part = X.index[1:]  # one unit without seed 0: its other seed stands in
    some = correlate(X.loc[part], Y.loc[part], **FEW)
    assert some.attrs["crossed"] and np.isfinite(some[["run_low", "run_high"]]).all(axis=None)
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 1), ("c", 2), ("d", 2), ("d", 3)])
    X = pd.DataFrame({"x": np.arange(5.0)}, index=index)
    assert rs.arrays(X.iloc[:4], X.iloc[:4])[3]  # two units a label are enough
    assert not rs.arrays(X, X)[3]  # label 3 is of one unit alone


# families

SIZES = [1, 1, 2, 2, 3]
FAMILY = pd.Series(np.repeat(list("abcde"), SIZES), [f"u{i}" for i in range(9)])


def clustered(rng, icc, columns=1):
    family = np.repeat(range(5), SIZES)
    shared, own = rng.standard_normal((5, columns))[family], rng.standard_normal((9, columns))
    values = np.sqrt(icc) * shared + np.sqrt(1 - icc) * own
    return pd.DataFrame(values, FAMILY.index).add_prefix("c")


def test_families_of_one_are_units():
    X, Y = frames(n=9)
    alone = pd.Series(X.index, X.index)
    a = correlate(X, Y, permutations=20_000)
    b = correlate(X, Y, families=alone, permutations=20_000)
    np.testing.assert_allclose(a["rho"], b["rho_family"])
    np.testing.assert_allclose(a[["p", "p_maxt"]], b[["p", "p_maxt"]], atol=0.04)
    np.testing.assert_allclose(a[["low", "high"]], b[["low", "high"]], atol=0.1)
    np.testing.assert_allclose(a[["loo_low", "loo_high"]], b[["lofo_low", "lofo_high"]])
    np.testing.assert_allclose(b["critical"], critical(9), atol=0.04)


def test_copies_in_a_family_count_once():
    """Each of five tasks twice: p is that of five tasks, not of ten."""
    X, Y = frames(n=5, p=1, o=1, seed=3)
    twice = [pd.concat([t, t.set_axis(t.index + "b")]) for t in (X, Y)]
    family = pd.Series([*X.index, *X.index], twice[0].index)
    row = correlate(*twice, families=family, permutations=20_000, resamples=99).iloc[0]
    plain = correlate(X, Y, **FEW).iloc[0]
    naive = correlate(*twice, permutations=20_000, resamples=99).iloc[0]
    assert row["p"] == pytest.approx(plain["p"], abs=0.02) and row["p_family"] == plain["p"]
    assert naive["p"] < plain["p"] / 2 and row["families"] == 5


def test_families_by_hand():
    """Means over families and the range when one is left out, by brute force."""
    rng = np.random.default_rng(1)
    X, Y = clustered(rng, 0.5), clustered(rng, 0.5)
    row = correlate(X, Y, families=FAMILY, **FEW).iloc[0]
    mean = [t.groupby(FAMILY).mean()["c0"] for t in (X, Y)]
    assert row["rho_family"] == pytest.approx(stats.spearmanr(*mean)[0])
    left = [stats.spearmanr(X[FAMILY != f]["c0"], Y[FAMILY != f]["c0"])[0] for f in "abcde"]
    assert (row["lofo_low"], row["lofo_high"]) == pytest.approx((min(left), max(left)))


@pytest.mark.slow
def test_max_t_keeps_its_level_with_families():
    """Alike members (ICC .9): unit permutations reject a true null in far too many studies."""
    rng, wrong, naive, studies = np.random.default_rng(0), 0, 0, 200
    for i in range(studies):
        X, Y = clustered(rng, 0.9, 4), clustered(rng, 0.9, 3)
        some = {"permutations": 399, "resamples": 99, "seed": i}
        wrong += correlate(X, Y, families=FAMILY, **some)["p_maxt"].min() <= 0.05
        naive += correlate(X, Y, **some)["p_maxt"].min() <= 0.05
    assert wrong / studies <= 0.085 and naive / studies >= 0.12  # .05 + two simulation errors


def test_intervals_are_widened_to_the_effective_number():
    rng = np.random.default_rng(5)
    X, Y = clustered(rng, 1.0), clustered(rng, 1.0)
    units = fm.effective(X.to_numpy(), Y.to_numpy(), FAMILY.factorize()[0])
    assert units[0, 0] == pytest.approx(1 + 81 / 19)  # Clifford: 1 + n^2 / sum of sizes^2
    a = correlate(X, Y, families=FAMILY, **FEW).iloc[0]
    b = correlate(X, Y, **FEW).iloc[0]
    assert -1 < a["low"] < b["low"] and a["high"] > b["high"] - 1e-9
    low, high = fm.widen(-0.2, 0.8, 0.5, 9, 1 + 81 / 19, "spearman")
    factor = np.sqrt(6 / (81 / 19 - 2))  # n - 3 against effective n - 3, on Fisher's z
    ends = np.arctanh(0.5) + factor * (np.arctanh([-0.2, 0.8]) - np.arctanh(0.5))
    assert (low, high) == pytest.approx(tuple(np.tanh(ends)))


def test_composites_are_no_units_and_unknown_units_are_refused():
    X, Y = frames(n=10)
    family = pd.Series(list("aabbccdde") + [None], X.index)
    table = correlate(X, Y, families=family, **FEW)
    assert table["n"].tolist() == [9] * 6 and table.attrs["composites"] == ["u9"]
    with pytest.raises(InputError, match="families: no entry for u9"):
        correlate(X, Y, families=family.iloc[:9], **FEW)


def test_too_few_families_say_so():
    X, Y = frames(n=6)
    table = correlate(X, Y, families=pd.Series(list("aaabbb"), X.index), **FEW)
    assert table["p"].isna().all() and table["rho"].notna().all()
    assert set(table["note"]) == {"2 families: too few"}


def test_comparison_draws_whole_families():
    """Nine copies of one pair of tasks are one difference, not nine."""
    rng = np.random.default_rng(0)
    X, Y = frames(n=6, p=2, o=1, seed=5)
    many = [pd.concat([t.set_axis(t.index + f"-{i}") for i in range(5)]) for t in (X, Y)]
    many = [t + 1e-6 * rng.standard_normal(t.shape) for t in many]
    family = pd.Series([u.split("-")[0] for u in many[0].index], many[0].index)
    narrow, wide = (
        compare(*many, "p0", "p1", resamples=999, families=f).iloc[0] for f in (None, family)
    )
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


# primary pairs


def test_primary_pairs_are_corrected_by_themselves():
    """What was named beforehand pays for its own number, the rest for the rest."""
    X, Y = frames(p=5, o=4)
    table = correlate(X, Y, primary=[("p0", "o0")], **FEW)
    first = table[table["primary"]].iloc[0]
    assert first["p_maxt"] == pytest.approx(first["p"]) and first["q_bh"] == first["p"]
    others = {("p0", "o0")}
    rest = correlate(X, Y, skip=others, **FEW)
    np.testing.assert_allclose(table.loc[~table["primary"], "p_maxt"], rest["p_maxt"])
    np.testing.assert_allclose(table.loc[~table["primary"], "q_bh"], rest["q_bh"])
    assert table.attrs["primary"] == 1 and table.attrs["cells"] == 20
    assert "primary" not in correlate(X, Y, **FEW)


# many units


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ties", [False, True])
def test_many_units_equal_scipy(method, ties):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 2))
    y = x[:, :1] * 0.3 + rng.standard_normal((150, 1))
    x, y = (np.round(v) if ties else v for v in (x, y))
    table = correlate(pd.DataFrame(x), pd.DataFrame(y), method=method, **FEW)
    known = {"spearman": stats.spearmanr, "pearson": stats.pearsonr, "kendall": stats.kendalltau}
    for i in (0, 1):
        rho, p = known[method](x[:, i], y[:, 0])
        assert (table["rho"][i], table["p"][i]) == pytest.approx((rho, p))
    assert table["note"].str.startswith("many units").all()


@pytest.mark.parametrize("method", ["spearman", "pearson"])
@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_what_leaving_one_out_does(method, ties):
    """Leave-one-out range and error of the closed form against brute force."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 1))
    y = x**2 + x + rng.standard_normal((200, 2)) * (1 + x**2)  # depends, with unequal spread
    x, y = (np.round(v) if ties else v for v in (x, y))
    rho = rs.rho_of(x, y, method)
    found = iv.closed(x, y, method, 0.05)
    left = np.array([rs.rho_of(*(np.delete(v, i, 0) for v in (x, y)), method) for i in range(200)])
    np.testing.assert_allclose(found["loo_low"], left.min(0), atol=0.01)
    np.testing.assert_allclose(found["loo_high"], left.max(0), atol=0.01)
    error = np.sqrt(199 / 200 * ((left - left.mean(0)) ** 2).sum(0))
    half = (np.arctanh(found["high"]) - np.arctanh(found["low"])) / 2
    np.testing.assert_allclose(half, 1.96 * error / (1 - rho**2), rtol=0.1)


def test_max_t_of_many_units_knows_dependence():
    """20 independent cells cost what Sidak's formula says; 20 copies cost nothing."""
    rng = np.random.default_rng(2)
    X = pd.DataFrame(rng.standard_normal((300, 20)))
    Y = pd.DataFrame({"o": rng.standard_normal(300)})
    table = correlate(X, Y, permutations=50_000, resamples=99)
    np.testing.assert_allclose(table["p_maxt"], 1 - (1 - table["p"]) ** 20, atol=0.03)
    same = pd.DataFrame({i: X[0] for i in range(20)})
    copies = correlate(same, Y, permutations=50_000, resamples=99)
    np.testing.assert_allclose(copies["p_maxt"], copies["p"], atol=0.01)
    assert (copies["p_maxt"] >= copies["p"]).all()


@pytest.mark.parametrize(("n", "p", "method"), [(5000, 50, "spearman"), (375, 15, "kendall")])
def test_memory_is_bounded(n, p, method):
    """No array of units x units or of resamples x cells: less than 300 MB beside the process."""
    import tracemalloc

    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((n, p)))
    tracemalloc.start()
    correlate(X, X.add_prefix("o").iloc[:, :10], method=method, permutations=2000)
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()


def test_work_is_bounded_and_said():
    wide = [(range(100), range(100), range(150))]
    permutations, resamples = affordable(wide, 100_000, 9999, "spearman")
    assert permutations == int(1e10 / (1 + 100 * 150 * 120)) == 5555
    assert resamples == int(1e10 / (1 + 200 * 100 * 250)) == 1999
    many = [(range(5000), range(50), range(40))]
    assert affordable(many, 100_000, 9999, "pearson") == (int(1e10 / (1001 + 2000 * 110)), 9999)
    assert affordable([(range(9), range(27), range(9))], 100_000, 9999, "spearman") == (
        100_000,
        9999,
    )


def test_critical_values_of_families():
    """Smallest size that at most alpha of the draws reach; nan where even the largest is common."""
    sizes = np.array([0.1, 0.2, 0.3, 0.9, 1.0] * 20)[:, None, None]
    assert fm.critical(sizes, 0.2)[0, 0] == 1.0 and fm.critical(sizes, 0.4)[0, 0] == 0.9
    assert np.isnan(fm.critical(sizes, 0.05)[0, 0])


# encoders


def test_random_effects_equal_statsmodels():
    z, variance = np.array([0.1, 0.9, 0.4, 1.5]), np.array([0.1, 0.2, 0.15, 0.12])
    ours = strata.random_effects(z, variance)
    known = combine_effects(z, variance, method_re="dl", use_t=True)
    assert (ours["mean"], ours["tau2"], ours["q"]) == pytest.approx(
        (known.mean_effect_re, known.tau2, known.q)
    )
    assert ours["i2"] == pytest.approx(known.i2)
    assert ours["p_q"] == pytest.approx(stats.chi2.sf(known.q, 3))
    assert ours["error"] == pytest.approx(max(known.sd_eff_w_re, known.sd_eff_w_re_hksj))
    assert ours["quantile"] == pytest.approx(stats.t.ppf(0.975, 3))


def encoders(count, shift):
    """The same 12 tasks under several encoders; shift: how unlike the encoders are."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(12)
    y = 0.7 * x + rng.standard_normal(12)
    units, xs, ys = [], [], []
    for e in range(count):
        noise = shift * rng.standard_normal((2, 12))
        units += [f"{e}/{t}" for t in range(12)]
        xs, ys = [*xs, *(x + noise[0])], [*ys, *(y + noise[1])]
    names = pd.Series(units, units).str.split("/")
    X, Y = pd.DataFrame({"p": xs}, units), pd.DataFrame({"o": ys}, units)
    return X, Y, names.str[0], names.str[1]


def test_encoders_that_share_tasks_are_no_new_tasks():
    """Eight copies of one study: without ``items`` p and interval pretend 96 tasks."""
    X, Y, encoder, task = encoders(8, 1e-3)
    one = correlate(X.iloc[:12], Y.iloc[:12], permutations=4999, resamples=999).iloc[0]
    naive, shared = (
        stratified(X, Y, encoder, permutations=4999, items=i).iloc[0] for i in (None, task)
    )
    assert shared["p"] == pytest.approx(one["p"], abs=0.02) and naive["p"] < 0.05
    assert naive["high"] - naive["low"] < (one["high"] - one["low"]) / 2
    assert shared["high"] - shared["low"] > 0.7 * (one["high"] - one["low"])
    assert shared["strata"] == 8 and shared["i2"] == 0


def test_heterogeneity_is_shown():
    up, down = np.arange(10.0), np.arange(10.0)[::-1]
    X = pd.DataFrame({"p": np.tile(up, 4)})
    Y = pd.DataFrame({"o": np.r_[up, up, up, down]})
    row = stratified(X, Y, pd.Series(np.repeat(list("abcd"), 10)), permutations=99).iloc[0]
    assert (
        row["i2"] > 0.5 and row["p_q"] < 0.01 and row["tau2"] > 0 and row["note"] == "signs differ"
    )
    assert row["low"] < 0 < row["high"]  # one encoder in four the other way: the mean is open


def test_permutations_of_many_units_in_families_fit_in_memory(monkeypatch):
    """Orders are units x permutations: their number is bounded, never below 999."""
    X, Y = frames(n=120, p=1, o=1)
    family = pd.Series(np.arange(120) // 2, X.index)
    for block, made in ((48_000, 2000), (1000, 999)):
        monkeypatch.setattr(rs, "BLOCK", block)
        table = correlate(X, Y, families=family, permutations=5000, resamples=99)
        assert table.attrs["permutations"] == made and table["p"].notna().all()


def test_resamples_of_many_predictors_fit_in_memory(monkeypatch):
    """Intervals of a wide table are made some predictors at a time."""
    held = []

    def interval(boot, *rest):
        held.append(boot.shape)
        return iv_interval(boot, *rest)

    iv_interval = iv.interval
    monkeypatch.setattr(iv, "interval", interval)
    monkeypatch.setattr(rs, "BLOCK", 1000)
    correlate(*frames(n=7, p=20, o=3), permutations=99, resamples=99)
    assert held == [(99, 6, 3)] * 3 + [(99, 2, 3)]  # each at most twice BLOCK


def test_three_families_are_enough_and_two_are_not():
    X, Y = frames(n=6, p=1, o=1)
    table = correlate(X, Y, families=pd.Series(list("aabbcc"), X.index), **FEW)
    assert table[["p", "rho_family", "p_family"]].notna().all(axis=None)
    assert correlate(X[:0], Y[:0], families=pd.Series(dtype=object), **FEW)["p"].isna().all()


def test_effective_number_of_units_by_hand():
    """Two families of three copies: n + the 12 ordered pairs within families share everything."""
    a, family = np.repeat([[1.0], [2.0]], 3, axis=0), np.repeat([0, 1], 3)
    assert fm.effective(a, a, family) == pytest.approx(1 + 6**2 / (6 + 12))


def test_family_means_are_permuted_at_most_9999_times():
    """With the study itself 10,000, so that p has four decimals."""
    X, Y = frames(n=8, p=1, o=1)
    row = correlate(X, Y, families=pd.Series(range(8), X.index), permutations=12_000, resamples=99)
    p = row["p_family"][0] * 10_000
    assert 1 < p < 9999 and p == pytest.approx(round(p), abs=1e-6)


def test_permutations_of_families_are_made_in_parts(monkeypatch):
    monkeypatch.setattr(rs, "BLOCK", 700)
    orders = np.array([np.arange(7)] * 50)
    x, y = (t.to_numpy() for t in frames(n=7, p=3, o=2))
    parts = fm.null(x, y, np.arange(7), orders, orders, "spearman")
    assert [at.stop - at.start for at, _ in parts] == [20, 20, 10]  # of 7 units x (3 + 2) columns


@pytest.mark.parametrize(
    ("method", "parts"), [("pearson", [20, 20, 10]), ("kendall", [8] * 6 + [2])]
)
def test_resamples_are_made_in_parts(method, parts, monkeypatch):
    """Of 6 units or 15 pairs of units x 3 columns."""
    held, rho_of = [], rs.rho_of
    monkeypatch.setattr(rs, "rho_of", lambda x, *rest: held.append(len(x)) or rho_of(x, *rest))
    monkeypatch.setattr(rs, "BLOCK", 360)
    _, x, y, _ = rs.arrays(*frames(n=6, p=2, o=1))
    rs.bootstrap(x, y, method, 50, np.random.default_rng(0))
    assert held == parts


def test_of_units_that_occur_twice_the_first_is_named():
    X, Y = frames(n=4)
    with pytest.raises(InputError, match="'a' occurs twice"):
        rs.arrays(X.set_axis(list("abab")), Y)


def test_where_closed_forms_begin():
    for method, last in (("spearman", 100), ("pearson", 100), ("kendall", 50)):
        assert not iv.many(last, method) and iv.many(last + 1, method)


def test_paired_comparison_is_the_percentile_interval_of_its_draws():
    """Ends at alpha / 2 and 1 - alpha / 2, two-sided p from the rarer sign."""
    X, Y = frames(n=12, p=2, o=1, seed=9)
    row = compare(X, Y, "p0", "p1", resamples=999, alpha=0.2, seed=3).iloc[0]
    _, xs, ys, _ = rs.arrays(X, Y)
    draws = rs.bootstrap(xs, ys, "spearman", 999, np.random.default_rng(3))[..., 0]
    d = draws[:, 0] - draws[:, 1]
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(d, [0.1, 0.9])))
    rarer = min((d <= 1e-10).sum(), (d >= -1e-10).sum())
    assert row["p"] == pytest.approx(2 * (rarer + 1) / 1000)


def test_intraclass_correlation_of_unequal_families():
    """From the F of an analysis of variance of the ranks, (F - 1) / (F - 1 + typical size)."""
    x = clustered(np.random.default_rng(2), 0.6)["c0"]
    ranks = x.rank()
    f = stats.f_oneway(*(ranks[FAMILY == k] for k in "abcde")).statistic
    typical = (9 - sum(s**2 for s in SIZES) / 9) / 4
    codes = FAMILY.factorize()[0]
    found = fm.icc(ranks.to_numpy()[:, None], codes)
    assert 0 < found[0] < 1 and found[0] == pytest.approx((f - 1) / (f - 1 + typical))
    units = fm.effective(x.to_numpy()[:, None], x.to_numpy()[:, None], codes)
    assert units[0, 0] == pytest.approx(1 + 81 / (9 + found[0] ** 2 * 10))


def test_shared_tasks_are_left_out_in_all_encoders_at_once():
    """Variance of the mean z by a jackknife over tasks, by brute force."""
    X, Y, encoder, task = encoders(3, 0.3)
    parts, items = [], task.factorize()[0]
    for e in "012":
        r = np.flatnonzero(encoder == e)
        parts.append((r, (X.to_numpy()[r], Y.to_numpy()[r]), 0.0))
    weights = np.array([0.5, 0.3, 0.2])
    left = []
    for t in range(12):
        kept = [X.index[(encoder == e) & (items != t)] for e in "012"]
        z = [np.arctanh(stats.spearmanr(X.loc[k, "p"], Y.loc[k, "o"])[0]) for k in kept]
        left.append(weights @ z)
    expected = 11 / 12 * ((left - np.mean(left)) ** 2).sum()
    assert strata._jackknife(parts, items, weights, "spearman") == pytest.approx(expected)


def test_percentile_ends_are_quantiles_of_what_is_there():
    draws = np.random.default_rng(0).standard_normal((500, 2, 3))
    draws[:40, 0, 0] = np.nan
    known = np.nanquantile(draws, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(iv.percentiles(draws, 0.2), known)


def test_kendall_costs_pairs_of_units():
    permutations, resamples = affordable([(range(40), range(9), range(9))], 10**6, 10**6, "kendall")
    assert permutations == int(1e10 / (1 + 780 * 9 * 29))
    assert resamples == int(1e10 / (1 + 200 * 780 * 18))


def test_errors_of_fishers_z():
    """Pearson 1 / (n - 3); Spearman Bonett & Wright; Kendall Fieller, also for many units."""
    known = {"pearson": 1 / 17, "spearman": (1 + 0.18) / 17, "kendall": 0.437 / 16}
    for method, variance in known.items():
        assert iv.fisher_error(0.6, 20, method) ** 2 == pytest.approx(variance)
    X, Y = frames(n=80, p=1, o=1)
    row = correlate(X, Y, method="kendall", **FEW).iloc[0]
    half = 1.959964 * np.sqrt(0.437 / 76)
    ends = np.tanh(np.arctanh(row["rho"]) + np.array([-half, half]))
    assert (row["low"], row["high"]) == pytest.approx(tuple(ends))


# definitions in plain loops


def bca(draws, rho, left, alpha):
    """Efron's interval of one cell, and what it falls back to."""
    draws, left = draws[~np.isnan(draws)], left[~np.isnan(left)]
    equal = np.abs(draws - rho) <= 1e-10
    z0 = stats.norm.ppf(((draws < rho) & ~equal).mean() + equal.mean() / 2)
    d = left.mean() - left
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    ends = []
    for z in stats.norm.ppf([alpha / 2, 1 - alpha / 2]):
        ends.append(stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))))
    return np.quantile(draws, ends)


def test_bca_by_its_formula():
    """Skewed draws with ties and gaps; bias and acceleration each move the ends."""
    rng = np.random.default_rng(2)
    draws = 1 - rng.exponential(0.3, (400, 2, 2))
    draws[:30, 0, 0] = np.nan
    draws[50:90, 1, 0] = 0.6
    left = 0.6 - rng.exponential(0.2, (9, 2, 2))
    left[3, 0, 1] = np.nan
    rho = np.array([[0.55, 0.6], [0.6, 0.8]])
    for alpha in (0.05, 0.2):
        low, high, note = iv.interval(draws, rho, left, 9, "spearman", alpha)
        for cell in np.ndindex(2, 2):
            known = bca(draws[:, *cell], rho[cell], left[:, *cell], alpha)
            assert (low[cell], high[cell]) == pytest.approx(tuple(known)), cell
    assert not note.any()
    low, high, note = iv.interval(draws, rho * np.nan, left, 9)
    assert np.isnan([low, high]).all() and not note.any()


@pytest.mark.parametrize("method", METHODS)
def test_intervals_where_bca_cannot_be_computed(method):
    """All draws on one side: percentiles. No spread: Fisher's z, which holds rho itself."""
    draws = np.linspace(0.1, 0.7, 401)[:, None]
    left = np.linspace(0.2, 0.5, 9)[:, None]
    low, high, note = iv.interval(draws, np.array([0.8]), left, 9, method, 0.1)
    assert note[0] == "interval: percentile"
    assert (low[0], high[0]) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])))
    same = np.full((401, 1), 0.4)
    low, high, note = iv.interval(same, np.array([0.4]), left, 9, method, 0.1)
    half = stats.norm.ppf(0.95) * iv.fisher_error(0.4, 9, method)
    ends = np.tanh(np.arctanh(0.4) + np.array([-half, half]))
    assert note[0] == "interval: Fisher z" and (low[0], high[0]) == pytest.approx(tuple(ends))
    steps = 2 / 72 if method == "kendall" else 6 / (729 - 9)
    for rho in (1.0, -1.0):
        low, high, note = iv.interval(rho * np.ones((401, 1)), np.array([rho]), left, 9, method)
        half = 1.959964 * iv.fisher_error(rho, 9, method)
        ends = sorted(np.tanh(rho * (np.arctanh(1 - steps) - np.array([half, -half]))))
        ends = (ends[0], 1.0) if rho > 0 else (-1.0, ends[1])
        assert note[0] == "interval: Fisher z" and (low[0], high[0]) == pytest.approx(ends)
    none = np.full((401, 1), np.nan)
    assert iv.interval(none, np.array([0.4]), left, 9, method)[2][0] == "interval: Fisher z"


def test_counts_do_not_depend_on_rounding():
    assert iv.at_least(np.array([0.1, 0.5 - 5e-10, 0.5, 0.9]), np.array([0.5, 0.91])).tolist() == [
        3,
        0,
    ]
    with np.errstate(all="raise"):
        assert np.isfinite(iv.fisher_error(0.5, 3, "spearman"))
        assert np.isfinite(iv.fisher_error(0.5, 4, "kendall"))
    some = iv.monte_carlo(np.array([0, 3, 9]), 9, True)
    np.testing.assert_allclose(some, [[0, 1 / 3, 1]] * 2)


def test_max_t_by_brute_force():
    """Unequal n: each |rho| in units of 1 / sqrt(n - 1), the largest of each order of the units."""
    X, Y = frames(n=6, p=2, o=2, seed=5)
    X.iloc[2, 1] = np.nan
    table = correlate(X, Y, primary=[("p1", "o1")], **FEW)
    x, y = X.to_numpy(), Y.to_numpy()
    there = {0: np.arange(6), 1: np.array([0, 1, 3, 4, 5])}
    every = []
    for order in permutations(range(6)):
        sizes = np.empty((2, 2))
        for i, rows in there.items():
            kept = [k for k in order if k in rows]  # the same order of the units that are there
            for j in (0, 1):
                r = stats.rankdata(x[rows, i]), stats.rankdata(y[rows, j])
                moved = dict(zip(rows, r[1], strict=True))
                rho = np.corrcoef(r[0], [moved[k] for k in kept])[0, 1]
                sizes[i, j] = abs(rho) * np.sqrt(len(rows) - 1)
        every.append(sizes)
    every = np.array(every)
    first = np.array([[False, False], [False, True]])
    assert table["primary"].tolist() == first.ravel().tolist()
    for row in table.itertuples():
        i, j = int(row.predictor[1]), int(row.outcome[1])
        rho = abs(row.rho) * np.sqrt(row.n - 1)
        assert row.p == pytest.approx((every[:, i, j] >= rho - 1e-8).mean())
        group = every[:, first == first[i, j]].max(1)
        assert row.p_maxt == pytest.approx(max((group >= rho - 1e-8).mean(), row.p))


def test_permuted_families_by_enumeration():
    """Means change places between families, deviations within them, each independently."""
    values = np.array([0.0, 10, 4, 14])[:, None]  # a: 0 and 4, b: 10 and 14
    family = np.array([0, 1, 0, 1])
    units, groups = (np.array(list(permutations(range(k)))) for k in (4, 2))
    found = set()
    for group in groups:
        orders = np.repeat(group[None], len(units), 0)
        for at, moved in fm.permuted(values, family, units, orders, 5):
            assert len(moved) == len(units[at])
            found |= {tuple(v[:, 0]) for v in moved}
    known = {(a - s, b - t, a + s, b + t)
             for a, b in ((2, 12), (12, 2)) for s in (2, -2) for t in (2, -2)}  # fmt: skip
    assert found == known


class Fixed:
    """Random numbers that are given: the units in their order, and these shares for runs."""

    def __init__(self, share):
        self.share = np.array(share)

    def integers(self, low, high, shape):
        return np.broadcast_to(np.arange(low, high), shape)

    def random(self, shape):
        return np.broadcast_to(self.share[..., :1] if shape[-1] == 1 else self.share, shape)

    def multinomial(self, n, p, count):
        return np.array([[2, 0], [1, 1], [0, 2]][:count])


def test_nested_runs_are_drawn_from_those_that_are_there():
    """A share of .5 and more takes the second of two runs; a single run is always taken."""
    x = np.array([[0.0, 4], [1, 1], [2, np.nan], [3, 0]])[..., None]
    y = np.array([[0.0, 8], [1, 6], [5, np.nan], [3, 0]])[..., None]
    for share, a, b in (
        ((0.0, 0.0), [0, 1, 2, 3], [0, 1, 5, 3]),
        ((0.99, 0.5), [4, 1, 2, 0], [8, 6, 5, 0]),
        ((0.0, 0.99), [2, 1, 2, 1.5], [4, 3.5, 5, 1.5]),
    ):
        drawn = rs.bootstrap(x, y, "pearson", 1, Fixed(share))
        assert drawn.item() == pytest.approx(np.corrcoef(a, b)[0, 1])
    joint = rs.bootstrap(x, y, "pearson", 3, Fixed([0]), crossed=True).ravel()
    first = np.corrcoef([0, 1, 2, 3], [0, 1, 5, 3])[0, 1]
    both = np.corrcoef([2, 1, 2, 1.5], [4, 3.5, 5, 1.5])[0, 1]
    second = np.corrcoef([4, 1, 2, 0], [8, 6, 5, 0])[0, 1]  # the third unit's only run stands in
    assert joint == pytest.approx([first, both, second])


@pytest.mark.parametrize("method", METHODS)
def test_blocks_of_memory_do_not_change_numbers(method, monkeypatch):
    X, Y = frames(n=7, p=3, o=2, seed=3)
    X.iloc[0, 1] = np.nan
    family = pd.Series(list("aabbcde"), X.index)
    before = [correlate(X, Y, method=method, families=f, **FEW) for f in (None, family)]
    monkeypatch.setattr(rs, "BLOCK", 3000)
    for table, f in zip(before, (None, family), strict=True):
        after = correlate(X, Y, method=method, families=f, **FEW)
        columns = ["rho", "p", "p_maxt", "loo_low", "loo_high", "critical"]
        wide = {"atol": 0.12} if f is not None else {}  # other random numbers
        np.testing.assert_allclose(after[columns], table[columns], **wide)


def test_blocks_share_their_units():
    """Columns with the same gaps are computed together, and only with three units or more."""
    x = np.arange(12.0).reshape(4, 3)
    y = x[:, :2].copy()
    x[0, 1], y[:2, 1] = np.nan, np.nan
    found = {(tuple(r), tuple(p), tuple(o)) for r, p, o in rs.blocks(x, y)}
    assert found == {((0, 1, 2, 3), (0, 2), (0,)), ((1, 2, 3), (1,), (0,))}
    parts = list(rs.narrow([(np.arange(4), np.arange(5), np.arange(2))], 4))
    assert [list(p) for _, p, _ in parts] == [[0, 1], [2, 3], [4]]
    assert len(list(rs.narrow([(np.arange(4), np.arange(5), np.arange(9))], 4))) == 5


def test_all_orders_or_a_sample():
    for n, count, every in ((5, 120, True), (5, 119, False), (5, 999, True)):
        orders, exact = rs.orders(n, count, np.random.default_rng(0))
        assert exact == every and len(orders) == (120 if every else count)
        assert (np.sort(orders, 1) == np.arange(n)).all()
    assert not rs.orders(3, 99, np.random.default_rng(0), every=False)[1]


def test_critical_values_at_their_edges():
    """Reached means at most alpha: 2 of 120 orders of five units, 2 of 24 of four."""
    assert critical(5, 2 / 120) == 1 and np.isnan(critical(5, 2 / 121))
    assert critical(4, 2 / 24) == critical(4, 2 / 24, "kendall") == 1
    assert critical(5, 10 / 120) == pytest.approx(
        0.9
    )  # 1 and four of one swapped neighbour, both ends
    assert critical(3, 0.99) > 0 and np.isnan(critical(2, 0.99))
    assert critical(100, 0.05, "kendall") == pytest.approx(1.959964 * np.sqrt(410 / 9 / 9900))
    exact = critical(60, 0.05, "kendall")
    assert exact != pytest.approx(1.959964 * np.sqrt(250 / 9 / 3540), abs=1e-6)
    assert exact == pytest.approx(1.959964 * np.sqrt(250 / 9 / 3540), abs=2e-3)
    q = stats.t.ppf(0.95, 11)
    assert critical(13, 0.1) == pytest.approx(q / np.sqrt(11 + q * q))


def test_widened_intervals_stay_finite():
    """|rho| = 1 and four effective units or fewer."""
    low, high = fm.widen(
        np.array([0.2]), np.array([1.0]), np.array([0.9]), 9, np.array([3.2]), "pearson"
    )
    assert -1 < low[0] < 0.2 and 0.9 < high[0] <= 1
    z, factor = np.arctanh([0.2, 0.9]), np.sqrt(6 / 0.5)
    assert low[0] == pytest.approx(np.tanh(z[1] + factor * (z[0] - z[1])))
    one = fm.widen(np.array([0.5]), np.array([0.6]), np.array([0.7]), 9, np.array([9.0]), "pearson")
    assert one[0] == pytest.approx(0.5) and one[1] == 0.7  # holds rho itself
    few = fm.widen(np.array([0.1]), np.array([0.8]), np.array([0.5]), 3, np.array([3.0]), "pearson")
    assert (few[0].item(), few[1].item()) == pytest.approx((0.1, 0.8))


def test_leaving_out_families_needs_three_units_and_few_families():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 6, 1))
    low, high = fm.leave_one_out(x, y, np.array([0, 0, 0, 0, 1, 1]), "spearman")
    rest = stats.spearmanr(x[:4], y[:4])[0]  # without family 0 two units are left
    assert low.item() == high.item() == pytest.approx(rest)
    three = fm.leave_one_out(x, y, np.array([0, 0, 0, 1, 1, 1]), "spearman")
    known = [stats.spearmanr(x[k], y[k])[0] for k in (slice(0, 3), slice(3, 6))]
    assert (three[0].item(), three[1].item()) == pytest.approx((min(known), max(known)))
    for count, there in ((200, True), (201, False)):
        x = rng.standard_normal((count, 1))
        assert np.isfinite(fm.leave_one_out(x, x**3, np.arange(count), "pearson")).all() == there


def test_comparison_needs_three_common_units_and_names_the_mean():
    X, Y = frames(n=5, p=2, o=2)
    X.iloc[0, 0], X.iloc[1, 1] = np.nan, np.nan
    table = compare(X, Y, "p0", "p1", resamples=99)
    assert table["n"].tolist() == [3, 3, 3]
    assert table["outcome"].tolist() == ["o0", "o1", "mean of outcomes"]
    rho = [stats.spearmanr(X["p0"][2:], Y[o][2:])[0] for o in Y]
    assert table["rho_a"].tolist() == pytest.approx([*rho, np.mean(rho)])
    X.iloc[2, 0] = np.nan
    with pytest.raises(InputError, match="p0 and p1 share 2 complete units"):
        compare(X, Y, "p0", "p1", resamples=99)
    flat = compare(X.assign(p0=1.0, p1=range(5)), Y, "p0", "p1", resamples=99)
    assert flat[["difference", "low", "high", "p"]].isna().all(axis=None)


def test_what_a_table_says_of_itself():
    X, Y = frames(n=9, p=3, o=2)
    X["p2"] = 1.0
    table = correlate(
        X, Y, alpha=0.1, skip=[("p0", "o1")], primary=[("p0", "o0"), ("p2", "o0")], **FEW
    )
    known = {"alpha": 0.1, "cells": 3, "units": 9, "permutations": 999, "exact": False, "runs": 1,
             "resamples": 199, "crossed": False, "primary": 1, "composites": [],
             "method": "spearman"}  # fmt: skip
    assert {k: table.attrs[k] for k in known} == known
    assert table.attrs["expected"] == pytest.approx(0.3)
    assert len(table) == 5 and set(table["note"]) == {"", "constant predictor"}
    swapped = correlate(Y.assign(o1=2.0), X[["p0"]], **FEW)
    assert swapped["note"].tolist() == ["", "constant predictor"]
    other = correlate(X[["p0"]], Y.assign(o1=2.0), **FEW)
    assert other["note"].tolist() == ["", "constant outcome"]
    with pytest.raises(InputError, match="resamples: found 98, expected at least 99"):
        correlate(X, Y, resamples=98)


def test_tables_that_do_not_fit_are_refused():
    X, Y = runs_with_opposite_signs()
    with pytest.raises(InputError, match="both have runs, or neither"):
        correlate(X, Y.groupby(level=0).mean(), **FEW)
    names, xs, ys, crossed = rs.arrays(X, Y.iloc[1:], crossed=False)
    assert not crossed and list(names) == [f"u{i}" for i in range(8)]
    assert xs[0, :, 0].tolist() == [0, 0] and np.isnan(ys[0, 0, 0]) and ys[0, 1, 0] == 0
    assert ys[1, :, 0].tolist() == [1, -3]
    lone = X.set_axis(pd.MultiIndex.from_tuples([*X.index[:-1], ("u7", 9)]))
    assert not rs.arrays(lone, lone)[3]  # a label of one unit alone: no common draw
