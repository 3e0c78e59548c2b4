"""Small pictures as inline SVG: text is real text, colours follow the page's theme."""

import math
import re

from markupsafe import Markup, escape

W, H = 300, 210  # one panel, in SVG units; pages scale it
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 38


def number(value, digits: int = 1, sign: bool = False) -> str:
    """A number as the report prints it; an en dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")  # a minus sign is as wide as a plus


def p_value(value) -> str:
    """A p value as the report prints it: never zero."""
    return "<0.001" if value is not None and value < 0.0005 else number(value, 3)


def breaks(name: str) -> Markup:
    """A name that may be broken after its joints, so that a phone shows it in few lines."""
    return Markup(re.sub(r"([_/+:])", r"\1<wbr>", str(escape(name))))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that divide an interval into at most ``most`` parts."""
    size = 10 ** math.floor(math.log10((high - low) / most))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if (high - low) / (s * size) <= most)
    return [k * step for k in range(math.ceil(low / step - 1e-9), int(high / step + 1e-9) + 1)]


def spread(values) -> tuple[float, float]:
    """An interval around values with some air, never empty."""
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
    return low - air, high + air


def svg(parts: list, label: str, width: int = W, height: int = H, css: str = "panel") -> Markup:
    body = Markup("").join(parts)
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        css, width, height, label, body
    )


class Axes:
    """Scales, frame and labels of one panel."""

    def __init__(self, xlim, ylim, xlabel: str, ylabel: str, right: int = RIGHT):
        self.xlim, self.ylim, self.end = xlim, ylim, W - right
        self.parts = [self._frame(xlabel, ylabel)]

    def x(self, value: float) -> float:
        low, high = self.xlim
        return LEFT + (value - low) / (high - low) * (self.end - LEFT)

    def y(self, value: float) -> float:
        low, high = self.ylim
        return H - BOTTOM - (value - low) / (high - low) * (H - TOP - BOTTOM)

    def _frame(self, xlabel, ylabel) -> Markup:
        out = []
        for t in ticks(*self.ylim):
            css = "zero" if abs(t) < 1e-12 else "grid"
            out.append(f'<path class="{css}" d="M{LEFT} {self.y(t):.1f}H{self.end}"/>')
            out.append(text(LEFT - 5, self.y(t) + 4, f"{t:g}".replace("-", "−"), "end"))
        for t in ticks(*self.xlim):
            out.append(text(self.x(t), H - BOTTOM + 15, f"{t:g}".replace("-", "−"), "middle"))
        out.append(text((LEFT + self.end) / 2, H - 5, xlabel, "middle"))
        middle = (TOP + H - BOTTOM) / 2
        out.append(text(11, middle, ylabel, "middle", f' transform="rotate(-90 11 {middle})"'))
        return Markup("").join(Markup(x) for x in out)


def text(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> Markup:
    return Markup(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'
    )


def _fits(x, y, width, placed) -> bool:
    """Whether a name at this place stays in the panel and clear of dots and other names."""
    inside = LEFT - 4 < x and x + width < W and TOP + 6 < y < H - BOTTOM + 8
    return inside and not any(abs(y - b) < 11 and x < a + w and a < x + width for a, b, w in placed)


def scatter(points: list[tuple], xlabel: str, ylabel: str, label: str) -> Markup:
    """Named points (name, x, y); names stand where they meet nothing."""
    axes = Axes(
        spread([p[1] for p in points]), spread([0, *[p[2] for p in points]]), xlabel, ylabel
    )
    placed = [(axes.x(x) - 5, axes.y(y) + 4, 10.0) for _, x, y in points]
    for name, x, y in sorted(points, key=lambda p: -p[2]):
        px, py, width = axes.x(x), axes.y(y), 6.2 * len(name)
        places = [(px + 7, py + 4), (px - 7 - width, py + 4), (px - width / 2, py - 8),
                  (px - width / 2, py + 17), (px + 5, py - 7), (px + 5, py + 15)]  # fmt: skip
        free = [p for p in places if _fits(*p, width, placed)]
        tx, ty = (free or places)[0]
        placed.append((tx, ty, width))
        axes.parts.append(Markup(f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}" r="4"/>'))
        axes.parts.append(text(tx, ty, name))
    return svg(axes.parts, label)


DASHES = ("", ' stroke-dasharray="6 4"', ' stroke-dasharray="2 3"')


def lines(series: dict[str, list[tuple]], xlabel: str, ylabel: str, label: str) -> Markup:
    """Lines told apart by their dashes and by names at their ends; percent, 0 to 100."""
    axes = Axes((0, 1), (0, 100), xlabel, ylabel, 36)
    used: list[float] = []
    for dash, (name, points) in zip(DASHES, series.items(), strict=False):
        d = "L".join(f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in points)
        axes.parts.append(Markup(f'<path class="line" d="M{d}"{dash}/>'))
        for x, y in points:
            axes.parts.append(
                Markup(f'<circle class="dot" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="2.5"/>')
            )
        y = axes.y(points[-1][1]) + 4
        while any(abs(y - u) < 12 for u in used):
            y += 3 if y >= used[-1] else -3
        used.append(y)
        axes.parts.append(text(axes.end + 5, y, name))
    return svg(axes.parts, label)


def interval(rho, low, high, critical=None) -> Markup:
    """One row of a forest: correlation with its interval on [-1, 1]; ticks: what n can show."""
    if rho is None or math.isnan(rho):
        return Markup("")

    def at(v):
        return 80 + 74 * max(-1.0, min(1.0, v))

    parts = [Markup('<path class="grid" d="M6 11H154"/><path class="zero" d="M80 1V21"/>')]
    if critical is not None and not math.isnan(critical):
        for v in (critical, -critical):
            parts.append(Markup(f'<path class="reach" d="M{at(v):.1f} 4V18"/>'))
    label = f"rho {number(rho, 2, True)}"
    if not (math.isnan(low) or math.isnan(high)):
        parts.append(Markup(f'<path class="line" d="M{at(low):.1f} 11H{at(high):.1f}"/>'))
        label += f", interval {number(low, 2, True)} to {number(high, 2, True)}"
    parts.append(Markup(f'<rect class="dot" x="{at(rho) - 4:.1f}" y="7" width="8" height="8"/>'))
    return svg(parts, label, 160, 22, "forest")


STANDALONE = (
    "text{font:11px sans-serif;fill:#1b1f24}.small{font-size:10px;fill:#57606a}"
    ".grid{stroke:#cfd6dd;fill:none}.zero{stroke:#57606a;stroke-width:1.4;fill:none}"
    ".dot{fill:#0a558c}"
)


def sheet(panels: list[tuple[Markup, str]], label: str, across: int = 2) -> str:
    """Panels with a line of text each, as one SVG file of its own on white."""
    rows = -(-len(panels) // across)
    width, height = across * (W + 20), rows * (H + 30)
    parts = [Markup('<style>{}</style><rect width="100%" height="100%" fill="#fff"/>').format(
        Markup(STANDALONE))]  # fmt: skip
    for i, (panel, line) in enumerate(panels):
        x, y = (i % across) * (W + 20) + 5, (i // across) * (H + 30) + 5
        inner = str(panel).replace("<svg ", f'<svg x="{x}" y="{y}" width="{W}" height="{H}" ', 1)
        parts += [Markup(inner), text(x + LEFT, y + H + 12, line, more=' class="small"')]
    whole = svg(parts, label, width, height)
    return (
        str(whole).replace(
            "<svg ",
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" ',
            1,
        )
        + "\n"
    )
