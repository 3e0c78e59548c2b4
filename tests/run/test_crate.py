"""midway crate: a study's records as other tools read them."""

import json

import pytest

rocrate = pytest.importorskip("rocrate.rocrate")


def test_a_study_is_a_workflow_run_crate(project):
    """Every step is an action of the workflow with what it read and made; every file is there."""
    done = project.midway("crate")
    assert done.returncode == 0 and done.stdout.endswith("ro-crate-metadata.json\n"), done.stderr
    crate = rocrate.ROCrate(project.out)
    profiles = [entity.id for entity in crate.root_dataset["conformsTo"]]
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in profiles
    assert "ComputationalWorkflow" in crate.mainEntity["@type"]
    actions = {a["name"]: a for a in crate.root_dataset["mentions"]}
    assert len(actions) == 9 and all(a["instrument"] == crate.mainEntity for a in actions.values())
    step = "02_transfer/mnli/seed1/part1"
    assert [e.id for e in actions[step]["object"]] == ["01_intermediate/mnli/seed1/record.json"]
    made = {e.id: e for e in actions[step]["result"]}
    record = json.loads((project.out / step / "record.json").read_text())
    for name, value in record["files"].items():
        assert made[f"{step}/{name}"]["sha256"] == value
    assert all((project.out / e.id).is_file() for a in actions.values() for e in a["result"])
    assert project.midway("audit").returncode == 0


def test_a_torn_record_is_one_line(project):
    (project.out / "03_correlation/record.json").write_text("{")
    done = project.midway("crate")
    assert done.returncode == 2 and done.stderr.startswith("midway: 03_correlation: ")
    assert done.stderr.count("\n") == 1
