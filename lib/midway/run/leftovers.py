"""Files of a study that no record names; a report or a reader could mistake them for results."""

import os
from pathlib import Path

from midway.run import hashes
from midway.run.record import StepRecord
from midway.run.steps import STEPS, steps

UNNAMED = ("record.json", "state.json")  # files of a step that its record does not name
#: and what helps making it
WORK = (".lock", "states", "cache", ".jobs", ".ipynb_checkpoints", "__pycache__")
ROOT = ("params.yaml", hashes.INDEX, "seal.txt", "seal.txt.sig", "ro-crate-metadata.json")


def of_step(folder: Path, found: StepRecord) -> list[str]:
    """Files in a step's folder that its record does not name (the report might show them)."""
    wrong = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder)
        if name.as_posix() not in {*found.files, *UNNAMED} and not set(name.parts) & set(WORK):
            wrong.append(f"{name.as_posix()} is not named by the record")
    return wrong


def others(study, study_dir: Path, named: set[str]) -> tuple[list[str], list[str]]:
    """Files that no record names, outside the folders of the study's steps: problems and notes.

    A file among the steps, or one that looks like a page or figure of the report, is a problem.
    """
    own = {study_dir / sid.path for sid in steps(study)}
    own |= {path.parent for path in study_dir.glob("0*/**/record.json")}  # steps_left reports them
    report = (study_dir / STEPS[4] / "record.json").exists()
    wrong, notes = [], []
    for path in sorted(p for p in study_dir.rglob("*") if p.is_file()):
        name = path.relative_to(study_dir)
        known = os.path.normpath(path) in named or name.as_posix() in ROOT
        if known or set(name.parts) & set(WORK) or not own.isdisjoint(path.parents):
            continue
        page = name.parts[0] in ("pages", "figures", "index.html")
        if page and report or name.parts[0] in STEPS:
            by = f"by the record of {STEPS[4]}" if page else "by a record"
            wrong.append(f"{name.as_posix()} is not named {by}")
        else:
            notes.append(f"{name.as_posix()} is not named by a record")
    return wrong, notes


def steps_left(study, study_dir: Path) -> list[str]:
    """Records of steps that the study does not have."""
    known = {sid.path for sid in steps(study)}
    found = sorted(study_dir.glob("0*/**/record.json"))
    left = [p.parent.relative_to(study_dir).as_posix() for p in found]
    what = "not a step of this study (params.yaml); it is not used"
    return [f"{path}: {what}" for path in left if path not in known]
