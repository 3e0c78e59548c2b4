"""The report: one self-contained page with the study's numbers, executed notebooks beside it.

``build`` works on a study in any state and never needs the network: styles, pictures and the one
script (it sorts tables) stand in the page, and the page's own policy forbids everything else. Text
that came from data, errors or settings passes through the template's escaping.
"""

import base64
import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import midway
from midway import tables, words, yamlfile
from midway.records import now, write_atomic
from midway.report import charts, collect, pages

HERE = Path(__file__).resolve().parent
ROWS = 60  # of a published table
MARK = {
    "done": "✓", "failed": "✗", "died": "†", "interrupted": "‖", "running": "…",
    "stale": "↻", "waiting": "○",
}  # fmt: skip
WORDS = {
    "done": "finished", "failed": "failed", "died": "died", "interrupted": "interrupted",
    "running": "running", "stale": "out of date", "waiting": "to come",
}  # fmt: skip
SECTIONS = [
    ("answer", "Answer"), ("gains", "Gains"), ("correlation", "Correlation"),
    ("languages", "Languages"), ("curves", "Training"), ("layers", "Layers"),
    ("published", "Published"), ("steps", "Steps and cost"), ("origins", "Provenance"),
]  # fmt: skip


def build(study, folder, facts: dict | None = None) -> Path:
    """Write ``index.html`` and ``pages/`` of a study; returns the index.

    study: :class:`midway.params.Study`; folder: its outputs, e.g. outputs/mini; facts: what
    :func:`content` gave, when it has been asked already. Unfinished steps are marked, unreadable
    records are named and left out. The pages of notebooks that have not changed are kept.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = content(study, folder) if facts is None else facts
    path = write_atomic(folder / "index.html", render(facts))
    for step in facts["steps"]:
        if step["page"]:
            pages.write(folder, step)
    return path


def figure(study, folder, path) -> Path:
    """The answer's figure as an SVG file, e.g. for a README."""
    made = content(study, folder)["panels"]
    facts = [(p["svg"], p["facts"]) for p in made]
    label = "Metrics of intermediate tasks against their average gain. "
    return write_atomic(path, charts.sheet(facts, label + " ".join(f for _, f in facts)))


def content(study, folder) -> dict:
    """Everything the page shows, as plain values."""
    folder = Path(folder)
    steps = collect.steps(study, folder)
    outcomes, predictors = tables.outcomes(folder), tables.predictors(folder)
    scores = tables.scores(folder)
    made = [
        t for s in ("03_correlation", "04_published") for t in collect.written(study, folder, s)
    ]
    cells, csv = collect.correlations(study, folder, predictors, outcomes)
    states = Counter(s["state"] for s in steps)
    at = {s["path"]: s for s in steps}
    origins, four = collect.origins(steps), at["04_published"]
    choice = next((chosen(*t[1:]) for t in made if t[0] == "choice"), None)
    trained = {v for v in outcomes["variant"] if tables.is_unit(v)}
    limits = words.limits(study.fold(), len(trained), len(study.seeds)) if trained else []
    skipped = {x for t in (outcomes, predictors, scores) for x in t.attrs.get("skipped", [])}
    complete = states["done"] == len(steps)
    return {
        "study": study, "version": midway.__version__, "written": now()[:16].replace("T", " "),
        "steps": steps, "states": states, "done": states["done"], "complete": complete,
        "bad": states["failed"] + states["died"],  # what was interrupted goes on by itself
        "answer": answer(study, cells, outcomes, complete) + (choice["words"] if choice else []),
        "limits": limits,
        "panels": panels(study, predictors, outcomes, cells),
        "gains": collect.gains(study, steps, outcomes),
        "source": {**at["03_correlation"], "csv": collect.url(csv)} if csv else None,
        **correlation_tables(cells),
        "languages": collect.languages(study, scores, steps),
        "curves": [c | {"svg": curve(c)} for c in collect.curves(steps)],
        "layers": collect.layers(study, folder, steps),
        "choice": choice,
        "published": sorted(
            (published(*t) for t in made if t[0] in PUBLISHED), key=lambda t: t["place"]
        ),
        "four": four if four["record"] else None,
        "evidence": four["results"].get("words", [])[:2],
        "total": total(steps), "origins": origins, "skipped": sorted(skipped),
        "mixed": [
            f"{name} differs between steps, so their numbers may not be comparable."
            for name, values in origins if len(values) > 1 and name in DECISIVE
        ],
        "warnings": [f"Unreadable and left out: {len(skipped)} (see Provenance)."] * bool(skipped),
        "settings": yamlfile.dump(study.fold()),
    }  # fmt: skip


# Tables of 03 and 04 in the section on published evidence, in this order; others are not shown.
PUBLISHED = {
    "units": "Probing scores and targets: what is left when the task, not the run, is the unit",
    "claims": "Ten claims that this project started from, beside this study",
    "beside": "X-STILTs version 1 and this study, cell by cell",
    "averages": "X-STILTs version 1: the printed averages, recomputed",
    "rules": "X-STILTs version 1: what a simple rule would have said",
    "probes": "Mean correlation of every probe, by unit",
    "probing_tasks": "All probe-target cells with the task as the unit",
}
DECISIVE = ("definition of scores", "encoder (sha256)", "bf16")


