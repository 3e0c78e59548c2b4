"""What the report shows, collected from a study's files, whatever state they are in."""

import os
import re
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from midway.correlation import arrays, correlate, specification, tables
from midway.run import plan as planning
from midway.run import steps as steps_
from midway.run.record import BY_HAND, RUNNER
from midway.run.status import read_state
from midway.run.steps import STEPS
from midway.study import names, tasks
from midway.study.errors import InputError
from midway.study.files import digest, read_json

CELL = set("predictor outcome n rho p p_maxt p_mc_low p_mc_high low high critical".split())


def page(path: str) -> str:
    """Where the page of a step stands, below the study's folder."""
    return f"pages/{path}.html"


def url(*parts: str | Path) -> str:
    """Parts of a relative path as a link."""
    return quote("".join(map(str, parts)))


def steps(study, folder: Path, base: str = "") -> list[dict]:
    """Every step but the report: state, how it ended, cost, and links to notebook and record.

    base: the way from the page to the study's folder, "" or a relative path that ends in a slash.
    """
    found = []
    fresh = planning.current(study, folder)
    by_hand = BY_HAND in os.environ or RUNNER not in os.environ
    true = planning.current(study, folder, by_hand=True) if by_hand else fresh
    for sid in steps_.steps(study):
        if sid.step == STEPS[4]:
            continue
        out = folder / sid.path
        record, end = read_json(out / "record.json"), read_state(out)
        state = end.get("state")
        if record.get("state") == "done":
            state = "done" if sid.path in true else "stale"
        elif state not in ("running", "failed", "died", "interrupted"):
            state = "waiting"
        notebook = out / "notebook.ipynb"
        found.append({
            **vars(sid), "path": sid.path, "state": state, "results": record.get("results", {}),
            "old": state == "done" and sid.path not in fresh,
            "error": end.get("error", "") if state not in ("done", "waiting", "stale") else "",
            "code_cell": end.get("cell"), "cost": record.get("cost", {}),
            "environment": record.get("environment", {}), "hashes": record.get("hashes", {}),
            "metric_version": record.get("metric_version"),
            "determinism": record.get("determinism"),
            "traceback": traceback(notebook) if state in ("failed", "died") else "",
            "page": url(page(sid.path)) if notebook.exists() else None,
            "notebook": url(base, sid.path, "/notebook.ipynb"),
            "record": url(base, sid.path, "/record.json") if record else None,
        })  # fmt: skip
    return found


def traceback(notebook: Path) -> str:
    """The first error among a notebook's outputs, without colours."""
    outputs = (o for cell in read_json(notebook).get("cells", []) for o in cell.get("outputs", []))
    first = next((o for o in outputs if o.get("output_type") == "error"), {})
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", "\n".join(first.get("traceback", [])))


def gains(study, steps: list[dict], outcomes: pd.DataFrame, scores: pd.DataFrame) -> dict:
    """The heatmap: groups of targets, rows of variants, and cells with links for every seed."""
    targets = list(study.transfer.targets)
    part = {t: p for p, names_ in study.parts().items() for t in names_}
    at = {(s["variant"], s["seed"], s["part"]): s for s in steps if s["step"] == "02_transfer"}
    by = {key: part for key, part in outcomes.groupby(["variant", "target"])}
    items = scores.groupby("target")["n"].max().to_dict() if len(scores) else {}
    rows: list[dict] = []
    for variant in sorted(study.intermediate.variants, key=tables.variant_place):
        cells: list[dict] = []
        for target in [*targets, "average"]:
            parts = {part[target]} if target in part else set(part.values())
            runs = [at[variant, s, p] for s in study.seeds for p in sorted(parts)]
            own, base = (by.get((v, target), outcomes[:0]) for v in (variant, "none"))
            base = base[base["seed"].isin(own["seed"])]["score"]
            kind = "score" if variant == "none" else "gain"
            values = own[kind].dropna()
            states = Counter(r["state"] for r in runs if r["state"] != "done")
            cells.append({
                "target": target, "runs": runs if target != "average" else [], "n": len(values),
                "value": mean(values), "kind": kind, "score": mean(own["score"]),
                "english": mean(own["english"]),
                "state": max(states, key=states.__getitem__) if states else "done",
                "half": half_width(values, own["score"], base, items.get(target)),
            })  # fmt: skip
        rows.append({"variant": variant, "cells": cells})
    known = [c["value"] for r in rows for c in r["cells"] if c["value"] and c["kind"] == "gain"]
    largest = max(map(abs, known), default=1)
    for cell in (c for r in rows for c in r["cells"]):
        cell["shade"] = abs(cell["value"]) / largest if cell["value"] in known else 0
    groups = Counter(names.GROUPS[tasks.get(t).group] for t in targets)
    return {"groups": list(groups.items()), "targets": targets, "rows": rows}


def half_width(gains, scores, base, n: float | None) -> float | None:
    """Half of a gain's approximate 95 % interval in points, from its test rows and its seeds.

    A score p of n rows has variance p (100 - p) / n: all languages ask the same rows. The errors of
    the two models are taken as independent, which is careful. Seeds: their variance / k.
    """
    if not len(gains) or not len(base) or not n or np.isnan(n):
        return None
    both = np.clip(np.array([mean(scores), mean(base)], float), 1, 99)
    rows = (both * (100 - both) / n).sum()
    seeds = np.var(gains, ddof=1) / len(gains) if len(gains) > 1 else 0
    return float(1.96 * np.sqrt(rows + seeds))


