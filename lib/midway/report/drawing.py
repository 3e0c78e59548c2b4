"""Style and files of all figures: one style, and one meaning of each colour.

Blue means gain and orange loss, and nothing else; kinds of task have a colour each and tasks of a
kind differ by marker. Figures belong to no window: a notebook shows one once, a batch job needs no
display.
"""

import io
import re
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import textalloc

from midway.study import names, tasks
from midway.study.files import write_atomic

GAIN, LOSS, INK, MUTED, GRID = "#5fa8de", "#eb9f58", "#1b1f24", "#57606a", "#cfd6dd"
COLOURS = {  # none is blue or orange; all show on white and on black
    "pair": "#8e6bbf", "qa": "#0e9384", "structured": "#d6457a", "retrieval": "#8a7a1f",
    "multi": INK, "none": "#7f7f7f",
}  # fmt: skip
MARKERS = "osD^vP*X"
STYLE: dict[Any, Any] = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "font.size": 9,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "legend.frameon": False, "svg.hashsalt": "midway", "svg.fonttype": "none", "pdf.fonttype": 42,
    "savefig.bbox": "tight", "font.family": "DejaVu Sans", "legend.fontsize": 7.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color",
                     "ytick.color"), INK),
}  # fmt: skip
THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", "#ffffff": "var(--bg)"}


#: decorator: draw under STYLE, whatever the caller's settings are, and leave those alone
styled = matplotlib.rc_context(STYLE)


def save(fig, folder, name: str, formats=("svg", "pdf", "png")) -> list[Path]:
    """Write a figure in every format; the same figure gives the same bytes (no dates inside)."""
    return [write_atomic(Path(folder) / f"{name}.{end}", _file(fig, end)) for end in formats]


@styled
def _file(fig, end: str) -> bytes:
    meta = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    buffer = io.BytesIO()
    fig.savefig(buffer, format=end, dpi=150, metadata=meta[end])
    return re.sub(rb'id="title: [^"]*"', b'class="mark"', buffer.getvalue())


@styled
def inline(fig, name: str, label: str) -> str:
    """A figure as SVG for a page, see :func:`themed`."""
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return themed(buffer.getvalue(), name, label)


def themed(text: str, name: str, label: str) -> str:
    """An SVG file of :func:`save` as part of a page: its ids begin with ``name``, values show on
    hover, and ink and paper take the page's colours (--ink, --muted, --line, --bg)."""
    text = re.sub(r"(?s)^.*?(?=<svg)|<metadata>.*?</metadata>|<!--.*?-->", "", text)
    text = re.sub(r'<g id="title: ([^"]*)">', r'<g class="mark"><title>\1</title>', text)
    text = re.sub(r'(id="|href="#|url\(#)(?=[\w-])', rf"\1{name}-", text)
    for colour, variable in THEME.items():
        text = text.replace(colour, variable)
    (size, *_) = re.findall(r'viewBox="0 0 ([\d.]+)', text)
    head = f'<svg class="figure" role="img" aria-label="{escape(label)}" style="max-width:{size}pt"'
    text = re.sub(r'<svg(.*?) width="[^"]*"', rf"{head}\1", text, count=1, flags=re.S)
    return text.replace(" height=", " data-height=", 1)


def show(fig, what: str) -> None:
    """Display a figure in a notebook; its alternative text is ``what`` and the figure's note."""
    from IPython.display import display

    alt = f"{what}. {fig.get_supxlabel()}"
    display(fig, metadata={"image/png": {"alt": alt}})


def look_of(variant: str) -> dict:
    """Colour by kind of task, marker by task, hollow for controls and other recipes."""
    base, _, recipe = str(variant).partition("@")[0].partition("+")
    card = tasks.INTERMEDIATE.get(base)
    group = card.group if card else base if base in COLOURS else "none"
    same = [n for n, c in tasks.INTERMEDIATE.items() if c.group == group]
    look = {"color": COLOURS[group], "marker": MARKERS[same.index(base) if base in same else 0]}
    return look | ({"mfc": "white", "ls": ":"} if recipe else {})


def new_axes(panels: int, size: tuple[float, float], across: int = 3):
    """A figure that no window manager knows, with its axes as a list."""
    across = min(across, panels)
    down = -(-panels // across)
    shape = (size[0] * across, size[1] * down)
    fig, axes = plt.subplots(down, across, figsize=shape, squeeze=False, layout="constrained")
    plt.close(fig)
    for ax in axes.flat[panels:]:
        ax.set_axis_off()
    return fig, list(axes.flat[:panels])


def empty(text="nothing is finished yet"):
    fig, (ax,) = new_axes(1, (4, 1))
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center")
    return footnote(fig, "n = 0")


def footnote(fig, text: str):
    fig.supxlabel(text, fontsize=7, color=MUTED, x=0.01, ha="left")
    return fig


def titled(points):
    """Points with a column ``title``: the one that they have, else the variant in words."""
    return points if "title" in points else points.assign(title=points.index.map(names.variant))


def label_points(ax, points, size: float = 7.5) -> None:
    """Write each point's title (columns x, y, title) where there is room; far: with a line."""
    ax.figure.draw_without_rendering()  # from here on it is known where things are
    x, y = [*points["x"]], [*points["y"]]
    textalloc.allocate(
        ax, x, y, [*points["title"]], x_scatter=x, y_scatter=y, textsize=size, textcolor=INK,
        linecolor=MUTED, linewidth=0.6, margin=0.015, min_distance=0.02, max_distance=0.3,
        nbr_candidates=400,
    )  # fmt: skip
