"""Correlation within tasks: against pingouin and statsmodels, with time, placebo and families."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from midway.correlation.within import COLUMNS, within
from midway.study.errors import InputError

FEW = {"permutations": 999, "resamples": 999}


def curves(tasks=9, doses=3, seeds=1, r=0.0, trend=0.0, seed=0, noise=0.0):
    """X, Y by (task, seed, dose): task levels, a common trend, and own curves that correlate r."""
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((2, tasks, 1, doses))
    level = 5 * rng.standard_normal((2, tasks, 1, 1))
    x = level[0] + trend * np.arange(doses) + u + noise * rng.standard_normal((tasks, seeds, doses))
    y = level[1] + trend * np.arange(doses) + r * u + np.sqrt(1 - r**2) * v
    y = y + noise * rng.standard_normal((tasks, seeds, doses))
    index = pd.MultiIndex.from_product(
        [[f"t{i}" for i in range(tasks)], range(1, seeds + 1), np.arange(1, doses + 1) * 20]
    )
    return pd.DataFrame({"x": x.ravel()}, index), pd.DataFrame({"y": y.ravel()}, index)


def test_equals_the_analysis_of_covariance():
    """Bakdash & Marusich: t of the common slope in a model with an intercept for every task."""
    X, Y = curves(r=0.6, trend=0.5)
    task = X.index.get_level_values(0)
    design = pd.get_dummies(task, dtype=float).assign(x=X["x"].to_numpy())
    fit = OLS(Y["y"].to_numpy(), design.to_numpy()).fit()
    row = within(X, Y, **FEW).iloc[0]
    t = fit.tvalues[-1]
    assert row["r_within"] == pytest.approx(t / np.sqrt(t**2 + fit.df_resid))


@pytest.mark.slow
def test_equals_the_repeated_measures_correlation_of_pingouin():
    pingouin = pytest.importorskip("pingouin")
    X, Y = curves(seeds=1, r=0.6, trend=0.5)
    data = X.join(Y).rename_axis(["task", "seed", "dose"]).reset_index()
    known = pingouin.rm_corr(data, x="x", y="y", subject="task")["r"].iloc[0]
    row = within(X, Y, **FEW).iloc[0]
    assert row["r_within"] == pytest.approx(known)
    assert (row["tasks"], row["rows"]) == (9, 27) and row["low"] < known < row["high"]


def test_levels_of_tasks_do_not_matter_and_seeds_are_averaged():
    X, Y = curves(seeds=3, r=0.6, noise=0.5)
    moved = X.index.get_level_values(0).map(lambda t: 100.0 * int(t[1:]))
    a, b = within(X, Y, **FEW).iloc[0], within(X.add(moved, axis=0), Y, **FEW).iloc[0]
    assert a["r_within"] == pytest.approx(b["r_within"])
    mean = [v.groupby(level=[0, 2]).mean() for v in (X, Y)]
    mean = [v.set_axis(pd.MultiIndex.from_tuples([(t, 1, d) for t, d in v.index])) for v in mean]
    assert within(*mean, **FEW).iloc[0]["r_within"] == pytest.approx(a["r_within"])


def test_partial_is_the_correlation_of_what_tasks_and_doses_leave():
    """By hand: residuals of both after task means and dose means."""
    X, Y = curves(r=0.5, trend=3)
    row = within(X, Y, **FEW).iloc[0]
    left = []
    for table in (X, Y):
        wide = table.iloc[:, 0].droplevel(1).unstack()
        wide = wide.sub(wide.mean(axis=1), axis=0)
        left.append((wide - wide.mean()).to_numpy().ravel())
    assert row["r_partial"] == pytest.approx(stats.pearsonr(*left)[0])
    assert row["r_within"] > row["r_partial"] + 0.2  # time alone


@pytest.mark.slow
def test_time_is_not_taken_for_an_effect():
    """Curves that only rise, each in its own noise: r_within is high, p is not small."""
    p = []
    for seed in range(60):
        X, Y = curves(trend=3, seed=seed)
        row = within(X, Y, permutations=199, resamples=99).iloc[0]
        assert row["r_within"] > 0.6
        p.append(row["p"])
    assert np.mean(np.array(p) <= 0.05) <= 0.13 and 0.35 < np.mean(p) < 0.65


def test_p_is_exact_over_permuted_curves():
    """Five tasks: all 120 ways to give the outcome curves to other tasks, by brute force."""
    from itertools import permutations

    X, Y = curves(tasks=5, r=0.7, trend=1, seed=3)
    row = within(X, Y, **FEW).iloc[0]
    x, y = (v.iloc[:, 0].to_numpy().reshape(5, 3) for v in (X, Y))
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    x, y = (v - v.mean(0) for v in (x, y))
    tops = np.array([(x * y[list(o)]).sum() for o in permutations(range(5))])
    assert row["p"] == pytest.approx((np.abs(tops) >= abs(tops[0]) - 1e-9).mean())
    assert row["p_maxt"] == row["p"] == row["p_mc_low"]


def test_placebo_and_difference():
    """Doses of shuffled labels rise with time, too; what is left is the difference."""
    X, Y = curves(r=0.9, trend=0.3, seed=1)
    PX, PY = curves(tasks=4, r=0.0, trend=0.3, seed=2)
    both = [pd.concat({False: v, True: w}) for v, w in ((X, PX), (Y, PY))]
    row = within(*both, **FEW).iloc[0]
    alone, control = within(X, Y, **FEW).iloc[0], within(PX, PY, **FEW).iloc[0]
    assert row["r_within"] == alone["r_within"] and row["p"] == alone["p"]
    assert row["tasks"] == 9 and row["placebos"] == 4
    assert row["r_placebo"] == pytest.approx(control["r_within"])
    assert row["difference"] == pytest.approx(row["r_within"] - row["r_placebo"])
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert np.isnan(alone["r_placebo"]) and np.isnan(alone["difference_low"])
    single = [pd.concat({False: v, True: w.loc[["t0"]]}) for v, w in ((X, PX), (Y, PY))]
    one = within(*single, **FEW).iloc[0]  # of one task: its own slope, no correlation
    assert one["placebos"] == 1
    assert one[["r_placebo", "placebo_low", "difference", "difference_low"]].isna().all()
    z, free = np.arctanh(row["r_placebo"]), 4 * (row["rows"] / 9 - 1) - 1
    ends = np.tanh([z - 1.96 / np.sqrt(free - 1), z + 1.96 / np.sqrt(free - 1)])
    assert [row["placebo_low"], row["placebo_high"]] == pytest.approx(ends, abs=1e-4)
    two = [v.query("ilevel_0 == False or ilevel_1 in ['t0', 't1']") for v in both]
    few = [v[v.index.get_level_values(3) < 60] for v in two]
    open_ = within(*few, **FEW).iloc[0]
    assert (open_["placebo_low"], open_["placebo_high"]) == (-1, 1)  # four points, two lines
    assert np.isnan(open_["difference_low"]) and np.isnan(open_["difference_high"])


def test_seeds_are_drawn_jointly():
    """Seed 2 turns every curve round: intervals must hold what one seed alone would have shown."""
    X, Y = curves(seeds=2, r=0.99, seed=4)
    turned = Y.copy()
    second = Y.index.get_level_values(1) == 2
    turned.loc[second] = -0.5 * Y.loc[second]
    a, b = within(X, Y, **FEW).iloc[0], within(X, turned, **FEW).iloc[0]
    assert b["high"] - b["low"] > 2 * (a["high"] - a["low"]) and b["low"] < 0


def test_families_of_tasks():
    """Three copies of three tasks are three curves, not nine."""
    X, Y = curves(tasks=4, r=0.8, seed=6)
    copies = [
        pd.concat([v.rename(index=lambda t, i=i: f"{t}-{i}", level=0) for i in range(3)])
        for v in (X, Y)
    ]
    units = copies[0].index.get_level_values(0).unique()
    family = pd.Series([u.split("-")[0] for u in units], units)
    plain, row = within(X, Y, **FEW).iloc[0], within(*copies, families=family, **FEW).iloc[0]
    naive = within(*copies, **FEW).iloc[0]
    assert row["r_within"] == pytest.approx(plain["r_within"])
    assert row["p"] == pytest.approx(plain["p"], abs=0.06) and naive["p"] < plain["p"] / 2
    assert row["high"] - row["low"] > 1.2 * (naive["high"] - naive["low"])
    family[units[:3]] = None
    table = within(*copies, families=family, **FEW)
    assert table["tasks"][0] == 9 and len(table.attrs["composites"]) == 3


def test_primary_pairs_and_missing_doses():
    X, Y = curves(r=0.5)
    X["other"] = np.random.default_rng(0).standard_normal(len(X))
    X.loc[("t0", 1, 20), "other"] = np.nan  # the whole task leaves this pair
    table = within(X, Y, primary=[("x", "y")], **FEW).set_index("predictor")
    assert table.loc["x", "p_maxt"] == table.loc["x", "p"] and table.loc["x", "primary"]
    assert table["tasks"].to_dict() == {"x": 9, "other": 8}
    assert [c for c in table.reset_index() if c != "primary"] == COLUMNS


def test_too_little_is_said_and_bad_input_refused():
    X, Y = curves(tasks=2)
    row = within(X, Y, **FEW).iloc[0]
    assert np.isnan(row["p"]) and "fewer than 3 tasks" in row["note"]
    X, Y = curves()
    flat = within(X * 0, Y, **FEW).iloc[0]
    assert np.isnan(flat["r_within"]) and flat["note"]
    with pytest.raises(InputError, match="text where numbers"):
        within(X.astype(str), Y, **FEW)
    assert len(within(X.iloc[:0], Y.iloc[:0], **FEW)) == 1


def test_a_placebo_without_all_doses_is_no_placebo():
    X, Y = curves(r=0.5)
    PX, PY = curves(tasks=4, seed=2)
    PX.loc[("t0", 1, 20), "x"] = np.nan
    rest = [v.drop("t0", level=0) for v in (PX, PY)]
    row = within(*(pd.concat({0: v, 1: w}) for v, w in ((X, PX), (Y, PY))), **FEW).iloc[0]
    assert row["placebos"] == 3 and row["tasks"] == 9
    assert row["r_placebo"] == pytest.approx(within(*rest, **FEW).iloc[0]["r_within"])
