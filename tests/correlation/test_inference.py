"""Ties, Monte-Carlo error, crossed seeds, families, primary pairs, many units, random effects."""

import inspect

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from midway.correlation import families as fm
from midway.correlation import intervals as iv
from midway.correlation import large, strata
from midway.correlation import resampling as rs
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
    found = large.block(x, y, method, 0.05)
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


def test_where_closed_forms_begin():
    for method, last in (("spearman", 100), ("pearson", 100), ("kendall", 50)):
        assert not large.many(last, method) and large.many(last + 1, method)


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
    found = fm._icc(x.to_numpy()[:, None], codes)
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
