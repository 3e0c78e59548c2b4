"""What is done, what must run and why, and what is running: read from the files alone."""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from midway.run import hashes, notebook
from midway.run import record as records
from midway.run import steps as steps_
from midway.run.record import StepRecord
from midway.run.status import read_state
from midway.run.steps import STEPS, StepId, upstream
from midway.study import params
from midway.study.errors import InputError


@dataclass
class Item:
    """One step: ``done``; ``kept`` (a retired record is true again); ``new``; or ``changed``."""

    sid: StepId
    state: str
    why: list[str] = field(default_factory=list)
    record: StepRecord | None = None

    @property
    def ready(self) -> bool:
        return self.state in ("done", "kept")


def _record(folder: Path) -> tuple[StepRecord | None, bool, str]:
    """Record of a folder, whether it is a retired one, and why it cannot be used."""
    for name in ("record.json", "record.stale.json"):
        path = folder / name
        if path.exists():
            try:
                found = records.load(path)
                if found.text() != path.read_text(encoding="utf-8"):
                    return None, False, f"{name} was changed by hand"
                return found, name != "record.json", ""
            except (InputError, OSError) as error:
                if name == "record.json":
                    return None, False, str(error)
    return None, False, ""


def _end(folder: Path) -> dict:
    """How the last execution ended; {} for a draft of the report, unless it failed."""
    end = read_state(folder)
    return {} if end.get("draft") and end.get("state") != "failed" else end


def plan(study: params.Study, study_dir: Path, force: tuple[str, ...] = ()) -> list[Item]:
    """Every step in order with its state and reasons; nothing is started or written.

    ``force``: steps, or whole stages, that run again whatever their state.
    """
    study_dir = Path(study_dir)
    forced = {s for f in force for s in matching(study, f)}
    needed: set[StepId] = set()  # 01 steps whose removed encoder a later step must read
    while True:
        items, lost = _judge(study, study_dir, forced, needed)
        more = {
            up
            for item in items.values()
            if not item.ready
            for up in upstream(study, item.sid)
            if item.sid.step == STEPS[1] and up in lost and items[up].ready
        }
        if not more:
            return list(items.values())
        needed |= more


def _judge(study, study_dir, forced, needed):
    items: dict[StepId, Item] = {}
    lost: set[StepId] = set()
    for sid in steps_.steps(study):
        folder = study_dir / sid.path
        record, retired, broken = _record(folder)
        waiting = [up for up in upstream(study, sid) if not items[up].ready]
        why = [f"record: {broken}"] if broken else []
        if sid in forced:
            why.append("forced")
        if record is not None:
            kept = frozenset(s.path for s, item in items.items() if item.state == "kept")
            current = hashes.hashes(study, sid, folder, ignore_missing=True, kept=kept)
            will = {f"upstream: {up.path}" for up in waiting}
            why += [
                r
                for r in hashes.reasons(record, study, sid, current)
                if r.split(" (")[0] not in will
            ]
            gone = [name for name in record.files if not (folder / name).exists()]
            # Big weights may be removed once everything that reads them is done.
            weights = [n for n in gone if n.endswith(".safetensors") and sid.step == STEPS[0]]
            lost |= {sid} if weights else set()
            why += [f"file: {n} is gone" for n in gone if n not in weights or sid in needed]
        if waiting:
            first = waiting[0].path if len(waiting) == 1 else f"{len(waiting)} steps"
            why.append(f"upstream: {first} will run")
        if record is None:
            end = _end(folder)
            if end.get("state") in ("failed", "died", "interrupted"):
                why.append(
                    f"{end['state']} last time" + (f": {end['error']}" if end["error"] else "")
                )
            state = "changed" if broken else "new"
        else:
            state = "changed" if why else ("kept" if retired else "done")
        items[sid] = Item(sid, state, why, record)
    return items, lost


def matching(study: params.Study, name: str) -> list[StepId]:
    """Steps that a user means by a stage (02_transfer) or a folder (01_intermediate/mnli)."""
    name, steps = name.strip("/"), steps_.steps(study)
    found = [s for s in steps if f"{s.path}/".startswith(f"{name}/")]
    if found:
        return found
    parts = [s.path.split("/") for s in steps]
    folders = dict.fromkeys("/".join(p[:n]) for p in parts for n in range(1, len(p) + 1))
    ends = {f: f.rpartition("/")[2] for f in folders}
    near = [f for f in ends if ends[f] == name] or get_close_matches(name, folders, 1, 0.8)
    if not near and (leaf := get_close_matches(name, ends.values(), 1, 0.7)):
        near = [f for f in ends if ends[f] == leaf[0]]
    stages = f"name a stage ({', '.join(STEPS)}) or a folder of one, e.g. {steps[1].path}"
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
        with contextlib.suppress(OSError):  # somebody else's study may be looked at, too
            notebook.settle(study_dir / item.sid.path)
        end = _end(study_dir / item.sid.path)
        state = {"changed": "stale", "kept": "done"}.get(item.state, item.state)
        if end.get("state") == "running" or (
            state == "new" and end.get("state") not in (None, "done")
        ):
            state = end["state"]
        rows.append(
            {
                "step": item.sid.path,
                "state": state,
                "why": item.why,
                "started": end.get("started"),
                "seconds": end.get("seconds"),
                "error": end.get("error") or None,
                "notebook": f"{item.sid.path}/notebook.ipynb",
            }
        )
    return rows


def matrix(rows: list[dict]) -> str:
    """Status as text: variants and seeds down, stages across, then reasons, then the counts."""
    grid: dict[str, dict[str, str]] = {}
    for row in rows:
        stage, _, rest = row["step"].partition("/")
        where, part = rest, ""
        if "/part" in rest:
            where, _, part = rest.rpartition("/")
        time = f" {row['seconds']:.0f}s" if row["seconds"] and row["state"] == "done" else ""
        head = part if part not in ("", "part1") else f"{stage} {part}".strip()
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
    for why, steps in alike.items():
        more = f" and {len(steps) - 1} more" if steps[1:] else ""
        lines.append(f"{steps[0]}{more}: {why}")
    states = Counter(row["state"] for row in rows)
    return "\n".join(
        [*lines, f"{len(rows)} steps: {', '.join(f'{n} {s}' for s, n in states.items())}"]
    )
