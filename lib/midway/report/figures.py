"""Figures in one style, from finished results, for notebooks, report and papers alike.

Nothing is computed here. Every figure carries n, unit and correction.

Examples
--------
>>> import pandas as pd
>>> from midway import figures
>>> figure = figures.heatmap(pd.DataFrame({"xnli": [1.5, -0.5]}, index=["mnli", "ccg"]))
"""

import pandas as pd

from midway.correlation import tables
from midway.correlation.words import SYMBOLS, holds
from midway.report import drawing
from midway.report.drawing import COLOURS, GAIN, GRID, INK, LOSS, MARKERS, MUTED, save, show, styled
from midway.study import names, tasks

__all__ = ["doses", "forest", "heatmap", "panels", "regret_curve", "save", "scatter", "show",
           "trajectories"]  # fmt: skip


@styled
def scatter(points: pd.DataFrame, row, unit: str = "tasks", what: str = "gain", note: str = "",
            size=(4.6, 3.8), look=drawing.look_of):  # fmt: skip
    """One predictor against one outcome (a gain or a score) with task labels.

    points: index variant; columns x, y; optional x_low, x_high, y_low, y_high (range over runs)
    and title (label of a point). row: the pair's row of :func:`correlate.correlate`. size: inches;
    look: name -> colour and marker.
    """
    fig, (ax,) = drawing.new_axes(1, size)
    method = row.attrs.get("method", "spearman")
    points = drawing.titled(points.dropna(subset=["x", "y"]))
    runs = "x_low" in points and bool((points.x_low < points.x_high).any())
    ax.axhline(0, color=GRID, lw=0.8, zorder=0)
    for name, p in points.iterrows():
        style = look(str(name))
        if runs:
            ax.plot([p.x_low, p.x_high], [p.y, p.y], color=style["color"], lw=0.8, alpha=0.6)
            ax.plot([p.x, p.x], [p.y_low, p.y_high], color=style["color"], lw=0.8, alpha=0.6)
        title = f"title: {p.title} ({name}): {p.x:.3g} and {names.number(p.y, 1, True)}"
        ax.plot(p.x, p.y, ms=6, gid=title, **style | {"ls": ""})
    _axes(ax, row, what)
    ax.set_title(f"{SYMBOLS[method]} = {_number(row['rho'])} {_span(row)}")
    bars = "; bars: range over seeds" if runs else ""
    test = f"95 % interval; max-T p {names.p_value(row['p_maxt'])}"
    drawing.footnote(fig, note or f"n = {row['n']} {unit}; {method.title()}, {test}{bars}")
    drawing.label_points(ax, points)
    return fig


@styled
def doses(points: pd.DataFrame, row, what: str = "gain"):
    """One predictor against one outcome while a task is trained: one line through its doses.

    points: columns variant, dose, x, y in the order of doses, means over seeds (of
    :func:`arrays.doses`); row: that pair's row of :func:`within.within`.
    """
    if points.empty:
        return drawing.empty("no task was kept at two points of its training")
    fig, (ax,) = drawing.new_axes(1, (5.4, 3.6))
    ax.axhline(0, color=GRID, lw=0.8, zorder=0)
    for name, part in points.groupby("variant", sort=False):
        style = {"marker": "o", "ls": "-"} | drawing.look_of(str(name))
        ax.plot(part.x, part.y, lw=1.2, ms=3, **style)
        for _, p in part.iterrows():
            value = f"{p.x:.3g} and {names.number(p.y, 1, True)}"
            title = f"title: {names.variant(str(name))} at {100 * p.dose:.0f} %: {value}"
            ax.plot(p.x, p.y, ms=6 if p.dose == 1 else 3, gid=title, **style | {"ls": ""})
    _axes(ax, row, what)
    columns = ("r_within", "r_partial", "partial_low", "partial_high")
    r, partial, *ends = (_number(row[c]) for c in columns)
    ax.set_title(f"within tasks r = {r}, without time {partial} [{', '.join(ends)}]")
    about = f"n = {row['tasks']:.0f} tasks; large: end of training; dotted: shuffled labels"
    drawing.footnote(fig, f"{about}; max-T p {names.p_value(row['p_maxt'])}")
    drawing.label_points(ax, drawing.titled(points[points["dose"] == 1].set_index("variant")))
    return fig


