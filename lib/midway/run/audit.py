"""Do records, notebooks, files, params and upstream links agree? Are numbers found again?"""

import json
import math
import os
import shutil
import tempfile
from pathlib import Path

from midway.run import hashes, notebook
from midway.run import plan as planning
from midway.run import record as records
from midway.run.record import ScoreRecord, StepRecord
from midway.run.status import read_state
from midway.run.steps import StepId, steps, upstream
from midway.study import params
from midway.study.errors import InputError
from midway.study.files import digest, plain, sha256

EPHEMERAL = ("injected-parameters",)


def audit(study_dir: Path) -> dict:
    """Check a study's folder: ``{'checked', 'problems': [...], 'notes': [...]}``.

    A problem is something that does not agree; a note is something that a reader should know.
    """
    study_dir = Path(study_dir)
    study = params.load(study_dir / "params.yaml")
    problems, notes, found = [], [], {}
    if study.study != study_dir.name:
        problems.append(f"params.yaml: of study {study.study!r}, in the folder {study_dir.name!r}")
    for sid in steps(study):
        if not (study_dir / sid.path / "record.json").exists():
            notes.append(f"{sid.path}: no record (not run, not finished, or out of date)")
            continue
        record, wrong = _step(study, study_dir, sid)
        problems += [f"{sid.path}: {w}" for w in wrong]
        if record:
            found[sid] = record
    for sid, record in found.items():
        for up in upstream(study, sid):
            used = record.hashes["upstream"].get(up.path)
            now = records.content(found[up]) if up in found else "missing"
            if used != now:
                problems.append(f"{sid.path}: made from another {up.path} than the one here")
    notes += _differences(found)
    return {"checked": [s.path for s in found], "problems": problems, "notes": notes}


def _whole(path: Path, kind: type) -> tuple[StepRecord | ScoreRecord | None, list[str]]:
    try:
        record = records.load(path)
        text = path.read_text(encoding="utf-8")
    except (InputError, OSError, UnicodeDecodeError) as error:
        return None, [str(error)]
    if not isinstance(record, kind):
        return None, [f"{path.name} is another kind of record"]
    wrong = record.schema_version == records.SCHEMA_VERSION and record.text() != text
    return record, [f"{path.name} was changed after it was written (self-hash)"] if wrong else []


def _step(study, study_dir: Path, sid) -> tuple[StepRecord | None, list[str]]:
    folder = study_dir / sid.path
    record, wrong = _whole(folder / "record.json", StepRecord)
    if record is None:
        return None, wrong
    name = StepId(record.step, record.variant, record.seed, record.part)
    if (name, record.study) != (sid, study.study):
        wrong.append(f"record.json is of {record.study}/{name.path}")
    if record.key != digest(record.hashes):
        wrong.append("key is not the hash of hashes")
    if record.hashes.get("params") != digest(record.params):
        wrong.append("params are not those that were hashed")
    if record.params != plain(hashes.relevant(study, sid)):
        wrong.append("params are not those of params.yaml (midway plan says which)")
    for file, value in record.files.items():
        path = folder / file
        if not path.is_file():
            if not file.endswith(".safetensors"):
                wrong.append(f"{file} is gone")
        elif sha256(path) != value:
            wrong.append(f"{file} was changed after the record was written")
    wrong += _scores(folder, record) + _notebook(folder, record, sid)
    return record, wrong


def _scores(folder: Path, record: StepRecord) -> list[str]:
    wrong = []
    for path in sorted((folder / "scores").glob("*.json")):
        name = f"scores/{path.name}"
        if name not in record.files:
            wrong.append(f"{name} is not named by the record")
        if path.name.endswith(".training.json"):
            continue  # facts of a model that targets share; no score
        score, more = _whole(path, ScoreRecord)
        wrong += more
        if score and path.name != f"{score.target}.{score.lang}.json":
            wrong.append(f"{name} is of {score.target} {score.lang}")
        if score and score.predictions:
            file = folder / score.predictions
            if not file.is_file() or sha256(file) != score.predictions_sha256:
                wrong.append(f"{score.predictions} is not what {name} was computed from")
    return wrong


