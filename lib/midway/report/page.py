"""The report: one self-contained page with the study's answer and numbers.

``build`` works on a study in any state and never needs the network: styles, pictures, data and the
one script stand in the page, and the page's own policy forbids everything else. Text that came from
data, errors or settings passes through the template's escaping. Executed notebooks, definitions and
figures to download lie beside it.

Examples
--------
>>> from midway import page, params
>>> page.build(params.load("outputs/mini/params.yaml"), "outputs/mini")  # doctest: +SKIP
"""

import base64
import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import midway
from midway.correlation import tables, taskweb
from midway.report import answer, collect, drawing, notebooks, pictures
from midway.run.progress import span
from midway.run.record import now
from midway.study import names, yamlfile
from midway.study.files import write_atomic

HERE = Path(__file__).resolve().parent
ROWS = 60  # of a published table
WORDS = {
    "done": "finished", "failed": "failed", "died": "died", "interrupted": "interrupted",
    "running": "running", "stale": "out of date", "waiting": "to come",
}  # fmt: skip
# Tables of 03 and 04 in the section on published evidence, in this order; others are not shown.
PUBLISHED = {
    "taskweb_mean": "TaskWeb: own score and gain of other tasks, mean over encoders",
    "taskweb": "TaskWeb: own score and gain of other tasks, by encoder",
    "taskweb_choice": "TaskWeb: cost of choosing by the own score",
    "units": "Probing scores and targets: significant pairs with runs and with tasks as the unit",
    "claims": "Claims of the literature and this study",
    "beside": "X-STILTs version 1 and this study, cell by cell",
    "averages": "X-STILTs version 1: the printed averages, recomputed",
    "rules": "X-STILTs version 1: choices of a simple rule",
    "probes": "Mean correlation of every probe, by unit",
    "probing_tasks": "All probe-target cells with the task as the unit",
}
WORDED = {
    "predictor": names.predictor, "rule": names.predictor, "outcome": names.outcome,
    "target": names.outcome, "variant": names.variant, "encoder": str,
}  # fmt: skip
TASKWEB = taskweb.ENCODERS | {"own": "own score", "share": "own score, a guess = 0"}
TASKWEB |= {"given": "gain of other tasks"}
MADE = ("index.html", "pages", "figures")  # what a report consists of, in its folder


def build(study, folder, facts: dict | None = None, into=None) -> Path:
    """Write ``index.html``, ``pages/`` and ``figures/`` of a study; returns the index.

    study: :class:`midway.study.params.Study`; folder: its outputs, e.g. outputs/mini; into: where
    to write, the same folder by default; facts: what :func:`content` gave for the same ``into``.
    Unfinished steps are marked, unreadable records are named and left out. The pages of notebooks
    that have not changed are kept.
    """
    folder, into = Path(folder), Path(into or folder)
    into.mkdir(parents=True, exist_ok=True)
    facts = content(study, folder, into) if facts is None else facts
    for picture in facts["pictures"].values():
        picture.write(into / "figures")
    path = write_atomic(into / "index.html", render(facts))
    for step in facts["steps"]:
        if step["page"]:
            notebooks.write(into, step, folder / step["path"] / "notebook.ipynb")
    for name, source in facts["documents"].items():
        notebooks.write(into, {"path": name, "state": "document"}, source)
    return path


