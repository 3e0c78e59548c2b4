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

from midway.correlation import intervals as iv
from midway.correlation import resampling as rs

LIMIT = {"spearman": 100, "pearson": 100, "kendall": 50}
NOTE = "many units: p by Student's t, interval by influence function"
NOTE_KENDALL = "many units: normal p, Fieller's interval, no leave-one-out"


def many(n, method):
    """Whether n units are beyond the resampling of this module's neighbours."""
    return n > LIMIT[method]


def block(x, y, method, alpha):
    """rho, p (never 0), interval, leave-one-out range (P, O) and note of one block's values."""
    found = _kendall(x, y) if method == "kendall" else _moments(x, y, method)
    z, half = iv.fisher_z(found["rho"], len(x), method), ndtri(1 - alpha / 2) * found.pop("error")
    found["p"] = np.maximum(found["p"], np.finfo(float).tiny)
    return found | {"low": np.tanh(z - half), "high": np.tanh(z + half)}


def _kendall(x, y):
    cells = np.array([[kendalltau(a, b) for b in y.T] for a in x.T])  # (P, O, 2)
    error = iv.fisher_error(cells[..., 0], len(x), "kendall")
    return {"rho": cells[..., 0], "p": cells[..., 1], "error": error, "note": NOTE_KENDALL}


def _moments(x, y, method):
    n, ranked = len(x), method == "spearman"
    values = [rankdata(v, axis=0) if ranked else v for v in (x, y)]
    u, v = (_standardised(a) for a in values)
    rho = np.clip(u.T @ v / n, -1, 1)
    error, least, most = np.empty((3, *rho.shape))
    places = [_places(a) for a in (x, y)] if ranked else []
    for i, r in enumerate(rho):
        one = u[:, i : i + 1]
        share = one * v - r / 2 * (one**2 + v**2)  # influence of every unit (n, O)
        if ranked:  # removing a unit moves the ranks of those above it
            own = [a[:, i : i + 1] for a in places[0]]
            share += _above(v - r * one, *own) / (2 * values[0][:, i].std())
            share += _above(one - r * v, *places[1]) / (2 * values[1].std(0))
        share -= share.mean(0)
        error[i] = np.sqrt((share**2).sum(0) / (n * (n - 1)))
        least[i], most[i] = share.min(0), share.max(0)
    with np.errstate(all="ignore"):
        p = 2 * t.sf(np.abs(rho) * np.sqrt((n - 2) / (1 - rho**2)), n - 2)
        error = np.where(1 - rho**2 > rs.TIE, error / (1 - rho**2), iv.fisher_error(rho, n, method))
    ends = {"loo_low": rho - most / (n - 1), "loo_high": rho - least / (n - 1)}
    return ends | {"rho": rho, "p": p, "error": error, "note": NOTE}


def _standardised(a):
    with np.errstate(all="ignore"):
        return np.where(a.max(0) == a.min(0), np.nan, (a - a.mean(0)) / a.std(0))


def _places(a):
    """Order of the units, and where the ties of each begin and end in it."""
    ends = (rankdata(a, how, axis=0).astype(int) for how in ("min", "max"))
    return np.argsort(a, 0), next(ends) - 1, next(ends)


def _above(a, order, begin, end):
    """Sums of a over the units above each one, and over it and its ties as well."""
    a = np.take_along_axis(a, order, 0)
    sums = np.concatenate([a[::-1].cumsum(0)[::-1], np.zeros((1, a.shape[1]))])
    return np.take_along_axis(sums, begin, 0) + np.take_along_axis(sums, end, 0)


def null(x, y, draws, rng, method):
    """Yield (slice, correlations (b, P, O)) from the normal limit of the permutation null."""
    scores = "pearson" if method == "pearson" else "spearman"
    left, right = (_root(a, scores) for a in (x, y))
    shape = len(left), len(right)
    step = max(1, rs.BLOCK // (shape[0] * shape[1]))
    for start in range(0, draws, step):
        b = min(step, draws - start)
        noise = rng.standard_normal((b, *shape), dtype=np.float32)
        yield slice(start, start + b), left @ noise @ right.T * iv.null_sd(len(x), method)


def _root(a, method):
    """Symmetric square root of the columns' correlation matrix."""
    if a.shape[1] == 1:
        return np.ones((1, 1), np.float32)
    v = np.nan_to_num(rs.vectors(a, method))
    values, axes = np.linalg.eigh(v.T @ v)
    return ((axes * np.sqrt(np.maximum(values, 0))) @ axes.T).astype(np.float32)
