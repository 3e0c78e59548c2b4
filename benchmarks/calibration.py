"""Do the tests and intervals keep their promises with nine tasks? Simulation with known truth.

python benchmarks/calibration.py [--studies 1000] [--seed 1]    (about 8 minutes on one core)

A study: nine tasks in five families (1, 1, 2, 2 and 3), a composite of all nine, three seeds that
are crossed (what seed k adds is added to all tasks) with noise of their own for every run, scores
in steps (ties). ICC: how alike the tasks of a family are, in predictors and in outcomes. Under the
null the tasks' true values are independent. ``ignored``: the same without families.
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
from midway.correlation.within import within

SIZES, RUNS, NOISE, STEP = (1, 1, 2, 2, 3), 3, 0.5, 0.5
ICC = (0.0, 0.7, 0.9)


def values(rng, sizes, icc, *shape):
    """Unit variance, alike within families: (tasks, *shape)."""
    family = np.repeat(range(len(sizes)), sizes)
    shared, own = (
        rng.standard_normal((len(sizes), *shape)),
        rng.standard_normal((sum(sizes), *shape)),
    )
    return np.sqrt(icc) * shared[family] + np.sqrt(1 - icc) * own


def study(rng, icc, rho=0.0, predictors=1, outcomes=1, sizes=SIZES, runs=RUNS, composite=True):
    """X, Y indexed (task, run) and the families; all columns share one latent pair's rho."""
    x = values(rng, sizes, icc, predictors)
    y = rho * x[:, :1] + np.sqrt(1 - rho**2) * values(rng, sizes, icc, outcomes)
    names = [f"task{i}" for i in range(sum(sizes))]
    family = pd.Series([f"family{k}" for k in np.repeat(range(len(sizes)), sizes)], names)
    if composite:  # "multi": trained on a mixture of all tasks
        x, y = (np.vstack([v, v.mean(0) + 0.3 * rng.standard_normal(v.shape[1])]) for v in (x, y))
        names, family["multi"] = [*names, "multi"], None
    index, made = pd.MultiIndex.from_product([names, range(runs)]), []
    for v in (x, y):
        seed = rng.standard_normal((1, runs, v.shape[1]))
        noisy = v[:, None] + seed + NOISE * rng.standard_normal((len(v), runs, v.shape[1]))
        made.append(pd.DataFrame((np.round(noisy / STEP) * STEP).reshape(len(index), -1), index))
    return *made, family


def truth(rho):
    """Spearman of the means over runs in a very large population of tasks."""
    x, y, _ = study(np.random.default_rng(0), 0, rho, sizes=(1,) * 200_000, composite=False)
    return spearmanr(*(v.groupby(level=0).mean()[0] for v in (x, y))).statistic


def some(rng, permutations=999, resamples=99):
    seed = int(rng.integers(2**31))
    return {"permutations": permutations, "resamples": resamples, "seed": seed}


def null(rng, studies, icc, wrong=True):
    """Shares of studies of nothing in which something is called significant at .05.

    wrong: also of analyses that treat tasks of a family, a composite or runs as independent.
    """
    found = []
    for i in range(studies):
        X, Y, family = study(rng, icc)
        row = {"one test": correlate(X, Y, families=family, **some(rng))["p"][0]}
        if wrong:
            tasks = [v.drop("multi", level=0) for v in (X, Y)]
            row["ignored"] = correlate(*tasks, **some(rng))["p"][0]
            row["with multi"] = correlate(X, Y, **some(rng))["p"][0]
            runs = [v.set_axis(range(len(v))) for v in tasks]
            row["runs as units"] = correlate(*runs, **some(rng))["p"][0]
        for width, name in ((3, "max-T, 3 primary"), (27, "max-T, 240 others")):
            if width > 3 and i % 4:  # 27 x 9 pairs, of which three are primary
                continue
            X, Y, family = study(rng, icc, 0, width, 9 if width > 3 else 1)
            common = [values(rng, SIZES, icc) for _ in (X, Y)]  # columns share a part
            for v, add in zip((X, Y), common, strict=True):
                v.iloc[: 9 * RUNS] += np.repeat(add, RUNS)[:, None]
            first = [(k, 0) for k in range(3)]
            table = correlate(X, Y, families=family, primary=first, **some(rng))
            row[name] = table.loc[table["primary"] == (width == 3), "p_maxt"].min()
            if width > 3 and wrong:
                tasks = [v.drop("multi", level=0) for v in (X, Y)]
                row["max-T, ignored"] = correlate(*tasks, **some(rng))["p_maxt"].min()
        found.append(row)
    table = pd.DataFrame(found)
    return (table <= 0.05).sum() / table.notna().sum()