def content(study, folder, into=None) -> dict:
    """Everything the page shows, as plain values and figures."""
    folder = Path(folder)
    base = "" if into in (None, folder) else os.path.relpath(folder, into) + "/"
    steps = collect.steps(study, folder, base)
    stale = {s["path"] for s in steps if s["state"] == "stale"}
    outcomes, predictors = tables.outcomes(folder, but=stale), tables.predictors(folder, but=stale)
    scores = tables.scores(folder, but=stale)
    made = {
        name: (base + path, table)
        for step in ("03_correlation", "04_published")
        for name, path, table in collect.written(steps, folder, step)
    }
    cells, csv = collect.correlations(study, made, predictors, outcomes)
    states = Counter(s["state"] for s in steps)
    at = {s["path"]: s for s in steps}
    origins, four = collect.origins(steps), at["04_published"]
    three = at["03_correlation"]["results"]
    weak = three.get("weak") or {} if csv else {}
    X, Y = pictures.units(study, predictors, outcomes, weak)
    skipped = {x for t in (outcomes, predictors, scores) for x in t.attrs.get("skipped", [])}
    complete = states["done"] == len(steps)
    return {
        "documents": notebooks.documents(), "stale": stale,
        "study": study, "version": midway.__version__, "written": now()[:16].replace("T", " "),
        "steps": steps, "states": states, "done": states["done"], "complete": complete,
        "old": sum(s["old"] for s in steps),
        "bad": states["failed"] + states["died"],  # what was interrupted goes on by itself
        **answer.first_screen(study, cells, outcomes, made, three if csv else {}, four["results"],
                              complete),
        "pictures": pictures.all_of(study, folder, base, made, cells, predictors, X, Y, weak),
        "within": inside(made["within"][1]) if "within" in made and csv else [],
        "within_csv": collect.url(made["within"][0]) if "within" in made else "",
        "gains": collect.gains(study, steps, outcomes, scores),
        "source": {**at["03_correlation"], "csv": collect.url(csv)} if csv else None,
        **correlation_tables(cells), "explore": explore(X, Y, cells, study.correlation.outcome),
        "languages": collect.languages(study, scores, steps),
        "layers": collect.layers(study, folder, stale),
        "choice": chosen(*made["choice"]) if "choice" in made else None,
        "published": [published(n, *made[n]) for n in PUBLISHED if n in made],
        "four": four if four["record"] else None,
        "evidence": four["results"].get("words", [])[:2],
        "total": total(steps), "origins": origins, "skipped": sorted(skipped),
        "settings": yamlfile.dump(study.fold()),
    }  # fmt: skip


def environment() -> Environment:
    """Where the templates of pages are, with their filters."""
    env = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    env.filters |= {"breaks": breaks, "typeset": typeset, "anchor": anchor}
    return env


def render(facts: dict) -> str:
    """The page from its facts."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(facts["explore"], ensure_ascii=False).replace("<", "\\u003c")
    return environment().get_template("index.html.j2").render(
        **facts, words_of=WORDS, names=names, num=names.number, p=names.p_value,
        css=Markup(style()), script=Markup(script), script_hash=digest, data=Markup(data),
    )  # fmt: skip


def breaks(name: str) -> Markup:
    """A name that may be broken after its joints, so that a phone shows it in few lines."""
    return Markup(re.sub(r"([_/+:])", r"\1<wbr>", str(escape(name))))


def anchor(*parts: str) -> str:
    """An id for a permalink: letters, digits and hyphens."""
    return re.sub(r"[^\w]+", "-", "-".join(map(str, parts))).strip("-")


def typeset(text: str) -> str:
    """A sentence with real minus signs, and equations that are not torn apart at a line's end."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text).replace(" = ", "\u00a0=\u00a0")


def style() -> str:
    colours = f":root {{ --pos: {drawing.GAIN}; --neg: {drawing.LOSS}; }}\n"
    return colours + (HERE / "style.css").read_text(encoding="utf-8")


