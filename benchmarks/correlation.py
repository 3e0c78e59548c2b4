"""Time and memory of whole tables of correlations, against their budgets and against SciPy.

python benchmarks/correlation.py    (one thread; CPU seconds; each table in a process of its own)

Budgets: 5,000 units x 50 predictors x 50 outcomes in 10 s and 1 GB; Kendall of 375 units and 4,576
or 10,000 units x 3 x 3 in a second or two. SciPy's permutation_test is run on one cell, vectorised
and as documented, and multiplied by the cells: it has no max-T.
"""

# ruff: noqa: E402  (threads are set before NumPy is imported)
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import multiprocessing
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from midway.correlation.correlate import correlate

TABLES = [  # units, predictors, outcomes, method, share of missing cells
    (9, 27, 9, "spearman", 0), (33, 25, 10, "spearman", 0), (100, 50, 50, "spearman", 0),
    (200, 100, 150, "spearman", 0), (375, 1, 1, "kendall", 0), (375, 50, 50, "kendall", 0),
    (50, 10, 10, "kendall", 0), (30, 20, 20, "spearman", 0.1), (4576, 3, 3, "spearman", 0),
    (10_000, 3, 3, "spearman", 0), (10_000, 3, 3, "kendall", 0), (5000, 50, 50, "spearman", 0),
    (5000, 50, 50, "pearson", 0), (5000, 50, 50, "spearman", 0.01),
]  # fmt: skip


def table(n, predictors, outcomes, method, missing):
    """CPU seconds, peak memory in GB and the permutations and resamples that were made."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, 1))
    made = []
    for name, columns in (("p", predictors), ("o", outcomes)):
        frame = pd.DataFrame(z + rng.standard_normal((n, columns))).add_prefix(name)
        made.append(frame.mask(rng.random(frame.shape) < missing))
    start = time.process_time()
    attrs = correlate(*made, method=method).attrs
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return spent, peak, attrs["permutations"], attrs["resamples"]


def against_scipy(m=9999):
    """CPU seconds of the permutation p of one cell: vectorised, and as documented."""
    x, y = np.random.default_rng(0).random((2, 9))
    rank = stats.rankdata(y)
    rank = (rank - rank.mean()) / np.sqrt(((rank - rank.mean()) ** 2).sum())

    def one_by_one(a):
        return stats.spearmanr(a, y).statistic

    def all_at_once(a, axis):
        ranks = stats.rankdata(a, axis=axis)
        ranks = ranks - ranks.mean(axis=axis, keepdims=True)
        return (ranks * rank).sum(axis=axis) / np.sqrt((ranks**2).sum(axis=axis))

    spent = []
    for statistic, vectorized in ((all_at_once, True), (one_by_one, False)):
        start = time.process_time()
        stats.permutation_test((x,), statistic, permutation_type="pairings", rng=1,
                               n_resamples=m, vectorized=vectorized)  # fmt: skip
        spent.append(time.process_time() - start)
    return spent


def main():
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}")
    print("units x predictors x outcomes, missing        CPU s   peak GB  permutations  resamples")
    context = multiprocessing.get_context("spawn")
    for case in TABLES:
        with context.Pool(1) as pool:
            spent, peak, permutations, resamples = pool.apply(table, case)
        n, p, o, method, missing = case
        name = f"{n:,} x {p} x {o} {method}" + (f", {missing:.0%}" if missing else "")
        print(
            f"{name:44s} {spent:6.1f} {peak:8.2f} {permutations:12,d} {resamples:10,d}", flush=True
        )
    vector, plain = against_scipy()
    print(f"scipy.stats.permutation_test, 9 units, one cell, 9,999 permutations: {vector:.3f} s "
          f"vectorised, {plain:.1f} s as documented; 243 cells: {243 * vector:.1f} and "
          f"{243 * plain:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
