"""Figures of power and of the specification curve.

Examples
--------
>>> import pandas as pd
>>> from midway import robustness
>>> curves = {"design": "9 tasks", "rho": [0.2, 0.8], "between": [0.1, 0.7], "within": [0.3, 1.0]}
>>> figure = robustness.power(pd.DataFrame(curves))
"""

import numpy as np
import seaborn as sns

from midway.report.drawing import COLOURS, GRID, INK, MUTED, empty, footnote, new_axes, styled
from midway.study import names


@styled
def power(curves, effect: float = 0.5, aim: float = 0.8, note: str = ""):
    """Power against the true correlation, a line per design.

    curves: columns design, rho, between, within (shares of simulated studies), of
    :func:`design.power`.
    """
    if curves.empty:
        return empty("no design")
    fig, axes = new_axes(2, (3.6, 2.8))
    shades = [INK, *COLOURS.values()]
    colours = {d: shades[i % 5] for i, d in enumerate(dict.fromkeys(curves["design"]))}
    for ax, column in zip(axes, ("between", "within"), strict=True):
        sns.lineplot(curves, x="rho", y=column, hue="design", style="design", ax=ax, lw=1.4,
                     legend=ax is axes[1], palette=colours)  # fmt: skip
        ax.axhline(aim, color=MUTED, lw=0.8, ls="--")
        ax.axvline(effect, color=MUTED, lw=0.8, ls=":")
        ax.set(title=f"{column} tasks", xlabel="true correlation", ylim=(0, 1.02))
        ax.set_ylabel("share of studies that find it" if ax is axes[0] else "")
    if axes[1].get_legend():
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return footnote(fig, note or f"simulated; dashed: {aim:.0%} power")


@styled
def specifications(table, predictor: str, outcome: str = "gain"):
    """The specification curve of one predictor: sorted rho, and the choices behind each value.

    table: of :func:`specification.curve`. Filled: the specification that 03 reports.
    """
    part = table[(table["predictor"] == predictor) & (table["outcome"] == outcome)]
    part = part.dropna(subset=["rho"]).sort_values("rho", kind="stable", ignore_index=True)
    if part.empty:
        return empty("no specification can be computed")
    choices = ["average", "multi", "targets", "layer", "method"]
    rows = [(c, v) for c in choices for v in sorted(set(part[c]), key=str) if part[c].nunique() > 1]
    fig, axes = new_axes(2, (5.6, 1.6 + 0.09 * len(rows)), across=1)
    axes[0].axhline(0, color=GRID, lw=0.8)
    axes[0].plot(part.index, part["rho"], lw=1.6, color=INK)
    usual = part[part["default"]]
    axes[0].plot(usual.index, usual["rho"], "o", ms=7, color=COLOURS["qa"])
    axes[0].set(ylabel="rho", ylim=(-1.05, 1.05), xticks=[])
    axes[0].set_title(f"{names.predictor(predictor)} and the average {outcome}")
    for i, (choice, value) in enumerate(rows):
        at = part.index[part[choice] == value]
        # one path for all ticks keeps the file small
        ticks = [(x, y) for k in at for x, y in ((k, i - 0.3), (k, i + 0.3), (np.nan, np.nan))]
        axes[1].plot(*zip(*ticks, strict=True), lw=0.7, color=INK, alpha=0.6)
    axes[1].set_yticks(range(len(rows)), [_choice(*row) for row in rows], fontsize=7)
    axes[1].set(xlabel=f"{len(part)} specifications, in the order of rho", xticks=[])
    n = " to ".join(dict.fromkeys(map(str, (part["n"].min(), part["n"].max()))))
    return footnote(fig, f"n = {n} tasks; large dot: as reported; no test")


def _choice(name: str, value) -> str:
    """A choice of :func:`specification.curve` in words."""
    if name == "targets":
        group = str(value).removeprefix("without ")
        return f"without {names.GROUPS[group]}" if group in names.GROUPS else f"{value} targets"
    said = {"multi": {True: "with multi", False: "without multi"},
            "layer": {"study's": "retrieval layer as set"}}  # fmt: skip
    start = {"layer": "retrieval layer ", "average": "average of "}.get(name, "")
    return str(said.get(name, {}).get(value) or f"{start}{value}")
