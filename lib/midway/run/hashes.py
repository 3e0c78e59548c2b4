"""The inputs of each step as named hashes; a changed hash is a reason to run the step again.

A step depends on the settings it reads, on its notebook's code cells, on the library files that the
notebook imports (directly or not), on encoder, data (both by content, but files are read only when
they changed) and the records of earlier steps.
"""

import ast
import functools
import json
import sys
from pathlib import Path

import midway
from midway.data import local, sources
from midway.run.record import StepRecord, content, load
from midway.run.steps import STEPS, StepId, targets_of, trained_on, upstream
from midway.study import tasks
from midway.study.errors import InputError
from midway.study.files import INDEX, digest, file_hashes, sha256
from midway.study.params import Study
from midway.study.variants import LONGER, split_variant

LIB = Path(midway.__file__).resolve().parent
PROBES = ("mnli", "qqp", "pawsx", "xnli")  # tasks whose sentences 01 probes every variant with
# Bookkeeping never changes a result, so a change in it must not repeat a training.
_KEPT = "__init__ record recording hashes steps machine status outputs".split()
BOOKKEEPING = {"study/errors.py", "__init__.py", *(f"run/{name}.py" for name in _KEPT)}
# the same holds for drawing in steps that train
DRAWING = {f"report/{n}.py" for n in "__init__ figures drawing lesson".split()} | {"study/names.py"}


def relevant(study: Study, sid: StepId, targets: list[str] | None = None) -> dict:
    """The settings that decide a job's numbers, as plain values; everything else is left out."""
    all_ = study.fold()
    compute = {k: all_["compute"][k] for k in ("device", "precision")}
    run = {"variant": sid.variant, "seed": sid.seed}
    run |= {"encoder": all_["encoder"], "data": all_["data"]}
    if sid.step == STEPS[0]:
        own = all_["intermediate"]
        base, suffixes = split_variant(str(sid.variant))
        own["doses"] = study.doses(str(sid.variant))
        own["probe_languages"] = own["probe_languages"] or study.transfer.languages.get("xnli", [])
        names = {base, *trained_on(sid.variant)}
        own["tasks"] = {t: v for t, v in own["tasks"].items() if t in names}
        unused = ["variants", "dosed"] + ["multi_cap"] * (base != "multi")
        unused += ["mlm_alpha", "mlm_share"] * ("mlm" not in suffixes)
        unused += ["translated_languages"] * ("translated" not in suffixes)
        for key in unused:
            own.pop(key)
        return run | {"intermediate": own, "compute": compute}
    if sid.step == STEPS[1]:
        own, names = all_["transfer"], targets or targets_of(study, sid)
        own.pop("targets_per_job")
        own.pop("dose_targets")
        if sid.variant == LONGER:
            own["longer"] = study.intermediate.steps
        keys = {tasks.TARGETS[t].train_key for t in names}
        used = {*names, *keys}
        own["targets"] = names
        own["languages"] = {t: v for t, v in own["languages"].items() if t in used}
        # a shared model is trained with the settings of the study's first target that shares it
        used |= {t for t in study.transfer.targets if tasks.TARGETS[t].train_key in keys}
        own["tasks"] = {t: v for t, v in own["tasks"].items() if t in used}
        return run | {"transfer": own, "compute": compute}
    return {"correlation": all_["correlation"]}


@functools.cache
def _cells(notebook: Path, _stamp) -> tuple[str, ...]:
    try:
        tree = json.loads(notebook.read_text(encoding="utf-8"))
        cells = [c for c in tree["cells"] if c["cell_type"] == "code"]
        return tuple("".join(c["source"]) for c in cells)
    except FileNotFoundError:
        raise InputError(f"{notebook}: no such notebook") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{notebook}: not a notebook ({error})") from None


def cells(notebook: Path) -> tuple[str, ...]:
    """Source of a notebook's code cells (prose and outputs cannot change a number)."""
    return _cells(notebook, notebook.stat().st_mtime_ns if notebook.exists() else None)


