"""Where a notebook that is opened by hand reads and writes.

A run gives every notebook its folder. By hand, a notebook reads the newest finished study (or, in a
new clone, the sample of the default study) and writes below ``outputs/by_hand/``, so that trying
something out never replaces the record or the weights of a study.

Examples
--------
>>> from midway import outputs, root
>>> outputs.by_hand("smoke", "01_intermediate", "mnli").relative_to(root()).as_posix()
'outputs/by_hand/smoke/01_intermediate/mnli'
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from midway.study import params
from midway.study.files import root

ENOUGH = 5  # tasks below which no correlation can be significant
SAMPLE = "docs/sample/study.zip"  # records and tables of the default study


@dataclass(frozen=True)
class Source:
    """A study to read, a sentence that says which one it is, and where the step writes."""

    study: params.Study
    folder: Path
    about: str
    out: Path | None = None


def by_hand(study: str, *step: object) -> Path:
    """Folder for work by hand on a step, e.g. by_hand("smoke", "01_intermediate", "mnli")."""
    return root().joinpath("outputs", "by_hand", study, *map(str, step))


def source(step: str, study=None, changes: dict | None = None, out=None) -> Source:
    """What a notebook reads and where it writes, from its parameters.

    With ``out`` (in a run) the study's folder is the one above it; by hand, see :func:`latest`.
    """
    if out is not None:
        out = root() / out
        made = params.load(root() / study if study else out.parent / "params.yaml", changes)
        return Source(made, out.parent, f"Reads the study {made.study}.", out)
    found = latest(study, changes)
    return replace(found, out=by_hand(found.study.study, step))


def latest(study: str | Path | None = None, changes: dict | None = None) -> Source:
    """The study that a notebook reads.

    study: a params file, or None for the newest finished study of at least ENOUGH tasks and, where
    there is none, the sample. changes: dotted settings to change. InputError for a bad params file.
    """
    if study is not None:
        made = params.load(root() / study, changes)
        folder = root() / "outputs" / made.study
        return Source(made, folder, f"Reads outputs/{made.study}, the study of {study}.")
    records = root().glob("outputs/*/03_correlation/record.json")
    ends = [(when, p.parents[1]) for p in records for when, n in [_end(p)] if n >= ENOUGH]
    if ends:
        when, folder = max(ends)
        about = f"the newest finished study ({when[:16].replace('T', ' ')} UTC)"
    else:
        folder = unpack(root() / SAMPLE)
        about = "a sample study, as none with enough tasks is finished here; "
        about += "`midway run params/mini.yaml` makes your own"
    made = params.load(folder / "params.yaml", changes)
    return Source(made, folder, f"Reads {folder.relative_to(root())}, {about}.")


def _end(record: Path) -> tuple[str, int]:
    """When 03 ended (ISO 8601), and how many tasks its correlations with the average rest on."""
    try:
        tree = json.loads(record.read_text(encoding="utf-8"))
        cells = tree["results"]["correlation"]
        known = (c["n"] for c in cells if c["outcome"] == "average" and c["rho"] is not None)
        return str(tree["finished"]), max(known, default=0)
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0


def unpack(archive: Path) -> Path:
    """The sample as a folder of its own, which a notebook may also write to."""
    folder = by_hand("sample")
    if not (folder / "params.yaml").exists():
        shutil.unpack_archive(archive, folder)
    return folder
