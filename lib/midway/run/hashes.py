"""The inputs of each step as named hashes; a changed hash is a reason to run the step again.

A step depends on the settings it reads, on its notebook's code cells, on the packages of the
library that the notebook uses, on encoder, data (both by content, but files are read only when they
changed) and the records of earlier steps.
"""

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

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
BOOKKEEPING = ("__", "run/", "cli/", "study/errors.py")
# The same holds for drawing in steps that train, and for what a notebook does not import.
UNUSED = dict.fromkeys(STEPS, ("encoder/", "intermediate/", "transfer/")) | {
    STEPS[0]: ("study/names.py", "transfer/", "correlation/", "report/"),
    STEPS[1]: ("study/names.py", "correlation/", "report/"),
}


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


def cells(notebook: Path) -> list[str]:
    """Source of a notebook's code cells (prose and outputs cannot change a number)."""
    try:
        tree = json.loads(notebook.read_text(encoding="utf-8"))
        return ["".join(c["source"]) for c in tree["cells"] if c["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{notebook}: not a notebook ({error})") from None


@functools.cache
def _file(path: Path, _stamp) -> str:
    return sha256(path)


def library(step: str, *sources: str) -> dict[str, str]:
    """Library files, data beside the code included, that can change a step's results -> hash.

    ``sources``: where the step's data come from, if it reads any; other sources' code is left out.
    """
    others = [f"data/{name}" for name in ("mini", "local", "hub") if name not in sources]
    unused, found = (*BOOKKEEPING, *UNUSED[step], *others), {}
    for folder, _, files in os.walk(LIB):
        for path in (Path(folder, file) for file in files):
            name = path.relative_to(LIB).as_posix()
            if not name.startswith(unused) and "__pycache__" not in name:
                found[name] = _file(path, path.stat().st_mtime_ns)
    return dict(sorted(found.items()))


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
        "lib": library(sid.step, *read),
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


def flat(tree, name: str = "", lists: bool = False) -> dict[str, Any]:
    """Nested settings or results as one level: a.b or, with ``lists``, a.b[0] -> value."""
    if isinstance(tree, dict) and tree:
        parts = {f"{name}.{k}".lstrip("."): v for k, v in tree.items()}
    elif isinstance(tree, list) and tree and lists:
        parts = {f"{name}[{i}]": v for i, v in enumerate(tree)}
    else:
        return {name: tree}
    return {k: v for part, value in parts.items() for k, v in flat(value, part, lists).items()}


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
    parts = {name: (before.get(name), current[name]) for name in ("lib", "data", "upstream")}
    if before.get("params") != current["params"]:
        parts = {"params": (record.params, relevant(study, sid))} | parts
    for name, (old, new) in parts.items():
        old, new = flat(old), flat(new)
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) == new.get(key):
                continue
            if name == "params":
                how = f" {short(old.get(key))} -> {short(new.get(key))}"
            else:
                how = "" if key in old and key in new else (" (new)" if key in new else " (gone)")
            found.append(f"{name}: {key}{how}")
    if before.get("notebook") != current["notebook"]:
        found.append(f"notebook: {sid.step}.ipynb")
    if before.get("encoder") != current["encoder"]:
        found.append("encoder: other weights or tokenizer")
    return found or ["inputs: recorded differently"] * (before != current)


def short(value: object, most: int = 40) -> str:
    """A value as JSON for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 3] + "..."
