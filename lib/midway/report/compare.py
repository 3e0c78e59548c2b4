"""Two studies side by side: settings that differ, gains, correlations; as text and as a page."""

import os
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from midway.correlation import tables
from midway.report import collect, page
from midway.study import names, params
from midway.study.files import write_atomic

CAPTIONS = {
    "settings": "Settings that differ",
    "gains": "Gain on all targets, points (mean over seeds)",
    "targets": "Mean gain over the variants that both have, points",
    "correlations": "Spearman's rho of each predictor with the gain on all targets",
}


def compare(a, b) -> dict[str, pd.DataFrame]:
    """Tables of two studies' folders, see CAPTIONS; columns A and B are the studies.

    InputError when a folder is not a study's outputs.
    """
    both = [Path(a), Path(b)]
    studies = [params.load(f / "params.yaml") for f in both]
    given = [_given(s.fold()) for s in studies]
    keys = [k for k in dict.fromkeys([*given[0], *given[1]]) if given[0].get(k) != given[1].get(k)]
    settings = pd.DataFrame([[f.get(k) for f in given] for k in keys], keys, ["A", "B"])
    matrices = [tables.gain_matrix(tables.outcomes(f)) for f in both]
    average = _beside([m.get("average", pd.Series(dtype=float)) for m in matrices])
    shared = [m.drop(index="none", errors="ignore") for m in matrices]
    rows = shared[0].index.intersection(shared[1].index)
    targets = _beside([m.loc[rows].mean() for m in shared])
    rhos = _beside([_rhos(s, f) for s, f in zip(studies, both, strict=True)])
    return {
        "settings": settings,
        "gains": average.drop(index="none", errors="ignore").rename(index=names.variant),
        "targets": targets.rename(index=names.outcome),
        "correlations": rhos.rename(index=names.predictor),
    }


def _given(tree: dict, prefix: str = "") -> dict[str, str]:
    """Settings by dotted key; what is left to its default is left out."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _given(value, f"{prefix}{key}.")
        elif value not in (None, []):
            flat[prefix + key] = _words(value)
    return flat


def _words(value) -> str:
    """A setting as in a params file; a list of lists as pairs."""
    if isinstance(value, list):
        return ", ".join(" and ".join(v) if isinstance(v, list) else _words(v) for v in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _beside(pair: list[pd.Series]) -> pd.DataFrame:
    table = pd.concat(dict(zip("AB", pair, strict=True)), axis=1)
    return table.assign(difference=table["B"] - table["A"])


def _rhos(study, folder: Path) -> pd.Series:
    steps = collect.steps(study, folder)
    made = {n: (p, t) for n, p, t in collect.written(steps, folder, "03_correlation")}
    cells, _ = collect.correlations(study, made, tables.predictors(folder), tables.outcomes(folder))
    part = cells[cells["outcome"] == tables.overall(cells["outcome"])].dropna(subset=["rho"])
    return part.set_index("predictor")["rho"].astype(float)


def sentences(found: dict[str, pd.DataFrame]) -> list[str]:
    """What the tables say, in words."""
    both = found["gains"].dropna()
    out = [f"{len(found['settings'])} settings differ."]
    targets = found["targets"]
    if alone := [*targets.index[targets[["A", "B"]].isna().any(axis=1)]]:
        out.append("The averages are over different targets, which may not be comparable; in one "
                   f"study only: {', '.join(alone)}.")  # fmt: skip
    if len(both) < 3:
        return [*out, "Fewer than three tasks are in both: their orders cannot be compared."]
    rho = both["A"].corr(both["B"], method="spearman")
    out.append(
        f"The order of {len(both)} tasks by average gain agrees with rho = {rho:+.2f}; their gains "
        f"differ by {both['difference'].abs().mean():.1f} points on average."
    )
    signs = found["correlations"].dropna()
    same = int((signs["A"] * signs["B"] > 0).sum())
    return [*out, f"{same} of {len(signs)} predictors have a correlation of the same sign in both."]


def text(found: dict[str, pd.DataFrame]) -> str:
    """The comparison for a terminal."""
    parts = [" ".join(sentences(found))]
    for name, table in found.items():
        shown = table.to_string(max_colwidth=60, float_format="{:+.2f}".format, na_rep="–")
        parts.append(f"{CAPTIONS[name]}\n{shown if len(table) else 'none'}")
    return "\n\n".join(parts)


def write(found: dict[str, pd.DataFrame], a, b, path: Path) -> Path:
    """The comparison as one page without scripts; links lead to both reports."""
    links = {}
    for k, f in (("A", Path(a)), ("B", Path(b))):
        to = os.path.relpath(f / "index.html", path.parent)
        links[k] = collect.url(to), f.resolve().name
    facts = {"css": Markup(page.style()), "links": links, "said": sentences(found)}
    facts["boxes"] = [(CAPTIONS[name], Markup(_table(table))) for name, table in found.items()]
    template = page.environment().get_template("compare.html.j2")
    return write_atomic(path, template.render(**facts))


def _table(table: pd.DataFrame) -> str:
    return table.map(
        lambda v: names.number(v, 2, True) if isinstance(v, float) else "–" if v is None else v
    ).to_html(border=0)
