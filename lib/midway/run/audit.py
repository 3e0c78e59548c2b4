"""Check that records, notebooks, products, params and upstream links agree, and rerun steps.

Audit makes the checks of plan and reads every file again. It also finds files that no record names,
and results that contradict the files behind them. What an audit proves: docs/records.md.
"""

import json
import math
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from midway.evaluation.summary import summary
from midway.run import hashes, record, seal
from midway.run import plan as planning
from midway.run.record import StepRecord
from midway.run.status import read_state
from midway.run.step import run_step
from midway.run.steps import STEPS, StepId, steps, targets_of, upstream
from midway.study import params, tasks
from midway.study.errors import InputError
from midway.study.files import digest, file_hash, plain

PRODUCTS = ("predictions/", "scores/")  # compared by a rerun, like weights
PAGES = ("pages", "figures", "index.html")  # of the report
UNNAMED = {"record.json", "state.json"}  # files of a step that its record does not name
WORK = {".lock", "states", "cache", ".jobs", ".ipynb_checkpoints", "__pycache__"}
ROOT = {"params.yaml", hashes.INDEX, "seal.txt", "seal.txt.sig", "ro-crate-metadata.json"}


def audit(study_dir: Path) -> dict:
    """Check a study's folder: ``{'checked', 'problems': [...], 'notes': [...]}``.

    A problem is something that does not agree; a note is something that a reader should know.
    """
    study_dir = Path(study_dir)
    study = params.load(study_dir / "params.yaml")
    problems, notes, found = [], [], {}
    for sid in steps(study):
        folder = study_dir / sid.path
        if not (folder / "record.json").exists():
            why = read_state(folder).get("error") or "not run, or not finished"
            notes.append(f"{sid.path}: no record ({why})")
            continue
        try:
            item = planning.judge(study, study_dir, sid, None)
        except InputError as error:
            notes.append(f"{sid.path}: cannot be compared with its inputs: {error}")
            item = planning.Item(sid, "changed", [], planning.whole(folder)[0])
        absent: set[str] = set()  # whose only cause is that local data are not on this machine
        if any(w.startswith("data: ") for w in item.why):
            names, index = hashes.data_names(study, sid), study_dir / hashes.INDEX
            now = hashes.data_hashes(study, names, index)
            absent = {f"data: {name}" for name in now if now[name] == "absent"} & {*item.why}
        notes += [f"{sid.path}: {w}: not here, so it cannot be compared" for w in absent]
        wrong = [w for w in item.why if w not in absent]
        if item.record:
            found[sid] = item.record
            wrong += _record(folder, item.record)
            own = targets_of(study, sid) if sid.step == STEPS[1] else []
            wrong += _scores(folder, item.record, own)
            wrong += _notebook(folder, item.record, sid)
            if item.lost:
                notes.append(f"{sid.path}: its weights have been removed")
        problems += [f"{sid.path}: {w}" for w in dict.fromkeys(wrong)]
    wrong, left = _unnamed(study, study_dir, found)
    notes += left + _differences(study, study_dir, found) + planning.without(study, study_dir)
    unsealed, said = seal.check(study_dir)
    checked, problems = [s.path for s in found], problems + wrong + unsealed
    return {"checked": checked, "problems": problems, "notes": notes + said}


def _record(folder: Path, found: StepRecord) -> list[str]:
    wrong = []
    if found.key != digest(found.hashes):
        wrong.append("key does not agree with hashes")
    if found.hashes.get("params") != digest(found.params):
        wrong.append("params do not agree with their hash")
    state = read_state(folder)
    if state and not state.get("draft") and state.get("state") != "done":
        wrong.append(f"state.json says {state.get('state')}")
    return wrong


def _scores(folder: Path, found: StepRecord, own) -> list[str]:
    """Problems of score files: damaged, not of their predictions, different from the results."""
    wrong, scored = [], {target: {} for target in own}
    for path in sorted((folder / "scores").glob("*.json")):
        name = f"scores/{path.name}"
        if path.name.endswith(".training.json"):
            continue  # facts of a model that targets share; no score
        try:
            score = record.load_score(path)
            if score.text().encode() != path.read_bytes():
                raise InputError(f"{name} was changed after it was written (self-hash)")
        except (InputError, OSError, UnicodeDecodeError) as error:
            wrong.append(str(error))
            continue
        if path.name != f"{score.target}.{score.lang}.json":
            wrong.append(f"{name} is of {score.target} {score.lang}")
        if score.predictions:
            file = folder / score.predictions
            if not file.is_file() or file_hash(file) != score.predictions_sha256:
                wrong.append(f"{score.predictions} is not what {name} was computed from")
        if score.metrics:
            scored.setdefault(score.target, {})[score.lang] = score
    results = found.results.get("targets") or {}
    if not isinstance(results, dict) or not all(isinstance(r, dict) for r in results.values()):
        return [*wrong, "results.targets are not results of a transfer"]
    wrong += [f"results.targets: {t} is missing or foreign" for t in sorted({*results} ^ {*own})]
    for target in sorted({*results} & {*own}):
        try:
            made = plain(summary(tasks.get(target), scored[target]))
        except (KeyError, TypeError):
            wrong.append(f"scores/ of {target} lack {tasks.get(target).metric}")
            continue
        both = results[target], made
        old, new = (hashes.flat({k: t[k] for k in made if k in results[target]}) for t in both)
        for key in sorted(old.keys() | new.keys()):
            a, b = old.get(key), new.get(key)
            numbers = isinstance(a, int | float) and isinstance(b, int | float)
            if not (math.isclose(a, b) if numbers else a == b):
                name, now = f"results.targets.{target}.{key}", hashes.short(b)
                wrong.append(f"{name} is {hashes.short(a)}, but scores/ give {now}")
    return wrong


