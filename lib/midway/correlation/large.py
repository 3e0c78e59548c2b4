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


class Table:
    """All columns' orders, sorted once: a block with missing values only picks from them."""

    def __init__(self, x, y, method):
        self.method = method
        self.orders = [np.argsort(a, 0) for a in (x, y)] if method == "spearman" else None

    def block(self, x, y, rows, ps, os, alpha):
        """rho, p (never 0), interval, leave-one-out range (P, O) and note of one block's values."""
        if self.method == "kendall":
            found = _kendall(x, y, alpha)
        else:
            scores = [_Scores(a, None) for a in (x, y)]
            if self.orders:
                chosen = zip((x, y), self.orders, (ps, os), strict=True)
                scores = [_Scores(a, _pick(o[:, c], rows)) for a, o, c in chosen]
            found = _moments(*scores, self.method, alpha)
        return found | {"p": np.maximum(found["p"], np.finfo(float).tiny)}


def _kendall(x, y, alpha):
    cells = [[kendalltau(a, b) for b in y.T] for a in x.T]
    rho, p = (np.array([[getattr(c, k) for c in r] for r in cells])
              for k in ("statistic", "pvalue"))  # fmt: skip
    half = ndtri(1 - alpha / 2) * iv.fisher_error(rho, len(x), "kendall")
    z = iv.fisher_z(rho, len(x), "kendall")
    ends = {"low": np.tanh(z - half), "high": np.tanh(z + half)}
    return ends | {"rho": rho, "p": p, "note": NOTE_KENDALL}


def _moments(x, y, method, alpha):
    n = len(x.z)
    rho = np.clip(x.z.T @ y.z / n, -1, 1)
    error, least, most = np.empty((3, *rho.shape))
    for i, values in enumerate(_influence(x, y, rho)):
        error[i] = np.sqrt((values**2).sum(0) / (n * (n - 1)))
        least[i], most[i] = values.min(0), values.max(0)
    with np.errstate(all="ignore"):
        p = 2 * t.sf(np.abs(rho) * np.sqrt((n - 2) / (1 - rho**2)), n - 2)
        error = np.where(1 - rho**2 > rs.TIE, error / (1 - rho**2), iv.fisher_error(rho, n, method))
    z, half = iv.fisher_z(rho, n, method), ndtri(1 - alpha / 2) * error
    ends = {"low": np.tanh(z - half), "high": np.tanh(z + half)}
    ends |= {"loo_low": rho - most / (n - 1), "loo_high": rho - least / (n - 1)}
    return ends | {"rho": rho, "p": p, "note": NOTE}


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
        if x.order is not None:  # removing a unit moves the ranks of those above it
            above = _suffix((y.z - r * u)[x.order[:, i]])
            values += (above[x.low[:, i]] + above[x.high[:, i]]) / (2 * x.deviation[i])
            above = _suffix(np.take_along_axis(u - r * y.z, y.order, 0))
            both = np.take_along_axis(above, y.low, 0) + np.take_along_axis(above, y.high, 0)
            values += both / (2 * y.deviation)
        yield values - values.mean(0)


class _Scores:
    """Standardised values, or ranks where there is an order, with the places of their ties."""

    def __init__(self, a, order):
        self.order, v = order, a
        if order is not None:
            ranked, place = np.take_along_axis(a, order, 0), np.arange(1, len(a))[:, None]
            new = ranked[1:] > ranked[:-1]
            first = np.zeros(a.shape, int)
            first[1:] = np.maximum.accumulate(np.where(new, place, 0), 0)
            last = np.full(a.shape, len(a))
            last[:-1] = np.minimum.accumulate(np.where(new, place, len(a))[::-1], 0)[::-1]
            self.low, self.high = np.empty_like(first), np.empty_like(last)
            np.put_along_axis(self.low, order, first, 0)
            np.put_along_axis(self.high, order, last, 0)
            v = (self.low + self.high + 1) / 2
        self.deviation = v.std(0)
        constant = a.max(0) == a.min(0)
        with np.errstate(all="ignore"):
            self.z = np.where(constant, np.nan, (v - v.mean(0)) / self.deviation)


def _pick(order, rows):
    """The order (k, C) of some rows, as places among them."""
    place = np.full(len(order), -1)
    place[rows] = np.arange(len(rows))
    kept = place[order].T
    return kept[kept >= 0].reshape(order.shape[1], len(rows)).T


def _suffix(a):
    """Sums of all rows from each row on; one more row of zeros."""
    return np.concatenate([a[::-1].cumsum(0)[::-1], np.zeros((1, a.shape[1]))])