def coverage(rng, studies, icc, rho, true):
    """Share of 95 % intervals that hold the truth, mean width: over tasks, and two levels."""
    found = []
    for _ in range(studies):
        X, Y, family = study(rng, icc, rho)
        row = correlate(X, Y, families=family, **some(rng, 99, 999)).iloc[0]
        plain = correlate(*(v.drop("multi", level=0) for v in (X, Y)), **some(rng, 99, 999)).iloc[0]
        ends = {"tasks": row[["low", "high"]], "two levels": row[["run_low", "run_high"]],
                "ignored": plain[["low", "high"]]}  # fmt: skip
        found.append({k: (a - 1e-9 <= true <= b + 1e-9, b - a) for k, (a, b) in ends.items()})
    return pd.Series({k: tuple(np.mean([row[k] for row in found], 0)) for k in found[0]})


def curves(rng, icc, r, doses=3, runs=RUNS, sizes=SIZES):
    """Metric and outcome over the doses of every task; both rise, their own parts correlate r."""
    u, v = (values(rng, sizes, icc, doses) for _ in "uv")
    index = pd.MultiIndex.from_product([[f"task{i}" for i in range(sum(sizes))], range(runs),
                                        range(doses)])  # fmt: skip
    made = []
    for own in (u, r * u + np.sqrt(1 - r**2) * v):
        level = 3 * rng.standard_normal((len(own), 1, 1)) + np.arange(doses)
        seed = 0.5 * rng.standard_normal((1, runs, doses))
        noise = NOISE * rng.standard_normal((len(own), runs, doses))
        made.append(pd.DataFrame({0: (own[:, None] + level + seed + noise).ravel()}, index))
    names = [f"task{i}" for i in range(sum(sizes))]
    return *made, pd.Series([f"family{k}" for k in np.repeat(range(len(sizes)), sizes)], names)


def inside(rng, studies, icc, r):
    """Within tasks: share of p <= .05, and coverage of both intervals."""
    X, Y, _ = curves(np.random.default_rng(0), 0, r, sizes=(1,) * 20_000)
    left = [v[0].groupby(level=[0, 2]).mean().unstack().to_numpy() for v in (X, Y)]
    left = [v - v.mean(1, keepdims=True) for v in left]
    true = np.corrcoef(*(v.ravel() for v in left))[0, 1]
    partial = np.corrcoef(*((v - v.mean(0)).ravel() for v in left))[0, 1]
    found = []
    for _ in range(studies):
        X, Y, family = curves(rng, icc, r)
        row = within(X, Y, families=family, **some(rng, 999, 499)).iloc[0]
        held = (
            row["low"] <= true <= row["high"],
            row["partial_low"] <= partial <= row["partial_high"],
        )
        found.append((row["p"] <= 0.05, *held))
    return true, partial, np.mean(found, 0)


def difference(rng, studies, icc):
    """Share of paired comparisons of two equally good predictors that call one better."""
    wrong = 0
    for _ in range(studies):
        _, Y, family = study(rng, icc)
        y = Y.groupby(level=0).mean()
        X = pd.DataFrame({k: y[0].to_numpy() + rng.standard_normal(len(y)) for k in "ab"}, y.index)
        seed = int(rng.integers(2**31))
        row = compare(X, y, "a", "b", families=family, resamples=499, seed=seed).iloc[0]
        wrong += bool(row["low"] > 0 or row["high"] < 0)
    return wrong / studies


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--studies", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--null", action="store_true", help="only the tests, in studies of nothing")
    args = p.parse_args()
    rng, start, n = np.random.default_rng(args.seed), time.process_time(), args.studies
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.precision", 3)
    print(f"{n} studies of nine tasks in families {SIZES}, a composite, {RUNS} crossed seeds")
    print(f"noise of a run {NOISE}, steps of {STEP}; simulation error of a .05: "
          f"{np.sqrt(0.0475 / n):.3f}, of 240 max-T {np.sqrt(0.0475 / (n / 4)):.3f}")  # fmt: skip
    print("\nnothing is there: share of studies in which something is significant at .05")
    table = {f"ICC {icc}": null(rng, n, icc, not args.null) for icc in ICC}
    for icc in () if args.null else ICC:
        table[f"ICC {icc}"]["two equal predictors differ"] = difference(rng, n // 2, icc)
    print(pd.DataFrame(table).to_string(), flush=True)
    if args.null:
        return
    print("\ncoverage of 95 % intervals (mean width)")
    rows = {}
    for rho in (0.0, 0.5, 0.8):
        true = truth(rho)
        for icc in ICC:
            held = coverage(rng, n // 2, icc, rho, true)
            rows[f"true {true:+.2f}, ICC {icc}"] = held.map(lambda v: f"{v[0]:.3f} ({v[1]:.2f})")
    print(pd.DataFrame(rows).T.to_string(), flush=True)
    print("\nwithin tasks, three doses: share of p <= .05, coverage of r_within and of r_partial")
    for r in (0.0, 0.6):
        for icc in ICC:
            true, partial, (p, a, b) = inside(rng, n // 2, icc, r)
            name = f"true {true:+.2f} and {partial:+.2f}, ICC {icc}"
            print(f"  {name:34s} {p:.3f}  {a:.3f}  {b:.3f}", flush=True)
    print(f"{time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
