"""The study's question, asked of its records: what 03 does, in the order in which it is read.

``read`` takes what is finished and leaves unreliable targets out; ``between``, ``within``,
``choices`` and ``conclusion`` follow. Every function also works on half a study.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from midway.correlation import (
    advice,
    choice,
    claims,
    correlate,
    design,
    floors,
    items,
    published,
    reliability,
    specification,
    tables,
    words,
)  # fmt: skip
from midway.correlation import within as within_tasks

__all__ = ["Data", "advice", "between", "choice", "choices", "claims", "conclusion", "correlate",
           "design", "floors", "published", "read", "reliability", "specification", "tables",
           "within", "words"]  # fmt: skip

LEAST = 4  # tasks from which a spread between them means something


@dataclass
class Data:
    """What a study has measured: tables of :mod:`tables`, units x columns, and reliability."""

    folder: Path
    predictors: pd.DataFrame
    outcomes: pd.DataFrame  # without weak targets
    X: pd.DataFrame  # (task, seed) x predictors
    Y: pd.DataFrame  # (task, seed) x outcomes
    skip: set
    families: pd.Series
    x_parts: pd.DataFrame  # reliability of predictors and of all outcomes
    y_parts: pd.DataFrame
    weak: dict = field(default_factory=dict)
    primary: tuple = ()

    @property
    def tasks(self) -> list[str]:
        """Tasks with both predictors and outcomes."""
        both = set(self.X.index.get_level_values(0)) & set(self.Y.index.get_level_values(0))
        return [name for name in tables.ORDER if name in both]


def read(folder, setting, floor: float = reliability.FLOOR) -> Data:
    """Records -> Data. setting: the study's ``correlation`` parameters."""
    folder, names, value = Path(folder), list(setting.predictors), setting.outcome
    predictors, outcomes = tables.predictors(folder), tables.outcomes(folder)
    X, Y, _ = tables.wide(predictors, outcomes, names=names, value=value)
    x_parts = reliability.components(X)
    y_parts = reliability.components(Y)
    spread, error = Y.groupby(level=0).mean().var(), {}
    units = sorted(set(Y.index.get_level_values(0)))
    covariances = {t: items.covariance(z) for t, z in items.influences(folder).items()}
    for target, c in covariances.items() if len(units) >= LEAST else ():
        error[target] = items.between_units(c, units)
    if error and set(error) >= set(Y) - {"average"}:
        error["average"] = sum(error.values()) / len(error) ** 2
    y_parts = reliability.with_items(y_parts, error, spread)
    weak = {t: r for t, r in reliability.weak(y_parts, floor).items() if t != "average"}
    if set(weak) >= set(Y) - {"average"}:
        weak = {}  # nothing would be left: then it is only said
    rest = reliability.without(outcomes, weak)
    X, Y, skip = tables.wide(predictors, rest, names=names, value=value)
    if weak and "average" in Y:
        kept = reliability.components(Y[["average"]])
        again = [error[t] for t in Y if t in error]
        if len(again) == Y.shape[1] - 1:
            kept = reliability.with_items(kept, {"average": sum(again) / len(again) ** 2},
                                          Y.groupby(level=0).mean().var())  # fmt: skip
        y_parts.loc["average"] = kept.loc["average"]
    everyone = X.index.get_level_values(0).union(Y.index.get_level_values(0)).unique()
    primary = {tuple(p) for p in getattr(setting, "primary", [])}
    primary = tuple(sorted(p for p in primary if p[0] in X and p[1] in Y))
    return Data(folder, predictors, rest, X, Y, skip, tables.families(everyone), x_parts, y_parts,
                weak, primary)  # fmt: skip


def between(data: Data, **options) -> pd.DataFrame:
    """Which task? Correlation over tasks in families, beside it reliability and ceiling."""
    table = correlate.correlate(data.X, data.Y, skip=data.skip, families=data.families,
                      primary=data.primary, **options)  # fmt: skip
    kept, attrs = data.y_parts, table.attrs
    table = reliability.disattenuate(table, data.x_parts, kept)
    table.attrs = attrs
    return table


def within(data: Data, setting, **options) -> pd.DataFrame:
    """While a task trains: repeated-measures correlation over doses, with placebo."""
    predictors = tables.predictors(data.folder, doses=True)
    outcomes = reliability.without(tables.outcomes(data.folder, doses=True), data.weak)
    if predictors.empty or outcomes.empty:
        X, Y = (pd.DataFrame(index=pd.MultiIndex.from_arrays([[], [], []])) for _ in "XY")
        skip: set = set()
    else:
        names, value = list(setting.predictors), setting.outcome
        X, Y, skip = tables.within(predictors, outcomes, names=names, value=value)
    placebo = {}
    for frame in (X, Y):
        if frame.index.nlevels == 4:
            shuffled, name, *rest = (frame.index.get_level_values(i) for i in range(4))
            name = np.where(shuffled.astype(bool), name + "+shuffled", name)
            placebo |= {n: n.removesuffix("+shuffled") for n in name if n.endswith("+shuffled")}
            frame.index = pd.MultiIndex.from_arrays([name, *rest])
    units = X.index.get_level_values(0).union(Y.index.get_level_values(0)).unique()
    return within_tasks.within(X, Y, placebo=placebo, families=tables.families(units), skip=skip,
                               primary=data.primary, **options)  # fmt: skip


def choices(data: Data, *, target: str = "average", permutations: int = 9999, alpha: float = 0.05):
    """What choosing by a metric costs: (description of these tasks, verdict on unseen ones).

    Rivals of the metrics: train size, and the target's own English score after its few labels.
    """
    quality = choice.quality(data.X, data.Y, skip=data.skip, alpha=alpha)
    if target not in data.Y:
        return quality, choice.nested(pd.DataFrame(), pd.Series(dtype=float))
    x = data.X.groupby(level=0).mean()
    gain = data.Y[target].groupby(level=0).mean()
    own = [c for c in x if ":" not in c or c.endswith(f":{target}")]
    size = [c for c in ("train_size",) if c in x]
    merit = x[own].drop(columns=size) * [choice.sign(c) for c in own if c not in size]
    rows = data.outcomes[(data.outcomes["target"] == target)]
    english = rows.groupby("variant")["english"].mean().reindex(gain.index)
    rivals = x[size].assign(**{"English score of the target": english})
    nested = choice.nested(merit, gain, data.families.dropna().to_dict(), rivals=rivals,
                           permutations=permutations, alpha=alpha)  # fmt: skip
    return quality, nested


def conclusion(data: Data, study: dict, cells, doses, quality, nested, curve) -> dict:
    """Sentences by section, from the tables of the functions above; study: plain parameters."""
    unit = f"tasks in {data.families.loc[data.tasks].nunique()} families"
    kinds = floors.below_control(data.folder), floors.not_learned(data.folder)
    return {
        "answer": words.headline(cells),
        "reliability": words.reliability(data.y_parts, data.weak, reliability.FLOOR)
        + words.floors(*kinds),
        "between": words.family(cells, unit),
        "within": words.within(doses),
        "robustness": words.specification(curve),
        "choice": advice.choice(quality, nested=nested),
        "limits": words.limits(study, len(data.tasks), len(study["seeds"])),
    }
