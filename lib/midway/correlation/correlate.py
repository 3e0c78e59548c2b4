"""How predictors relate to outcomes over few units, with what the data can and cannot show.

The unit is what could have been chosen differently (an intermediate task), never the run: runs of
one unit are averaged, and enter a second bootstrap as a second level. Every correlation here is an
inner product of standardised vectors (values, ranks or signs of pair differences), so a whole
predictor x outcome family with all its permutations is a few matrix products.

Sources: max-T, Westfall & Young 1993; FDR, Benjamini & Hochberg 1995; (b+1)/(m+1), Phipson & Smyth
2010; BCa, Efron 1987; Fisher z of rho, Bonett & Wright 2000; of tau, Fieller et al. 1957.
"""

from collections.abc import Collection
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import false_discovery_control, t

from midway.correlation import resampling as rs
from midway.study.errors import InputError

METHODS = ("spearman", "pearson", "kendall")

COLUMNS = "predictor outcome n rho p p_maxt q_bh low high loo_low loo_high detectable note".split()


def correlate(
    X: pd.DataFrame,
    Y: pd.DataFrame,
    *,
    method: str = "spearman",
    permutations: int = 9999,
    resamples: int = 9999,
    alpha: float = 0.05,
    seed: int = 0,
    skip: Collection[tuple] = (),
) -> pd.DataFrame:
    """Correlate every column of ``X`` with every column of ``Y``; one row per cell.

    X, Y: units x predictors and units x outcomes, indexed by unit or by (unit, run). Missing
    values are left out pair by pair; ``n`` is what remained. skip: (predictor, outcome) pairs that
    do not belong to the family.

    ``p``: two-sided permutation p over units, exact where n! <= permutations. ``p_maxt``: the
    same, corrected for all cells with data (max-T of \\|rho\\| in units of its null deviation,
    so that cells of unequal n compete fairly). ``q_bh``: false discovery rate over these cells.
    ``low``, ``high``: (1 - alpha) BCa bootstrap interval over units (the noise of runs is in their
    means). ``run_low``, ``run_high``, where there are runs: percentile interval of the two-level
    bootstrap, units and then runs within units; with BCa it covers too rarely, see
    docs/reading-a-correlation.md. ``loo_low``, ``loo_high``: range when any one unit is left out.
    ``detectable``: smallest \\|rho\\| whose p can reach alpha at this n without ties.
    ``note``: why a number is missing, or which interval it is if not BCa.
    """
    _check(method, permutations=permutations, resamples=resamples)
    _, xs, ys = rs.arrays(X, Y)
    x, y = rs.mean_of_runs(xs), rs.mean_of_runs(ys)
    rng = np.random.default_rng(seed)
    keys, exact = rs.sort_keys(len(x), permutations, rng)
    shape = (x.shape[1], y.shape[1])
    wanted = "rho p low high run_low run_high loo_low loo_high".split()
    out = {k: np.full(shape, np.nan) for k in wanted}
    score, kind = np.full(shape, np.nan), np.full(shape, "", dtype=object)
    n = (~np.isnan(x)).astype(int).T @ (~np.isnan(y)).astype(int)
    off = np.array([[(a, b) in skip for b in Y.columns] for a in X.columns]).reshape(shape)
    largest = np.zeros(len(keys))  # of every permutation, over all cells
    for rows, ps, os in rs.blocks(x, y):
        cell = np.ix_(ps, os)
        bx, by, k = x[np.ix_(rows, ps)], y[np.ix_(rows, os)], len(rows)
        rho = np.where(off[cell], np.nan, rs.rho_of(bx, by, method))
        unit = 1 / rs.null_sd(k, method)
        hits = np.zeros(rho.shape)
        for part, null in rs.null(bx, by, keys[:, rows], method):
            size = np.where(off[cell], np.nan, np.abs(null))
            hits += (size >= np.abs(rho) - rs.TIE).sum(0)
            with np.errstate(invalid="ignore"):
                largest[part] = np.fmax(largest[part], np.nanmax(size * unit, (1, 2), initial=0))
        out["rho"][cell], score[cell] = rho, np.abs(rho) * unit
        out["p"][cell] = np.where(np.isnan(rho), np.nan, rs.p_value(hits, len(keys), exact))
        others = np.array([np.delete(np.arange(k), i) for i in range(k)])
        loo = rs.rho_of(bx[others], by[others], method)
        with np.errstate(invalid="ignore"):
            out["loo_low"][cell] = np.fmin.reduce(loo, 0)
            out["loo_high"][cell] = np.fmax.reduce(loo, 0)
        boot = rs.bootstrap(bx[:, None], by[:, None], method, resamples, rng)
        out["low"][cell], out["high"][cell], kind[cell] = rs.interval(
            boot, rho, loo, k, method, alpha
        )
        if xs.shape[1] > 1:
            boot = rs.bootstrap(xs[rows][..., ps], ys[rows][..., os], method, resamples, rng)
            out["run_low"][cell], out["run_high"][cell] = rs.percentiles(boot, alpha)
    out["p_maxt"] = np.where(
        np.isnan(score), np.nan, rs.p_value(rs.at_least(largest, score), len(keys), exact)
    )
    known = ~np.isnan(out["p"])
    out["q_bh"] = np.full(shape, np.nan)
    if known.any():
        out["q_bh"][known] = false_discovery_control(out["p"][known])
    reach = {int(k): detectable(int(k), alpha, method) for k in np.unique(n)}
    rows = []
    for i, a in enumerate(X.columns):
        for j, b in enumerate(Y.columns):
            if off[i, j]:
                continue
            both = ~np.isnan(x[:, i]) & ~np.isnan(y[:, j])
            note = _why(x[both, i], y[both, j], reach[n[i, j]], alpha) or kind[i, j]
            values = {k: v[i, j] for k, v in out.items()}
            extra = {"predictor": a, "outcome": b, "n": n[i, j], "note": note}
            rows.append(values | extra | {"detectable": reach[n[i, j]]})
    more = ["run_low", "run_high"] if xs.shape[1] > 1 else []
    table = pd.DataFrame(rows, columns=COLUMNS + more)
    table.attrs = {
        "method": method, "alpha": alpha, "cells": int(known.sum()), "units": len(x),
        "permutations": len(keys), "exact": exact, "resamples": resamples, "runs": xs.shape[1],
    }  # fmt: skip
    return table


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
) -> pd.DataFrame:
    """Is predictor ``a`` better than ``b``? Paired bootstrap of rho_a - rho_b over common units.

    ``signs``: -1 for a predictor of which less is better. One row per outcome and one for their
    mean: outcome, n, rho_a, rho_b, difference, low, high (percentile interval), p (two-sided).
    """
    _check(method, resamples=resamples)
    _, xs, ys = rs.arrays(X[[a, b]], Y)
    rows = np.flatnonzero(~np.isnan(np.hstack([rs.mean_of_runs(xs), rs.mean_of_runs(ys)])).any(1))
    if len(rows) < rs.MIN_UNITS:
        raise InputError(f"{a} and {b} share {len(rows)} complete units; 3 are needed")
    xs, ys, sign = xs[rows], ys[rows], np.array(signs)[:, None]
    rho = rs.rho_of(rs.mean_of_runs(xs), rs.mean_of_runs(ys), method) * sign
    boot = rs.bootstrap(xs, ys, method, resamples, np.random.default_rng(seed)) * sign
    rho = np.column_stack([rho, rho.mean(1)])
    boot = np.concatenate([boot, boot.mean(2, keepdims=True)], axis=2)
    table = []
    for j, name in enumerate([*Y.columns, "mean of outcomes"]):
        d = boot[:, 0, j] - boot[:, 1, j]
        d = d[~np.isnan(d)]
        row = {"outcome": name, "n": len(rows), "rho_a": rho[0, j], "rho_b": rho[1, j]}
        row |= {"difference": rho[0, j] - rho[1, j], "low": np.nan, "high": np.nan, "p": np.nan}
        if len(d) and not np.isnan(row["difference"]):
            row["low"], row["high"] = np.quantile(d, [alpha / 2, 1 - alpha / 2])
            tail = min((d <= rs.TIE).sum(), (d >= -rs.TIE).sum())
            row["p"] = min(1.0, 2 * (tail + 1) / (len(d) + 1))
        table.append(row)
    return pd.DataFrame(table)


