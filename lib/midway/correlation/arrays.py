"""A study's tables as the arrays that are correlated: units by predictors and by outcomes.

Examples
--------
>>> from midway import arrays, tables
>>> X, Y, skip = arrays.wide(tables.predictors(study), tables.outcomes(study))  # doctest: +SKIP
"""

import pandas as pd

from midway.correlation.tables import OUTCOMES, is_unit, place
from midway.study import tasks


def wide(predictors: pd.DataFrame, outcomes: pd.DataFrame, *, names=(), value: str = "gain",
         fraction: float = 1.0, composites: bool = False):  # fmt: skip
    """Arrays for :func:`correlate.correlate`: X, Y, and the pairs to leave out.

    Units are tasks at the end of their training (``composites``: multi, too), runs their seeds.
    ``fraction``: predictors at the last checkpoint at or before this share of the training. A
    predictor of one target becomes the column 'logme:xnli', to be related to that target only;
    'logme:average' is their mean.
    """
    unit = is_unit if composites else tasks.INTERMEDIATE.__contains__
    units = predictors[predictors["variant"].map(unit).astype(bool)]
    units = units[units["fraction"] <= fraction + 1e-9]
    if names:
        units = units[units["predictor"].isin(list(names))]
    units = units[units["target"].isna() | (units["dose"] == 1)]
    Y = outcomes[outcomes["variant"].map(unit).astype(bool) & (outcomes["dose"] == 1)]
    return _arrays(units, Y, ["variant", "seed"], value)


def within(predictors: pd.DataFrame, outcomes: pd.DataFrame, *, names=(), value: str = "gain"):
    """The same for doses within tasks (tables with ``doses=True``): X, Y, pairs to leave out.

    Rows are (placebo, variant, seed, dose), rising in dose; ``placebo`` rows are of shuffled
    labels. ``none`` is no row: every gain starts from it, at dose 0.
    """

    def kept(table):
        parts = [str(name).partition("+") for name in table["variant"]]  # also of no row
        placebo = pd.Series([suffix == "shuffled" for *_, suffix in parts], table.index, bool)
        plain = pd.Series([base in tasks.INTERMEDIATE and suffix in ("", "shuffled")
                           for base, _, suffix in parts], table.index, bool)  # fmt: skip
        table = table.assign(placebo=placebo, variant=[base for base, *_ in parts])
        return table[plain & table["dose"].notna()]

    X = kept(predictors)
    X = X[X["predictor"].isin(list(names))] if names else X
    return _arrays(X, kept(outcomes), ["placebo", "variant", "seed", "dose"], value)


def doses(predictors, outcomes, predictor: str, outcome: str, value: str = "gain") -> pd.DataFrame:
    """One pair of :func:`within` to draw: columns variant, dose, x, y, means over seeds."""
    X, Y, _ = within(predictors, outcomes, names=[predictor.split(":")[0]], value=value)
    if predictor not in X or outcome not in Y:
        return pd.DataFrame(columns=["variant", "dose", "x", "y"])
    table = pd.concat({"x": X[predictor], "y": Y[outcome]}, axis=1).dropna()
    table = table.groupby(level=["placebo", "variant", "dose"]).mean().reset_index()
    table.loc[table["placebo"], "variant"] += "+shuffled"
    table = table[table.groupby("variant")["dose"].transform("size") > 1]
    return table.drop(columns="placebo")


def _arrays(units, outcomes, index, value):
    units = units.sort_values("fraction", kind="stable")
    own = units[units["target"].notna()]
    mean = own.groupby([*index, "predictor"], as_index=False)["value"].mean()
    own = pd.concat([own, mean.assign(target="average")]) if len(own) else own
    own = own.assign(predictor=own["predictor"] + ":" + own["target"].astype(str))
    units = pd.concat([units[units["target"].isna()], own])
    X = units.groupby([*index, "predictor"], sort=False)["value"].last().unstack()
    Y = outcomes.pivot(index=index, columns="target", values=value)
    if len(Y.columns) == 2:
        Y = Y.drop(columns="average", errors="ignore")  # repeats the only target
    Y = Y[sorted(Y, key=place(OUTCOMES))]
    X = X[sorted(X)]
    skip = {(p, o) for p in X for o in Y if ":" in p and p.split(":")[1] != o}
    return X, Y, skip
