"""A whole study while the hub is out of order: what fails, and what the next run does."""

import json

import pytest


@pytest.mark.slow
def test_a_fault_fails_the_step_and_the_next_run_goes_on(project, big):
    """A 503 on one language must not make it missing for ever, nor take the variant away."""
    few = {
        "intermediate.variants": "[none,csqa]",
        "transfer.targets": "[panx,tatoeba]",
        "transfer.languages": "{panx: [en, de], tatoeba: [de]}",
    }
    gated = {"status": 403, "code": "GatedRepo", "message": "restricted"}
    big.faults += [
        {"match": "GET /lfs/.*PAN-X.de", "status": 503},
        {"match": "/api/datasets/nyu-mll/glue"} | gated,
    ]
    done = project.midway("run", "xlmr_base_afternoon", **few)
    assert done.returncode == 1 and "out of order (503)" in done.stderr, done.stderr
    big.faults.pop(0)
    done = project.midway("run", "xlmr_base_afternoon", **few)
    assert done.returncode == 0, done.stderr
    assert "missing data" in done.stderr and "is gated: accept its terms" in done.stderr
    scores = project.folder.glob("outputs/*/02_transfer/*/seed1/*/scores/panx.de.json")
    assert [json.loads(p.read_text())["missing"] for p in scores] == [None, None]
