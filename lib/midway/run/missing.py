"""Data that was missing in a study, with the reasons, printed when a run ends."""

from collections import Counter
from pathlib import Path

from midway.run.record import load
from midway.run.steps import steps
from midway.study.errors import InputError

SHOWN = 8  # reasons that are printed


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
    """One line for each missing item; `run` prints them at its end, and `audit` does."""
    found = reasons(study, folder)
    lines = [
        f"missing data: {why} ({n} step{'s' * (n > 1)})" for why, n in found.most_common(SHOWN)
    ]
    return lines + [f"missing data: {len(found)} in all; see `midway doctor`"] * bool(found)
