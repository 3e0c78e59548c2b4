"""Permutation and bootstrap of correlations as matrix products; the machinery of correlation.py.

Every correlation is an inner product of standardised vectors: values (Pearson), ranks (Spearman)
or signs of pair differences (Kendall's tau-b). Arrays: (units, columns), with runs (units, runs,
columns) padded with nan; P predictors, O outcomes.

Sources: (b+1)/(m+1), Phipson & Smyth 2010; BCa, Efron 1987; error of Fisher's z for rho, Bonett &
Wright 2000, for tau, Fieller et al. 1957.
"""

from itertools import permutations as orderings
from math import factorial

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from midway.study.errors import InputError

MIN_UNITS = 3
TIE = 1e-10  # correlations closer than this are equal; rounding must not break ties
BLOCK = 4_000_000  # numbers held at once


def blocks(x, y):
    """Yield (rows, predictor columns, outcome columns) that share the same units with data."""
    for mx, ps in _patterns(x):
        for my, os in _patterns(y):
            rows = np.flatnonzero(mx & my)
            if len(rows) >= MIN_UNITS:
                yield rows, ps, os


def _patterns(a):
    masks, where = np.unique(~np.isnan(a), axis=1, return_inverse=True)
    return [(masks[:, k], np.flatnonzero(where.ravel() == k)) for k in range(masks.shape[1])]


def arrays(X, Y):
    """Unit names and values (n, R, P), (n, R, O); runs are padded with nan."""
    for frame in (X, Y):
        for name, column in frame.items():
            if not pd.api.types.is_numeric_dtype(column):
                raise InputError(f"column {name!r}: text where numbers are needed")
            if np.isinf(column.to_numpy(float, na_value=np.nan)).any():
                raise InputError(
                    f"column {name!r}: infinite value; give a finite one or leave it out"
                )
        if frame.index.has_duplicates:
            again = frame.index[frame.index.duplicated()][0]
            raise InputError(f"{again!r} occurs twice; name the runs, or give each unit one row")
        if frame.columns.has_duplicates:
            raise InputError(
                f"column {frame.columns[frame.columns.duplicated()][0]!r} occurs twice"
            )
    if X.index.nlevels != Y.index.nlevels:
        raise InputError("predictors and outcomes must both have runs, or neither")
    index = X.index.union(Y.index, sort=False)
    unit, names = pd.factorize(index.get_level_values(0))
    run = pd.Series(unit).groupby(unit).cumcount().to_numpy()
    arrays = []
    for frame in (X, Y):
        a = np.full((len(names), max(run, default=0) + 1, frame.shape[1]), np.nan)
        a[unit, run] = frame.reindex(index).to_numpy(float, na_value=np.nan)
        arrays.append(a)
    return names, *arrays


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


