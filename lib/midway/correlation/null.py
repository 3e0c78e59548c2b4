"""Correlations under the null of no association: permutations, families, limits, critical values.

Sources: (b+1)/(m+1), Phipson & Smyth 2010; critical values of rho by enumeration, of tau by
Mahonian numbers, of many units and of Pearson's r by Student's t (tau: normal).
"""

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm, t

from midway.correlation import families as fm
from midway.correlation import intervals as iv
from midway.correlation import resampling as rs

PILOT = 4999  # draws that give critical values where no formula does


def affordable(blocks, permutations, resamples, method):
    """Numbers of permutations and resamples that a table of these blocks can have (rs.WORK)."""
    draw = again = 1
    for rows, ps, os in blocks:
        k, p, o = len(rows), len(ps), len(os)
        if iv.many(k, method):
            draw += p * o * (p + o + 20) + 1000
        else:
            width = k * (k - 1) // 2 if method == "kendall" else k
            draw += width * o * (p + 20)
            again += 200 * width * (p + o)
    return tuple(
        min(asked, max(999, int(rs.WORK / cost)))
        for asked, cost in ((permutations, draw), (resamples, again))
    )


class Null:
    """Draws of all correlations of a table; draw i is one permutation of all its cells.

    Blocks of many units draw from the normal limit, each for itself: max-T over several such
    blocks is as for independent ones, which is too large rather than too small (Sidak 1967).
    ``count``: number of draws; ``exact``: they are all permutations.
    """

    def __init__(self, x, y, family, blocks, method, permutations, rng):
        self.x, self.y, self.family, self.method, self.rng = x, y, family, method, rng
        self.count, self.exact, n = permutations, False, len(x)
        if family is None and all(iv.many(len(rows), method) for rows, _, _ in blocks):
            return
        self.count = min(permutations, max(999, 5 * rs.BLOCK // max(n, 1)))
        self.orders, self.exact = rs.orders(n, self.count, rng, every=family is None)
        self.count = len(self.orders)
        if family is not None:
            self.family_orders, _ = rs.orders(family.max(initial=-1) + 1, self.count, rng, False)

    def draws(self, rows, ps, os, count=None):
        """Yield (slice of draws, correlations (b, P, O)) of one block."""
        x, y = self.x[np.ix_(rows, ps)], self.y[np.ix_(rows, os)]
        if self.family is not None:
            orders = rs.restrict(self.orders[:count], rows)
            families = self.family_orders[:count]
            return fm.null(x, y, self.family[rows], orders, families, self.method)
        if iv.many(len(rows), self.method):
            return limit(x, y, self.count, self.rng, self.method)
        return rs.null(x, y, rs.restrict(self.orders, rows), self.method)

    def scale(self, rows, ps, os, alpha):
        """1 / null deviation, and the critical value, of every cell of a block."""
        shape, n = (len(ps), len(os)), len(rows)
        unit = np.full(shape, 1 / iv.null_sd(n, self.method))
        if self.family is None:
            return unit, np.full(shape, critical(n, alpha, self.method))
        some = min(self.count, max(999, min(PILOT, 5 * rs.BLOCK // (shape[0] * shape[1]))))
        sizes = np.abs(np.concatenate([v for _, v in self.draws(rows, ps, os, some)]))
        return unit, fm.critical(np.nan_to_num(sizes), alpha)


class Tests:
    """p values of a table's cells, whose draws come block by block: alone and corrected by max-T.

    Primary cells and the exploratory rest are two families of tests. ``off``, ``first``: which
    cells (P, O) are skipped and which are primary.
    """

    def __init__(self, X, Y, skip, primary, count, exact):
        self.count, self.exact = count, exact
        shape = X.shape[1], Y.shape[1]
        self.off, self.first = (
            np.array([(a, b) in chosen for a in X for b in Y], bool).reshape(shape)
            for chosen in (set(skip), set(primary))
        )
        self.largest, self.score = np.zeros((2, count)), np.full(self.off.shape, np.nan)

    def add(self, cell, size, unit, draws):
        """p of a block from its sizes \\|rho\\|, 1 / null deviation and draws (slice, values)."""
        hits, first = np.zeros(size.shape), self.first[cell]
        for at, values in draws:
            values = np.where(np.isnan(size), np.nan, np.abs(values))
            hits += (values >= size - rs.TIE).sum(0)
            for group in (0, 1):
                most = np.fmax.reduce(np.where(first == group, values * unit, 0), (1, 2))
                self.largest[group, at] = np.fmax(self.largest[group, at], most)
        self.score[cell] = size * unit
        return iv.p_value(hits, self.count, self.exact)

    def corrected(self, p):
        """Columns p_maxt, p_mc_low, p_mc_high, q_bh (P, O) from the p of single cells."""
        out = {k: np.full(p.shape, np.nan) for k in ("p_maxt", "p_mc_low", "p_mc_high", "q_bh")}
        known = ~np.isnan(p)
        for group, chosen in enumerate((known & ~self.first, known & self.first)):
            hits = iv.at_least(self.largest[group], self.score[chosen])
            maxt = iv.p_value(hits, self.count, self.exact)
            out["p_maxt"][chosen] = np.maximum(maxt, p[chosen])  # p may be a closed form
            ends = iv.monte_carlo(hits, self.count, self.exact)
            out["p_mc_low"][chosen], out["p_mc_high"][chosen] = ends
            out["q_bh"][chosen] = false_discovery_control(p[chosen]) if chosen.any() else np.nan
        return out

    def table(self, X, Y, out: dict) -> pd.DataFrame:
        """One row per cell that is not skipped, of arrays (P, O) by name."""
        i, j = np.nonzero(~self.off)
        names = {"predictor": X.columns[i], "outcome": Y.columns[j], "primary": self.first[i, j]}
        return pd.DataFrame(names | {k: v[i, j] for k, v in out.items()})


@lru_cache
def critical(n: int, alpha: float = 0.05, method: str = "spearman") -> float:
    """Smallest \\|correlation\\| with a two-sided p <= alpha at n units without ties; nan if none.

    Exact for rho up to n = 12 and for tau; Student's t beyond and for Pearson.
    Divide alpha by the number of cells for Bonferroni.
    """
    if n < rs.MIN_UNITS:
        return np.nan
    if method == "kendall" and n > 60:
        return float(norm.ppf(1 - alpha / 2) * iv.null_sd(n, method))
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


def limit(x, y, draws, rng, method):
    """Yield (slice, correlations (b, P, O)) from the normal limit of the permutation null.

    The covariance of two cells is the product of their predictors' and outcomes' correlations.
    """
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
