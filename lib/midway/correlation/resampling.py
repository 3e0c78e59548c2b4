"""Permutation and bootstrap of correlations as matrix products; the machinery of correlate.

Every correlation is an inner product of standardised vectors: values (Pearson), ranks (Spearman)
or signs of pair differences (Kendall's tau-b). Arrays: (units, columns), with runs (units, runs,
columns) padded with nan; P predictors, O outcomes.
"""

from itertools import permutations as orderings
from math import factorial

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from midway.study.errors import InputError

MIN_UNITS = 3
TIE = 1e-10  # correlations closer than this are equal; rounding must not break ties
BLOCK = 4_000_000  # numbers held at once
WORK = 1e10  # multiplications that a null distribution may cost; fewer permutations beyond


def blocks(x, y):
    """Yield (rows, predictor columns, outcome columns) that share the same units with data."""
    outcomes = _patterns(y)
    for mx, ps in _patterns(x):
        for my, os in outcomes:
            rows = np.flatnonzero(mx & my)
            if len(rows) >= MIN_UNITS:
                yield rows, ps, os


def narrow(blocks, cells):
    """The same blocks, cut into some predictors at a time so that none has many more cells."""
    for rows, ps, os in blocks:
        step = max(1, cells // len(os))
        for start in range(0, len(ps), step):
            yield rows, ps[start : start + step], os


def _patterns(a):
    there, columns = ~np.isnan(a), {}
    for k in range(a.shape[1]):
        columns.setdefault(there[:, k].tobytes(), []).append(k)
    return [(there[:, ks[0]], np.array(ks)) for ks in columns.values()]


def arrays(X, Y, crossed=None):
    """Unit names, values (n, R, P) and (n, R, O), padded with nan, and whether runs are crossed.

    Crossed: run k is the same draw (subset, order, baseline) for all units, so axis R is its label.
    Default: crossed where every label is shared by several units. Nested: a unit's runs in order.
    """
    for frame in (X, Y):
        for name, column in frame.items():
            if not pd.api.types.is_numeric_dtype(column):
                raise InputError(f"column {name!r}: text where numbers are needed")
            if np.isinf(column.to_numpy(float, na_value=np.nan)).any():
                what = "infinite value; give a finite one or leave it out"
                raise InputError(f"column {name!r}: {what}")
        for again in frame.index[frame.index.duplicated()]:
            raise InputError(f"{again!r} occurs twice; name the runs, or give each unit one row")
        for name in frame.columns[frame.columns.duplicated()]:
            raise InputError(f"column {name!r} occurs twice")
    if X.index.nlevels != Y.index.nlevels:
        raise InputError("predictors and outcomes must both have runs, or neither")
    index = X.index.union(Y.index, sort=False)
    unit, names = pd.factorize(index.get_level_values(0))
    run = pd.Series(unit).groupby(unit).cumcount().to_numpy()
    label = pd.factorize(index.get_level_values(-1))[0] if index.nlevels > 1 else run
    if crossed is None:
        crossed = index.nlevels > 1 and np.bincount(label, minlength=1).min() > 1
    if crossed:
        run = label
    arrays = []
    for frame in (X, Y):
        a = np.full((len(names), max(run, default=0) + 1, frame.shape[1]), np.nan)
        a[unit, run] = frame.reindex(index).to_numpy(float, na_value=np.nan)
        arrays.append(a)
    return names, *arrays, bool(crossed)


def vectors(a, method):
    """(..., n, C) -> unit vectors (..., d, C) whose inner products are the correlations."""
    if method == "kendall":
        i, j = np.triu_indices(a.shape[-2], 1)
        v = np.sign(a[..., i, :] - a[..., j, :])
    else:
        v = rankdata(a, axis=-2) if method == "spearman" else a
        v = v - v.mean(-2, keepdims=True)
    constant = a.max(-2, keepdims=True) == a.min(-2, keepdims=True)
    norm = np.sqrt((v * v).sum(-2, keepdims=True))
    with np.errstate(all="ignore"):
        return np.where(constant, np.nan, v / norm)


def rho_of(x, y, method):
    """(..., n, P), (..., n, O) -> correlations (..., P, O); nan where a column is constant."""
    rho = np.swapaxes(vectors(x, method), -1, -2) @ vectors(y, method)
    return np.clip(rho, -1, 1)


def null(x, y, orders, method):
    """Yield (slice of permutations, correlations (b, P, O)) with the units of y permuted."""
    n, vx, vy = len(x), vectors(x, method), vectors(y, method)
    i, j = np.triu_indices(n, 1)
    if method == "kendall":  # signs of all ordered pairs, so that permuted pairs can be looked up
        full = np.zeros((n, n, vy.shape[1]))
        full[i, j], full[j, i] = vy, -vy
        vy = full.reshape(n * n, -1)
    step = max(1, BLOCK // (len(vx) * vy.shape[1] + vx.shape[1] * vy.shape[1]))
    for start in range(0, len(orders), step):
        p = orders[start : start + step]
        index = p[:, i].astype(int) * n + p[:, j] if method == "kendall" else p
        moved = vy[index].transpose(1, 0, 2).reshape(len(vx), -1)
        null = (vx.T @ moved).reshape(vx.shape[1], len(p), -1).transpose(1, 0, 2)
        yield slice(start, start + len(p)), null


def orders(n, permutations, rng, every=True):
    """Permutations (m, n) of n units, and whether these are all there are (if ``every`` may be)."""
    if every and n <= 12 and factorial(n) <= permutations:
        return np.array(list(orderings(range(n))), np.int16), True
    out = np.empty((permutations, n), np.int16 if n < 2**15 else np.int32)
    step = max(1, BLOCK // max(n, 1))
    for start in range(0, permutations, step):
        part = out[start : start + step]
        part[:] = rng.random(part.shape).argsort(1)
    return out, False


def restrict(orders, rows):
    """The same permutations of some of the units only, (m, n) -> (m, len(rows))."""
    if len(rows) == orders.shape[1]:
        return orders
    place = np.full(orders.shape[1], -1, orders.dtype)
    place[rows] = np.arange(len(rows))
    kept = place[orders]
    return kept[kept >= 0].reshape(len(orders), len(rows))


def bootstrap(xs, ys, method, resamples, rng, crossed=False, family=None):
    """Correlations (B, P, O) of resampled units, with resampled runs.

    xs, ys: (n, R, C), padded with nan. crossed: one draw of runs serves all units, as one seed
    does; otherwise every drawn unit draws its own. family: whole families are drawn.
    """
    n, runs = xs.shape[:2]
    both = np.concatenate([xs, ys], 2)
    filled = ~np.isnan(both).all(2)
    width = n * (n - 1) / 2 if method == "kendall" else n * (1 if crossed else runs)
    step = max(1, int(BLOCK // max(1, width * both.shape[2])))
    out = []
    for start in range(0, resamples, step):
        for unit in _units(n, min(step, resamples - start), rng, family):
            if runs == 1:
                drawn = both[unit, 0]
            elif crossed:
                draws = rng.multinomial(runs, np.full(runs, 1 / runs), len(unit))
                weights, which = np.unique(draws, axis=0, return_inverse=True)
                drawn = weighted_means(both, weights)[which.ravel()[:, None], unit]
            else:
                first = np.argsort(~filled, 1, kind="stable")  # runs that are there, first
                count = np.maximum(filled.sum(1), 1)[unit][..., None]
                pick = (rng.random((*unit.shape, runs)) * count).astype(int)
                pick = np.take_along_axis(first[unit], pick, 2)
                spare = (np.arange(runs) >= count)[..., None]  # slots without a run
                drawn = mean_of_runs(np.where(spare, np.nan, both[unit[..., None], pick]))
            out.append(rho_of(drawn[..., : xs.shape[2]], drawn[..., xs.shape[2] :], method))
    return np.concatenate(out)


def _units(n, b, rng, family):
    """Resampled units (b, n); whole families make several arrays, one for each number of units."""
    if family is None:
        return [rng.integers(0, n, (b, n))]
    members = [np.flatnonzero(family == f) for f in np.unique(family)]
    drawn = rng.integers(0, len(members), (b, len(members)))
    units = [np.concatenate([members[f] for f in row]) for row in drawn]
    widths = sorted({len(u) for u in units})
    return [np.array([u for u in units if len(u) == w]) for w in widths]


def weighted_means(a, weights):
    """Means (D, n, C) of (n, R, C) with run weights (D, R); of all runs where none is drawn."""
    there = ~np.isnan(a)
    total = np.einsum("dr,nrc->dnc", weights, np.where(there, a, 0))
    count = np.einsum("dr,nrc->dnc", weights, there)
    with np.errstate(invalid="ignore"):
        mean = total / count
    return tied(np.where(count > 0, mean, mean_of_runs(a)))


def mean_of_runs(a):
    """(..., R, C) -> (..., C), over the runs that are there; means equal on paper tie."""
    there = ~np.isnan(a)
    with np.errstate(invalid="ignore"):
        return tied(np.where(there, a, 0).sum(-2) / there.sum(-2))


def tied(a):
    """(..., n, C) with values made equal that differ by rounding only.

    30.1 - 28.7 is not 35.6 - 34.2 in the last bits; such gaps (1e-11 of the column's largest value)
    must not make ranks.
    """
    size = np.abs(np.where(np.isnan(a), 0, a)).max(-2, keepdims=True, initial=0)
    order = np.argsort(a, -2)  # nan last
    ranked = np.take_along_axis(a, order, -2)
    steps = np.diff(ranked, axis=-2) > size * 1e-11
    if steps.all():
        return a
    place = np.arange(1, a.shape[-2])[:, None]
    first = np.maximum.accumulate(np.where(steps, place, 0), -2)
    first = np.concatenate([np.zeros_like(first[..., :1, :]), first], -2)
    out = np.empty_like(a)
    np.put_along_axis(out, order, np.take_along_axis(ranked, first, -2), -2)
    return np.where(np.isnan(a), np.nan, out)
