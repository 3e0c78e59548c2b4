"""Data that was missing in a study, with the reasons, printed when a run ends."""

from collections import Counter
from pathlib import Path

from midway.run.record import load
from midway.run.steps import steps
from midway.study.errors import InputError

SHOWN = 8  # reasons in a message


def reasons(study, folder: Path) -> Counter:
    """Reason -> number of steps whose record says so; probes and single languages included."""
    found: Counter = Counter()
    for sid in steps(study):
        if sid.step[:2] not in ("01", "02"):
            continue
        try:
            results = load(folder / sid.path / "record.json").results
            own = [results, *results.get("targets", {}).values()]
            pairs = [item for part in own for item in (part.get("missing") or {}).items()]
        except (InputError, AttributeError):  # no record of a step: plan and audit say so
            continue
        found.update({why if ": " in why else f"{key}: {why}" for key, why in pairs})
    return found


def without(study, folder: Path) -> list[str]:
    """Lines for the end of a run; none where nothing is missing."""
    found = reasons(study, folder)
    if not found:
        return []
    more = [f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    lines = [f"  {why} ({n} step{'s' * (n > 1)})" for why, n in found.most_common(SHOWN)]
    return [f"missing data: {len(found)}; the steps went on without:", *lines, *more]
