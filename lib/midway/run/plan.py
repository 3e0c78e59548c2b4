"""State of every step, why it must run and what it missed; run, plan, status and audit use it.

A step is done if its record is whole, its inputs (settings, code, data, encoder, earlier records)
have not changed, and every product has the hash that the record names.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from midway.run import hashes, record, step
from midway.run.record import StepRecord
from midway.run.status import read_state
from midway.run.steps import STEPS, StepId, steps, upstream
from midway.study import params
from midway.study.errors import InputError
from midway.study.files import file_hashes, save_index

SHOWN = 8  # reasons for missing data that are printed


@dataclass
class Item:
    """One step: ``done``, ``new`` (it has no record) or ``changed``; and why it must run."""

    sid: StepId
    state: str
    why: list[str] = field(default_factory=list)
    record: StepRecord | None = None
    lost: bool = False  # weights were removed to save space

    @property
    def ready(self) -> bool:
        return self.state == "done"


def whole(folder: Path) -> tuple[StepRecord | None, str]:
    """Record of a step's folder (None when there is none), and why it cannot be used."""
    path = folder / "record.json"
    try:
        found = record.load(path)
        same = found.text().encode() == path.read_bytes()
        return (found, "") if same else (None, "record.json was changed by hand")
    except (InputError, OSError) as error:
        return None, str(error) if path.exists() else ""


def judge(study, study_dir: Path, sid: StepId, index: Path | None, waiting=(), needed=()) -> Item:
    """State of one step, given the steps that it reads; ``waiting`` steps are not checked.

    ``index`` keeps hashes of files whose size and times have not changed; None: all files are read.
    Weights may be deleted when all steps that read them are done; ``needed``: steps whose weights
    must be read again.
    """
    folder = study_dir / sid.path
    found, broken = whole(folder)
    if broken:
        return Item(sid, "changed", [f"record: {broken}"])
    if found is None:
        return Item(sid, "new", _last_time(folder))
    name = StepId(found.step, found.variant, found.seed, found.part)
    why = [] if name == sid else [f"record: it is of {name.path}"]
    if found.metric_version != record.METRIC_VERSION:
        why.append(f"metric_version: {found.metric_version} -> {record.METRIC_VERSION}")
    current = hashes.hashes(study, sid, folder, ignore_missing=True)
    will = {f"upstream: {up.path}" for up in waiting}
    why += [r for r in hashes.reasons(found, study, sid, current) if r.split(" (")[0] not in will]
    there = file_hashes({name: folder / name for name in found.files}, index, save=False)
    wrong = [name for name, value in found.files.items() if there.get(name) != value]
    files = [f"file: {n} {'was changed' if n in there else 'is gone'}" for n in wrong]
    lost = {f for f in files if f.endswith(".safetensors is gone") and sid.step == STEPS[0]}
    why += [f for f in files if f not in lost or sid in needed]
    return Item(sid, "changed" if why else "done", why, found, bool(lost))


def last_end(folder: Path) -> dict:
    """How the last execution ended; {} for a draft of the report, unless it failed."""
    end = read_state(folder)
    return {} if end.get("draft") and end.get("state") != "failed" else end


def _last_time(folder: Path) -> list[str]:
    end = last_end(folder)
    if end.get("state") not in ("failed", "died", "interrupted"):
        return []
    return [f"{end['state']} last time" + (f": {end['error']}" if end.get("error") else "")]


def plan(study: params.Study, study_dir: Path, force: tuple[str, ...] = ()) -> list[Item]:
    """All steps in order, with state and reasons; nothing is started.

    ``force``: steps, or whole stages, that run again whatever their state.
    """
    study_dir = Path(study_dir)
    forced = {s for f in force for s in matching(study, f)}
    items = _plan(study, study_dir, forced, set())
    again = [sid for sid, item in items.items() if sid.step == STEPS[1] and not item.ready]
    if needed := {up for sid in again for up in upstream(study, sid) if items[up].lost}:
        items = _plan(study, study_dir, forced, needed)
    save_index(study_dir / hashes.INDEX)
    return list(items.values())


def _plan(study, study_dir, forced, needed) -> dict[StepId, Item]:
    items: dict[StepId, Item] = {}
    # read what a failed transfer has read: a disk can damage a file without changing its times
    carried = [s for s in steps(study) if s.step == STEPS[1]]
    failed = [s for s in carried if read_state(study_dir / s.path).get("state") == "failed"]
    doubted = {up for s in failed for up in upstream(study, s)}
    for sid in steps(study):
        waiting = [up for up in upstream(study, sid) if not items[up].ready]
        index = None if sid in doubted else study_dir / hashes.INDEX
        item = judge(study, study_dir, sid, index, waiting, needed)
        if sid in forced:
            item.why.insert(0, "forced")
        if waiting:
            first = waiting[0].path if len(waiting) == 1 else f"{len(waiting)} steps"
            item.why.append(f"upstream: {first} will run")
        if item.ready and item.why:
            item.state = "changed"
        items[sid] = item
    return items


def current(study: params.Study, study_dir: Path, by_hand: bool = False) -> set[str]:
    """Folders (in the study's folder) of steps whose records agree with the present state.

    by_hand: the study may come from another version of the library or be a sample without files, so
    only contradictions count: other settings, other upstream records, files that differ.
    """
    if not by_hand:
        return {item.sid.path for item in plan(study, study_dir) if item.ready}
    found: set[str] = set()
    for sid in steps(study):
        item = judge(study, study_dir, sid, study_dir / hashes.INDEX)
        if item.record is None or not {up.path for up in upstream(study, sid)} <= found:
            continue
        told = {"record", "file", *({"params", "upstream"} & item.record.hashes.keys())}
        why = (w for w in item.why if not w.endswith(" is gone"))
        if told.isdisjoint(w.partition(":")[0] for w in why):
            found.add(sid.path)
    return found


