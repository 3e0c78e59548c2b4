"""The study's question, asked of its records: what 03 does, in the order in which it is read.

``read`` takes what is finished and leaves unreliable targets out; ``between``, ``within``,
``choices`` and ``conclusion`` follow. Every function also works on half a study.

Examples
--------
>>> from midway import analysis, params
>>> data = analysis.read("outputs/mini", params.Correlation())  # doctest: +SKIP
>>> cells = analysis.between(data)  # doctest: +SKIP
"""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from midway.correlation import (  # noqa: F401  (notebook 03 uses them through this module)
    advice,
    arrays,
    choice,
    claims,
    correlate,
    design,
    export,
    floors,
    items,
    published,
    reliability,
    specification,
    tables,
    words,
)
from midway.correlation import within as within_tasks

LEAST = 4  # tasks from which a spread between them means something


@dataclass
class Data:
    """What a study has measured: tables of :mod:`tables`, units x columns, and reliability."""

    predictors: pd.DataFrame
    outcomes: pd.DataFrame  # without weak targets
    dosed: tuple  # both tables with the doses within training
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
    folder = Path(folder)
    ends = tables.predictors(folder), tables.outcomes(folder)
    dosed = tables.predictors(folder, doses=True), tables.outcomes(folder, doses=True)
    units = sorted(set(ends[1]["variant"]) & set(tables.tasks.INTERMEDIATE))
    error, own = {}, {}
    if len(units) >= LEAST:
        for target, influence in items.influences(folder).items():
            error[target] = items.between_units(items.covariance(influence), units)
        own = items.predictor_errors(folder, units)
    return assemble(*ends, setting, dosed=dosed, error=error, own=own, floor=floor)


def assemble(predictors, outcomes, setting, *, dosed, error=None, own=None,
             floor=reliability.FLOOR) -> Data:  # fmt: skip
    """Tables -> Data.

    error, own: variance that other test items would put between tasks, by target and by predictor.
    """
    names, value, error = list(setting.predictors), setting.outcome, error or {}
    X, Y, _ = arrays.wide(predictors, outcomes, names=names, value=value)
    y_parts = _with_items(Y, error)
    weak = reliability.weak(y_parts[y_parts["n"] >= LEAST], floor)
    weak.pop("average", None)
    if set(weak) >= set(Y) - {"average"}:
        weak = {}  # nothing would be left
    rest = reliability.without(outcomes, weak)
    X, Y, skip = arrays.wide(predictors, rest, names=names, value=value)
    if weak and "average" in Y:
        y_parts.loc["average"] = _with_items(Y, error).loc["average"]
    x_parts = reliability.with_items(
        reliability.components(X), own or {}, X.groupby(level=0).mean().var()
    )
    everyone = X.index.get_level_values(0).union(Y.index.get_level_values(0)).unique()
    asked = {(p, tables.overall(Y) if o == "average" else o) for p, o in setting.primary}
    primary = sorted((p, o) for p, o in asked if p in X and o in Y)
    return Data(predictors, rest, dosed, X, Y, skip, tables.families(everyone),
                reliability.told(x_parts), reliability.told(y_parts), weak, tuple(primary)
                )  # fmt: skip


def _with_items(Y, error) -> pd.DataFrame:
    """Reliability of outcomes; the average's item error is that of its targets."""
    targets = [t for t in Y if t != "average"]
    if targets and set(targets) <= set(error):
        error = error | {"average": sum(error[t] for t in targets) / len(targets) ** 2}
    spread = Y.groupby(level=0).mean().var()
    return reliability.with_items(reliability.components(Y), error, spread)


def between(data: Data, **options) -> pd.DataFrame:
    """Which task? Correlation over tasks in families, beside it reliability and ceiling."""
    table = correlate.correlate(data.X, data.Y, skip=data.skip, families=data.families,
                      primary=data.primary, **options)  # fmt: skip
    return reliability.disattenuate(table, data.x_parts, data.y_parts)


def within(data: Data, setting, **options) -> pd.DataFrame:
    """While a task trains: repeated-measures correlation over doses, with placebo."""
    outcomes = reliability.without(data.dosed[1], data.weak)
    X, Y, skip = arrays.within(data.dosed[0], outcomes, names=list(setting.predictors),
                               value=setting.outcome)  # fmt: skip
    units = X.index.get_level_values(-3).union(Y.index.get_level_values(-3)).unique()
    return within_tasks.within(X, Y, families=tables.families(units), skip=skip,
                               primary=data.primary, **options)  # fmt: skip


def choices(data: Data, *, permutations: int = 9999, alpha: float = 0.05):
    """What choosing by a metric costs: (description of these tasks, verdict on unseen ones).

    Rivals of the metrics: train size, and the target's own English score after its few labels.
    """
    quality = choice.quality(data.X, data.Y, skip=data.skip, alpha=alpha)
    target = tables.overall(data.Y)
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


def conclusion(data: Data, study: dict, cells, doses, quality, nested, curve, kinds) -> dict:
    """Sentences by section, from the tables of the functions above.

    study: plain parameters; kinds: tables of :mod:`floors`, below a control and not learned.
    """
    unit = f"tasks in {data.families.loc[data.tasks].nunique()} families"
    return {
        "answer": words.headline(cells),
        "reliability": words.reliability(data.y_parts, data.weak, reliability.FLOOR)
        + words.floors(*kinds),
        "between": words.family(cells, unit),
        "within": words.within(doses),
        "robustness": advice.specification(curve),
        "choice": advice.choice(quality, nested=nested),
        "limits": words.limits(study, len(data.tasks), len(study["seeds"])),
    }
