"""Correlations within strata (encoders) and their random-effects mean; strata are never pooled.

Sources: DerSimonian & Laird 1986; interval of Hartung & Knapp 2001 and Sidik & Jonkman 2002, never
narrower than DerSimonian and Laird's; Q and I2, Higgins & Thompson 2002.
"""

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm, t

from midway.correlation import intervals as iv
from midway.correlation import resampling as rs

COLUMNS = (
    "predictor outcome n strata rho p p_maxt low high lowest highest q p_q tau2 i2 note"
).split()
LEAST = 5  # units of a stratum that counts


def stratified(
    X: pd.DataFrame,
    Y: pd.DataFrame,
    strata: pd.Series,
    *,
    method: str = "spearman",
    permutations: int = 9999,
    alpha: float = 0.05,
    seed: int = 0,
    items: pd.Series | None = None,
) -> pd.DataFrame:
    """Random-effects mean of Fisher's z over strata (encoders), with measures of heterogeneity.

    strata: stratum of every unit. items: what a unit is in every stratum (the task of
    'encoder/task'); permutations then move the same items together in all strata, and the interval
    holds the error of the items that strata share (jackknife). Permutations stay within strata.
    Columns: predictor, outcome, n, strata, rho, p and p_maxt (no association in any stratum), low,
    high, lowest, highest (over strata), q, p_q, tau2, i2 (heterogeneity), note, which says when
    signs differ between strata: what pooling would hide (Simpson's paradox, 2601.03168).
    """
    names, xs, ys, _ = rs.arrays(X, Y)
    x, y = rs.mean_of_runs(xs), rs.mean_of_runs(ys)
    group, item = (
        np.arange(len(names)) if s is None
        else pd.factorize(s.groupby(level=0).first().reindex(names))[0]
        for s in (strata, items)
    )  # fmt: skip
    keys = np.random.default_rng(seed).random((permutations, item.max(initial=-1) + 1))[:, item]
    largest, rows = np.zeros(permutations), []
    for i, a in enumerate(X.columns):
        for j, b in enumerate(Y.columns):
            there = ~np.isnan(x[:, i]) & ~np.isnan(y[:, j])
            parts = []
            for s in np.unique(group):
                r = np.flatnonzero((group == s) & there)
                cell = x[r, i : i + 1], y[r, j : j + 1]
                rho = rs.rho_of(*cell, method)[0, 0] if len(r) >= LEAST else np.nan
                if not np.isnan(rho):
                    parts.append((r, cell, rho))
            row = {"predictor": a, "outcome": b, "strata": len(parts), "rho": np.nan}
            row |= {"n": sum(len(r) for r, *_ in parts)}
            row |= {"note": f"no stratum has {LEAST} units with data"}
            if parts:
                row |= _mean(parts, method, alpha, item if items is not None else None)
                row["stat"], null = _statistics(parts, keys, method)
                hits = (null >= row["stat"] - rs.TIE).sum()
                row["p"] = iv.p_value(hits, permutations, False)
                largest = np.maximum(largest, null)
            rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=[*COLUMNS, "stat"])
    p = iv.p_value(iv.at_least(largest, table["stat"].to_numpy(float)), permutations, False)
    return table.assign(p_maxt=np.where(table["p"].isna(), np.nan, p))[COLUMNS]


def random_effects(z, variance, alpha=0.05):
    """DerSimonian-Laird mean of k effects: mean, error, t quantile, q, p_q, tau2, i2, weights."""
    z, w, k = np.asarray(z), 1 / np.asarray(variance), len(z)
    q = (w * (z - (w @ z) / w.sum()) ** 2).sum()
    tau2 = max(0.0, (q - (k - 1)) / (w.sum() - (w @ w) / w.sum())) if k > 1 else 0.0
    w = 1 / (np.asarray(variance) + tau2)
    mean, error, at = (w @ z) / w.sum(), 1 / np.sqrt(w.sum()), norm.ppf(1 - alpha / 2)
    found = {"q": np.nan, "p_q": np.nan, "tau2": tau2, "i2": np.nan}
    if k > 1:
        spread = np.sqrt((w * (z - mean) ** 2).sum() / ((k - 1) * w.sum()))
        error, at = max(error, spread), t.ppf(1 - alpha / 2, k - 1)
        found |= {"q": q, "p_q": chi2.sf(q, k - 1), "i2": max(0.0, 1 - (k - 1) / q) if q else 0.0}
    return found | {"mean": mean, "error": error, "quantile": at, "weights": w / w.sum()}


def _mean(parts, method, alpha, item):
    each = [rho for _, _, rho in parts]
    z = [iv.fisher_z(rho, len(r), method) for r, _, rho in parts]
    variance = [iv.fisher_error(rho, len(r), method) ** 2 for r, _, rho in parts]
    found = random_effects(z, variance, alpha)
    mean, error, weights = (found.pop(k) for k in ("mean", "error", "weights"))
    if item is not None:
        shared = _jackknife(parts, item, weights, method) + found["tau2"] * (weights**2).sum()
        error = max(error, np.sqrt(shared))
    half = found.pop("quantile") * error
    found |= {"rho": np.tanh(mean), "low": np.tanh(mean - half), "high": np.tanh(mean + half)}
    found |= {"lowest": min(each), "highest": max(each)}
    return found | {"note": "signs differ" if min(each) < 0 < max(each) else ""}


def _jackknife(parts, item, weights, method):
    """Variance of the weighted mean z from leaving out each item in all strata at once."""
    left = []
    for one in np.unique(np.concatenate([item[r] for r, _, _ in parts])):
        z = []
        for r, (x, y), _ in parts:
            rest = item[r] != one
            z.append(iv.fisher_z(rs.rho_of(x[rest], y[rest], method)[0, 0], rest.sum(), method))
        left.append(weights @ np.array(z))
    left = np.array(left)[~np.isnan(left)]
    return (len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum()


def _statistics(parts, keys, method):
    """Fixed-effect mean of z over strata, weights n - 3: as seen, and of every permutation."""
    draws = []
    for r, cell, rho in parts:
        null = rs.null(*cell, keys[:, r].argsort(1), method)
        draws.append(np.concatenate([[rho], *(v[:, 0, 0] for _, v in null)]))
    n = np.array([len(r) for r, _, _ in parts])
    sums = np.abs((n - 3) @ iv.fisher_z(np.array(draws), n[:, None], method))
    return sums[0] / np.sqrt((n - 3).sum()), sums[1:] / np.sqrt((n - 3).sum())
