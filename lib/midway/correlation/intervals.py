"""Intervals and p values of correlations from their draws, and what Fisher's z says of them.

Sources: (b+1)/(m+1), Phipson & Smyth 2010; BCa, Efron 1987; error of Fisher's z for rho, Bonett &
Wright 2000, for tau, Fieller et al. 1957.
"""

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri

from midway.correlation.resampling import TIE


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
