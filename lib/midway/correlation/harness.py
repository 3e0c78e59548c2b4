"""Result files of other tools (lm-evaluation-harness, mteb, HELM) as one table.

lm-evaluation-harness  results_*.json: ``results`` -> task -> ``acc,none`` ... (stderr included)
mteb                   <model>/<revision>/<Task>.json: ``scores`` -> split -> subsets; older: splits
HELM                   groups/*.json: tables of ``header`` and ``rows`` (a list of them: by title)
anything else          a list of flat objects, or one object a line

The first three give one number per model, task, (split, subset,) metric and file: which of these
are units is for the reader to say; :func:`spread` makes columns of the others.
"""

import json
import re
from pathlib import Path

from midway.correlation.table_file import Table, decode, no_name_twice, typed
from midway.study.errors import InputError, one_line
from midway.study.files import once


def read(path: Path) -> Table:
    """A table from a JSON file or from all those in a folder. Raises InputError, one line."""
    if (path / "params.yaml").is_file():
        there = path / "03_correlation/tables/correlation.csv"
        raise InputError(f"{path}: a study's outputs, not a table; its correlations: {there}")
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: no such file")
    files, base = ([path], path.parent) if path.is_file() else (sorted(path.rglob("*.json")), path)
    trees = {file: _load(file) for file in files if file.name != "model_meta.json"}
    if facts := [fact for file, tree in trees.items() for fact in _facts(tree, file, base)]:
        names = [*dict.fromkeys(name for fact in facts for name in fact)]
        tidy = [name for name in names if name not in ("file", "value")]
        rows = [[fact.get(name, "") for name in names] for fact in facts]
        return typed(path, names, rows, tidy=tuple(tidy))
    if path.is_dir():
        tools = "lm-evaluation-harness, mteb or HELM"
        raise InputError(f"{path}: no results of {tools} in its JSON files")
    tree = trees[path]
    if isinstance(tree, list) and tree and all(isinstance(row, dict) for row in tree):
        names = [*dict.fromkeys(name for row in tree for name in row)]
        return typed(path, names, [[row.get(name) for name in names] for row in tree])
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


def _facts(tree, file: Path, base: Path) -> list[dict]:
    """Numbers of one results file with what they are of; [] when it is none."""
    name, found = file.relative_to(base).as_posix(), []
    for where, metrics in [*_lm_eval(tree, file), *_mteb(tree, file)]:
        for metric, value in metrics.items():
            one = {**where, "metric": metric, "file": name}
            if isinstance(value, dict):  # older mteb: cos_sim -> spearman
                deeper = {f"{metric}_{k}": v for k, v in value.items() if _number(v)}
                found += [{**one, "metric": k, "value": v} for k, v in deeper.items()]
            elif _number(value) or value is None or value == "N/A":
                found.append({**one, "value": value if _number(value) else None})
    return found + [{**fact, "file": name} for fact in _helm(tree, file)]


def _number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _lm_eval(tree, file: Path):
    results = tree.get("results") if isinstance(tree, dict) else None
    if not isinstance(results, dict) or not all(isinstance(v, dict) for v in results.values()):
        return
    config: dict = tree["config"] if isinstance(tree.get("config"), dict) else {}
    named = re.search(r"(?:pretrained|model|path)=([^,]+)", str(config.get("model_args") or ""))
    model = tree.get("model_name") or (named and named[1]) or config.get("model")
    for task, metrics in results.items():
        yield {"model": str(model or file.parent.name), "task": task}, metrics


def _mteb(tree, file: Path):
    tree = tree if isinstance(tree, dict) else {}
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


def _helm(tree, file: Path):
    """HELM's cells by the name of their row; all tables have the same first column."""
    tables = tree if isinstance(tree, list) else [tree]
    if not all(isinstance(t, dict) and t.get("header") and "rows" in t for t in tables):
        return
    key = None
    for table in tables:
        title = str(table.get("title", ""))
        head, *rows = (
            [c.get("value") if isinstance(c, dict) else c for c in cells]
            for cells in (table["header"], *table["rows"])
        )
        key = key or head[0]
        if head[0] != key:
            raise InputError(f"{file}: has tables of {key!r} and of {head[0]!r}; give one of them")
        no_name_twice(file, head)
        seen = set()
        for number, row in enumerate(rows, 1):
            if len(row) != len(head) or row[0] in seen:
                shown = repr(row[0]) if row else "it"
                what = "occurs twice" if len(row) == len(head) else "has another number of cells"
                raise InputError(f"{file}: {title!r}, row {number}: {shown} {what}")
            seen.add(row[0])
            for metric, value in zip(head[1:], row[1:], strict=True):
                yield {str(key): row[0], "table": title, "metric": str(metric), "value": value}


def spread(table: Table, keys: list[str]) -> Table:
    """One row per value of ``keys``, one column per combination of the other names.

    Names that are the same throughout are left out of the columns' names. A number that stands
    twice must be the same number; :class:`InputError` names the files where it is not.
    """
    text = {name: table.text(name) for name in (*table.tidy, "file")}
    others = [n for n in table.tidy if n not in keys and (n == "metric" or len(set(text[n])) > 1)]
    rows: dict[tuple, dict] = {}
    source: dict[tuple, int] = {}
    for i, value in enumerate(table.cells["value"]):
        unit = tuple(text[k][i] for k in keys)
        name = "/".join(text[n][i] for n in others if text[n][i]) or "value"
        row, again = rows.setdefault(unit, {}), source.setdefault((unit, name), i)
        if row.setdefault(name, value) != value:
            files = f"{row[name]} in {text['file'][again]}, {value} in {text['file'][i]}"
            raise InputError(
                f"{table.path}: {name!r} of {'/'.join(unit)!r} is {files}; "
                "if the files are different runs, add --run file"
            )
    columns = [*dict.fromkeys(name for _, name in source)]
    cells = [[*unit, *map(row.get, columns)] for unit, row in rows.items()]
    notes = [*table.notes, f"one column per {'/'.join(others)}"]
    return typed(table.path, [*keys, *columns], cells, notes=notes)