def _notebook(folder: Path, found: StepRecord, sid: StepId) -> list[str]:
    """Problems of the executed notebook: its end, its parameters, its code."""
    if "notebook.ipynb" not in found.files:
        return []  # made by hand in JupyterLab, without the runner
    try:
        tree = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))
        ended = tree["metadata"]["midway"]["state"]
        cells = [c for c in tree["cells"] if c["cell_type"] == "code"]
        tagged = [(c["metadata"].get("tags") or [], "".join(c["source"])) for c in cells]
        code = [text for tags, text in tagged if "injected-parameters" not in tags]
        given = tree["metadata"]["papermill"]["parameters"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [f"notebook.ipynb cannot be read ({type(error).__name__}: {error})"]
    wrong = [] if ended == "done" else [f"notebook.ipynb ended as {ended}"]
    for key in ("variant", "seed", "part"):
        if given.get(key) != getattr(sid, key):
            wrong.append(f"notebook.ipynb was run for {key} {given.get(key)!r}")
    if digest(code) != found.hashes.get("notebook"):
        wrong.append("the code of notebook.ipynb is not the code that was hashed")
    return wrong


def _unnamed(study, study_dir: Path, found: dict) -> tuple[list[str], list[str]]:
    """Files that no record names, and other studies' steps.

    A file of a recorded step, one among the steps, and one that looks like a page or figure of the
    report are problems; any other is a note.
    """
    named = {os.path.normpath(study_dir / s.path / f) for s, r in found.items() for f in r.files}
    own, recorded = {s.path for s in steps(study)}, {s.path for s in found}
    records = study_dir.glob("0*/**/record.json")
    there = {path.parent.relative_to(study_dir).as_posix() for path in records}
    wrong, notes = [], []
    for folder, _, files in sorted(os.walk(study_dir, followlinks=True)):
        for path in (Path(folder, file).relative_to(study_dir) for file in sorted(files)):
            name = path.as_posix()
            known = name in ROOT or os.path.normpath(study_dir / path) in named
            if known or not WORK.isdisjoint(path.parts):
                continue
            home = next((p for p in map(Path.as_posix, path.parents) if p in own | there), "")
            inside = path.relative_to(home).as_posix()
            if home in recorded and inside not in UNNAMED:
                wrong.append(f"{home}: {inside} is not named by the record")
            elif not home and path.parts[0] in STEPS:
                wrong.append(f"{name} is not named by a record")
            elif not home and path.parts[0] in PAGES and STEPS[4] in there:
                wrong.append(f"{name} is not named by the record of {STEPS[4]}")
            elif not home:
                notes.append(f"{name} is not named by a record")
    what = "not a step of this study (params.yaml); it is not used"
    return wrong, notes + [f"{path}: {what}" for path in sorted(there - own)]


def _differences(study, study_dir: Path, found: dict) -> list[str]:
    """Differences between steps (packages, hardware) that limit a comparison of their numbers."""
    notes = []
    names = Counter(r.study for r in found.values()) | Counter([study.study, study_dir.name])
    if len(names) > 1:
        notes.append(f"the study has been renamed: {', '.join(sorted(names))}")
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
    before, broken = planning.whole(study_dir / sid.path)
    if before is None:
        raise InputError(f"{study_dir / sid.path}: {broken or 'no record (has the step run?)'}")
    with tempfile.TemporaryDirectory(prefix="midway-audit-") as temp:
        place = Path(temp) / study_dir.name
        place.mkdir()
        shutil.copy(study_dir / "params.yaml", place)
        for up in upstream(study, sid):
            (place / up.path).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(study_dir / up.path, place / up.path)
        end = run_step(sid, place / "params.yaml")
        if end.code:
            why = f"{sid.path}: {end.state} this time: {end.error}"
            return {"checked": [sid.path], "problems": [why], "notes": []}
        after = record.load(place / sid.path / "record.json")
    names = sorted(before.files.keys() | after.files.keys())
    changed = [n for n in names if before.files.get(n) != after.files.get(n)]
    numbers = [n for n in changed if n.startswith(PRODUCTS) or n.endswith(".safetensors")]
    problems = compare(before.results, after.results) + [f"{n} differs" for n in numbers]
    notes = ["its inputs have changed since (see midway plan)"] * (before.key != after.key)
    others = [n for n in changed if n not in numbers and not n.endswith((".ipynb", ".html"))]
    notes += [f"{n} differs" for n in others]
    if not problems:
        notes.append("all numbers, predictions and weights are equal in the second execution")
    found = {"problems": problems, "notes": notes}
    found = {k: [f"{sid.path}: {text}" for text in texts] for k, texts in found.items()}
    return {"checked": [sid.path]} | found


def compare(before, after) -> list[str]:
    """Differences between two trees of results, as lines of text."""
    old, new = (hashes.flat(tree, "results", lists=True) for tree in (before, after))
    lines = []
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name), new.get(name)
        if a != b:
            numbers = isinstance(a, int | float) and isinstance(b, int | float)
            by = f" (by {b - a:+.3g})" if numbers else ""
            lines.append(f"{name} was {hashes.short(a, 60)}, is {hashes.short(b, 60)}{by}")
    return lines


def show(found: dict) -> str:
    """The result as text."""
    lines = [f"problem: {p}" for p in found["problems"]] + [f"note: {n}" for n in found["notes"]]
    end = f"{len(found['problems'])} problems" if found["problems"] else "everything agrees"
    end = end if found["problems"] or found["checked"] else "nothing to compare"
    return "\n".join([*lines, f"{len(found['checked'])} record(s) checked, {end}"])
