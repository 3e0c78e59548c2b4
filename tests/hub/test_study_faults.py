"""A whole study while the hub is out of order: what fails, and what the next run does."""

import json

import pytest


@pytest.mark.slow
def test_a_fault_fails_the_step_and_the_next_run_goes_on(project, big):
    """A 503 or a gate on one language must not make it missing for ever, nor the others."""
    few = {
        "intermediate.variants": "[none]",
        "intermediate.probe_languages": "[de]",
        "transfer.targets": "[panx,tatoeba]",
        "transfer.languages": "{panx: [en, de, fi], tatoeba: [de]}",
    }
    gated = {"status": 403, "code": "GatedRepo", "message": "restricted"}
    gone = {"status": 404, "code": "EntryNotFound", "message": "gone"}
    busy = {"status": 429, "headers": {"Retry-After": "86400"}}
    big.faults += [
        {"match": "(GET|HEAD) /datasets.*PAN-X.de"} | gated,
        {"match": "(GET|HEAD) /datasets.*PAN-X.fi"} | gone,
        {"match": "(GET|HEAD) /datasets.*tatoeba.deu"} | busy,
    ]

    def missing(name) -> str | None:
        score = next(project.folder.glob(f"outputs/*/02_transfer/*/seed1/*/scores/{name}.json"))
        return json.loads(score.read_text())["missing"]

    done = project.midway("run", "xlmr_base_afternoon", **few)
    assert done.returncode == 1 and "to wait 86400 s, but Midway waits" in done.stderr, done.stderr
    assert missing("panx.en") is None, "what the hub gave is scored"
    big.faults.pop()
    done = project.midway("run", "xlmr_base_afternoon", **few)
    assert done.returncode == 1 and "is gated: ask for access at" in done.stderr, done.stderr
    assert missing("tatoeba.de") is None, "targets after the gated one are scored"
    big.faults.pop(0)
    done = project.midway("run", "xlmr_base_afternoon", **few)
    assert done.returncode == 0, done.stderr
    assert missing("panx.de") is None and "the hub answers 404" in missing("panx.fi")
    assert "missing data: panx test fi: google/xtreme at" in done.stderr
    assert "missing data: 1 in all" in done.stderr
    done = project.midway("audit", "xlmr_base_afternoon", **few)
    assert "note: missing data: panx test fi" in done.stdout