@styled
def panels(points: pd.DataFrame, titles: dict, x: str, y: str, note: str = ""):
    """The same two numbers in panels side by side; a colour and a marker for each family.

    points: index (panel, point), columns x, y, family; titles: panel -> title, in order.
    """
    fig, axes = drawing.new_axes(len(titles), (1.9, 1.8), across=4)
    drawn = zip(COLOURS.values(), MARKERS, strict=False)
    looks = dict(zip(sorted(set(points["family"])), drawn, strict=False))
    for ax, (panel, title) in zip(axes, titles.items(), strict=True):
        ax.axhline(0, color=GRID, lw=0.8, zorder=0)
        for name, p in points.loc[panel].iterrows():
            mark = f"title: {name}: {p.x:.3g} and {names.number(p.y, 1, True)}"
            colour, marker = looks[p.family]
            ax.plot(p.x, p.y, ms=4, ls="", color=colour, marker=marker, alpha=0.85, gid=mark)
        ax.set_title(title, fontsize=8, fontweight="normal")
        ax.tick_params(labelsize=7)
    handles = [axes[0].plot([], [], ls="", color=c, marker=m, ms=4, label=family)[0]
               for family, (c, m) in looks.items()]  # fmt: skip
    fig.legend(handles=handles, loc="lower right", fontsize=7)
    fig.supylabel(y, fontsize=9)
    axes[-1].set_xlabel(x)
    return drawing.footnote(fig, note)


def _axes(ax, row, what: str) -> None:
    ax.margins(0.12)
    ax.set_xlabel(names.with_unit(row["predictor"]))
    ax.set_ylabel(f"{names.effect(what, row['outcome'])} (points)")


@styled
def forest(table: pd.DataFrame, outcome: str = "", unit: str = "tasks", what: str = "gain"):
    """Correlation of every predictor with one outcome: interval, leave-one-out range, p.

    table: of :func:`correlate.correlate`. Filled: holds after max-T over the family.
    """
    alpha, outcome = table.attrs.get("alpha", 0.05), outcome or tables.overall(table["outcome"])
    part = table[table["outcome"] == outcome].dropna(subset=["rho"]).sort_values("rho")
    if part.empty:
        return drawing.empty("no correlation can be computed yet")
    fig, (ax,) = drawing.new_axes(1, (6.4, 1.2 + 0.27 * max(len(part), 4)))
    for i, (_, row) in enumerate(part.iterrows()):
        about = f"{names.predictor(row['predictor'])}: {_number(row['rho'])} {_span(row)}"
        line = {"color": INK, "solid_capstyle": "butt", "gid": f"title: {about}, n = {row['n']}"}
        ax.plot([row["low"], row["high"]], [i, i], lw=1.2, **line)
        ax.plot([row["loo_low"], row["loo_high"]], [i, i], lw=4, alpha=0.35, **line)
        fill = INK if holds(row, alpha) else "#ffffff"
        ax.plot(row["rho"], i, "o", ms=5.5, mfc=fill, **line)
        tests = (f"{k} {names.p_value(row[c])}" for k, c in (("p", "p"), ("max-T", "p_maxt")))
        ax.text(1.06, i, f"n {row['n']}  {'  '.join(tests)}", va="center", fontsize=7.5)
    ax.axvline(0, color=MUTED, lw=0.8)
    labels = [names.predictor(p) for p in part["predictor"]]
    ax.set(yticks=range(len(part)), yticklabels=labels, xlim=(-1.05, 1.05))
    method = table.attrs.get("method", "spearman").title()
    ax.set_xlabel(f"{method} correlation with the {names.effect(what, outcome)}")
    cells = int(table["p"].notna().sum())
    text = f"unit: {unit}; line: {1 - alpha:.0%} interval, thick: leave one out; filled: max-T "
    return drawing.footnote(fig, f"{text}over {cells} pairs < {alpha:g}")