def stratified(
    X: pd.DataFrame,
    Y: pd.DataFrame,
    strata: pd.Series,
    *,
    method: str = "spearman",
    permutations: int = 9999,
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlations within strata (encoders), averaged on Fisher z (weights n - 3), not pooled.

    ``strata``: stratum of every unit. Permutations stay within strata. Columns: predictor,
    outcome, n, strata, rho, p, p_maxt, low, high, lowest, highest (over strata), note, which says
    when signs differ between strata: what pooling would hide (Simpson's paradox, 2601.03168).
    """
    _check(method, permutations=permutations)
    rng = np.random.default_rng(seed)
    names, xs, ys = rs.arrays(X, Y)
    x, y = rs.mean_of_runs(xs), rs.mean_of_runs(ys)
    group = strata.groupby(level=0).first().reindex(names).to_numpy()
    keys = rng.random((permutations, len(x)))
    largest, rows = np.zeros(permutations), []
    for i, a in enumerate(X.columns):
        for j, b in enumerate(Y.columns):
            z, null, var, weight, each = 0.0, 0.0, 0.0, 0.0, []
            for s in pd.unique(group):
                r = np.flatnonzero((group == s) & ~np.isnan(x[:, i]) & ~np.isnan(y[:, j]))
                rho = (
                    rs.rho_of(x[r, i : i + 1], y[r, j : j + 1], method)[0, 0]
                    if len(r) > 4
                    else np.nan
                )
                if np.isnan(rho):
                    continue
                w = len(r) - 3
                parts = rs.null(x[r, i : i + 1], y[r, j : j + 1], keys[:, r], method)
                null = null + w * rs.fisher_z(
                    np.concatenate([v[:, 0, 0] for _, v in parts]), len(r), method
                )
                z, weight, var = z + w * rs.fisher_z(rho, len(r), method), weight + w, var + (
                    w * rs.fisher_error(rho, len(r), method)) ** 2  # fmt: skip
                each.append((len(r), rho))
            row = {"predictor": a, "outcome": b, "n": sum(e[0] for e in each), "strata": len(each)}
            if each:
                stat, null = z / np.sqrt(weight), null / np.sqrt(weight)
                row["p"] = rs.p_value(
                    (np.abs(null) >= abs(stat) - rs.TIE).sum(), permutations, False
                )
                largest, row["stat"] = np.maximum(largest, np.abs(null)), abs(stat)
                half = ndtri(1 - alpha / 2) * np.sqrt(var) / weight
                row["rho"] = np.tanh(z / weight)
                row["low"], row["high"] = np.tanh([z / weight - half, z / weight + half])
                row["lowest"], row["highest"] = min(e[1] for e in each), max(e[1] for e in each)
                row["note"] = "signs differ" if row["lowest"] < 0 < row["highest"] else ""
            else:
                row |= {"note": "no stratum has 5 units with data", "rho": np.nan}
            rows.append(row)
    table = pd.DataFrame(rows).assign(p_maxt=np.nan)
    if "stat" in table:
        hits = rs.at_least(largest, table.pop("stat").to_numpy(float))
        table["p_maxt"] = np.where(table["p"].isna(), np.nan, rs.p_value(hits, permutations, False))
    order = "predictor outcome n strata rho p p_maxt low high lowest highest note".split()
    return table.reindex(columns=order)


@lru_cache
def detectable(n: int, alpha: float = 0.05, method: str = "spearman") -> float:
    """Smallest \\|correlation\\| with a two-sided p <= alpha at n units without ties; nan if none.

    Exact for rho up to n = 12 and for tau; Student's t beyond and for Pearson.
    Divide alpha by the number of cells for Bonferroni.
    """
    if n < rs.MIN_UNITS:
        return np.nan
    if method == "kendall":
        counts = np.ones(1)
        for i in range(2, n + 1):  # inversions of permutations (Mahonian numbers)
            counts = np.convolve(counts, np.ones(i))
        values = 1 - 4 * np.arange(len(counts)) / (n * (n - 1))
    elif method == "spearman" and n <= 12:
        counts = _squared_rank_differences(n)
        values = 1 - 6 * np.arange(len(counts)) / (n * (n * n - 1))
    else:
        q = t.ppf(1 - alpha / 2, n - 2)
        return float(q / np.sqrt(n - 2 + q * q))
    sizes, where = np.unique(np.abs(values).round(12), return_inverse=True)
    tail = np.bincount(where, counts)[::-1].cumsum()[::-1] / counts.sum()
    possible = np.bincount(where, counts) > 0
    reached = sizes[(tail <= alpha * (1 + 1e-9)) & possible]
    return float(reached[0]) if len(reached) else np.nan


def _why(x, y, reach, alpha):
    if len(x) == 0:
        return "no unit has both values"
    if len(x) < rs.MIN_UNITS:
        return f"n = {len(x)}: too few units"
    for name, v in (("predictor", x), ("outcome", y)):
        if v.max() == v.min():
            return f"constant {name}"
    return f"n = {len(x)} cannot reach {alpha:g}" if np.isnan(reach) else ""


def _squared_rank_differences(n):
    """How many permutations have each sum of squared rank differences (dynamic programme)."""
    top = n * (n * n - 1) // 3
    ways = np.zeros((1 << n, top + 1))
    ways[0, 0] = 1
    for mask in range(1 << n):
        i = mask.bit_count()
        for j in range(n):
            if not mask >> j & 1:
                d = (i - j) ** 2
                ways[mask | 1 << j, d:] += ways[mask, : top + 1 - d]
    return ways[-1]


def _check(method, **counts):
    if method not in METHODS:
        raise InputError(f"method: {method!r}; one of {', '.join(METHODS)}")
    for name, value in counts.items():
        if value < 99:
            raise InputError(f"{name}: {value}; at least 99")
