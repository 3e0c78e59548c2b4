"""Result files of other tools (lm-evaluation-harness, mteb, HELM) as one table.

lm-evaluation-harness  results_*.json: ``results`` -> task -> ``acc,none`` ... (stderr included)
mteb                   <model>/<revision>/<Task>.json: ``scores`` -> split -> subsets; older: splits
HELM                   groups/*.json: tables of ``header`` and ``rows`` (a list of them: by title)
anything else          a list of flat objects, or one object a line

The first two give one number per model, task, (split, subset,) metric and file: which of these are
units is for the reader to say; :func:`spread` makes columns of the others.
"""

import json
import re
from pathlib import Path

import pandas as pd

from midway.correlation.table_file import Table, decode, no_name_twice, typed
from midway.study.errors import InputError, one_line
from midway.study.files import once

KEYS = ("model", "task", "split", "subset", "metric")


def read(path: Path) -> Table:
    """A table from a JSON file or from all those in a folder. Raises InputError, one line."""
    if path.is_dir():
        if (path / "params.yaml").is_file():
            there = path / "03_correlation/tables/correlation.csv"
            raise InputError(f"{path}: a study's outputs, not a table; its correlations: {there}")
        files = sorted(p for p in path.rglob("*.json") if p.name != "model_meta.json")
        facts = [fact for file in files for fact in _facts(_load(file), file, path)]
        if not facts:
            raise InputError(
                f"{path}: no results of lm-evaluation-harness or mteb in its JSON files"
            )
        return _tidy(path, facts)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    tree = _load(path)
    if facts := _facts(tree, path, path.parent):
        return _tidy(path, facts)
    if tables := _helm(tree):
        return _joined(path, tables)
    if isinstance(tree, list) and tree and all(isinstance(row, dict) for row in tree):
        names = list(dict.fromkeys(name for row in tree for name in row))
        return typed(path, names, [[row.get(name) for row in tree] for name in names])
    raise InputError(
        f"{path}: not results of lm-evaluation-harness, mteb or HELM, nor a list of objects"
    )


def _load(path: Path):
    text, where = decode(path), ""
    try:
        if path.suffix.lower() != ".jsonl" and not re.match(r"\s*\{.*\}[ \r]*\n\s*\{", text):
            return json.loads(text, object_pairs_hook=once)
        rows = []
        for number, line in enumerate(text.split("\n"), 1):
            where = f"line {number}: "
            rows += [json.loads(line, object_pairs_hook=once)] if line.strip() else []
        return rows
    except InputError as error:
        raise InputError(f"{path}: {where}{error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {where}broken JSON ({one_line(error)[:100]})") from None


def _tidy(path: Path, facts: list[dict]) -> Table:
    keys = [k for k in KEYS if any(k in fact for fact in facts)]
    names = [*keys, "file", "value"]
    columns = [[fact.get(name, "") for fact in facts] for name in names]
    return typed(path, names, columns, tidy=tuple(keys))


def _facts(tree, file: Path, base: Path) -> list[dict]:
    """Numbers of one results file with what they are of; [] when it is none."""
    if not isinstance(tree, dict):
        return []
    found = []
    for where, metrics in [*_lm_eval(tree, file), *_mteb(tree, file)]:
        where["file"] = file.relative_to(base).as_posix()
        for metric, value in metrics.items():
            if _number(value):
                found.append({**where, "metric": metric, "value": value})
            elif value is None or value == "N/A":
                found.append({**where, "metric": metric, "value": None})
            elif isinstance(value, dict):  # older mteb: cos_sim -> spearman
                deeper = {f"{metric}_{k}": v for k, v in value.items() if _number(v)}
                found += [{**where, "metric": k, "value": v} for k, v in deeper.items()]
    return found


def _number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _lm_eval(tree: dict, file: Path):
    results = tree.get("results")
    if not isinstance(results, dict) or not all(isinstance(v, dict) for v in results.values()):
        return
    config: dict = tree["config"] if isinstance(tree.get("config"), dict) else {}
    named = re.search(r"(?:pretrained|model|path)=([^,]+)", str(config.get("model_args") or ""))
    model = tree.get("model_name") or (named and named[1]) or config.get("model")
    for task, metrics in results.items():
        yield {"model": str(model or file.parent.name), "task": task}, metrics