def null(x, y, keys, method):
    """Yield (slice of permutations, correlations (b, P, O)) with the units of y permuted."""
    perms, n = keys.argsort(1, kind="stable"), len(x)
    vx, vy = vectors(x, method), vectors(y, method)
    i, j = np.triu_indices(n, 1)
    if method == "kendall":  # signs of all ordered pairs, so that permuted pairs can be looked up
        full = np.zeros((n, n, vy.shape[1]))
        full[i, j], full[j, i] = vy, -vy
        vy = full.reshape(n * n, -1)
    step = max(1, BLOCK // (len(vx) * vy.shape[1] + vx.shape[1] * vy.shape[1]))
    for start in range(0, len(perms), step):
        p = perms[start : start + step]
        index = p[:, i] * n + p[:, j] if method == "kendall" else p
        moved = vy[index].transpose(1, 0, 2).reshape(len(vx), -1)
        null = (vx.T @ moved).reshape(vx.shape[1], len(p), -1).transpose(1, 0, 2)
        yield slice(start, start + len(p)), null


def bootstrap(xs, ys, method, resamples, rng):
    """Correlations (B, P, O) of resampled units, each with its own resampled runs.

    xs, ys: (n, R, C), runs first, padded with nan.
    """
    n, runs = xs.shape[:2]
    filled = ~(np.isnan(xs).all(2) & np.isnan(ys).all(2))
    count = np.maximum(filled.sum(1), 1)
    step = max(1, BLOCK // (n * runs * (xs.shape[2] + ys.shape[2])))
    out = []
    for start in range(0, resamples, step):
        b = min(step, resamples - start)
        unit = rng.integers(0, n, (b, n))
        if runs == 1:
            x, y = xs[unit, 0], ys[unit, 0]
        else:
            pick = (rng.random((b, n, runs)) * count[unit][..., None]).astype(int)
            spare = (np.arange(runs) >= count[unit][..., None])[..., None]  # slots without a run
            pair = (unit[..., None], pick)
            x = mean_of_runs(np.where(spare, np.nan, xs[pair]))
            y = mean_of_runs(np.where(spare, np.nan, ys[pair]))
        out.append(rho_of(x, y, method))
    return np.concatenate(out)


def interval(boot, rho, loo, n, method="spearman", alpha=0.05):
    """BCa interval of each cell from its bootstrap (B, ...) and jackknife (n, ...) values.

    Returns low, high and the method's name where it is not BCa: the percentile interval when bias
    or acceleration cannot be computed, Fisher's z when all resamples agree (\\|rho\\| = 1).
    """
    shape = rho.shape
    rho, boot = rho.ravel(), np.sort(boot.reshape(len(boot), -1).T, axis=1)  # nan sorts last
    valid = (~np.isnan(boot)).sum(1)
    with np.errstate(all="ignore"):
        less = (boot < rho[:, None] - TIE).sum(1) + (boot <= rho[:, None] + TIE).sum(1)
        z0 = ndtri(less / (2 * valid))
        loo = loo.reshape(len(loo), -1)
        d = np.nansum(loo, 0) / (~np.isnan(loo)).sum(0) - loo
        accel = np.nansum(d**3, 0) / (6 * np.nansum(d**2, 0) ** 1.5)
        z = ndtri(np.array([alpha / 2, 1 - alpha / 2]))[:, None]
        q = ndtr(z0 + (z0 + z) / (1 - accel * (z0 + z)))
        plain = ~np.isfinite(q).all(0) | (accel * (z0 + z) >= 1).any(0)
        q = np.where(plain, ndtr(z), q)
        low, high = _quantiles(boot, valid, q)
        flat = ~np.isnan(rho) & ((high - low < TIE) | (np.abs(rho) > 1 - TIE) | (valid == 0))
        half = ndtri(1 - alpha / 2) * fisher_error(rho, n, method)
        low = np.where(flat, np.tanh(fisher_z(rho, n, method) - half), low)
        high = np.where(flat, np.tanh(fisher_z(rho, n, method) + half), high)
        low, high = np.where(flat, np.fmin(low, rho), low), np.where(flat, np.fmax(high, rho), high)
    kind = np.where(flat, "interval: Fisher z", np.where(plain, "interval: percentile", ""))
    low, high = (np.where(np.isnan(rho), np.nan, v).reshape(shape) for v in (low, high))
    return low, high, np.where(np.isnan(rho), "", kind).astype(object).reshape(shape)


def sort_keys(n, permutations, rng):
    """Sort keys (m, n) of the permutations, and whether these are all there are."""
    if n <= 12 and factorial(n) <= permutations:
        return np.array(list(orderings(range(n))), float), True
    return rng.random((permutations, n)), False


def p_value(hits, m, exact):
    return hits / m if exact else (hits + 1) / (m + 1)


def at_least(null, stat):
    """How many null values are at least as large as each statistic, up to rounding."""
    return len(null) - np.searchsorted(np.sort(null), stat - 10 * TIE)


def percentiles(boot, alpha=0.05):
    """Ends of the percentile interval of (B, ...) values; nan where there are none."""
    shape = boot.shape[1:]
    boot = np.sort(boot.reshape(len(boot), -1).T, axis=1)
    q = np.repeat([[alpha / 2], [1 - alpha / 2]], len(boot), axis=1)
    return _quantiles(boot, (~np.isnan(boot)).sum(1), q).reshape(2, *shape)


def _quantiles(boot, valid, q):
    """Quantiles q (2, C) of sorted rows (C, B) of which the first ``valid`` are numbers."""
    last = np.maximum(valid - 1, 0)
    at = q * last
    base = np.floor(np.nan_to_num(at)).astype(int)
    cell = np.arange(len(boot))
    left, right = boot[cell, base], boot[cell, np.minimum(base + 1, last)]
    return left + (right - left) * (at - base)


def null_sd(n, method):
    """Exact standard deviation under permutation (tau: without ties)."""
    return np.sqrt((4 * n + 10) / (9 * n * (n - 1)) if method == "kendall" else 1 / (n - 1))


def fisher_z(rho, n, method):
    """Fisher's z; \\|rho\\| = 1 is taken back by half a step of its scale to stay finite."""
    edge = 1 - (2 / (n * (n - 1)) if method == "kendall" else 6 / (n**3 - n))
    return np.arctanh(np.clip(rho, -edge, edge))


def fisher_error(rho, n, method):
    if method == "kendall":
        return np.sqrt(0.437 / max(n - 4, 1e-9))
    return np.sqrt((1 + (rho**2 / 2 if method == "spearman" else 0)) / max(n - 3, 1e-9))


def mean_of_runs(a):
    """(..., R, C) -> (..., C), over the runs that are there.

    Rounded to 12 digits of the column's largest value: means that are equal on paper must tie.
    """
    there = ~np.isnan(a)
    unit = np.abs(np.where(there, a, 0)).max(tuple(range(a.ndim - 1)), initial=0) * 1e-12
    unit = np.where(unit > 0, unit, 1)
    with np.errstate(invalid="ignore"):
        mean = np.where(there, a, 0).sum(-2) / there.sum(-2)
    return mean if a.shape[-2] == 1 else np.round(mean / unit) * unit