def mean(values) -> float | None:
    values = [v for v in values if v is not None and not np.isnan(v)]
    return float(np.mean(values)) if values else None


def correlations(study, made: dict, predictors, outcomes) -> tuple[pd.DataFrame, str]:
    """Correlations of 03 and their file; computed from finished steps if 03 is unfinished."""
    asked = study.correlation
    path, table = made.get("correlation", ("", pd.DataFrame()))
    if set(table.columns) >= CELL:
        table["note"] = table["note"].fillna("")
    else:
        few: dict = {"permutations": 999, "resamples": 999, "alpha": asked.alpha}
        path, chosen = "", {"names": asked.predictors, "value": asked.outcome}
        try:
            X, Y, skip = arrays.wide(predictors, outcomes, **chosen)
            return correlate.correlate(X, Y, skip=skip, **few), path
        except (InputError, ValueError, KeyError, TypeError):
            table = pd.DataFrame(columns=[*correlate.COLUMNS])
    table.attrs |= {"alpha": asked.alpha, "method": "spearman"}
    return table, path


def languages(study, scores, steps) -> list[dict]:
    """Per target: variants x languages (main score, mean over seeds), controls, what is missing."""
    found = []
    for target in study.transfer.targets:
        card, table = tasks.get(target), tables.language_table(scores, target)
        every = [(s, s["results"].get("targets", {}).get(target)) for s in steps]
        every = [(s, result) for s, result in every if result is not None]
        if table.empty and not every:
            continue
        beside = [
            (control, lang, values.get(card.metric))
            for _, result in every for lang, controls in (result.get("controls") or {}).items()
            for control, values in controls.items()
        ]  # fmt: skip
        beside = pd.DataFrame(beside, columns=["control", "lang", "value"]).astype({"value": float})
        beside = beside.pivot_table("value", "control", "lang", sort=False)
        rows, controls = (
            [{"name": name, "values": [*row], "zero_shot": mean(row.drop("en", errors="ignore")),
              "runs": [s for s, _ in every if s["variant"] == name]} for name, row in t.iterrows()]
            for t in (table, beside.reindex(columns=table.columns))
        )  # fmt: skip
        own = scores[(scores["target"] == target) & (scores["metric"] == card.metric)]
        found.append({
            "target": target, "title": card.title, "metric": card.metric, "rows": rows,
            "languages": [*table], "controls": controls,
            "missing": {k: v for _, r in every for k, v in (r.get("missing") or {}).items()},
            "note": next((r["note"] for _, r in every if r.get("note")), ""),
            "n": [*own.groupby("lang")["n"].max().reindex(table.columns)],
        })  # fmt: skip
    return found


def layers(study, folder: Path, stale=()) -> list[dict]:
    """Per retrieval target: variants x layers, mean over languages and seeds."""
    found, known = [], specification.layers(folder, stale)
    known = known[known["variant"].isin(study.intermediate.variants)]
    for target in [t for t in study.transfer.targets if (known["target"] == t).any()]:
        part = known[known["target"] == target]
        table = part.pivot_table(index="variant", columns="layer", values="score")
        table = table.loc[sorted(table.index, key=tables.variant_place)]
        found.append({
            "target": target, "title": tasks.get(target).title, "layers": list(table),
            "rows": [(v, list(map(mean, row[:, None]))) for v, row in
                     zip(table.index, table.to_numpy(), strict=True)],
            "chosen": set(part["used"]), "low": table.min(axis=None), "high": table.max(axis=None),
        })  # fmt: skip
    return found


def written(steps: list[dict], folder: Path, step: str) -> list[tuple[str, str, pd.DataFrame]]:
    """The tables that a finished step wrote, of what is there now: name, path, table."""
    found = []
    if any(s["path"] == step and s["state"] == "done" for s in steps):
        for path in sorted((folder / step / "tables").glob("*.csv")):
            try:
                found.append((path.stem, path.relative_to(folder).as_posix(), pd.read_csv(path)))
            except (OSError, ValueError):
                continue
    return found


def origins(steps) -> list[tuple[str, list[tuple[str, int]]]]:
    """Provenance: what the finished steps were made with, and how many of them with each value."""
    facts: dict[str, Counter] = {}
    for s in (s for s in steps if s["record"]):
        env, hashes = s["environment"], s["hashes"]
        own = {"definition of scores": f"version {s['metric_version']}"}
        own["determinism"] = s["determinism"]
        own |= {k: v for k, v in env.items() if not isinstance(v, dict)}
        own |= {f"package {k}": v for k, v in (env.get("packages") or {}).items()}
        own["encoder (sha256)"] = hashes.get("encoder")
        own |= {f"data {k} (sha256)": v for k, v in (hashes.get("data") or {}).items()}
        library = hashes.get("lib") and digest(hashes["lib"])
        own[f"library below {s['step']} (sha256)"] = library
        for name, value in own.items():
            if value not in (None, ""):
                text = str(value)[:16] if "sha256" in name else str(value)
                facts.setdefault(name, Counter())[text] += 1
    return [(name, values.most_common()) for name, values in facts.items()]
