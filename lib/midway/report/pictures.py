"""The figures of the report, as SVG in the page and as files to download."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from midway.correlation import arrays, reliability, tables, taskweb
from midway.report import drawing, figures
from midway.study import names, tasks
from midway.study.files import write_atomic

CURVES = ("main", "loss", "p_at_1")  # metrics whose curves are shown
SIZE = (4.9, 2.75)  # inches; two figures stand side by side on the first screen
#: figures of 03 that the page shows: the table with their data, and the caption
TAKEN = {
    "power": (
        "design", "How often a study of this design, and of others, finds a true correlation."),
    "specifications_main_gain": (
        "specification", "The same correlation for every combination of analysis choices; the "
        "large dot is the reported one."),
}  # fmt: skip


@dataclass
class Picture:
    """A figure as SVG, its caption, (format, link) of its files; what they are made of, if new."""

    name: str
    svg: Markup
    caption: str
    files: list
    figure: object = None
    data: pd.DataFrame | None = None

    def write(self, folder: Path) -> None:
        """Write a new figure as SVG and PNG, and its data as CSV."""
        if self.data is not None:
            drawing.save(self.figure, folder, self.name, ("svg", "png"))
            write_atomic(folder / f"{self.name}.csv", self.data.to_csv())


def new(name: str, figure, caption: str, label: str, data: pd.DataFrame) -> Picture:
    """label: a description for those who do not see the figure."""
    files = [(end.upper(), f"figures/{quote(name)}.{end}") for end in ("svg", "png", "csv")]
    return Picture(name, Markup(drawing.inline(figure, name, label)), caption, files, figure, data)


def all_of(study, folder: Path, base: str, made: dict, cells, predictors, X, Y, weak) -> dict:
    """Every figure that the finished steps allow, by name.

    base: relative path from the page to the study's folder; weak: see :func:`units`.
    """
    what = study.correlation.outcome
    found = [real(made), miniature(cells, X, Y, what), forest(cells, what), curves(predictors)]
    if "correlation" in made:
        found += [taken(folder, base, name) for name in TAKEN]
        found.append(doses(folder, made, weak, what))
    return {p.name: p for p in found if p is not None}


def taken(folder: Path, base: str, name: str) -> Picture | None:
    """A figure that 03 has drawn, unchanged; None if it has not."""
    step = "03_correlation"
    (table, caption), drawn = TAKEN[name], f"{step}/figures/{name}"
    try:
        text = (folder / f"{drawn}.svg").read_text(encoding="utf-8")
        svg = Markup(drawing.themed(text, name, caption))  # noqa: S704
    except (OSError, TypeError):
        return None
    files = [f"{drawn}.svg", f"{drawn}.png", f"{step}/tables/{table}.csv"]
    files = [(f[-3:].upper(), base + quote(f)) for f in files if (folder / f).exists()]
    return Picture(name, svg, caption, files)


def real(made: dict) -> Picture | None:
    """Published tasks: own score against the gain of other tasks (from 04)."""
    if not {"taskweb_mean", "taskweb_tasks"} <= set(made):
        return None
    points = made["taskweb_tasks"][1].groupby("task")[["own", "given"]].mean()
    points = points.set_axis(["x", "y"], axis=1).join(taskweb.cards()["title"])
    row = made["taskweb_mean"][1].set_index("predictor").loc["own"]
    row["low"] = row[["low", "family_low"]].min()
    row["high"] = row[["high", "family_high"]].max()
    row["predictor"], row["outcome"], row["p_maxt"] = "main", "other tasks", None
    note = f"n = {len(points)} English tasks, means over {row['strata']:.0f} models and 8 seeds; "
    note += "widest 95 % interval (families of tasks); no test"
    grey = {"color": drawing.MUTED, "marker": "o"}
    fig = figures.scatter(points, row, note=note, size=SIZE, look=lambda name: grey)
    return new(
        "real", fig,
        "Published real tasks (TaskWeb): a dot for each task. Its own score is compared with the "
        "mean gain of other tasks after training on it.",
        f"Scatter of {len(points)} published tasks, rho {row['rho']:+.2f}.", points,
    )  # fmt: skip


def own_score(cells) -> pd.Series | None:
    """The correlation of the own score (its rise, if known) with the average gain."""
    rows = cells[(cells["outcome"] == tables.overall(cells["outcome"])) & cells["rho"].notna()]
    for name in ("main_gain", "main"):
        for _, row in rows[rows["predictor"] == name].iterrows():
            row.attrs["method"] = cells.attrs.get("method", "spearman")
            return row
    return None


def miniature(cells, X, Y, what: str = "gain") -> Picture | None:
    """This study: the own score against the average gain; what: gain or score."""
    row = own_score(cells)
    if row is None or row["predictor"] not in X or row["outcome"] not in Y:
        return None
    name, effect = row["predictor"], names.effect(what, row["outcome"])
    points = X[[name]].join(Y[row["outcome"]]).dropna().set_axis(["x", "y"], axis=1)
    fig = figures.scatter(points, row, unit="intermediate tasks", what=what, size=SIZE)
    values = ", ".join(f"{v} {p.x:.3g} and {p.y:+.1f}" for v, p in points.iterrows())
    targets = [c for c in Y if c in tasks.TARGETS]
    of = f"the mean over {len(targets)} targets"
    if len(targets) == 1:
        of = f"that on {names.outcome(targets[0])}"
    why = "The rise is shown, as scores of different tasks have different scales. "
    why = why if name == "main_gain" else ""
    return new(
        "miniature", fig,
        f"This study: a dot for each intermediate task, mean over seeds; the {what} is {of}. {why}"
        "Violet: sentence pairs; green: questions and choices; pink: tagging.",
        f"Scatter of {names.predictor(name)} against the {effect} of {len(points)} tasks: "
        f"{values}.", points,
    )  # fmt: skip


def forest(cells, what: str = "gain") -> Picture | None:
    """Correlations of every predictor with the average gain."""
    outcome = tables.overall(cells["outcome"])
    effect = names.effect(what, outcome)
    part = cells[(cells["outcome"] == outcome) & cells["rho"].notna()]
    if part.empty:
        return None
    values = ", ".join(f"{names.predictor(r.predictor)} {r.rho:+.2f}" for r in part.itertuples())
    return new(
        "forest", figures.forest(cells, what=what),
        f"The correlation of every predictor with the {effect}; point at a line to see its "
        "numbers.",
        f"Correlations with the {effect}: {values}.",
        part.set_index("predictor"),
    )  # fmt: skip


def doses(folder: Path, made: dict, weak, value: str) -> Picture | None:
    """Own score against average gain while a task is trained, one line per task."""
    if "within" not in made:
        return None
    table = made["within"][1].dropna(subset="p")
    outcome = tables.overall(table["outcome"])
    rows = table[(table["predictor"] == "main") & (table["outcome"] == outcome)]
    if rows.empty:
        return None
    kept = reliability.without(tables.outcomes(folder, doses=True), weak)
    points = arrays.doses(tables.predictors(folder, doses=True), kept, "main", outcome, value)
    ends = points[points["dose"] == 1]
    values = ", ".join(f"{p.variant} {p.x:.3g} and {p.y:+.1f}" for p in ends.itertuples())
    return new(
        "within", figures.doses(points, rows.iloc[0], value),
        f"Own score and {names.effect(value, outcome)} while a task is trained: one line for each "
        "task, through the points where both were measured.",
        f"Own score and {names.effect(value, outcome)} at the end of training: {values}.", points,
    )  # fmt: skip


def curves(predictors) -> Picture | None:
    """Metrics during training, one line per variant."""
    part = predictors[predictors["predictor"].isin(CURVES) & predictors["target"].isna()]
    part = part[part.groupby("variant")["fraction"].transform("nunique") > 1]
    if part.empty:
        return None
    ends = part.sort_values("fraction").groupby(["variant", "predictor"])["value"].last()
    values = ", ".join(f"{v} {x:.0f}" for (v, p), x in ends.items() if p == "main")
    columns = ["variant", "seed", "fraction", "predictor", "value"]
    return new(
        "curves", figures.trajectories(part[columns]),
        "The own score, the loss and translation retrieval while each variant is trained.",
        f"Curves over training; own score at the end: {values}.", part[columns],
    )  # fmt: skip


def units(study, predictors, outcomes, weak) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two correlated tables, means over seeds: units x predictors and units x outcomes.

    weak: targets that 03 leaves out of the average because they are not reliable enough.
    """
    kept = reliability.without(outcomes, weak)
    X, Y, _ = arrays.wide(predictors, kept, value=study.correlation.outcome)
    return X.groupby(level=0).mean(), Y.groupby(level=0).mean()