def correlation_tables(cells: pd.DataFrame) -> dict:
    """The rows for one outcome, the matrix of all, and every pair with data."""
    rows = _records(cells.assign(note=cells["note"].fillna("")))
    known = [r for r in rows if not pd.isna(r["rho"])]
    outcomes = list(dict.fromkeys(r["outcome"] for r in known))
    first = tables.overall(outcomes)
    largest = max((r["n"] for r in known), default=2)
    for r in known:  # three tasks that agree are weaker evidence than ten: as in max-T
        r["shade"] = abs(r["rho"]) * ((r["n"] - 1) / max(largest - 1, 1)) ** 0.5
    at = {(r["predictor"], r["outcome"]): r for r in known}
    shown = list(dict.fromkeys(r["predictor"] for r in known))
    shared = dict.fromkeys(n.split(":")[0] for n in sorted(shown, key=lambda n: ":" in n))
    matrix = [(n, [at.get((n, o)) or at.get((f"{n}:{o}", o)) for o in outcomes]) for n in shared]
    return {
        "cells": known, "empty": len(rows) - len(known), "forest_outcome": first,
        "forest": [r for r in rows if r["outcome"] == first],
        "matrix": {"outcomes": outcomes, "rows": matrix},
    }  # fmt: skip


def inside(table: pd.DataFrame) -> list[dict]:
    """The pairs within tasks that have data, primary ones first."""
    rows = table[table["r_partial"].notna()]
    rows = rows.assign(primary=rows.get("primary", False))
    return _records(rows.sort_values(["primary", "p_maxt"], ascending=[False, True]))


def _records(table: pd.DataFrame) -> list[dict]:
    """Rows as plain values; nan where there is none."""
    return table.astype(object).where(table.notna(), float("nan")).to_dict("records")


def explore(X, Y, cells: pd.DataFrame, what: str) -> dict:
    """Data of the chooser: values of the units, names, and the tested pairs.

    what: the outcome, gain or score.
    """
    pairs = cells.dropna(subset=["rho"])
    columns = ["predictor", "outcome", "n", "rho", "low", "high", "p", "p_maxt"]
    rows = pairs[columns].astype(object).where(pairs[columns].notna(), None)

    values = [{c: t.dropna().round(4).to_dict() for c, t in table.items()} for table in (X, Y)]
    return {
        "x": values[0], "y": values[1], "pairs": rows.to_numpy().tolist(),
        "names": {c: names.with_unit(c) for c in X} | {c: names.outcome(c) for c in Y}
        | {u: names.variant(u) for u in X.index},
        "axes": {c: f"{names.effect(what, c)} (points)" for c in Y},
    }  # fmt: skip


def published(name: str, path: str, table: pd.DataFrame) -> dict:
    """One table of 03 or 04 as text, its names in words."""
    table = table[[c for c in table if c not in names.TITLES["hidden"]]]
    for column in [c for c in table if c in WORDED]:
        worded = [TASKWEB.get(v) or WORDED[column](v) for v in table[column]]
        table = table.assign(**{column: worded})
    rows = table.head(ROWS).itertuples(index=False, name=None)
    rows = [[(_shown(v), isinstance(v, (int, float))) for v in row] for row in rows]
    return {
        "title": PUBLISHED[name], "path": path, "url": collect.url(path), "rows": rows,
        "columns": list(table.columns), "total": len(table), "open": len(table) <= 12,
    }  # fmt: skip


def _shown(value):
    if isinstance(value, float):
        return names.number(value, 3).rstrip("0").rstrip(".") or "0"
    return "–" if value is None else value


def chosen(path: str, table: pd.DataFrame) -> dict | None:
    """What choosing by each metric costs on average."""
    if not {"target", "predictor", "regret_1", "n"} <= set(table.columns):
        return None
    rows = table[table["target"] == tables.overall(table["target"])]
    # what only some tasks have is no choice among all: last
    rows = rows.sort_values(["n", "regret_1"], ascending=[False, True])
    return {"url": collect.url(path), "rows": _records(rows)}


def total(steps) -> dict:
    """Cost of what is finished, in words."""
    done = [s["cost"] for s in steps if s["cost"]]
    seconds, tokens = (sum(c.get(k) or 0 for c in done) for k in ("cpu_s", "tokens"))
    return {"steps": len(done), "cpu": span(seconds), "tokens": f"{tokens:,}" if tokens else ""}