def _mteb(tree: dict, file: Path):
    task = tree.get("task_name") or tree.get("mteb_dataset_name")
    if not isinstance(task, str):
        return
    meta = file.with_name("model_meta.json")
    known = _load(meta) if meta.is_file() else {}
    known = known if isinstance(known, dict) else {}
    parent = file.parent  # <model>/<revision>/ in newer versions
    revision = re.fullmatch(r"[0-9a-f]{40}|no_revision_available|external|\d+", parent.name)
    model = known.get("name") or (parent.parent.name if revision else parent.name)
    where = {"model": str(model).replace("__", "/"), "task": task}
    if isinstance(tree.get("scores"), dict):
        for split, subsets in tree["scores"].items():
            for metrics in subsets if isinstance(subsets, list) else ():
                if not isinstance(metrics, dict):
                    raise InputError(f"{file}: scores.{split} is no list of objects")
                subset = str(metrics.get("hf_subset", "default"))
                yield where | {"split": split, "subset": subset}, metrics
        return
    for split, scores in tree.items():
        if isinstance(scores, dict):
            inner = {k: v for k, v in scores.items() if isinstance(v, dict)}
            if set(inner) <= {"cos_sim", "dot", "euclidean", "manhattan", "max", "similarity"}:
                inner = {"default": scores}
            for subset, metrics in inner.items():
                yield where | {"split": split, "subset": subset}, metrics


def _helm(tree) -> list[tuple[str, list[str], list[list]]]:
    """(title, header, rows) of HELM's tables."""
    found = []
    for table in tree if isinstance(tree, list) else [tree]:
        if not (isinstance(table, dict) and {"header", "rows"} <= set(table)):
            return []
        head, *rows = (
            [c.get("value") if isinstance(c, dict) else c for c in cells]
            for cells in (table["header"], *table["rows"])
        )
        if not head:
            return []
        found.append((str(table.get("title", "")), [str(name) for name in head], rows))
    return found


def _joined(path: Path, tables) -> Table:
    """HELM's tables side by side, by the value of their first column."""
    key, frames = tables[0][1][0], []
    for title, head, rows in tables:
        head = [head[0], *(f"{title}/{n}" if len(tables) > 1 else n for n in head[1:])]
        if head[0] != key:
            raise InputError(f"{path}: has tables of {key!r} and of {head[0]!r}; give one of them")
        seen = set()
        for number, row in enumerate(rows, 1):
            shown = repr(row[0]) if row else "it"
            if len(row) != len(head) or row[0] in seen:
                what = "occurs twice" if len(row) == len(head) else "has another number of cells"
                raise InputError(f"{path}: {title!r}, row {number}: {shown} {what}")
            seen.add(row[0])
        frames.append(pd.DataFrame(rows, columns=head, dtype=object))
    no_name_twice(path, [key, *(name for frame in frames for name in frame.columns[1:])])
    frame = pd.concat([frame.set_index(key) for frame in frames], axis=1).reset_index(names=key)
    return typed(path, list(frame), [frame[name].to_list() for name in frame])


def spread(table: Table, keys: list[str]) -> Table:
    """One row per value of ``keys``, one column per combination of the other names.

    Names that are the same throughout are left out of the columns' names. A number that stands
    twice must be the same number; :class:`InputError` names the files where it is not.
    """
    text = {name: table.text(name) for name in (*table.tidy, "file")}
    others = [n for n in table.tidy if n not in keys and (n == "metric" or len(set(text[n])) > 1)]
    rows: dict[tuple, dict] = {}
    source: dict[tuple, int] = {}
    for i, value in enumerate(table.columns["value"]):
        unit = tuple(text[k][i] for k in keys)
        name = "/".join(text[n][i] for n in others if text[n][i]) or "value"
        row, again = rows.setdefault(unit, {}), source.setdefault((unit, name), i)
        if row.setdefault(name, value) != value:
            files = f"{row[name]} in {text['file'][again]}, {value} in {text['file'][i]}"
            raise InputError(
                f"{table.path}: {name!r} of {'/'.join(unit)!r} is {files}; "
                "if the files are different runs, add --run file"
            )
    columns = list(dict.fromkeys(name for _, name in source))
    cells = [[row.get(name) for row in rows.values()] for name in columns]
    units = [[unit[k] for unit in rows] for k in range(len(keys))]
    wide = typed(table.path, [*keys, *columns], [*units, *cells])
    wide.notes = [*table.notes, f"one column per {'/'.join(others)}"]
    return wide
