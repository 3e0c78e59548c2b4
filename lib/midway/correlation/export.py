"""Tables as CSV, Markdown and LaTeX.

Examples
--------
>>> import pandas as pd
>>> from midway import export
>>> print(export.markdown(pd.DataFrame({"rho": [0.5]}, index=["mnli"])), end="")
| index | rho |
| --- | --- |
| mnli | 0.50 |
"""

from pathlib import Path

import numpy as np
import pandas as pd


def write(table: pd.DataFrame, folder, name: str, digits: int = 2, index=True) -> list[Path]:
    """Write ``name`` as CSV (full precision), Markdown and LaTeX (booktabs); returns the paths."""
    from midway.study.files import write_atomic

    text = {"csv": table.to_csv(index=index), "md": markdown(table, digits, index)}
    text["tex"] = latex(table, digits, index)
    return [write_atomic(Path(folder) / f"{name}.{end}", body) for end, body in text.items()]


def zeros(table: pd.DataFrame) -> pd.DataFrame:
    """Rounding errors (4.9e-17, -0.0) as zeros, for people; p-values may be that small."""
    floats = [c for c in table.select_dtypes("float") if not str(c).startswith(("p", "q_"))]
    return table.assign(**{c: table[c].round(12) + 0.0 for c in floats})


def markdown(table: pd.DataFrame, digits: int = 2, index: bool = True) -> str:
    """A Markdown table; missing cells are shown as such, pipes and line ends are escaped."""
    escape = {ord("|"): "\\|", ord("\n"): " ", ord("\r"): " "}
    head, *body = _texts(table.reset_index() if index else table, digits)
    rows = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(v.translate(escape) for v in row) + " |\n" for row in rows)


def latex(table: pd.DataFrame, digits: int = 2, index: bool = True) -> str:
    """A booktabs tabular (needs ``\\usepackage{booktabs}``); text is escaped."""
    if index:
        table = table.reset_index()
    special = {ord(c): f"\\{c}" for c in "&%$#_{}"}
    special |= {ord("\\"): r"\textbackslash{}", ord("~"): r"\textasciitilde{}"}
    special |= {ord("^"): r"\textasciicircum{}", ord("\n"): " ", ord("\r"): " ", ord("–"): "--"}
    lines = [" & ".join(v.translate(special) for v in r) + r" \\" for r in _texts(table, digits)]
    spec = "".join("r" if pd.api.types.is_numeric_dtype(t) else "l" for t in table.dtypes)
    body = [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", lines[0], r"\midrule", *lines[1:]]
    return "\n".join([*body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _texts(table, digits) -> list[list[str]]:
    rows = [[_cell(v, digits) for v in row] for row in table.itertuples(index=False)]
    return [[str(c) for c in table.columns], *rows]


def _cell(value, digits):
    if isinstance(value, (float, np.floating)):
        return "–" if np.isnan(value) else f"{value:.{digits}f}"
    return "–" if value is None or value is pd.NA else str(value)
