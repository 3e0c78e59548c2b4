"""Specification curve: one correlation under every choice that could have been made otherwise.

The choices: outcome, how targets are averaged, with or without composites (multi), which targets,
the layer of retrieval where a study recorded others, and the coefficient (Simonsohn, Simmons &
Nelson 2020). Rows are descriptions: no test, no selection.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from midway.correlation import arrays, floors, tables
from midway.correlation import resampling as rs
from midway.study import tasks

OUTCOMES = ("gain", "english_gain", "gap")
AVERAGES = ("points", "share of the way to the ceiling", "standardised")
METHODS = ("spearman", "pearson")
COLUMNS = "predictor outcome average multi targets layer method n rho default".split()


def curve(folder, names=("main_gain",), weak=()) -> pd.DataFrame:
    """One row per predictor and specification: COLUMNS; sorted by predictor and rho.

    names: predictors that every task has, or 'logme'; weak: targets below the reliability floor
    (the set 'reliable' leaves them out). ``default`` marks the specification that 03 uses.
    """
    folder = Path(folder)
    outcomes = tables.outcomes(folder)
    outcomes = outcomes[outcomes["target"].isin(list(tasks.TARGETS))]
    outcomes = outcomes.assign(gap=outcomes["gain"] - outcomes["english_gain"])
    values = {"": _values(outcomes)}
    for layer, part in layers(folder).groupby("layer"):
        other = _values(_at_layer(outcomes, part))
        values[str(layer)] = {k: other.get(k, v) for k, v in values[""].items()}
    X, _, _ = arrays.wide(tables.predictors(folder), outcomes, composites=True)
    x, rows = X.groupby(level=0).mean(), []
    for name, outcome, (layer, cubes) in product(names, OUTCOMES, values.items()):
        if outcome in cubes:
            sets = _sets(cubes[outcome], weak, layer)
            first = "reliable" if "reliable" in sets else "all"
            for label, chosen in sets.items():
                rows += _rows(x, name, outcome, cubes[outcome][chosen], label, layer, first)
    out = pd.DataFrame(rows, columns=COLUMNS)
    return out.sort_values(["predictor", "rho"], kind="stable", ignore_index=True)


def _rows(x, name, outcome, cube, label, layer, first):
    """Rows of one predictor, outcome and set of targets."""
    columns = [c for c in x if c.split(":")[0] == name and c.split(":")[-1] in (name, *cube)]
    if not columns:
        return
    merit = x[columns].mean(axis=1, skipna=False)
    whole = cube.dropna().index.intersection(merit.dropna().index)
    for average, multi, method in product(AVERAGES, (False, True), METHODS):
        units = [u for u in whole if multi or u in tasks.INTERMEDIATE]
        if multi and "multi" not in whole:
            continue
        y = cube.loc[units]
        if average == AVERAGES[1]:
            y = y / [1 - floors.chance(tasks.get(t)) / 100 for t in y]
        elif average == AVERAGES[2]:
            spread = y.std(ddof=1)
            y = y.loc[:, spread > 0] / spread[spread > 0]
        rho = np.nan
        if len(units) >= rs.MIN_UNITS and y.shape[1]:
            pair = (rs.tied(v.to_numpy()[:, None]) for v in (merit[units], y.mean(axis=1)))
            rho = rs.rho_of(*pair, method)[0, 0]
        usual = not multi and (outcome, average, method) == (OUTCOMES[0], AVERAGES[0], METHODS[0])
        yield [name, outcome, average, multi, label, layer or "study's", method, len(units), rho,
               usual and label == first and not layer]  # fmt: skip


def _sets(cube, weak, layer) -> dict[str, list]:
    """Names of target sets -> targets; a layer only matters where there is retrieval."""
    every = list(cube.columns)
    sets = {"all": every}
    if set(weak) & set(every):
        sets["reliable"] = [t for t in every if t not in set(weak)]
    for group in dict.fromkeys(tasks.get(t).group for t in every):
        sets[f"without {group}"] = [t for t in every if tasks.get(t).group != group]
    retrieval = {t for t in every if not tasks.get(t).trains}
    return {k: v for k, v in sets.items() if v and (not layer or retrieval & set(v))}


def _values(outcomes) -> dict[str, pd.DataFrame]:
    """Outcome -> units x targets, means over seeds; targets without the outcome are left out."""
    outcomes = outcomes[outcomes["variant"].map(tables.is_unit).astype(bool)]
    made = {v: outcomes.pivot_table(index="variant", columns="target", values=v) for v in OUTCOMES}
    return {k: v for k, v in made.items() if v.size}


def _at_layer(outcomes, part) -> pd.DataFrame:
    """Outcomes with the retrieval targets as another layer scores them."""
    part = part.set_index(["variant", "seed", "target"])["score"]
    columns = outcomes[["variant", "seed", "target"]]
    keys = pd.MultiIndex.from_frame(columns)
    base = pd.MultiIndex.from_frame(columns.assign(variant="none"))
    gain = part.reindex(keys).to_numpy() - part.reindex(base).to_numpy()
    return outcomes.assign(gain=np.where(np.isnan(gain), outcomes["gain"], gain))


def layers(folder, but=()) -> pd.DataFrame:
    """Retrieval scores of every layer that 02 recorded: variant, seed, target, layer, used, score.

    ``used``: the layer that the study takes; but: as in :func:`tables.scores`.
    """
    rows = []
    runs: Any = tables.scores(folder, but=but).drop_duplicates("record").itertuples()
    for run in runs:
        card = tasks.get(run.target)
        if card.trains:
            continue
        extra = json.loads((Path(folder) / run.record).read_text(encoding="utf-8")).get("extra", {})
        metric = extra.get("direction", card.metric)
        for layer, found in extra.get("layers", {}).items():
            if found.get(metric) is not None:
                what = [run.variant, run.seed, run.target, int(layer), extra.get("layer")]
                rows.append([*what, found[metric]])
    columns = ["variant", "seed", "target", "layer", "used", "score"]
    table = pd.DataFrame(rows, columns=columns)
    return table.groupby(columns[:-1], as_index=False, dropna=False)["score"].mean()