@styled
def heatmap(matrix: pd.DataFrame, what: str = "gain over none (points)", note: str = ""):
    """Variants x targets in XTREME's group order; hatched cells are not finished.

    matrix: of :func:`tables.gain_matrix`. Blue: gain, orange: loss.
    """
    import seaborn as sns

    rows, columns = matrix.shape
    if not matrix.size:
        return drawing.empty()
    fig, (ax,) = drawing.new_axes(1, (1.6 + 0.62 * columns, 1.3 + 0.3 * rows))
    sizes = matrix.abs().stack()
    most = sizes.max() if sizes.any() else 1
    top = max(most / 4, sizes.quantile(0.8))  # few large: still see small
    extend = "both" if most > top else "neither"
    shown = matrix.map(lambda v: names.number(v, 1, True))
    sns.heatmap(
        matrix, ax=ax, cmap=sns.blend_palette([LOSS, "#f7f7f7", GAIN], as_cmap=True), vmin=-top,
        vmax=top, annot=shown, fmt="", annot_kws={"size": 7.5, "color": INK},
        cbar_kws={"label": what, "fraction": 0.04, "pad": 0.02, "extend": extend},
    )  # fmt: skip
    ax.patch.set(hatch="////", ec=GRID)  # seen where there is no cell
    groups = [tasks.get(c).group if c in tasks.TARGETS else c for c in matrix]
    for j in (j for j in range(1, columns) if groups[j] != groups[j - 1]):
        ax.axvline(j, color=INK, lw=1)
    ax.set_xticks(ax.get_xticks(), [names.outcome(c) for c in matrix], rotation=35, ha="right")
    ax.tick_params(length=0)
    ax.set(xlabel="", ylabel="")
    about = f"unit: variant (n = {rows}), mean over seeds; no test, no correction"
    return drawing.footnote(fig, note or about)


@styled
def trajectories(points: pd.DataFrame):
    """Predictors over training, a panel each: variant, seed, fraction, predictor, value."""
    import seaborn as sns

    shown = list(dict.fromkeys(points["predictor"]))
    if not shown:
        return drawing.empty()
    fig, axes = drawing.new_axes(len(shown), (3.2, 2.6), across=2 if len(shown) == 4 else 3)
    looks = {v: drawing.look_of(v) for v in points["variant"].unique()}
    for ax, name in zip(axes, shown, strict=False):
        part = points[points["predictor"] == name].dropna(subset=["value"])
        sns.lineplot(
            part, x="fraction", y="value", hue="variant", style="variant", ax=ax,
            dashes={v: (1, 1) if "+" in v else "" for v in looks},
            palette={v: k["color"] for v, k in looks.items()}, lw=1.2, mec="none", ms=5,
            markers={v: k["marker"] for v, k in looks.items()}, errorbar=("pi", 100),
        )  # fmt: skip
        if ax.get_legend():
            handles, labels = ax.get_legend_handles_labels()
            ax.get_legend().remove()
        ax.set(title=names.predictor(name), ylabel=names.unit(name), xlabel="share of training")
    if len(looks) > 1:
        fig.legend(handles, map(names.variant, labels), loc="center left", bbox_to_anchor=(1, 0.5))
    n, seeds = points["variant"].nunique(), points["seed"].nunique()
    band = f"; band: range over {seeds} seeds" if seeds > 1 else ""
    return drawing.footnote(fig, f"unit: variant (n = {n}){band}; no test")


@styled
def regret_curve(runs: pd.DataFrame, target: str = "average", k: int | None = None):
    """Early choice: regret against the share of compute spent, a line per predictor.

    runs: of :func:`choice.early`. k: kept variants (all k).
    """
    import seaborn as sns

    if runs.empty:
        return drawing.empty()
    fig, (ax,) = drawing.new_axes(1, (5.2, 3.6))
    runs = runs[runs["k"] == k] if k else runs
    shown = [n for n in dict.fromkeys(runs["predictor"]) if n != "random choice"]
    palette = [c for k, c in COLOURS.items() if k != "none"]
    looks = {"random choice": {"color": MUTED, "ls": "--"}} | {
        n: {"color": palette[i % 5], "marker": MARKERS[i // 5 % 8]} for i, n in enumerate(shown)
    }
    for name, look in looks.items():
        line = runs[runs["predictor"] == name]
        if len(line):
            sns.lineplot(line, x="compute", y="regret", ax=ax, errorbar=None, lw=1.2, ms=5,
                         mec="none", label=names.predictor(name), **look)  # fmt: skip
    ax.set(xlabel="share of the full grid's compute")
    ax.set_ylabel(f"{names.effect('regret', target)} (points)")
    ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    n, seeds = (int(runs[c].max()) for c in ("n", "seeds"))
    kept = f"keep {k}" if k else "mean over k kept"
    about = f"n = {n} tasks, mean over {seeds} seed(s), {kept}; simulated, no test"
    return drawing.footnote(fig, about)


def _number(value) -> str:
    return names.number(value, 2, True)


def _span(row) -> str:
    return f"[{_number(row['low'])}, {_number(row['high'])}]"
