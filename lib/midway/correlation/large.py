"""Correlations of many units: the limits of the permutation test and of the bootstrap.

Beyond ``LIMIT`` units resampling only repeats what closed forms say, at the cost of minutes. p is
Student's t (Kendall: normal); the interval is Fisher's z with the error from the influence function
(the infinitesimal jackknife, Efron 1982), so that it needs no normal data (Kendall: Fieller et al.
1957); max-T draws from the joint normal limit, in which the covariance of two cells is the product
of their predictors' and their outcomes' correlations.
"""

import numpy as np
from scipy.special import ndtri
from scipy.stats import kendalltau, rankdata, t

from midway.correlation import resampling as rs

LIMIT = {"spearman": 100, "pearson": 100, "kendall": 50}
NOTE = "many units: p by Student's t, interval by influence function"
NOTE_KENDALL = "many units: normal p, Fieller's interval, no leave-one-out"


def many(n, method):
    """Whether n units are beyond the resampling of this module's neighbours."""
    return n > LIMIT[method]


def correlations(x, y, method):
    """rho and p (P, O); p is never 0."""
    if method == "kendall":
        cells = [[kendalltau(a, b) for b in y.T] for a in x.T]
        rho, p = (np.array([[getattr(c, k) for c in r] for r in cells])
                  for k in ("statistic", "pvalue"))  # fmt: skip
    else:
        rho, n = rs.rho_of(x, y, method), len(x)
        with np.errstate(divide="ignore"):
            p = 2 * t.sf(np.abs(rho) * np.sqrt((n - 2) / (1 - rho**2)), n - 2)
    return rho, np.maximum(p, np.finfo(float).tiny)


def null(x, y, draws, rng, method):
    """Yield (slice, correlations (b, P, O)) from the normal limit of the permutation null."""
    scores = "pearson" if method == "pearson" else "spearman"
    left, right = (_root(np.nan_to_num(rs.vectors(a, scores))) for a in (x, y))
    shape = len(left), len(right)
    step = max(1, rs.BLOCK // (shape[0] * shape[1]))
    for start in range(0, draws, step):
        b = min(step, draws - start)
        noise = rng.standard_normal((b, *shape), dtype=np.float32)
        yield slice(start, start + b), left @ noise @ right.T * rs.null_sd(len(x), method)


def _root(vectors):
    """Symmetric square root of the columns' correlation matrix."""
    values, axes = np.linalg.eigh(vectors.T @ vectors)
    return ((axes * np.sqrt(np.maximum(values, 0))) @ axes.T).astype(np.float32)


def intervals(x, y, rho, method, alpha):
    """Ends (P, O) of the interval, and of the range when any one unit is left out; note."""
    n, z, q = len(x), rs.fisher_z(rho, len(x), method), ndtri(1 - alpha / 2)
    half = q * rs.fisher_error(rho, n, method)
    if method == "kendall":
        return {"low": np.tanh(z - half), "high": np.tanh(z + half), "note": NOTE_KENDALL}
    error, least, most = np.empty((3, *rho.shape))
    for i, values in enumerate(_influence(x, y, rho, method)):
        error[i] = np.sqrt((values**2).sum(0) / (n * (n - 1)))
        least[i], most[i] = values.min(0), values.max(0)
    with np.errstate(all="ignore"):
        half = np.where(1 - rho**2 > rs.TIE, q * error / (1 - rho**2), half)
    ends = {"low": np.tanh(z - half), "high": np.tanh(z + half), "note": NOTE}
    return ends | {"loo_low": rho - most / (n - 1), "loo_high": rho - least / (n - 1)}


def _influence(x, y, rho, method):
    """Per predictor: influence of every unit on its correlations, (n, O)."""
    n, ranked = len(x), method == "spearman"
    (zx, ox, lx, hx, sx), (zy, oy, ly, hy, sy) = (_scores(a, ranked) for a in (x, y))
    for i, r in enumerate(rho):
        u = zx[:, i : i + 1]
        values = u * zy - r / 2 * (u**2 + zy**2)
        if ranked:  # removing a unit moves the ranks of those above it
            above = _suffix((zy - r * u)[ox[:, i]])
            values += (above[lx[:, i]] + above[hx[:, i]]) / (2 * n * sx[i])
            above = _suffix(np.take_along_axis(u - r * zy, oy, 0))
            both = np.take_along_axis(above, ly, 0) + np.take_along_axis(above, hy, 0)
            values += both / (2 * n * sy)
        yield values - values.mean(0)


def _scores(a, ranked):
    """Standardised scores, order, first and last place of each value's ties, deviation of F."""
    v = rankdata(a, axis=0) / len(a) if ranked else a
    with np.errstate(all="ignore"):
        z = (v - v.mean(0)) / v.std(0)
    low, high = (rankdata(a, k, axis=0).astype(int) for k in ("min", "max"))
    return z, np.argsort(a, 0), low - 1, high, v.std(0)


def _suffix(a):
    """Sums of all rows from each row on; one more row of zeros."""
    return np.concatenate([a[::-1].cumsum(0)[::-1], np.zeros((1, a.shape[1]))])
