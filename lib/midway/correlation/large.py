"""Correlations of many units: the limits of the permutation test and of the bootstrap.

Beyond ``LIMIT`` units resampling only repeats what closed forms say, at the cost of minutes. p is
Student's t (Kendall: normal); the interval is Fisher's z with the error from the influence function
(the infinitesimal jackknife, Efron 1982), so that it needs no normal data (Kendall: Fieller et al.
1957); max-T draws from the joint normal limit, in which the covariance of two cells is the product
of their predictors' and their outcomes' correlations.
"""

import numpy as np
from scipy.special import ndtri
from scipy.stats import kendalltau, t

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
    n, (x, y) = len(x), (_Scores(a, method == "spearman") for a in (x, y))
    rho = np.clip(x.z.T @ y.z / n, -1, 1)
    error, least, most = np.empty((3, *rho.shape))
    for i, values in enumerate(_influence(x, y, rho)):
        error[i] = np.sqrt((values**2).sum(0) / (n * (n - 1)))
        least[i], most[i] = values.min(0), values.max(0)
    with np.errstate(all="ignore"):
        p = 2 * t.sf(np.abs(rho) * np.sqrt((n - 2) / (1 - rho**2)), n - 2)
        error = np.where(1 - rho**2 > rs.TIE, error / (1 - rho**2), iv.fisher_error(rho, n, method))
    ends = {"loo_low": rho - most / (n - 1), "loo_high": rho - least / (n - 1)}
    return ends | {"rho": rho, "p": p, "error": error, "note": NOTE}


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


def _influence(x, y, rho):
    """Per predictor: influence of every unit on its correlations, (n, O)."""
    for i, r in enumerate(rho):
        u = x.z[:, i : i + 1]
        values = u * y.z - r / 2 * (u**2 + y.z**2)
        if x.ranked:  # removing a unit moves the ranks of those above it
            above = _suffix((y.z - r * u)[x.order[:, i]])
            values += (above[x.low[:, i]] + above[x.high[:, i]]) / (2 * x.deviation[i])
            above = _suffix(np.take_along_axis(u - r * y.z, y.order, 0))
            both = np.take_along_axis(above, y.low, 0) + np.take_along_axis(above, y.high, 0)
            values += both / (2 * y.deviation)
        yield values - values.mean(0)


class _Scores:
    """Standardised values or, ranked, ranks with the places where their ties begin and end."""

    def __init__(self, a, ranked):
        self.ranked, v = ranked, a
        if ranked:
            self.order, columns = np.argsort(a, 0), [(np.sort(c), c) for c in a.T]
            self.low, self.high = (
                np.column_stack([c.searchsorted(v, side) for c, v in columns])
                for side in ("left", "right")
            )
            v = (self.low + self.high + 1) / 2
        self.deviation = v.std(0)
        constant = a.max(0) == a.min(0)
        with np.errstate(all="ignore"):
            self.z = np.where(constant, np.nan, (v - v.mean(0)) / self.deviation)


def _suffix(a):
    """Sums of all rows from each row on; one more row of zeros."""
    return np.concatenate([a[::-1].cumsum(0)[::-1], np.zeros((1, a.shape[1]))])
