"""Parts of the course: figures of training and chance, rows to read, checks of exercises.

Examples
--------
>>> from midway import lesson
>>> figure = lesson.losses([1.1, 0.9, 0.7, 0.6], steps=[2, 4])
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from midway import kinds
from midway.report.drawing import INK, MUTED, empty, footnote, new_axes, styled


@styled
def losses(values, steps=(), what: str = "training loss (nats)"):
    """The loss of every step (pale) and its running mean; dotted: where metrics were taken."""
    if not len(values):
        return empty("nothing was trained")
    fig, (ax,) = new_axes(1, (5.2, 2.6))
    series = pd.Series(values, range(1, len(values) + 1))
    ax.plot(series, color=MUTED, lw=0.8, alpha=0.5)
    ax.plot(series.rolling(max(len(series) // 10, 1), min_periods=1).mean(), color=INK, lw=1.6)
    for step in steps:
        ax.axvline(step, color=MUTED, ls=":", lw=0.8)
    ax.set(xlabel="optimiser step", ylabel=what, ylim=(0, None))
    return footnote(fig, f"n = {len(series)} steps, one seed; dark: running mean; no test")


@styled
def languages(scores: pd.Series, what: str, n: int):
    """Bars of one score by language (index), the training language first and dark."""
    fig, (ax,) = new_axes(1, (6.4, 2.6))
    colours = {lang: INK if lang == "en" else MUTED for lang in scores.index}
    sns.barplot(x=scores.index, y=scores.to_numpy(), hue=scores.index, palette=colours, ax=ax)
    for bars in ax.containers:
        ax.bar_label(bars, fmt="%.0f", fontsize=7.5)
    ax.set(xlabel="", ylabel=what, ylim=(0, 105), title="trained on English only")
    return footnote(fig, f"n = {n} rows a language; dark: the language of training; no test")


@styled
def similarity(table: pd.DataFrame, title: str):
    """Cosines of every pair of texts (index and columns: their names) as a square."""
    fig, (ax,) = new_axes(1, (6.0, 5.2))
    sns.heatmap(table, cmap="Greys", vmin=0, vmax=1, square=True, linewidths=0.5, ax=ax,
                cbar_kws={"label": "cosine (negative: white)"})  # fmt: skip
    ax.set_title(title)
    return footnote(fig, f"n = {len(table)} sentences; no test")


@styled
def chance(values, seen: float, what: str, where: str = ""):
    """Histogram of a statistic when chance alone decides, and the value that was seen."""
    fig, (ax,) = new_axes(1, (5.2, 2.4))
    sns.histplot(x=np.asarray(values), bins=40, color=MUTED, edgecolor="white", lw=0.3, ax=ax)
    ax.axvline(seen, color=INK, lw=2)
    ax.set(xlabel=what, ylabel="shuffles", title=where)
    return footnote(fig, f"n = {len(values)} shuffles; line: what was seen ({seen:+.2f}); no test")


@styled
def power(curves: pd.DataFrame, here: int):
    """Share of studies (between) that find a true correlation (rho), by the number of tasks."""
    fig, (ax,) = new_axes(1, (5.2, 2.6))
    shown = curves[curves["rho"].isin([0.3, 0.5, 0.7])].rename(columns={"rho": "true rho"})
    sns.lineplot(shown, x="tasks", y="between", style="true rho", color=INK, lw=1.4, ax=ax)
    ax.axvline(here, color=MUTED, ls=":")
    ax.axhline(0.8, color=MUTED, ls="--", lw=0.8)
    ax.set(ylabel="share of studies that find it", ylim=(0, 1.02))
    return footnote(fig, f"n = 500 simulated studies a point; upright: this study ({here} tasks); "
                         "tasks of different families, one test")  # fmt: skip


def table(frame: pd.DataFrame):
    """A table for reading: text starts at its side and wraps; columns in attrs["html"] are HTML."""
    html = [c for c in frame.attrs.get("html", ()) if c in frame]
    css = {"text-align": "start", "vertical-align": "top", "white-space": "normal",
           "unicode-bidi": "plaintext", "max-width": "34em"}  # fmt: skip
    look: Any = frame.style.hide(axis="index").set_properties(**css)
    look = look.format(precision=1, escape="html").format(None, subset=html)
    return look.set_table_styles([{"selector": "th", "props": "text-align: start"}])


def evidence(rows, card, labels=()) -> pd.DataFrame:
    """Rows for reading: labels by name, contexts around the answer, right answers in bold.

    rows: canonical rows of a task; card: its card; labels: names where the card lists none.
    """
    out, html, kind = [], [], kinds.get(card.kind)
    for row in rows.to_list() if hasattr(rows, "to_list") else rows:
        shown = kind.shown(row, labels or card.labels)
        out.append({k: row[k] for k in ("lang", "kind") if k in row} | shown)
        html = list(shown)
    frame = pd.DataFrame(out)
    frame.attrs["html"] = html
    return frame


def mistakes(dev, card, labels=(), most: int = 3) -> pd.DataFrame:
    """Development rows that a model gets wrong, as in :func:`evidence`, with what it said.

    dev: an ``intermediate.predictors.Development``.
    """
    given, rows = dev.answers(), dev.rows.to_list()
    wrong = np.flatnonzero(given.margin < 0) if len(given.margin) == len(rows) else range(len(rows))
    picked = [int(i) for i in wrong[:most]]
    frame, kind = evidence([rows[i] for i in picked], card, labels), kinds.get(card.kind)
    if len(frame):
        frame["said"] = [kind.said(rows[i], given.predictions[i], labels) for i in picked]
    return frame


def first(rows, given, card) -> dict:
    """The first row: what is asked, what is right, and what the model said."""
    row, kind = rows[0], kinds.get(card.kind)
    asked, right = kind.asked(row, card.labels)
    return {"asked": asked, "right": right, "said": kind.said(row, given[0], card.labels)}


def check(given, right, tolerance: float = 0.0) -> None:
    """Print whether the answer to an exercise is right; None: not answered yet."""
    if given is None:
        print("Put your answer in place of None and run this cell again.")
        return
    if isinstance(right, str):
        good = str(given).strip().lower() == right.lower()
    else:
        good = abs(float(given) - float(right)) <= tolerance
    print(f"Right: {right if isinstance(right, str) else f'{right:.4g}'}." if good else "Not yet.")
