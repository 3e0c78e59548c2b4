"""Correlation within tasks: does a metric rise as transfer does while a task is trained?

The unit is the dose (an encoder kept at a measured checkpoint) within its task. ``r_within`` is the
repeated-measures correlation (Bakdash & Marusich 2017: one slope, an intercept for each task). It
holds time: two curves that rise with training correlate whatever they measure. So three things
stand beside it: ``r_partial``, after the mean of all tasks at each dose is removed; p, from whole
curves permuted between tasks, which keeps time in both; and the same correlation for doses trained
on shuffled labels (the placebo), with the difference.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from midway.correlation import families as fm
from midway.correlation import intervals as iv
from midway.correlation import resampling as rs
from midway.correlation.null import Tests

COLUMNS = (
    "predictor outcome tasks rows r_within low high r_partial partial_low partial_high p p_maxt"
    " p_mc_low p_mc_high q_bh placebos r_placebo placebo_low placebo_high"
    " difference difference_low difference_high note"
).split()


def within(
    X: pd.DataFrame,
    Y: pd.DataFrame,
    *,
    families: pd.Series | None = None,
    primary=(),
    skip=(),
    permutations: int = 100_000,
    resamples: int = 9999,
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlate metrics with outcomes over the doses within tasks; one row per pair of columns.

    X, Y: indexed by (unit, seed, dose) or, as from :func:`arrays.within`, by (placebo, unit, seed,
    dose), where placebo marks the doses of shuffled labels; doses are matched by their order within
    a unit, seeds are averaged.
    families, primary, skip: as in :func:`midway.correlation.correlate`.

    ``low``, ``high`` (also of r_partial and the difference): resampled tasks (whole families where
    given) and seeds, the latter jointly for all; the error on Fisher's z with Student's t. ``p``:
    two-sided, curves permuted between tasks; ``p_maxt``, ``p_mc_low``, ``p_mc_high``, ``q_bh`` as
    between tasks. ``placebo_low``, ``placebo_high``: Fisher's z; two tasks with two doses each tell
    nothing. A pair needs three tasks with the same number of doses, two at least.
    """
    composites, (real, control) = [], _sides(X, Y)
    if families is not None:
        *real, composites = fm.without_composites(*real, families)
    names, xs, ys = _curves(*real)
    others, px, py = _curves(*control)
    where = pd.Index(others).get_indexer(names)  # place of a task's placebo; -1: none
    px, py = (np.where((where >= 0)[:, None, None, None], v[where], np.nan) if len(others) else
              np.full((len(names), 1, 1, v.shape[-1]), np.nan) for v in (px, py))  # fmt: skip
    family = None if families is None else pd.factorize(families.reindex(names))[0]
    rng = np.random.default_rng(seed)
    orders, exact = rs.orders(len(names), permutations, rng, every=family is None)
    family_orders = None if family is None else rs.orders(family.max(initial=-1) + 1, len(orders),
                                                          rng, False)[0]  # fmt: skip
    tests = Tests(X, Y, skip, primary, len(orders), exact)
    out = {k: np.full(tests.off.shape, np.nan) for k in COLUMNS[2:-1]}
    flat = [_mean(v).transpose(0, 2, 1) for v in (xs, ys)]
    blocks = rs.blocks(*(np.where(np.isnan(v).any(2), np.nan, 0.0) for v in flat))
    for rows, ps, os in rs.narrow(blocks, 4 * rs.BLOCK // (resamples * max(1, len(names)))):
        cell, own = np.ix_(ps, os), None if family is None else family[rows]
        parts = [v[rows][..., k] for v, k in ((xs, ps), (ys, os), (px, ps), (py, os))]
        found = _correlations(*parts, own, resamples, alpha, rng)
        found["r_within"][tests.off[cell]] = found["r_partial"][tests.off[cell]] = np.nan
        size, moved = np.abs(found["r_partial"]), rs.restrict(orders, rows)
        draws = _null(*parts[:2], moved, own, family_orders)
        p = tests.add(cell, size, np.sqrt(len(rows) - 1), draws)
        found["p"] = np.where(np.isnan(size), np.nan, p)
        found["tasks"] = np.full(size.shape, len(rows))
        found["rows"] = found["tasks"] * xs.shape[2]
        for name, values in found.items():
            out[name][cell] = values
    known = ~np.isnan(out["p"])
    out |= tests.corrected(out["p"])
    out["note"] = np.where(known, "", "fewer than 3 tasks with equal doses, or constant")
    table = tests.table(X, Y, out)[COLUMNS + ["primary"] * bool(len(primary))]
    table[["tasks", "rows"]] = table[["tasks", "rows"]].fillna(0).astype(int)
    table.attrs = {"alpha": alpha, "cells": int(known.sum()), "permutations": len(orders),
                   "exact": exact, "doses": xs.shape[2], "seeds": xs.shape[1],
                   "composites": composites, "units": len(names)}  # fmt: skip
    return table


def _sides(X, Y):
    """(X, Y) of the doses of real labels, and of shuffled ones; indexed by (unit, seed, dose)."""
    if X.index.nlevels == 3:
        return (X, Y), (X.iloc[:0], Y.iloc[:0])
    sides = [[v.index.get_level_values(0).astype(bool) == side for v in (X, Y)] for side in (0, 1)]
    return tuple(
        tuple(v[k].droplevel(0) for v, k in zip((X, Y), side, strict=True)) for side in sides
    )


def _curves(X, Y):
    """Unit names; (n, seeds, doses, columns) of both, doses in order, nan where there is none."""
    index = X.index.union(Y.index, sort=False)
    unit, names = pd.factorize(index.get_level_values(0))
    seed, seeds = pd.factorize(index.get_level_values(1))
    dose = pd.Series(index.get_level_values(2)).groupby(unit).rank(method="dense").to_numpy(int) - 1
    made, shape = [], (len(names), max(len(seeds), 1), max(dose, default=0) + 1)
    for frame in (X, Y):
        rs.arrays(frame.set_axis(range(len(frame))), frame.set_axis(range(len(frame))))  # checks
        a = np.full((*shape, frame.shape[1]), np.nan)
        a[unit, seed, dose] = frame.reindex(index).to_numpy(float, na_value=np.nan)
        made.append(a)
    return names, *made


def _mean(a, weights=None):
    """Means over seeds (axis 1), (n, doses, columns); (D, n, ...) with run weights (D, R)."""
    n, r, d, c = a.shape
    flat = a.reshape(n, r, d * c)
    made = rs.mean_of_runs(flat) if weights is None else rs.weighted_means(flat, weights)
    return made.reshape(*made.shape[:-1], d, c)


def _correlations(xs, ys, px, py, family, resamples, alpha, rng):
    """All correlations of a block and their intervals, (P, O) each."""
    n, runs = xs.shape[:2]
    member = np.eye(n) if family is None else (family == np.unique(family)[:, None]).astype(float)
    groups = len(member)
    sums, placebo = _sums(_mean(xs), _mean(ys)), _sums(_mean(px), _mean(py))
    values = _from_sums(sums, placebo, np.ones((1, n)))
    seeds = rng.multinomial(runs, np.full(runs, 1 / runs), resamples)
    seeds, which = np.unique(seeds, axis=0, return_inverse=True)
    drawn = {k: [] for k in values}
    curves = [_mean(v, seeds) for v in (xs, ys)]
    controls: list = [_mean(v, seeds) if v.shape[1] == runs else None for v in (px, py)]
    for k in range(len(seeds)):
        again = int((which.ravel() == k).sum())
        tasks = rng.multinomial(groups, np.full(groups, 1 / groups), again) @ member
        real = _sums(curves[0][k], curves[1][k])
        other = placebo if controls[0] is None else _sums(controls[0][k], controls[1][k])
        for name, v in _from_sums(real, other, tasks).items():
            drawn[name].append(v)
    out = {k: v[0] for k, v in values.items()}
    half = t.ppf(1 - alpha / 2, groups - 1)
    with np.errstate(all="ignore"):
        for name, ends in (("r_within", ""), ("r_partial", "partial_")):
            error = half * _spread(_z(np.concatenate(drawn[name])))
            out[ends + "low"], out[ends + "high"] = _ends(out[name], error)
        error = half * _spread(np.concatenate(drawn["difference"]))
    out["difference_low"], out["difference_high"] = (out["difference"] + s * error for s in (-1, 1))
    there = ~np.isnan(_mean(px)).any(1)[:, :, None] & ~np.isnan(_mean(py)).any(1)[:, None]
    out["placebos"] = there.sum(0)
    free = out["placebos"] * (xs.shape[2] - 1) - 1  # of repeated-measures correlation, Fisher's z
    with np.errstate(all="ignore"):
        half = norm.ppf(1 - alpha / 2) / np.sqrt(np.maximum(free - 1, 0))
        out["placebo_low"], out["placebo_high"] = _ends(out["r_placebo"], half)
    for name in ("difference_low", "difference_high"):
        out[name] = np.where(free > 1, out[name], np.nan)
    return out


def _z(r):
    return np.arctanh(np.clip(r, -1 + 1e-6, 1 - 1e-6))


def _ends(r, error):
    return np.tanh(_z(r) - error), np.tanh(_z(r) + error)


def _spread(draws):
    """Standard deviation over draws by the middle 68 %: values near -1 and 1 count little."""
    low, high = iv.percentiles(draws, 0.3173)
    return (high - low) / 2


def _sums(x, y):
    """Per task: within-task products (n, P, O), squares (n, P), (n, O), and the centred curves."""
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    there = ~np.isnan(x).any(1)[:, :, None] & ~np.isnan(y).any(1)[:, None]  # nan: no such curve
    x, y = (np.nan_to_num(v) for v in (x, y))
    return np.einsum("ndp,ndo->npo", x, y) * there, x, y, there


def _from_sums(real, placebo, counts):
    """Correlations (B, P, O) of tasks counted (B, n) times."""
    out = {}
    for name, (products, x, y, there) in (("r_within", real), ("r_placebo", placebo)):
        weights = (
            np.einsum("bn,npo->bnpo", counts, there) if not there.all() else counts[..., None, None]
        )
        top = np.einsum("bn,npo->bpo", counts, products)
        squares = [(v**2).sum(1) for v in (x, y)]
        left = (weights * squares[0][None, :, :, None]).sum(1)
        right = (weights * squares[1][None, :, None, :]).sum(1)
        with np.errstate(all="ignore"):
            r = top / np.sqrt(left * right)
            few = (weights > 0).sum(1) < 2
            out[name] = np.where(few | (left * right <= rs.TIE**2 * 1e-6), np.nan, r)
        if name == "r_within":  # less the mean curve of the tasks drawn
            total = counts.sum(1)[:, None, None]
            mx, my = (np.einsum("bn,ndp->bdp", counts, v) / total for v in (x, y))
            total = total[:, 0]
            top = top - total[..., None] * np.einsum("bdp,bdo->bpo", mx, my)
            left = np.einsum("bn,np->bp", counts, squares[0]) - total * (mx**2).sum(1)
            right = np.einsum("bn,no->bo", counts, squares[1]) - total * (my**2).sum(1)
            with np.errstate(all="ignore"):
                both = left[:, :, None] * right[:, None]
                r = np.where(both > 1e-20, top / np.sqrt(both), np.nan)
            out["r_partial"] = np.clip(r, -1, 1)
    return out | {"difference": out["r_within"] - out["r_placebo"]}


def _null(xs, ys, orders, family, family_orders):
    """Yield (slice, r_partial (b, P, O)) with whole outcome curves permuted between tasks."""
    x, y = (_mean(v) for v in (xs, ys))
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    x, y = (v - v.mean(0) for v in (x, y))
    n, d, p = x.shape
    flat = y.reshape(n, -1)
    step = max(1, rs.BLOCK // (n * flat.shape[1] + p * y.shape[2]))
    if family is None:
        starts = range(0, len(orders), step)
        draws = ((slice(k, k + step), flat[orders[k : k + step]]) for k in starts)
    else:
        draws = fm.permuted(flat, family, orders, family_orders, step)
    for at, moved in draws:
        moved = moved.reshape(len(moved), n, d, -1)
        moved = moved - moved.mean(1, keepdims=True)
        top = x.reshape(n * d, p).T @ moved.reshape(len(moved), n * d, -1)
        size = np.sqrt((x**2).sum((0, 1))[:, None] * (moved**2).sum((1, 2))[:, None])
        with np.errstate(all="ignore"):
            yield at, np.nan_to_num(top / size)
