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
UNNAMED = {"record.json", "state.json"}  # files of a step that its record does not name
WORK = {".lock", "states", "cache", ".jobs", ".ipynb_checkpoints", "__pycache__"}
ROOT = {"params.yaml", hashes.INDEX, "seal.txt", "seal.txt.sig", "ro-crate-metadata.json"}


def audit(study_dir: Path) -> dict:
    """Check a study's folder: ``{'checked', 'problems': [...], 'notes': [...]}``.

    A problem is something that does not agree; a note is something that a reader should know.
    """
    study_dir = Path(study_dir)
    study = params.load(study_dir / "params.yaml")
    problems, notes, found, named = [], [], {}, set()
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
            named |= {os.path.normpath(folder / f) for f in item.record.files}
            wrong += _record(folder, item.record)
            own = targets_of(study, sid) if sid.step == STEPS[1] else []
            wrong += _scores(folder, item.record, own)
            wrong += _notebook(folder, item.record, sid) + _unnamed(folder, item.record)
            if item.lost:
                notes.append(f"{sid.path}: its weights have been removed")
        problems += [f"{sid.path}: {w}" for w in dict.fromkeys(wrong)]
    wrong, left = _others(study, study_dir, named)
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
    wrong, targets = [], found.results.get("targets") or {}
    try:
        given = {(t, k): m for t, r in targets.items() for k, m in _languages(r).items()}
        means = [f"results.targets.{t}.{w}" for t, r in targets.items() for w in _means(t, r)]
    except (AttributeError, TypeError, InputError) as error:
        return [f"results.targets are not results of a transfer ({error})"]
    all_of = {t for t, r in targets.items() if _languages(r)}
    wrong += [f"results.targets: {t} is missing or foreign" for t in sorted({*targets} ^ {*own})]
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
        used = given.pop((score.target, score.lang), None)
        if used is not None and plain(used) != plain(score.metrics):
            wrong.append(f"results of {score.target} {score.lang} are not those of {name}")
        if used is None and score.metrics and score.target in all_of:
            wrong.append(f"{name} is missing in the results")
    return wrong + [f"results of {t} {lang} have no file in scores/" for t, lang in given] + means


def _languages(result: dict) -> dict:
    return result.get("languages") or {}


def _means(target: str, result: dict) -> list[str]:
    """Recorded means that differ from the mean of the languages' scores."""
    metric = tasks.get(target).metric
    main = {k: m[metric] for k, m in _languages(result).items() if m.get(metric) is not None}
    others = [v for k, v in main.items() if k != "en"]
    means = {"english": [v for k, v in main.items() if k == "en"], "zero_shot": others}
    means["xtreme_mean"] = list(main.values())
    return [
        f"{name} is not the mean of its languages"
        for name, values in means.items()
        if values and name in result and not _near(result[name], sum(values) / len(values))
    ]


def _near(a, b) -> bool:
    return isinstance(a, (int, float)) and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


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


def _unnamed(folder: Path, found: StepRecord) -> list[str]:
    """Files in a step's folder that its record does not name."""
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    left = [f.as_posix() for f in files if WORK.isdisjoint(f.parts)]
    return [f"{f} is not named by the record" for f in left if f not in {*found.files, *UNNAMED}]


def _others(study, study_dir: Path, named: set[str]) -> tuple[list[str], list[str]]:
    """Files outside the folders of steps that no record names, and other studies' steps.

    A file among the steps, or one that looks like a page or figure of the report, is a problem; any
    other is a note.
    """
    own = {study_dir / sid.path for sid in steps(study)}
    recorded = sorted(path.parent for path in study_dir.glob("0*/**/record.json"))
    report = (study_dir / STEPS[4] / "record.json").exists()
    wrong, notes = [], []
    for path in sorted(p for p in study_dir.rglob("*") if p.is_file()):
        name = path.relative_to(study_dir)
        known = os.path.normpath(path) in named or name.as_posix() in ROOT
        if known or not WORK.isdisjoint(name.parts) or {*own, *recorded} & {*path.parents}:
            continue
        page = name.parts[0] in ("pages", "figures", "index.html")
        if page and report or name.parts[0] in STEPS:
            by = f"by the record of {STEPS[4]}" if page else "by a record"
            wrong.append(f"{name.as_posix()} is not named {by}")
        else:
            notes.append(f"{name.as_posix()} is not named by a record")
    left = [p.relative_to(study_dir).as_posix() for p in recorded if p not in own]
    what = "not a step of this study (params.yaml); it is not used"
    return wrong, notes + [f"{path}: {what}" for path in left]


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
    problems = compare(before.results, after.results)
    products = sorted(before.files.keys() | after.files.keys())
    changed = [n for n in products if before.files.get(n) != after.files.get(n)]
    numbers = [n for n in changed if n.startswith(PRODUCTS) or n.endswith(".safetensors")]
    problems += [f"{n} differs" for n in numbers]
    others = [n for n in changed if n not in numbers and not n.endswith((".ipynb", ".html"))]
    same = before.key == after.key
    notes = [] if same else ["its inputs have changed since (see midway plan)"]
    notes += [f"{n} differs" for n in others]
    if not problems:
        notes.append("all numbers, predictions and weights are equal in the second execution")
    found = {"problems": problems, "notes": notes}
    found = {k: [f"{sid.path}: {text}" for text in texts] for k, texts in found.items()}
    return {"checked": [sid.path]} | found


def compare(before, after, where: str = "results") -> list[str]:
    """Differences between two trees of results, as lines of text."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = {k: f"{where}.{k}" for k in sorted(before.keys() | after.keys())}
        return [d for k, n in names.items() for d in compare(before.get(k), after.get(k), n)]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [d for i, (a, b) in pairs for d in compare(a, b, f"{where}[{i}]")]
    if before == after:
        return []
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (before, after))
    by = f" (by {after - before:+.3g})" if numbers and math.isfinite(after - before) else ""
    return [f"{where} was {hashes.short(before, 60)}, is {hashes.short(after, 60)}{by}"]


def show(found: dict) -> str:
    """The result as text."""
    lines = [f"problem: {p}" for p in found["problems"]] + [f"note: {n}" for n in found["notes"]]
    end = f"{len(found['problems'])} problems" if found["problems"] else "everything agrees"
    end = end if found["problems"] or found["checked"] else "nothing to compare"
    return "\n".join([*lines, f"{len(found['checked'])} record(s) checked, {end}"])
