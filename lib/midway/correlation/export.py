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

    def text(value):
        if value is None or value is pd.NA or value != value:
            return "–"
        number = isinstance(value, (float, np.floating))
        return f"{value:.{digits}f}" if number else str(value).translate(escape)

    table = table.reset_index() if index else table
    rows = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "".join("| " + " | ".join(map(text, row)) + " |\n" for row in rows)


def latex(table: pd.DataFrame, digits: int = 2, index: bool = True) -> str:
    """A booktabs tabular (needs ``\\usepackage{booktabs}``); text is escaped."""
    table = table.reset_index() if index else table
    return table.to_latex(index=False, escape=True, float_format=f"%.{digits}f", na_rep="--")
