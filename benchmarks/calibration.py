"""Do the tests and intervals keep their promises at nine units? Simulation with known truth.

python benchmarks/calibration.py [--studies 2000] [--seed 1]    (about 3 minutes on one core)

A study: 9 tasks x 3 seeds, predictors and outcomes with the noise of a seed and with ties (scores
of small test sets come in steps). Under the null the tasks' true values are independent.
"""

# ruff: noqa: E402  (threads are set before NumPy is imported)
import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from midway.correlation.correlate import compare, correlate

TASKS, RUNS, NOISE, STEP = 9, 3, 0.5, 0.5


def study(rng, rho, predictors=1, outcomes=1, tasks=TASKS, runs=RUNS, noise=NOISE, step=STEP):
    """Runs of tasks: X, Y indexed (task, run). All columns share one latent pair's rho.

    noise: standard deviation of a seed against 1 between tasks; step: scores are rounded to it.
    """
    x = rng.standard_normal((tasks, 1, predictors))
    e = rng.standard_normal((tasks, 1, outcomes))
    y = rho * x[..., :1] + np.sqrt(1 - rho**2) * e
    x, y = (v + noise * rng.standard_normal((tasks, runs, v.shape[2])) for v in (x, y))
    x, y = (np.round(v / step) * step if step else v for v in (x, y))
    index = pd.MultiIndex.from_product([range(tasks), range(runs)])
    return tuple(pd.DataFrame(v.reshape(tasks * runs, -1), index) for v in (x, y))


def truth(rho, **kwargs):
    """Spearman of the means over runs in a very large population of tasks."""
    x, y = study(np.random.default_rng(0), rho, **kwargs | {"tasks": 200_000})
    mean = [v.groupby(level=0).mean()[0] for v in (x, y)]
    return spearmanr(*mean).statistic


def null(rng, studies):
    """Share of p <= .05 for one cell: tasks as units, and runs as units; uniformity by tenths."""
    tasks, runs = [], []
    for _ in range(studies):
        X, Y = study(rng, 0.0)
        few = {"permutations": 999, "resamples": 99, "seed": int(rng.integers(2**31))}
        tasks.append(correlate(X, Y, **few)["p"][0])
        flat = [v.set_axis(range(len(v))) for v in (X, Y)]
        runs.append(correlate(*flat, **few)["p"][0])
    tasks, runs = np.array(tasks), np.array(runs)
    return {
        "tasks": np.nanmean(tasks <= 0.05),
        "runs": np.nanmean(runs <= 0.05),
        "largest deviation from uniform": max(
            abs(np.nanmean(tasks <= a) - a) for a in np.arange(0.1, 1, 0.1)
        ),
    }


def family(rng, studies, predictors=27, outcomes=9, missing=False):
    """Share of null families of 243 cells in which anything is called significant.

    Predictors go together, and so do outcomes, as in life. missing: every third predictor is there
    for six tasks only (accuracy is not measured on span tasks).
    """
    any_ = {"p": 0, "q_bh": 0, "p_maxt": 0}
    for _ in range(studies):
        X, Y = study(rng, 0.0, predictors, outcomes)
        X, Y = (
            v.add(rng.standard_normal(TASKS)[v.index.get_level_values(0)], axis=0) for v in (X, Y)
        )
        if missing:
            X.loc[6:, ::3] = np.nan
        table = correlate(X, Y, permutations=999, resamples=99, seed=int(rng.integers(2**31)))
        for name in any_:
            any_[name] += bool((table[name] <= 0.05).any())
    return {k: v / studies for k, v in any_.items()}


def coverage(rng, studies, rho, **kwargs):
    """Share of 95 % intervals that hold the truth, and their mean width: units, and two levels."""
    true, hits, widths = truth(rho, **kwargs), [], []
    for _ in range(studies):
        X, Y = study(rng, rho, **kwargs)
        row = correlate(X, Y, permutations=99, resamples=1999, seed=int(rng.integers(2**31))).iloc[
            0
        ]
        ends = [(row["low"], row["high"])]
        if "run_low" in row:
            ends.append((row["run_low"], row["run_high"]))
        hits.append([low - 1e-9 <= true <= high + 1e-9 for low, high in ends])
        widths.append([high - low for low, high in ends])
    return true, np.mean(hits, 0), np.nanmean(widths, 0)


def difference(rng, studies):
    """Share of paired comparisons of two equally good predictors that call one better."""
    wrong = 0
    for _ in range(studies):
        X, Y = study(rng, 0.0)
        y = Y.groupby(level=0).mean()
        X = pd.DataFrame({k: y[0] + rng.standard_normal(TASKS) for k in "ab"})
        row = compare(X, y, "a", "b", resamples=999, seed=int(rng.integers(2**31))).iloc[0]
        wrong += bool(row["low"] > 0 or row["high"] < 0)
    return wrong / studies


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--studies", type=int, default=2000)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    rng, start = np.random.default_rng(args.seed), time.process_time()
    n = args.studies
    print(f"{n} studies of {TASKS} tasks x {RUNS} seeds; seed noise {NOISE}, steps of {STEP}")
    found = null(rng, n)
    error = 2 * np.sqrt(0.05 * 0.95 / n)
    print(f"null, one cell, alpha .05 (simulation error +-{error:.3f}):")
    for name, value in found.items():
        print(f"  {name:32s} {value:.3f}")
    for missing in (False, True):
        some = family(rng, n // 4, missing=missing)
        name = "a third of the predictors at n = 6" if missing else "complete"
        print(f"null, family of 27 x 9 cells, {name} ({n // 4} studies), any cell significant:")
        print("  " + ", ".join(f"{k} {v:.3f}" for k, v in some.items()))
    print(f"two equal predictors, one called better: {difference(rng, n // 2):.3f}")
    print("coverage of 95 % intervals (mean width): BCa over tasks | two levels, percentile")
    plans = [{}, {"runs": 1}, {"noise": 0.0, "step": 0, "runs": 1}, {"tasks": 7}, {"tasks": 11}]
    for rho in (0.0, 0.5, 0.8, 0.95):
        for plan in plans:
            true, hit, width = coverage(rng, n // 2, rho, **plan)
            ends = " | ".join(f"{h:.3f} ({w:.2f})" for h, w in zip(hit, width, strict=True))
            name = ", ".join(f"{k} {v}" for k, v in plan.items()) or "as above"
            print(f"  latent rho {rho:.2f}, true {true:+.2f}, {name:28s} {ends}")
    print(f"{time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
