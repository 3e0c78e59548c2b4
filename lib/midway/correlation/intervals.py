"""Intervals and p values of correlations, from their draws or, of many units, in closed form.

Beyond ``LIMIT`` units resampling only repeats what closed forms say, at the cost of minutes: p is
Student's t (Kendall: normal), and the interval is Fisher's z with the error from the influence
function (the infinitesimal jackknife), so that it needs no normal data (Kendall: Fieller).

Sources: (b+1)/(m+1), Phipson & Smyth 2010; BCa, Efron 1987; infinitesimal jackknife, Efron 1982;
error of Fisher's z for rho, Bonett & Wright 2000, for tau, Fieller et al. 1957.
"""

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri
from scipy.stats import kendalltau, rankdata, t

from midway.correlation.resampling import TIE, vectors

LIMIT = {"spearman": 100, "pearson": 100, "kendall": 50}
NOTE = "many units: p by Student's t, interval by influence function"
NOTE_KENDALL = "many units: normal p, Fieller's interval, no leave-one-out"


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
        z, half = fisher_z(rho, n, method), ndtri(1 - alpha / 2) * fisher_error(rho, n, method)
        low = np.where(flat, np.fmin(np.tanh(z - half), rho), low)
        high = np.where(flat, np.fmax(np.tanh(z + half), rho), high)
    kind = np.where(flat, "interval: Fisher z", np.where(plain, "interval: percentile", ""))
    low, high = (np.where(np.isnan(rho), np.nan, v).reshape(shape) for v in (low, high))
    return low, high, np.where(np.isnan(rho), "", kind).astype(object).reshape(shape)


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


def p_value(hits, m, exact):
    return hits / m if exact else (hits + 1) / (m + 1)


def monte_carlo(hits, m, exact, level=0.99):
    """Clopper-Pearson interval (2, ...) of the p value that ever more permutations would give."""
    if exact:
        return np.array([hits / m] * 2)
    tail = (1 - level) / 2
    low = betaincinv(np.maximum(hits, 0.5), m - hits + 1, tail)
    high = betaincinv(hits + 1, np.maximum(m - hits, 0.5), 1 - tail)
    return np.array([np.where(hits > 0, low, 0), np.where(hits < m, high, 1)])


def at_least(null, stat):
    """How many null values are at least as large as each statistic, up to rounding."""
    return len(null) - np.searchsorted(np.sort(null), stat - 10 * TIE)


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


def many(n, method):
    """Whether closed forms replace the resampling of n units."""
    return n > LIMIT[method]


def closed(x, y, method, alpha):
    """rho, p (never 0), interval, leave-one-out range (P, O) and note of one block's values."""
    if method == "kendall":
        rho, p = np.array([[kendalltau(a, b) for b in y.T] for a in x.T]).transpose(2, 0, 1)
        error = fisher_error(rho, len(x), method)
        found = {"rho": rho, "p": p, "error": error, "note": NOTE_KENDALL}
    else:
        found = _moments(x, y, method)
    z, half = fisher_z(found["rho"], len(x), method), ndtri(1 - alpha / 2) * found.pop("error")
    found["p"] = np.maximum(found["p"], np.finfo(float).tiny)
    return found | {"low": np.tanh(z - half), "high": np.tanh(z + half)}


def _moments(x, y, method):
    n, ranked = len(x), method == "spearman"
    values = [rankdata(v, axis=0) if ranked else v for v in (x, y)]
    u, v = (np.sqrt(n) * vectors(a, "pearson") for a in values)
    rho = np.clip(u.T @ v / n, -1, 1)
    error, least, most = np.empty((3, *rho.shape))
    places = [
        (np.argsort(a, 0), *(rankdata(a, how, axis=0).astype(int) for how in ("min", "max")))
        for a in (x, y)
    ]
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
        error = np.where(1 - rho**2 > TIE, error / (1 - rho**2), fisher_error(rho, n, method))
    ends = {"loo_low": rho - most / (n - 1), "loo_high": rho - least / (n - 1)}
    return ends | {"rho": rho, "p": p, "error": error, "note": NOTE}


def _above(a, order, lowest, highest):
    """Sums of a over the units above each one and, added, over it and its ties as well.

    order: of the units; lowest, highest: ranks of each one's ties.
    """
    a = np.take_along_axis(a, order, 0)
    sums = np.concatenate([a[::-1].cumsum(0)[::-1], np.zeros((1, a.shape[1]))])
    return np.take_along_axis(sums, lowest - 1, 0) + np.take_along_axis(sums, highest, 0)