def matching(study: params.Study, name: str) -> list[StepId]:
    """Steps of a stage (02_transfer) or a folder (01_intermediate/mnli) that a user names."""
    name, every = name.strip("/"), steps(study)
    found = [s for s in every if f"{s.path}/".startswith(f"{name}/")]
    if found:
        return found
    parts = [s.path.split("/") for s in every]
    folders = dict.fromkeys("/".join(p[:n]) for p in parts for n in range(1, len(p) + 1))
    ends = {f: f.rpartition("/")[2] for f in folders}
    near = [f for f in ends if ends[f] == name] or get_close_matches(name, folders, 1, 0.8)
    if not near and (leaf := get_close_matches(name, ends.values(), 1, 0.7)):
        near = [f for f in ends if ends[f] == leaf[0]]
    stages = f"name a stage ({', '.join(STEPS)}) or a folder of one, e.g. {every[1].path}"
    hint = f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else stages
    raise InputError(f"unknown step {name!r}; {hint}")


def show(items: list[Item]) -> str:
    """The plan as text, one step a line."""
    width = max(len(i.sid.path) for i in items)
    lines = []
    for item in items:
        why = "; ".join(item.why[:4]) + (f"; and {len(item.why) - 4} more" if item.why[4:] else "")
        lines.append(f"{item.sid.path:{width}}  {item.state}" + (f": {why}" if why else ""))
    return "\n".join([*lines, summary(items)])


def summary(items: list[Item]) -> str:
    """The plan in one line."""
    todo = sum(not i.ready for i in items)
    return f"{len(items) - todo} of {len(items)} steps are done, {todo} to run"


def status(study_dir: Path) -> list[dict]:
    """Each step of a study folder: path, state, why, started, seconds, error.

    States: done, running, failed, died, interrupted, stale (something changed since), new.
    """
    study_dir = Path(study_dir)
    study = params.load(study_dir / "params.yaml")
    rows = []
    for item in plan(study, study_dir):
        path = item.sid.path
        with contextlib.suppress(OSError):  # the study may belong to another user
            step.settle(study_dir / path)
        end = last_end(study_dir / path)
        state, ended = "stale" if item.state == "changed" else item.state, end.get("state")
        if ended == "running" or (state == "new" and ended not in (None, "done")):
            state = ended
        row = {"step": path, "state": state, "why": item.why}
        row |= {"started": end.get("started"), "seconds": end.get("seconds")}
        row |= {"error": end.get("error") or None, "notebook": f"{path}/notebook.ipynb"}
        rows.append(row)
    return rows


def matrix(rows: list[dict]) -> str:
    """Status as text: variants and seeds down, stages across, then reasons, then the counts."""
    grid: dict[str, dict[str, str]] = {}
    for row in rows:
        stage, _, rest = row["step"].partition("/")
        where, _, part = rest.partition("/part")
        time = f" {row['seconds']:.0f}s" if row["seconds"] and row["state"] == "done" else ""
        head = {"": stage, "1": f"{stage} part1"}.get(part, f"part{part}")
        grid.setdefault(where, {})[head] = row["state"] + time
    alone = grid.pop("", {})
    heads = list(dict.fromkeys(h for cells in grid.values() for h in cells))
    table = [["variant", *heads], *([w, *(c.get(h, "") for h in heads)] for w, c in grid.items())]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
    lines += [f"{h}: {c}" for h, c in alone.items()]
    alike: dict[str, list[str]] = {}  # reason -> steps: often one change concerns many
    for row in rows:
        why = [w for w in row["why"] if not w.startswith(("upstream: ", f"{row['state']} last"))]
        if row["error"] and row["state"] != "done":
            why.append(row["error"])
        why = "; ".join(dict.fromkeys(why))
        if row["state"] not in ("done", "new") and why:
            why = why if len(why) <= 200 else f"{why[:200]} ..."
            alike.setdefault(f"{row['state']}: {why}", []).append(row["step"])
    for why, same in alike.items():
        more = f" and {len(same) - 1} more" if same[1:] else ""
        lines.append(f"{same[0]}{more}: {why}")
    states = Counter(row["state"] for row in rows)
    counts = ", ".join(f"{n} {state}" for state, n in states.items())
    return "\n".join([*lines, f"{len(rows)} steps: {counts}"])


def without(study, study_dir: Path) -> list[str]:
    """A line for each reason why data were missing, with the number of steps that say so."""
    found: Counter = Counter()
    for sid in (s for s in steps(study) if s.step in STEPS[:2]):
        try:
            results = record.load(study_dir / sid.path / "record.json").results
            own = [results, *results.get("targets", {}).values()]
            pairs = [item for part in own for item in (part.get("missing") or {}).items()]
        except (InputError, AttributeError):  # no record of a step: plan and audit say so
            continue
        found.update({why if ": " in why else f"{key}: {why}" for key, why in pairs})
    told = [(why, f"{n} step{'s' * (n > 1)}") for why, n in found.most_common(SHOWN)]
    lines = [f"missing data: {why} ({count})" for why, count in told]
    return lines + [f"missing data: {len(found)} in all; see `midway doctor`"] * bool(found)
