"""A study as an RO-Crate (workflow run profile): its records in a form that other tools read.

``ro-crate-metadata.json`` names every step as an action with its notebook, inputs and products;
it adds nothing to the records and proves nothing (see :mod:`midway.run.seal`).
"""

import os
import warnings
from pathlib import Path

from midway.run import plan as planning
from midway.run.steps import steps, upstream
from midway.study import params
from midway.study.errors import InputError

NAME = "ro-crate-metadata.json"
PROFILES = ("process/0.5", "workflow/0.5")


def write(study_dir: Path) -> Path:
    """Write the crate's metadata into a study's folder; its path. InputError for a torn record."""
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    study = params.load(study_dir / "params.yaml")
    crate = ROCrate(version="1.1")
    crate.name = f"Midway study {study.study}"
    crate.description = "Intermediate training, zero-shot transfer and how they correlate"
    profiles = [f"https://w3id.org/ro/wfrun/{name}" for name in PROFILES]
    entities = [ContextEntity(crate, p, {"@type": "CreativeWork", "name": p}) for p in profiles]
    crate.root_dataset["conformsTo"] = [crate.add(entity) for entity in entities]
    kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    workflow = _file(crate, study_dir, "params.yaml", {"@type": kinds, "name": study.study})
    crate.mainEntity = workflow
    made: dict[str, list] = {}
    for sid in steps(study):
        path = f"{sid.path}/record.json"
        found, broken = planning.whole(study_dir / sid.path)
        if broken:
            raise InputError(f"{sid.path}: {broken}")
        if found is None:
            continue
        files = {f"{sid.path}/{name}": value for name, value in found.files.items()}
        about = {"name": f"record of {sid.path}"}
        made[sid.path] = [_file(crate, study_dir, path, about)]
        products = [_file(crate, study_dir, n, {"sha256": v}) for n, v in files.items()]
        read = [e for up in upstream(study, sid) for e in made.get(up.path, ())]
        action = crate.add_action(
            workflow, f"#{sid.path}", read, [*made[sid.path], *products],
            {"name": sid.path, "startTime": found.started, "endTime": found.finished,
             "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"}},
        )  # fmt: skip
        crate.root_dataset.append_to("mentions", action)
    crate.metadata.write(study_dir)
    return study_dir / NAME


def _file(crate, study_dir: Path, name: str, about: dict):
    path = Path(os.path.normpath(name)).as_posix()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that were removed to save space
        return crate.add_file(study_dir / path, path, properties=about)
