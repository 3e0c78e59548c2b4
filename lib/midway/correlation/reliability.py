"""Reliability: how far a number repeats with other seeds and test items, and ceilings of rho.

A table is crossed: the same seeds for every unit, and seed k is the same subset of rows, head,
order and baseline for all units. So a column's value is unit + seed + rest, and only the rest is
error when units are compared (two-way analysis of variance; ICC(C,1) and ICC(C,k) of McGraw & Wong
1996; interval, Feldt 1965). Disattenuation: Spearman 1904.
"""

import numpy as np
import pandas as pd
from scipy.stats import f

from midway.correlation import floors
from midway.study import tasks

#: Targets whose estimate is below this are named; left out of the average where it is certain.
FLOOR = 0.5
#: An estimate is told only if its interval reaches no further: others do not hold for new seeds.
KNOWN = 0.15

COLUMNS = (
    "n seeds mean between seed one_seed reliability low high seed_to_seed item total total_low"
    " total_high note"
).split()


def components(table: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """Variance between units and between seeds of every column of a (unit, seed) table.

    ``between``, ``seed``: standard deviations in the column's units; ``one_seed``: reliability of
    one training, which is the expected correlation of two seeds; ``reliability``: that of the mean
    over the table's seeds, with its (1 - alpha) interval ``low``, ``high``; ``seed_to_seed``: mean
    observed Pearson correlation of two seeds. Units count that have every seed. NaN and a note
    where fewer than two seeds or three units say nothing.
    """
    rows = {}
    for name, column in table.items():
        cube = column.unstack() if table.index.nlevels > 1 else column.to_frame()
        cube = cube.dropna(how="all").dropna(how="all", axis=1)
        seeds = cube.shape[1]
        cube = cube.dropna()
        row = {"n": len(cube), "seeds": seeds, "mean": cube.stack().mean()}
        if seeds < 2 or len(cube) < 3:
            few = "one seed" if seeds < 2 else f"{len(cube)} tasks with all seeds"
            rows[name] = row | {"note": f"{few}: error of training not known"}
            continue
        rows[name] = row | _anova(cube.to_numpy(), alpha)
    out = pd.DataFrame.from_dict(rows, "index").reindex(columns=COLUMNS)
    note = out.pop("note").astype(object).fillna("")
    return out.astype(float).assign(note=note)


def _anova(a: np.ndarray, alpha: float) -> dict:
    n, k = a.shape
    rest = a - a.mean(1, keepdims=True) - a.mean(0, keepdims=True) + a.mean()
    free = (n - 1) * (k - 1)
    error = (rest**2).sum() / free
    units = k * a.mean(1).var(ddof=1)
    tiny = 1e-12 * max(1.0, np.abs(a).max()) ** 2
    if units <= tiny:
        return {"between": 0.0, "seed": error**0.5, "note": "the tasks do not differ"}
    between = max(0.0, (units - error) / k)
    mean, low, high = _share(error / units, n, free, alpha)
    pairs = [np.corrcoef(a[:, i], a[:, j])[0, 1] for i in range(k) for j in range(i)
             if np.ptp(a[:, i]) > 0 < np.ptp(a[:, j])]  # fmt: skip
    return {
        "between": between**0.5, "seed": error**0.5 if error > tiny else 0.0,
        "one_seed": between / (between + error), "reliability": mean, "low": low, "high": high,
        "seed_to_seed": np.mean(pairs) if pairs else np.nan,
    }  # fmt: skip


def _share(lost: float, n: float, free: float, alpha: float) -> np.ndarray:
    """Reliability of n units and its interval, from error over observed variance; in [0, 1].

    free: degrees of freedom of the error. Its median is the true value.
    """
    ends = f.ppf([1 - alpha / 2, alpha / 2], n - 1, min(free, 1e9))
    return np.maximum(0, 1 - lost * np.array([1, *ends]))


def with_items(
    parts: pd.DataFrame, error: dict[str, float], observed: pd.Series, alpha: float = 0.05
) -> pd.DataFrame:
    """Add the error of test items: ``item`` (standard deviation), ``total`` reliability.

    error: variance between units that other test items would cause, by column; observed: variance
    of the units' means. ``total`` counts both errors (with one seed: an
    upper bound); ``total_low``, ``total_high``: its interval.
    """
    out = parts.copy()
    for name, value in error.items():
        if name not in out.index or not observed.get(name, 0) > 0:
            continue
        out.loc[name, "item"] = value**0.5
        n, seeds, seed = out.loc[name, ["n", "seeds", "reliability"]].astype(float)
        lost = [value / observed[name], 0 if np.isnan(seed) else 1 - seed]
        # Satterthwaite: the error of seeds is an estimate, that of items is known well
        free = (n - 1) * (seeds - 1) * (sum(lost) / lost[1]) ** 2 if lost[1] else np.inf
        ends = ["total", "total_low", "total_high"]
        out.loc[name, ends] = _share(sum(lost), n, free, alpha)
    return out


def told(parts: pd.DataFrame) -> pd.DataFrame:
    """Without estimates that are not known to +-KNOWN; their intervals stay.

    Two seeds and nine tasks often cannot tell .5 from .9, and other seeds then say something else.
    """
    out = parts.copy()
    for name, ends in (("reliability", ["low", "high"]), ("total", ["total_low", "total_high"])):
        far = out[ends].sub(out[name], axis=0).abs().max(axis=1, skipna=False)
        out[name] = out[name].where(far <= KNOWN)
    out["one_seed"] = out["one_seed"].where(out["reliability"].notna())
    return out


def best_known(parts: pd.DataFrame) -> pd.Series:
    """Of each column the reliability that counts most error: ``total``, else ``reliability``."""
    return parts["reliability"].where(parts["total_high"].isna(), parts["total"])


def weak(parts: pd.DataFrame, floor: float = FLOOR) -> dict[str, float]:
    """Columns that are below ``floor`` for certain (the whole interval), with their reliability.

    By its estimate alone a target would be left out with some seeds and not with others.
    """
    sure = parts["total_high"].fillna(parts["high"]) < floor
    return best_known(parts)[sure].to_dict()


def disattenuate(table: pd.DataFrame, x: pd.DataFrame, y: pd.DataFrame) -> pd.DataFrame:
    """Beside each rho of :func:`midway.correlation.correlate.correlate` what noise may have hidden.

    x, y: of :func:`components`, for predictors and outcomes. ``ceiling``: the largest rho that
    reliabilities allow, sqrt(r_x r_y); ``rho_corrected``: rho / ceiling, an estimate for values
    without noise, in [-1, 1], without an interval. NaN where a reliability is not told (``told``)
    or below FLOOR: there the quotient is mostly noise.
    """
    a = table["predictor"].map(best_known(x)).to_numpy(float)
    b = table["outcome"].map(best_known(y)).to_numpy(float)
    ceiling = np.sqrt(a * b)
    safe = (a >= FLOOR) & (b >= FLOOR)
    rho = np.clip(np.divide(table["rho"], np.where(safe, ceiling, np.nan)), -1, 1)
    return table.assign(reliability_x=a, reliability_y=b, ceiling=ceiling, rho_corrected=rho)


def without(outcomes: pd.DataFrame, targets) -> pd.DataFrame:
    """Outcomes (:func:`tables.outcomes`) without some targets, in the average, too."""
    targets = set(targets)
    if not targets:
        return outcomes
    rest = outcomes[~outcomes["target"].isin(["average", *targets])]
    whole = outcomes[outcomes["target"] == "average"]
    keys = ["variant", "dose", "seed"]
    values = ["score", "gain", "english", "english_gain", "xtreme"]
    mean = rest.groupby(keys)[values].mean().reindex(pd.MultiIndex.from_frame(whole[keys]))
    whole = whole.assign(**{c: mean[c].to_numpy() for c in values})
    return pd.concat([rest, whole])


def share(outcomes: pd.DataFrame, value: str = "gain") -> pd.Series:
    """A column of outcomes on one scale for all targets: percent of the way from chance to 100."""
    guess = {name: floors.chance(card) for name, card in tasks.TARGETS.items()}
    floor = outcomes["target"].map(guess).fillna(0.0)
    shift = 0 if value.endswith("gain") or value == "gap" else floor
    return 100 * (outcomes[value] - shift) / (100 - floor)
