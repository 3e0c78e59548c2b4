"""Figures of the course: what a training, a score and chance look like."""

import numpy as np
import pandas as pd

from midway.report.drawing import (
    INK,
    MUTED,
    empty,
    footnote,
    new_axes,
    styled,
)


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
    import seaborn as sns

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
    import seaborn as sns

    fig, (ax,) = new_axes(1, (6.0, 5.2))
    sns.heatmap(table, cmap="Greys", vmin=0, vmax=1, square=True, linewidths=0.5, ax=ax,
                cbar_kws={"label": "cosine (negative: white)"})  # fmt: skip
    ax.set_title(title)
    return footnote(fig, f"n = {len(table)} sentences; no test")


@styled
def chance(values, seen: float, what: str, where: str = ""):
    """Histogram of a statistic when chance alone decides, and the value that was seen."""
    import seaborn as sns

    fig, (ax,) = new_axes(1, (5.2, 2.4))
    sns.histplot(x=np.asarray(values), bins=40, color=MUTED, edgecolor="white", lw=0.3, ax=ax)
    ax.axvline(seen, color=INK, lw=2)
    ax.set(xlabel=what, ylabel="shuffles", title=where)
    return footnote(fig, f"n = {len(values)} shuffles; line: what was seen ({seen:+.2f}); no test")
