"""Would other seeds say the same? Finished studies that differ in their seeds only, compared.

python benchmarks/seeds.py outputs/mini outputs/mini_b outputs/mini_c [--recommend]

Prints what 03 says in each; how many of the intervals that 03, the report and `midway recommend`
(--recommend: minutes) print hold the other sets' values, over all ordered pairs; and the printed
reliability beside the correlation between the sets.
"""

# ruff: noqa: E402  (threads are set before NumPy is imported)
import argparse
import json
import os
import sys
from itertools import combinations, permutations
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from midway.correlation import advice, recommend, tables
from midway.report import collect

INTERVALS = {  # file of 03: key, value, ends
    "correlation": (["predictor", "outcome"], "rho", "low", "high"),
    "within": (["predictor", "outcome"], "r_within", "low", "high"),
    "within, time removed": (["predictor", "outcome"], "r_partial", "partial_low", "partial_high"),
}


def of_03(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "03_correlation/tables" / f"{name}.csv")


def held(made: list[pd.DataFrame]) -> str:
    """made: a table with value, low and high for each study, one index -> counts."""
    hits = total = 0
    for a, b in permutations(made, 2):
        both = a.join(b["value"].rename("other"), how="inner").dropna()
        hits += (
            (both["low"] - 1e-9 <= both["other"]) & (both["other"] <= both["high"] + 1e-9)
        ).sum()
        total += len(both)
    return f"{hits} of {total} ({hits / max(total, 1):.1%})"


def correlations(folder: Path, name: str) -> pd.DataFrame:
    key, value, low, high = INTERVALS[name]
    table = of_03(folder, name.split(",")[0]).set_index(key)
    return table[[value, low, high]].set_axis(["value", "low", "high"], axis=1)


def gains(folder: Path) -> pd.DataFrame:
    """Gains with the report's interval."""
    outcomes, rows = tables.outcomes(folder), {}
    size = tables.scores(folder).groupby("target")["n"].mean()
    for (target, variant), part in outcomes.groupby(["target", "variant"]):
        base = outcomes[(outcomes["target"] == target) & (outcomes["variant"] == "none")]["score"]
        half = collect.half_width(list(part["gain"]), list(part["score"]), list(base),
                                  size.get(target))  # fmt: skip
        if variant != "none" and half is not None:
            mean = part["gain"].mean()
            rows[target, variant] = {"value": mean, "low": mean - half, "high": mean + half}
    return pd.DataFrame.from_dict(rows, "index")


def advised(folder: Path, target: str) -> pd.DataFrame:
    table, facts = recommend.recommend(folder, target)
    print(f"  {folder.name}, {advice.advice(table, target, facts)[0]}")
    return table.set_index("variant").rename(columns={"gain": "value"})[["value", "low", "high"]]


def reliability(folders: list[Path]) -> pd.DataFrame:
    """Per outcome: printed reliability of each study, and the correlation between studies."""
    printed, means = [], []
    for folder in folders:
        table = of_03(folder, "reliability")
        table = table[table["kind"] == "outcome"].set_index("name")
        printed.append(table[["reliability", "low", "high"]])
        outcomes = tables.outcomes(folder)
        known = outcomes[outcomes["variant"].isin(list(tables.tasks.INTERMEDIATE))]
        means.append(known.pivot_table(index="variant", columns="target", values="gain"))
    out = pd.concat(
        {f.name: p["reliability"] for f, p in zip(folders, printed, strict=True)}, axis=1
    )
    pairs = [a.corrwith(b) for a, b in combinations(means, 2)]
    out["observed, mean"] = pd.concat(pairs, axis=1).mean(axis=1)
    out["lowest"], out["highest"] = (
        pd.concat(pairs, axis=1).agg(f, axis=1) for f in ("min", "max")
    )
    seen = out["observed, mean"]
    told = [p["reliability"] for p in printed]  # nan: only the interval is printed
    out["printed"] = sum(v.notna() for v in told)
    out["within .15"] = sum((v - seen).abs() <= 0.15 for v in told)
    out["intervals that hold it"] = sum((p["low"] <= seen) & (seen <= p["high"]) for p in printed)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("folders", nargs="+", type=Path)
    p.add_argument("--recommend", action="store_true")
    args = p.parse_args()
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.precision", 2)
    records = [json.loads((f / "03_correlation/record.json").read_text()) for f in args.folders]
    for section in records[0]["results"]["sections"]:
        print(f"\n{section}")
        for folder, record in zip(args.folders, records, strict=True):
            for line in record["results"]["sections"][section]:
                print(f"  {folder.name}: {line}")
    print("\nintervals that hold the other studies' values")
    for name in INTERVALS:
        print(f"  {name}: {held([correlations(f, name) for f in args.folders])}")
    print(f"  gains in the report: {held([gains(f) for f in args.folders])}")
    if args.recommend:
        made = [pd.concat({t: advised(f, t) for t in [*tables.tasks.TARGETS, "average"]})
                for f in args.folders]  # fmt: skip
        print(f"  recommend: {held(made)}")
        wide = pd.concat([(m["high"] - m["low"]) / 2 for m in made]).groupby(level=0).median()
        print(f"  half a width, median: {wide.round(1).to_dict()}")
    print("\nreliability of the outcomes")
    print(reliability(args.folders).to_string())
    best = {f.name: tables.gain_matrix(tables.outcomes(f))["average"] for f in args.folders}
    print(f"\nmean gain\n{pd.DataFrame(best).to_string()}")
    print(f"correlations of these: {np.corrcoef(pd.DataFrame(best).dropna().T).round(2).tolist()}")


if __name__ == "__main__":
    main()
