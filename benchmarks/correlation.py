"""Time of a whole family (27 predictors x 9 outcomes x 9,999 permutations) against SciPy.

python benchmarks/correlation.py    (one thread; the same numbers, the same coefficient, one run)

SciPy's permutation_test is run on one cell, vectorised and not, and multiplied by the cells: it has
no family, so max-T and the shared permutations are extra on our side.
"""

# ruff: noqa: E402  (threads are set before NumPy is imported)
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import platform
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from midway.correlation.correlate import correlate


def best(call, times):
    """Least CPU seconds of several calls: this process's own, whatever else is running."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return min(spent)


def main():
    rng = np.random.default_rng(0)
    X, Y = pd.DataFrame(rng.random((9, 27))), pd.DataFrame(rng.random((9, 9)))
    cells, m = 27 * 9, 9999
    x, y = X[0].to_numpy(), Y[0].to_numpy()
    rank = stats.rankdata(y)
    rank = (rank - rank.mean()) / np.sqrt(((rank - rank.mean()) ** 2).sum())

    def one_by_one(a):
        return stats.spearmanr(a, y).statistic

    def all_at_once(a, axis):
        ranks = stats.rankdata(a, axis=axis)
        ranks = ranks - ranks.mean(axis=axis, keepdims=True)
        return (ranks * rank).sum(axis=axis) / np.sqrt((ranks**2).sum(axis=axis))

    def scipy_test(statistic, vectorized):
        return stats.permutation_test((x,), statistic, permutation_type="pairings", rng=1,
                                      n_resamples=m, vectorized=vectorized)  # fmt: skip

    correlate(X, Y, permutations=99, resamples=99)  # warm up
    ours = best(lambda: correlate(X, Y, permutations=m, resamples=99), 3)
    whole = best(lambda: correlate(X, Y, permutations=m, resamples=9999), 3)
    plain = best(lambda: scipy_test(one_by_one, False), 1)
    vector = best(lambda: scipy_test(all_at_once, True), 3)
    p = correlate(X, Y, permutations=m, resamples=99)["p"][0], scipy_test(all_at_once, True).pvalue
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}")
    print(f"family of {cells} cells, n = 9, {m} permutations, CPU seconds, one thread")
    print(f"  p, max-T, FDR                                   {ours:8.2f} s")
    print(f"  the same with BCa (9,999 resamples) and leave-one-out {whole:.2f} s")
    for name, value in (("vectorised statistic", vector), ("spearmanr, as documented", plain)):
        total = value * cells
        print(f"  scipy.stats.permutation_test, {name}: {value:.3f} s a cell, {total:.1f} s in all")
        print(f"    {total / ours:.0f} times ours, without max-T")
    print(f"  p of the first cell: {p[0]:.4f} here, {p[1]:.4f} SciPy")


if __name__ == "__main__":
    main()
