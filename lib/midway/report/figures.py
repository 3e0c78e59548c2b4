"""Figures in one style, from finished results; nothing is computed here.

Every figure carries n, unit and correction. Colours: Okabe & Ito's colour-blind-safe set, by kind
of task; variants of one kind differ by marker. Functions return a matplotlib Figure that belongs to
no window, so a notebook shows it once and a batch job needs no display.
"""

import itertools
from functools import wraps
from pathlib import Path

import numpy as np
import pandas as pd

from midway.correlation import words
from midway.study import tasks

COLOURS = {
    "pair": "#0072B2", "qa": "#D55E00", "structured": "#009E73", "retrieval": "#CC79A7",
    "multi": "#000000", "none": "#7F7F7F",
}  # fmt: skip
MARKERS = "osD^vP*X"
COEFFICIENTS = {"spearman": "rho", "pearson": "r", "kendall": "tau"}
UNITS = {
    "main": "percent", "main_gain": "points", "accuracy": "percent", "macro_f1": "percent",
    "em": "percent", "f1": "percent", "tag_f1": "percent", "p_at_1": "percent",
    "retrieval_probe": "percent", "loss": "nats", "contrast": "log-odds", "cosine_gap": "cosine",
    "probe_entailment_contrast": "cosine", "entailment_contrast": "probability",
    "ece": "probability", "train_size": "rows", "steps_to_90": "steps", "logme": "nats an item",
}  # fmt: skip
FARS = (5, 14, 24, 36, 50)  # points
SIDES = ((1, 1), (1, -1), (1, 0), (-1, 1), (-1, -1), (-1, 0), (0, 1), (0, -1))
DIVERGING = "PuOr_r"  # safe for colour-blind readers, and in grey
STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "font.size": 9,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "legend.frameon": False, "svg.hashsalt": "midway", "svg.fonttype": "none", "pdf.fonttype": 42,
    "savefig.bbox": "tight", "font.family": "DejaVu Sans",
}  # fmt: skip


def styled(draw):
    """Draw under :data:`STYLE`, whatever the caller's settings are, and leave those alone."""

    @wraps(draw)
    def under_style(*args, **kwargs):
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return under_style


def save(fig, folder, name: str, formats=("svg", "pdf", "png")) -> list[Path]:
    """Write a figure in every format; the same figure gives the same bytes (no dates inside)."""
    import io

    import matplotlib

    from midway.study.files import write_atomic

    meta = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    paths = []
    for end in formats:
        buffer = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            fig.savefig(buffer, format=end, dpi=150, metadata=meta[end])
        paths.append(write_atomic(Path(folder) / f"{name}.{end}", buffer.getvalue()))
    return paths


def show(fig, what: str) -> None:
    """Display a figure in a notebook; what it is and its note describe it where it is not seen."""
    from IPython.display import display

    alt = f"{what}. {fig.get_supxlabel()}"
    display(fig, metadata={"image/png": {"alt": alt}})


@styled
def scatter(points: pd.DataFrame, row, unit: str = "tasks", what: str = "gain"):
    """One predictor against one outcome (a gain or a score) with task labels.

    points: index variant; columns x, y, and where there are runs x_low, x_high, y_low, y_high
    (range over runs). row: that pair's row of :func:`correlate.correlate`.
    """
    fig, (ax,) = _axes(1, (4.6, 3.8))
    method = row.attrs.get("method", "spearman")
    points = points.dropna(subset=["x", "y"])
    runs = "x_low" in points and bool((points.x_low < points.x_high).any())
    ax.axhline(0, color="#BBBBBB", lw=0.8, zorder=0)
    for name, p in points.iterrows():
        look = _look(name)
        if runs:
            ax.plot([p.x_low, p.x_high], [p.y, p.y], color=look["color"], lw=0.8, alpha=0.6)
            ax.plot([p.x, p.x], [p.y_low, p.y_high], color=look["color"], lw=0.8, alpha=0.6)
        ax.plot(p.x, p.y, ms=6, **look | {"ls": ""})
    ax.margins(0.12)
    ax.set(xlabel=_with_unit(row["predictor"]), ylabel=f"{what} on {row['outcome']} (points)")
    ax.set_title(
        f"{COEFFICIENTS[method]} = {_number(row['rho'])} "
        f"[{_number(row['low'])}, {_number(row['high'])}]"
    )
    bars = "; bars: range over seeds" if runs else ""
    p_value = _p(row["p_maxt"])
    _note(fig, f"n = {row['n']} {unit}; {method.title()}, 95 % interval; max-T p {p_value}{bars}")
    _names(ax, points)
    return fig


