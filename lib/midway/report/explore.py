"""Interactive figures of notebooks: menus above a figure, or one figure without menus.

Examples
--------
>>> from midway import explore
>>> explore.controls(lambda n: print(n), n=[("one", 1), ("two", 2)])  # menus in JupyterLab
1
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from midway.correlation import arrays, correlate, design, reliability, tables
from midway.encoder.progress import quiet
from midway.report import figures, lesson
from midway.study import names
from midway.study.files import read_json


def controls(draw, **choices) -> None:
    """Call ``draw`` with a value of each list of choices, chosen by menus where there are any.

    Without ipywidgets, in a run and under plain papermill, ``draw`` is called once with the first
    value of each.
    """
    if not quiet():
        try:
            import ipywidgets

            menus = {k: ipywidgets.Dropdown(options=v, description=k) for k, v in choices.items()}
            ipywidgets.interact(lambda **chosen: draw(**chosen), **menus)
            return
        except ImportError:
            pass
    draw(**{k: dict(v)[next(iter(dict(v)))] for k, v in choices.items()})


def pairs(folder) -> None:
    """Any predictor against any outcome of a study, and one task left out."""
    three = read_json(Path(folder) / "03_correlation/record.json").get("results", {})
    kept = reliability.without(tables.outcomes(folder), three.get("weak") or {})  # as 03 does
    X, Y, skip = arrays.wide(tables.predictors(folder), kept)
    X, Y = X.groupby(level=0).mean().dropna(axis=1, how="all"), Y.groupby(level=0).mean()
    if len(X) < 4 or Y.empty:
        print("too few tasks are finished")
        return
    order = sorted(X, key=lambda c: {"main_gain": 0, "main": 1}.get(c, 2))
    outcomes = sorted(Y, key=lambda c: c != "average")
    controls(
        partial(_pair, X, Y, skip),
        predictor=[(names.predictor(c), c) for c in order],
        outcome=[(names.outcome(c), c) for c in outcomes],
        without=[("no task", None), *((names.variant(u), u) for u in X.index)],
    )


def _pair(X, Y, skip, predictor: str, outcome: str, without: str | None) -> None:
    kept = [u for u in X.index if u != without]
    if (predictor, outcome) in skip:
        print("this predictor belongs to another target")
        return
    table = correlate.correlate(X.loc[kept, [predictor]], Y.reindex(kept)[[outcome]],
                                families=tables.families(kept), permutations=1999,
                                resamples=999)  # fmt: skip
    row = table.iloc[0]
    row.attrs |= table.attrs
    points = pd.DataFrame({"x": X.loc[kept, predictor], "y": Y.reindex(kept)[outcome]})
    note = f"n = {row['n']} tasks; Spearman, 95 % interval; p {names.p_value(row['p'])}, one pair"
    figures.show(figures.scatter(points, row, note=note), f"{predictor} against {outcome}")


def power(folder) -> None:
    """How many tasks a study needs to find a correlation, given the noise of this one."""
    parts = design.of_study(folder)
    designs = {n: replace(parts, tasks=n, families=n) for n in (5, 8, 10, 15, 20, 30, 40, 60)}
    curves = [design.power(one, studies=500).assign(tasks=n) for n, one in designs.items()]
    figures.show(lesson.power(pd.concat(curves), parts.tasks), "Power against the number of tasks")