def render(facts: dict) -> str:
    """The page from its facts."""
    env = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    env.filters["breaks"] = charts.breaks
    env.filters["typeset"] = typeset
    script = (HERE / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return env.get_template("index.html.j2").render(
        **facts, sections=SECTIONS, mark=MARK, words_of=WORDS, num=charts.number, p=charts.p_value,
        css=Markup(style()), script=Markup(script), script_hash=digest,
    )  # fmt: skip


def typeset(text: str) -> str:
    """A sentence with real minus signs, and equations that are not torn apart at a line's end."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text).replace(" = ", "\u00a0=\u00a0")


def style() -> str:
    return (HERE / "style.css").read_text(encoding="utf-8")


def answer(study, cells: pd.DataFrame, outcomes: pd.DataFrame, complete: bool) -> list[str]:
    """The first sentences, made from the numbers by the rules of :mod:`midway.words`."""
    lines = words.headline(cells)
    mean = outcomes[outcomes["target"] == "average"].groupby("variant")["gain"].mean()
    mean = mean[[tables.is_unit(v) for v in mean.index]].dropna()
    if len(mean):
        best, worst = mean.idxmax(), mean.idxmin()
        lines.append(
            f"Over {len(study.transfer.targets)} targets, intermediate training changes the "
            f"zero-shot score by {mean[worst]:+.1f} ({worst}) to {mean[best]:+.1f} points ({best})"
            f"{'' if complete else ' in what is finished'}."
        )
    if cells["p"].notna().any():
        lines += words.family(cells, most=1)
    elif not lines:
        lines.append("There is no answer yet: no variant has been carried to all targets.")
    return lines


def panels(study, predictors, outcomes, cells) -> list[dict]:
    kind = study.correlation.outcome
    at = {(r["predictor"], r["outcome"]): r for r in cells.to_dict("records")}
    found = collect.points(predictors, outcomes, kind)
    for p in found:
        names = ", ".join(f"{v} {x:.3g} and {y:+.1f}" for v, x, y in p["points"])
        p["facts"] = fact(at.get((p["predictor"], "average")))
        p["svg"] = charts.scatter(
            p["points"], p["predictor"], f"average {kind} (points)",
            f"Scatter of {p['predictor']} against the average {kind} of {len(p['points'])} "
            f"variants: {names}.",
        )  # fmt: skip
    return found


def fact(row: dict | None) -> str:
    """A correlation in a few words, never without n."""
    if row is None or pd.isna(row["rho"]):
        return "no correlation can be computed"
    rho, low, high = (charts.number(row[k], 2, True) for k in ("rho", "low", "high"))
    return f"rho {rho} ({low} to {high}), n = {row['n']}"


def curve(c: dict):
    ends = ", ".join(f"{k} {v[0][1]:.1f} to {v[-1][1]:.1f}" for k, v in c["lines"].items())
    return charts.lines(
        {k.replace("p_at_1", "P@1"): v for k, v in c["lines"].items()},
        "share of training", "percent", f"Curves of {c['variant']} during training: {ends}.",
    )  # fmt: skip


def correlation_tables(cells: pd.DataFrame) -> dict:
    """The forest for one outcome, the matrix of all, and every cell."""
    rows = cells.astype(object).where(cells.notna(), float("nan")).to_dict("records")
    for r in rows:
        r["note"] = "" if pd.isna(r["note"]) else r["note"]
    known = [r for r in rows if not pd.isna(r["rho"])]
    outcomes = list(dict.fromkeys(r["outcome"] for r in known))
    first = "average" if "average" in outcomes else (outcomes or [""])[0]
    reach = [r["critical"] for r in known if not pd.isna(r["critical"])]
    forest = [
        r | {"svg": charts.interval(r["rho"], r["low"], r["high"], r.get("critical"))}
        for r in rows if r["outcome"] == first
    ]  # fmt: skip
    at = {(r["predictor"], r["outcome"]): r for r in known}
    names = list(dict.fromkeys(r["predictor"] for r in known))
    shared = [n for n in names if ":" not in n]
    shared += list(dict.fromkeys(n.split(":")[0] for n in names if ":" in n))
    matrix = [
        (name, [at.get((name, o)) or at.get((f"{name}:{o}", o)) for o in outcomes])
        for name in shared
    ]
    return {
        "cells": rows, "forest": forest, "forest_outcome": first,
        "family": sum(not pd.isna(r["p"]) for r in rows),
        "reach": min(reach, default=None), "matrix": {"outcomes": outcomes, "rows": matrix},
    }  # fmt: skip


def published(name: str, path: str, table: pd.DataFrame) -> dict:
    shown = table.head(ROWS)
    rows = [
        [(_shown(v), isinstance(v, (int, float))) for v in row]
        for row in shown.itertuples(index=False, name=None)
    ]
    return {
        "title": PUBLISHED[name], "place": list(PUBLISHED).index(name), "path": path,
        "url": collect.url(path), "columns": list(table.columns), "rows": rows,
        "more": len(table) > ROWS, "total": len(table), "open": len(table) <= 12,
    }  # fmt: skip


def chosen(path: str, table: pd.DataFrame) -> dict | None:
    """What choosing by each metric costs on average, and what words say about it."""
    if not {"target", "predictor", "regret_1", "n"} <= set(table.columns):
        return None
    rows = table[table["target"] == "average"]
    # what only some tasks have is no choice among all: last
    rows = rows.sort_values(["n", "regret_1"], ascending=[False, True])
    facts = rows.astype(object).where(rows.notna(), float("nan")).to_dict("records")
    return {"url": collect.url(path), "rows": facts, "words": words.choice(table)}


def _shown(value):
    if isinstance(value, (float, np.floating)):
        return charts.number(float(value), 3).rstrip("0").rstrip(".") or "0"
    return "–" if value is None else value


def total(steps) -> dict:
    done = [s["cost"] for s in steps if s["cost"]]
    seconds = sum(c.get("cpu_s") or 0 for c in done)
    tokens = sum(c.get("tokens") or 0 for c in done)
    if seconds >= 7200:
        cpu = f"{seconds / 3600:.1f} hours"
    else:
        cpu = f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return {"steps": len(done), "cpu": cpu, "tokens": f"{tokens:,}" if tokens else ""}