def _imported(source: str, here: Path | None) -> set[Path]:
    """Library files that a source imports anywhere, functions included."""
    lines = [x for x in source.splitlines() if not x.lstrip().startswith(("%", "!"))]
    try:
        tree = ast.parse("\n".join(lines))
    except SyntaxError:
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level and here is not None:
                parent = here.parents[node.level - 1].relative_to(LIB.parent)
                module = ".".join([*parent.parts, *([module] if module else [])])
            names |= {module} | {f"{module}.{a.name}" for a in node.names}
    found = set()
    for name in names:
        if name.startswith("midway."):  # by the face, e.g. midway.figures
            name = midway.FACE.get(name.removeprefix("midway."), name).partition(":")[0]
        parts = name.split(".")
        if parts[0] != "midway":
            continue
        path = LIB.joinpath(*parts[1:])
        found |= {p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()}
    return found


@functools.cache
def _file(path: Path, _stamp) -> tuple[str, frozenset[Path]]:
    data = path.read_bytes()
    return digest(data.decode()), frozenset(_imported(data.decode(), path))


def library(notebook: Path, *sources: str, drawing: bool = True) -> dict[str, str]:
    """Library files below a notebook -> hash; data beside a package's code counts as its code.

    ``sources``: where the step's data come from, if it reads any; other sources' code is left out.
    ``drawing``: False leaves out code that draws, and what only that code imports.
    """
    others = {"mini", "local", "hub"} - set(sources)
    unused = {LIB / "data" / f"{o}.py" for o in others} | {LIB / "data" / o for o in others}
    unused |= set() if drawing else {LIB / name for name in DRAWING}
    todo = set().union(*(_imported(c, None) for c in cells(notebook)))
    seen: dict[Path, str] = {}
    while todo:
        path = todo.pop()
        if path in seen or any(path == u or u in path.parents for u in unused):
            continue
        seen[path], more = _file(path, path.stat().st_mtime_ns)
        todo |= more
    folders = {p.parent for p in seen} - {LIB}
    by_name = {LIB / "kinds"}  # packages whose modules are imported by name: they count as a whole
    if LIB / "data" / "sources.py" in seen and "mini" in sources:
        by_name |= {LIB / "data" / "mini"}
        folders |= by_name
    if LIB / "report" / "page.py" not in seen:
        folders -= {LIB / "report"}  # figures alone use no template
    for folder in folders:
        for item in folder.iterdir():
            inside = item.is_dir() and not (item / "__init__.py").exists()
            own = [item] if item.is_file() else item.rglob("*") if inside else []
            for file in own:
                code = file.suffix == ".py" and folder not in by_name
                if file.is_file() and not code and "__pycache__" not in file.parts:
                    seen[file] = sha256(file)
    names = {p.relative_to(LIB).as_posix(): h for p, h in seen.items()}
    return dict(sorted((n, h) for n, h in names.items() if n not in BOOKKEEPING))


def data_names(study: Study, sid: StepId) -> list[str]:
    """Tasks whose rows a job reads."""
    if sid.step == STEPS[0]:
        own = ["mlm"] if "mlm" in split_variant(str(sid.variant))[1] else []
        return sorted({*trained_on(sid.variant), *PROBES, *own})
    if sid.step == STEPS[1]:
        names = targets_of(study, sid)
        return sorted({*names, *(tasks.TARGETS[t].train_key for t in names)})
    return []


def _packs() -> list[str]:
    """Installed language packs, which mini's retrieval tasks are made of."""
    here = (Path(p).glob("jupyterlab_language_pack_*.dist-info") for p in sys.path if p)
    return sorted({p.name for found in here for p in found})


def encoder_hash(study: Study, index: Path | None = None) -> str:
    """Which weights and tokenizer: pinned revision, or the hashes of a local folder's files."""
    enc = study.encoder
    if enc.kind != "path":
        return digest({"kind": enc.kind, "name": enc.name, "revision": enc.revision})
    if not enc.folder.is_dir():
        raise InputError(f"encoder.path: {enc.folder} is not a folder")
    kinds = (".json", ".safetensors", ".txt", ".model")  # the last two: vocabularies
    files = {p.name: p for p in enc.folder.iterdir() if p.suffix in kinds}
    return digest(file_hashes(files, index))


