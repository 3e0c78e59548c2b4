"""How predictors relate to outcomes over few units, with what the data can and cannot show.

The unit is what could have been chosen differently (an intermediate task), never the run: runs of
one unit are averaged, and enter a second bootstrap as a second level. Every correlation here is an
inner product of standardised vectors (values, ranks or signs of pair differences), so a whole
predictor x outcome family with all its permutations is a few matrix products.

Sources: max-T, Westfall & Young 1993; FDR, Benjamini & Hochberg 1995; (b+1)/(m+1), Phipson & Smyth
2010; BCa, Efron 1987; Fisher z of rho, Bonett & Wright 2000; of tau, Fieller et al. 1957.

Examples
--------
>>> import pandas as pd
>>> from midway import correlate
>>> X = pd.DataFrame({"accuracy": [61, 64, 70, 71, 80, 83, 84]})
>>> Y = pd.DataFrame({"gain": [1.0, 2.0, 4.0, 3.0, 5.0, 7.0, 6.0]})
>>> cell = correlate.correlate(X, Y, permutations=6000, resamples=99).iloc[0]
>>> int(cell["n"]), round(float(cell["rho"]), 3), bool(cell["p"] < 0.05)
(7, 0.929, True)
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from midway.correlation import families as fm
from midway.correlation import intervals as iv
from midway.correlation import resampling as rs
from midway.correlation.null import Null, Tests, affordable, critical
from midway.correlation.strata import stratified
from midway.study.errors import InputError

__all__ = ["COLUMNS", "METHODS", "compare", "correlate", "critical", "stratified"]

METHODS = ("spearman", "pearson", "kendall")

COLUMNS = (
    "predictor outcome n rho p p_maxt p_mc_low p_mc_high q_bh low high loo_low loo_high critical"
    " note"
).split()
RUNS = ["run_low", "run_high"]
NUMBERS = [*COLUMNS[3:-1], *RUNS, *fm.COLUMNS]


def correlate(
    X: pd.DataFrame,
    Y: pd.DataFrame,
    *,
    method: str = "spearman",
    permutations: int = 100_000,
    resamples: int = 9999,
    alpha: float = 0.05,
    seed: int = 0,
    skip: Collection[tuple] = (),
    primary: Collection[tuple] = (),
    families: pd.Series | None = None,
    crossed: bool | None = None,
) -> pd.DataFrame:
    """Correlate every column of ``X`` with every column of ``Y``; one row per cell.

    X, Y: units x predictors and units x outcomes, indexed by unit or by (unit, run). Missing
    values are left out pair by pair; ``n`` is what remained. skip: (predictor, outcome) pairs that
    do not belong to the table. primary: pairs named before the data were seen; they and the
    exploratory rest are corrected separately (column ``primary``). crossed: see
    :func:`resampling.arrays`. families: unit -> family, missing for a composite, which is left out.

    ``p``: two-sided permutation p over units, exact where n! <= permutations. ``p_maxt``: the
    same, corrected for all cells with data (max-T of \\|rho\\| in units of its null deviation,
    so that cells of unequal n compete fairly); ``p_mc_low``, ``p_mc_high``: 99 % interval of its
    Monte-Carlo error. ``q_bh``: false discovery rate over these cells.
    ``low``, ``high``: (1 - alpha) BCa bootstrap interval over units (the noise of runs is in their
    means). ``run_low``, ``run_high``, where there are runs: percentile interval of the two-level
    bootstrap, units and then runs; with BCa it covers too rarely, see
    docs/reading-a-correlation.md. ``loo_low``, ``loo_high``: range when any one unit is left out.
    ``critical``: smallest \\|rho\\| whose p can reach alpha at this n without ties; a true rho of
    this size is found in half of the studies only. ``note``: why a number is missing, or which
    interval it is if not BCa. Many units: see intervals.py; work is bounded, ``attrs`` say how many
    ``permutations`` and ``resamples`` were made.

    With families all p values permute as families.py says, intervals are widened to the effective
    number of units, ``critical`` is of that test, and there are ``families``, ``rho_family``,
    ``p_family`` (over family means), ``lofo_low``, ``lofo_high`` (range, one family left out).
    """
    _check(method, permutations=permutations, resamples=resamples)
    composites = []
    if families is not None:
        X, Y, composites = fm.without_composites(X, Y, families)
    names, xs, ys, crossed = rs.arrays(X, Y, crossed)
    x, y = rs.mean_of_runs(xs), rs.mean_of_runs(ys)
    family = None if families is None else pd.factorize(families.reindex(names))[0]
    shape, blocks = (x.shape[1], y.shape[1]), list(rs.blocks(x, y))
    rng = np.random.default_rng(seed)
    permutations, resamples = affordable(blocks, permutations, resamples, method)
    null = Null(x, y, family, blocks, method, permutations, rng)
    tests = Tests(X, Y, skip, primary, null.count, null.exact)
    out = {k: np.full(shape, np.nan) for k in NUMBERS}
    out["note"] = np.full(shape, "", dtype=object)
    for rows, ps, os in blocks:
        cell, part = np.ix_(ps, os), [x[np.ix_(rows, ps)], y[np.ix_(rows, os)]]
        if many := iv.many(len(rows), method):
            found = iv.closed(*part, method, alpha)
        else:
            found = {"rho": rs.rho_of(*part, method)}
        found["rho"][tests.off[cell]] = np.nan
        unit, found["critical"] = null.scale(rows, ps, os, alpha)
        p = tests.add(cell, np.abs(found["rho"]), unit, null.draws(rows, ps, os))
        found.setdefault("p", p)
        if not many:
            runs = xs[rows][..., ps], ys[rows][..., os]
            rest = method, alpha, resamples, rng, crossed
            found |= _intervals(*part, *runs, found["rho"], *rest)
        if family is not None:
            found["p"] = p
            found |= fm.beside(*part, family[rows], found, method, permutations, rng)
        for name, values in found.items():
            out[name][cell] = values
    out["p"] = np.where(np.isnan(out["rho"]), np.nan, out["p"])
    known = ~np.isnan(out["p"])
    out |= tests.corrected(out["p"])
    out["n"] = (~np.isnan(x)).T.astype(int) @ ~np.isnan(y)
    for i, j in np.ndindex(shape):
        both = ~np.isnan(x[:, i]) & ~np.isnan(y[:, j])
        why = _why(x[both, i], y[both, j], out["critical"][i, j], alpha)
        out["note"][i, j] = why or out["note"][i, j]
    columns = COLUMNS + ["primary"] * bool(len(primary)) + fm.COLUMNS * (family is not None)
    table = tests.table(X, Y, out)[columns + RUNS * (xs.shape[1] > 1)]
    reach = known & ~np.isnan(out["critical"])
    table.attrs = {
        "method": method, "alpha": alpha, "cells": int(known.sum()), "units": len(x),
        "permutations": null.count, "exact": null.exact, "resamples": resamples,
        "runs": xs.shape[1], "crossed": crossed, "expected": alpha * int(reach.sum()),
        "primary": int((known & tests.first).sum()), "composites": composites,
    }  # fmt: skip
    return table


def _intervals(x, y, runs_x, runs_y, rho, method, alpha, resamples, rng, crossed):
    """Intervals and leave-one-out ranges of a block, some predictors at a time."""
    n, shape = len(x), rho.shape
    names = ["low", "high", "loo_low", "loo_high", *RUNS * (runs_x.shape[1] > 1)]
    out = {k: np.full(shape, np.nan) for k in names} | {"note": np.empty(shape, object)}
    others = np.array([np.delete(np.arange(n), i) for i in range(n)])
    step = max(1, 2 * rs.BLOCK // (resamples * shape[1]))
    for s in (slice(i, i + step) for i in range(0, shape[0], step)):
        loo = rs.rho_of(x[others][..., s], y[others], method)
        out["loo_low"][s], out["loo_high"][s] = np.fmin.reduce(loo, 0), np.fmax.reduce(loo, 0)
        boot = rs.bootstrap(x[:, None, s], y[:, None], method, resamples, rng)
        ends = iv.interval(boot, rho[s], loo, n, method, alpha)
        out["low"][s], out["high"][s], out["note"][s] = ends
        if "run_low" in out:
            boot = rs.bootstrap(runs_x[..., s], runs_y, method, resamples, rng, crossed)
            out["run_low"][s], out["run_high"][s] = iv.percentiles(boot, alpha)
    return out


def compare(
    X: pd.DataFrame,
    Y: pd.DataFrame,
    a: str,
    b: str,
    *,
    signs: tuple[int, int] = (1, 1),
    method: str = "spearman",
    resamples: int = 9999,
    alpha: float = 0.05,
    seed: int = 0,
    families: pd.Series | None = None,
    crossed: bool | None = None,
) -> pd.DataFrame:
    """Is predictor ``a`` better than ``b``? Paired bootstrap of rho_a - rho_b over common units.

    ``signs``: -1 for a predictor of which less is better. families, crossed: as in
    :func:`correlate`; whole families are then drawn. One row per outcome and one for their mean:
    outcome, n, rho_a, rho_b, difference, low, high (percentile interval), p (two-sided).
    """
    _check(method, resamples=resamples)
    X = X[[a, b]]
    if families is not None:
        X, Y, _ = fm.without_composites(X, Y, families)
    names, xs, ys, crossed = rs.arrays(X, Y, crossed)
    rows = np.flatnonzero(~np.isnan(np.hstack([rs.mean_of_runs(xs), rs.mean_of_runs(ys)])).any(1))
    if len(rows) < rs.MIN_UNITS:
        raise InputError(f"{a} and {b} share {len(rows)} complete units; 3 are needed")
    family = None if families is None else pd.factorize(families.reindex(names[rows]))[0]
    xs, ys, sign = xs[rows], ys[rows], np.array(signs)[:, None]
    rho = rs.rho_of(rs.mean_of_runs(xs), rs.mean_of_runs(ys), method) * sign
    _, resamples = affordable([(rows, range(2), range(len(Y.columns)))], 999, resamples, method)
    rng = np.random.default_rng(seed)
    boot = rs.bootstrap(xs, ys, method, resamples, rng, crossed, family) * sign
    rho = np.column_stack([rho, rho.mean(1)])
    boot = np.concatenate([boot, boot.mean(2, keepdims=True)], axis=2)
    difference, d = rho[0] - rho[1], boot[:, 0] - boot[:, 1]
    tail = np.minimum((d <= rs.TIE).sum(0), (d >= -rs.TIE).sum(0))
    p = np.minimum(1, 2 * (tail + 1) / ((~np.isnan(d)).sum(0) + 1))
    drawn = np.where(np.isnan(difference), np.nan, [*iv.percentiles(d, alpha), p])
    table = pd.DataFrame({"outcome": [*Y.columns, "mean of outcomes"], "n": len(rows)})
    table[["rho_a", "rho_b", "difference"]] = np.column_stack([*rho, difference])
    table[["low", "high", "p"]] = drawn.T
    return table


def _why(x, y, reach, alpha):
    if len(x) == 0:
        return "no unit has both values"
    if len(x) < rs.MIN_UNITS:
        return f"n = {len(x)}: too few units"
    for name, v in (("predictor", x), ("outcome", y)):
        if v.max() == v.min():
            return f"constant {name}"
    return f"n = {len(x)} cannot reach {alpha:g}" if np.isnan(reach) else ""


def _check(method, **counts):
    if method not in METHODS:
        raise InputError(f"method: {method!r}; expected one of {', '.join(METHODS)}")
    for name, value in counts.items():
        if value < 99:
            raise InputError(f"{name}: found {value}, expected at least 99")