def _names(ax, points, size: float = 7.5) -> None:
    """Write each point's name (index; columns x, y) at the nearest free place; far: with a line.

    From the top down, without going back: a crowd may still leave the last names on others.
    """
    ax.figure.draw_without_rendering()  # from here on it is known where things are
    inside, scale = ax.get_window_extent().extents, ax.figure.dpi / 72
    at = {name: ax.transData.transform((p.x, p.y)) for name, p in points.iterrows()}
    taken = [(x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in at.values()]
    for name, p in points.sort_values("y", ascending=False).iterrows():
        text = ax.text(p.x, p.y, name, fontsize=size)
        box = text.get_window_extent()
        text.remove()

        def badness(spot, name=name, width=box.width, height=box.height):
            far, (dx, dy) = spot
            x, y = (a + far * d * scale for a, d in zip(at[name], (dx, dy), strict=True))
            x, y = x + (dx - 1) * width / 2, y + (dy - 1) * height / 2
            own = (x, y, x + width, y + height)
            return sum(_shared(own, o) for o in taken) + width * height - _shared(own, inside), own

        spots = list(itertools.product(FARS, SIDES))
        rated = [badness(spot) for spot in spots]
        best = min(range(len(spots)), key=lambda i: round(rated[i][0]))
        (far, (dx, dy)), line = spots[best], {"arrowstyle": "-", "color": "#999999", "lw": 0.6}
        ax.annotate(
            name, (p.x, p.y), (far * dx, far * dy), textcoords="offset points", fontsize=size,
            ha=("center", "left", "right")[dx], va=("center", "bottom", "top")[dy],
            arrowprops=line | {"shrinkA": 0, "shrinkB": 3} if far > FARS[0] else None,
        )  # fmt: skip
        taken.append(rated[best][1])


def _shared(a, b) -> float:
    """Area that two boxes (x0, y0, x1, y1) share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


@styled
def forest(table: pd.DataFrame, outcome: str = "average", unit: str = "tasks"):
    """Correlation of every predictor with one outcome: interval, leave-one-out range, p.

    table: of :func:`correlate.correlate`. Filled: holds after max-T over the family.
    The grey band is what these n cannot show (smallest detectable \\|rho\\|, one test).
    """
    alpha = table.attrs.get("alpha", 0.05)
    part = table[table["outcome"] == outcome].dropna(subset=["rho"]).sort_values("rho")
    if part.empty:
        return _empty("no correlation can be computed yet")
    fig, (ax,) = _axes(1, (6.4, 1.2 + 0.27 * max(len(part), 4)))
    for i, (_, row) in enumerate(part.iterrows()):
        reach = 1 if pd.isna(row["detectable"]) else row["detectable"]
        ax.barh(i, 2 * reach, left=-reach, height=0.9, color="#EEEEEE", zorder=0)
        ax.plot([row["low"], row["high"]], [i, i], color="#0072B2", lw=1.2)
        ax.plot([row["loo_low"], row["loo_high"]], [i, i], color="#0072B2", lw=3.5, alpha=0.5)
        fill = "#0072B2" if words.predicts(row, alpha) else "white"
        ax.plot(row["rho"], i, "o", ms=5, color="#0072B2", mfc=fill)
        ax.text(1.06, i, f"n {row['n']}  p {_p(row['p'])}  max-T {_p(row['p_maxt'])}",
                va="center", fontsize=7.5)  # fmt: skip
    ax.axvline(0, color="#777777", lw=0.8)
    ax.set(yticks=range(len(part)), yticklabels=list(part["predictor"]), xlim=(-1.05, 1.05))
    ax.set_xlabel(f"{table.attrs.get('method', 'spearman').title()} correlation with {outcome}")
    cells = table.attrs.get("cells", len(table))
    text = f"unit: {unit}; line: {1 - alpha:.0%} interval, thick: leave one out; filled: max-T "
    return _note(fig, f"{text}over {cells} cells < {alpha:g}; grey: not detectable")


@styled
def heatmap(matrix: pd.DataFrame, what: str = "gain over none (points)", note: str = ""):
    """Variants x targets in XTREME's group order; hatched cells are not finished.

    matrix: of :func:`midway.correlation.tables.gain_matrix`.
    """
    rows, columns = matrix.shape
    if not matrix.size:
        return _empty()
    fig, (ax,) = _axes(1, (1.6 + 0.62 * columns, 1.3 + 0.3 * rows))
    values = matrix.to_numpy(float)
    sizes = np.abs(values[np.isfinite(values)])
    most = sizes.max(initial=0) or 1
    top = max(np.quantile(sizes, 0.8) if len(sizes) else 1, most / 4)  # few large: still see small
    image = ax.imshow(values, cmap=DIVERGING, vmin=-top, vmax=top, aspect="auto")
    for (i, j), v in np.ndenumerate(values):
        if np.isnan(v):
            ax.add_patch(
                _rectangle((j - 0.5, i - 0.5), 1, 1, hatch="////", fc="none", ec="#BBBBBB")
            )
        else:
            dark = abs(v) > 0.7 * top
            ax.text(j, i, f"{v:+.1f}", ha="center", va="center", fontsize=7.5,
                    color="white" if dark else "black")  # fmt: skip
    groups = [tasks.get(c).group if c in tasks.TARGETS else c for c in matrix]
    for j in range(1, columns):
        if groups[j] != groups[j - 1]:
            ax.axvline(j - 0.5, color="black", lw=1)
    ax.set_xticks(range(columns), list(matrix), rotation=35, ha="right")
    ax.set_yticks(range(rows), list(matrix.index))
    ax.tick_params(length=0)
    fig.colorbar(image, ax=ax, label=what, fraction=0.04, pad=0.02,
                 extend="both" if most > top else "neither")  # fmt: skip
    return _note(
        fig, note or f"unit: variant (n = {rows}), mean over seeds; no test, no correction"
    )


@styled
def trajectories(points: pd.DataFrame, note: str = ""):
    """Predictors over training, a panel each: variant, seed, fraction, predictor, value."""
    names = list(dict.fromkeys(points["predictor"]))
    if not names:
        return _empty()
    fig, axes = _axes(len(names), (3.2, 2.6), across=2 if len(names) == 4 else 3)
    for ax, name in zip(axes, names, strict=False):
        part = points[points["predictor"] == name].dropna(subset=["value"])
        for variant, one in part.groupby("variant", sort=False):
            line = one.groupby("fraction")["value"].agg(["mean", "min", "max"])
            look = _look(variant)
            ax.plot(line.index, line["mean"], lw=1.2, ms=4, label=variant, **look)
            ax.fill_between(line.index, line["min"], line["max"], color=look["color"], alpha=0.15,
                            lw=0)  # fmt: skip
        ax.set(title=name, xlabel="share of training", ylabel=UNITS.get(name, ""))
    handles, labels = axes[0].get_legend_handles_labels()
    if len(labels) > 1:
        fig.legend(handles, labels, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7.5)
    n, seeds = points["variant"].nunique(), points["seed"].nunique()
    band = f"; band: range over {seeds} seeds" if seeds > 1 else ""
    return _note(fig, note or f"unit: variant (n = {n}){band}; no test")


@styled
def regret_curve(runs: pd.DataFrame, target: str = "average", show=(), k: int | None = None):
    """Early choice: regret against the share of compute spent, a line per predictor.

    runs: of :func:`choice.early`. show: predictors (all); k: kept variants (all k).
    """
    if runs.empty:
        return _empty()
    fig, (ax,) = _axes(1, (5.2, 3.6))
    runs = runs[runs["k"] == k] if k else runs
    names = list(show) or [n for n in dict.fromkeys(runs["predictor"]) if n != "random choice"]
    palette = list(COLOURS.values())
    for i, name in enumerate(["random choice", *names]):
        line = runs[runs["predictor"] == name].groupby("compute")["regret"].mean().sort_index()
        if len(line):
            style = {"color": "#7F7F7F", "ls": "--"} if not i else {
                "color": palette[(i - 1) % 5], "marker": MARKERS[(i - 1) // 5 % 8]}  # fmt: skip
            ax.plot(line.index, line, lw=1.2, ms=4, label=name, **style)
    ax.set(xlabel="share of the full grid's compute", ylabel=f"regret on {target} (points)")
    ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])
    ax.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1, 0.5))
    n, seeds = (int(runs[c].max()) for c in ("n", "seeds"))
    kept = f"keep {k}" if k else "mean over k kept"
    return _note(fig, f"n = {n} tasks, mean over {seeds} seed(s), {kept}; simulated, no test")


_VARIANTS = ["none", *tasks.INTERMEDIATE, "multi"]


def _look(variant: str) -> dict:
    """Colour by kind of task, marker by task, hollow for controls and other recipes."""
    base, _, recipe = str(variant).partition("+")
    card = tasks.INTERMEDIATE.get(base)
    group = card.group if card else base if base in COLOURS else "none"
    same = [n for n, c in tasks.INTERMEDIATE.items() if c.group == group]
    look = {"color": COLOURS[group], "marker": MARKERS[same.index(base) if base in same else 0]}
    return look | ({"mfc": "white", "ls": ":"} if recipe else {})


def _axes(panels: int, size: tuple[float, float], across: int = 3):
    """A figure that no window manager knows, with its axes as a list."""
    import matplotlib.pyplot as plt

    across = min(across, panels)
    down = -(-panels // across)
    shape = (size[0] * across, size[1] * down)
    fig, axes = plt.subplots(down, across, figsize=shape, squeeze=False, layout="constrained")
    plt.close(fig)
    for ax in axes.flat[panels:]:
        ax.set_axis_off()
    return fig, list(axes.flat[:panels])


def _empty(text="nothing is finished yet"):
    fig, (ax,) = _axes(1, (4, 1))
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center")
    return _note(fig, "n = 0")


def _note(fig, text: str):
    fig.supxlabel(text, fontsize=7, color="#555555", x=0.01, ha="left")
    return fig


def _rectangle(*args, **kwargs):
    from matplotlib.patches import Rectangle

    return Rectangle(*args, **kwargs)


def _number(value) -> str:
    return "–" if pd.isna(value) else f"{value:+.2f}"


def _p(value) -> str:
    return "–" if pd.isna(value) else "< .001" if value < 0.0005 else f"{value:.3f}"


def _with_unit(predictor: str) -> str:
    unit = UNITS.get(predictor.split(":")[0])
    return f"{predictor} ({unit})" if unit else predictor