def data_hashes(study: Study, names: list[str], index: Path | None = None) -> dict[str, str]:
    """Task -> hash of what its rows are made from; 'absent' when there is nothing to read."""
    base, found = study.data.folder, {}
    for name in names:
        card = None if name == "mlm" else tasks.get(name)
        where = sources.source(card, study.data) if card else study.data.source
        if where == "mini":
            packs = _packs() if name in ("tatoeba", "bucc2018") else None
            found[name] = digest(["mini", study.data.seed, packs])
        elif card and where == "hub":
            found[name] = digest({k: v for k, v in (card.hub or {}).items() if k != "note"})
        else:
            own = local.files(name, base) if card else (base / "download/mlm").glob("*.txt")
            kept = file_hashes({p.relative_to(base).as_posix(): p for p in own}, index)
            found[name] = digest(kept) if kept else "absent"
    return found


def hashes(
    study: Study, sid: StepId, out: Path, *, ignore_missing=False, reads: Path | None = None
) -> dict:
    """Named hashes of a job's inputs. ``out`` is its folder, e.g. outputs/mini/04_published.

    Raises InputError when an upstream record is missing, unless ``ignore_missing``. ``reads``: the
    folder of the records that the job reads, if its own folder is not below it.
    """
    study_dir = Path(out).parents[sid.path.count("/")]
    index = study_dir / INDEX
    # the report shows what exists; other steps need all their inputs
    above = made_from(study, sid, reads or study_dir, ignore_missing or sid.step == STEPS[4])
    heavy = sid.step in STEPS[:2]
    own = ["local"] if study.data.root or study.data.source == "hub" else []
    read = [study.data.source, *own] if heavy else []
    return {
        "params": digest(relevant(study, sid)),
        "lib": library(sid.notebook, *read, drawing=not heavy),
        "notebook": digest(cells(sid.notebook)),
        "encoder": encoder_hash(study, index) if heavy else "",
        "data": data_hashes(study, data_names(study, sid), index),
        "upstream": above,
    }


def score_key(study: Study, sid: StepId, own: dict, target: str) -> str:
    """Key of one target's scores; it does not depend on other targets of the same part."""
    used = {target, tasks.TARGETS[target].train_key}
    data = {k: v for k, v in own["data"].items() if k in used}
    return digest(own | {"params": digest(relevant(study, sid, [target])), "data": data})


def _flat(tree, prefix: str = "") -> dict[str, object]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    join = f"{prefix}." if prefix else ""
    return {k: v for key, value in tree.items() for k, v in _flat(value, join + str(key)).items()}


def made_from(study: Study, sid: StepId, study_dir: Path, ignore_missing: bool) -> dict:
    """Path -> content hash of each record that a job reads, or "missing"."""
    above = {}
    for up in upstream(study, sid):
        path = study_dir / up.path / "record.json"
        try:
            above[up.path] = content(load(path))
        except InputError:
            if not ignore_missing:
                raise
            above[up.path] = "missing"
    return above


def reasons(record: StepRecord, study: Study, sid: StepId, current: dict) -> list[str]:
    """What changed since a record was written; empty when nothing did."""
    before, found = record.hashes, []
    if before == current:
        return found
    if before.get("params") != current["params"]:
        old, new = _flat(record.params), _flat(relevant(study, sid))
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                found.append(f"params: {key} {short(old.get(key))} -> {short(new.get(key))}")
    if before.get("notebook") != current["notebook"]:
        found.append(f"notebook: {sid.step}.ipynb")
    for name in ("lib", "data", "upstream"):
        old, new = before.get(name), current[name]
        old = old if isinstance(old, dict) else {}
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                how = "" if key in old and key in new else (" (new)" if key in new else " (gone)")
                found.append(f"{name}: {key}{how}")
    if before.get("encoder") != current["encoder"]:
        found.append("encoder: other weights or tokenizer")
    return found or ["inputs: recorded differently"]


def short(value: object, most: int = 40) -> str:
    """A value as JSON for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 3] + "..."