def _notebook(folder: Path, record: StepRecord, sid) -> list[str]:
    wrong = []
    state = read_state(folder)
    if state and not state.get("draft") and state.get("state") != "done":
        wrong.append(f"state.json says {state.get('state')}")
    if "notebook.ipynb" not in record.files:
        return wrong  # made by hand in JupyterLab, without the runner
    try:
        tree = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))
        ended = tree["metadata"]["midway"]["state"]
        given = tree["metadata"]["papermill"]["parameters"]
        code = [
            "".join(c["source"])
            for c in tree["cells"]
            if c["cell_type"] == "code" and not set(EPHEMERAL) & set(c["metadata"].get("tags", []))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [*wrong, f"notebook.ipynb cannot be read ({type(error).__name__}: {error})"]
    if ended != "done":
        wrong.append(f"notebook.ipynb ended as {ended}")
    for key in ("variant", "seed", "part"):
        if given.get(key) != getattr(sid, key):
            wrong.append(f"notebook.ipynb is of {key} {given.get(key)!r}")
    if digest(code) != record.hashes.get("notebook"):
        wrong.append("notebook.ipynb has other code than the record names")
    return wrong


def _differences(found: dict) -> list[str]:
    """What a reader should know before comparing numbers of different steps."""
    notes = []
    for what in ("metric_version", "schema_version", "determinism"):
        values = sorted({getattr(r, what) for r in found.values()}, key=str)
        if len(values) > 1:
            notes.append(f"records differ in {what}: {', '.join(map(str, values))}")
    for what in ("cpu", "gpu", "python", "commit"):
        values = sorted({str(r.environment.get(what)) for r in found.values()} - {"None"})
        if len(values) > 1:
            notes.append(f"records were made with different {what}: {', '.join(values)}")
    dirty = [s.path for s, r in found.items() if r.environment.get("dirty")]
    if dirty:
        notes.append(f"{len(dirty)} records come from a working tree with uncommitted changes")
    return notes


def rerun(study_dir: Path, step: str) -> dict:
    """Execute one step again in a temporary folder and compare its numbers with the record's."""
    study_dir = Path(study_dir)
    study = params.load(study_dir / "params.yaml")
    sids = planning.matching(study, step)
    if len(sids) > 1:
        names = ", ".join(s.path for s in sids[:4])
        raise InputError(f"--rerun {step}: name one step, e.g. {names}")
    (sid,) = sids
    path = study_dir / sid.path / "record.json"
    before, wrong = _whole(path, StepRecord)
    if before is None:
        raise InputError(wrong[0])
    with tempfile.TemporaryDirectory(prefix="midway-audit-") as temp:
        place = Path(temp) / study_dir.name
        place.mkdir()
        shutil.copy(study_dir / "params.yaml", place)
        for up in upstream(study, sid):
            (place / up.path).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(study_dir / up.path, place / up.path)
        outcome = notebook.run_step(sid, place / "params.yaml")
        if outcome.code:
            return {
                "checked": [sid.path],
                "problems": [f"{sid.path}: {outcome.state} this time: {outcome.error}"],
                "notes": [],
            }
        after = records.load(place / sid.path / "record.json")
    problems = [f"{sid.path}: {p}" for p in [*wrong, *compare(before.results, after.results)]]
    products = before.files.keys() | after.files.keys()
    changed = [
        name for name in sorted(products)
        if not name.endswith(".ipynb") and before.files.get(name) != after.files.get(name)
    ]  # fmt: skip
    same = before.key == after.key
    notes = [] if same else [f"{sid.path}: its inputs have changed since (see midway plan)"]
    notes += [f"{sid.path}: {name} differs" for name in changed]
    if not problems:
        notes.append(f"{sid.path}: all numbers are equal in the second execution")
    return {"checked": [sid.path], "problems": problems, "notes": notes}


def compare(before, after, where: str = "results") -> list[str]:
    """Where two trees of results differ, as text; numbers with their difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [
            d for k in keys for d in compare(before.get(k), after.get(k), f"{where}.{k}")
        ]  # fmt: skip
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [d for i, (a, b) in pairs for d in compare(a, b, f"{where}[{i}]")]
    if before == after:
        return []
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (before, after))
    by = f" (by {after - before:+.3g})" if numbers and math.isfinite(after - before) else ""
    return [f"{where} was {_short(before)}, is {_short(after)}{by}"]


def _short(value) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 60 else text[:57] + "..."


def show(found: dict) -> str:
    """The result as text."""
    lines = [f"problem: {p}" for p in found["problems"]] + [f"note: {n}" for n in found["notes"]]
    end = f"{len(found['problems'])} problems" if found["problems"] else "everything agrees"
    end = end if found["problems"] or found["checked"] else "so nothing is shown to agree"
    return "\n".join([*lines, f"{len(found['checked'])} record(s) checked, {end}"])
