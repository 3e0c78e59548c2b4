"""What is done, what must run and why, and what is running: read from the files alone."""

from dataclasses import dataclass, field
from pathlib import Path

from midway import params, provenance, records, runner
from midway.errors import InputError
from midway.provenance import STEPS, StepId
from midway.records import StepRecord
from midway.state import read_state


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
            for up in provenance.upstream(study, item.sid)
            if item.sid.step == STEPS[1] and up in lost and items[up].ready
        }
        if not more:
            return list(items.values())
        needed |= more


def _judge(study, study_dir, forced, needed):
    items: dict[StepId, Item] = {}
    lost: set[StepId] = set()
    for sid in provenance.steps(study):
        folder = study_dir / sid.path
        record, retired, broken = _record(folder)
        waiting = [up for up in provenance.upstream(study, sid) if not items[up].ready]
        why = [f"record: {broken}"] if broken else []
        if sid in forced:
            why.append("forced")
        if record is not None:
            kept = frozenset(s.path for s, item in items.items() if item.state == "kept")
            current = provenance.hashes(study, sid, folder, ignore_missing=True, kept=kept)
            will = {f"upstream: {up.path}" for up in waiting}
            why += [
                r
                for r in provenance.reasons(record, study, sid, current)
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
            end = read_state(folder)
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
    name = name.strip("/")
    found = [s for s in provenance.steps(study) if f"{s.path}/".startswith(f"{name}/")]
    if not found:
        try:
            params.near(name, [s.path for s in provenance.steps(study)] + list(STEPS), "step")
        except ValueError as error:
            raise InputError(f"{error}") from None
    return found


def show(items: list[Item]) -> str:
    """The plan as text, one step a line."""
    width = max(len(i.sid.path) for i in items)
    lines = []
    for item in items:
        why = "; ".join(item.why[:4]) + (f"; and {len(item.why) - 4} more" if item.why[4:] else "")
        lines.append(f"{item.sid.path:{width}}  {item.state}" + (f": {why}" if why else ""))
    todo = sum(not i.ready for i in items)
    return "\n".join([*lines, f"{len(items) - todo} of {len(items)} steps are done, {todo} to run"])


def status(study_dir: Path) -> list[dict]:
    """Each step of a study folder: path, state, why, started, seconds, error.

    States: done, running, failed, died, interrupted, stale (something changed since), new.
    """
    study_dir = Path(study_dir)
    study = params.load(study_dir / "params.yaml")
    rows = []
    for item in plan(study, study_dir):
        end = runner.settle(study_dir / item.sid.path)
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
    """Status as text: variants and seeds down, stages across, then what is worth a reason."""
    grid: dict[str, dict[str, str]] = {}
    for row in rows:
        stage, _, rest = row["step"].partition("/")
        where, part = rest, ""
        if "/part" in rest:
            where, _, part = rest.rpartition("/")
        time = f" {row['seconds']:.0f}s" if row["seconds"] and row["state"] == "done" else ""
        grid.setdefault(where, {})[f"{stage} {part}".strip()] = row["state"] + time
    heads = list(dict.fromkeys(h for cells in grid.values() for h in cells))
    across = [h for h in heads if h[:2] in ("01", "02")]
    first = max([len("variant"), *map(len, grid)])
    widths = [max([len(h), *(len(c.get(h, "")) for c in grid.values())]) for h in across]
    lines = [
        "  ".join(
            ["variant".ljust(first), *(h.ljust(w) for h, w in zip(across, widths, strict=True))]
        )
    ]
    for where, cells in grid.items():
        if where:
            row = [cells.get(h, "").ljust(w) for h, w in zip(across, widths, strict=True)]
            lines.append("  ".join([where.ljust(first), *row]))
    lines += [f"{h}: {c}" for h, c in grid.get("", {}).items()]
    for row in rows:
        why = "; ".join(row["why"])
        if row["error"] and row["error"] not in why and row["state"] != "done":
            why = "; ".join(filter(None, [why, row["error"]]))
        if row["state"] not in ("done", "new") and why:
            why = why if len(why) <= 200 else f"{why[:200]} ..."
            lines.append(f"{row['step']}: {row['state']}: {why}")
    return "\n".join(line.rstrip() for line in lines)
