"""The shipped hub studies, made tiny: fetched from the stand-in, then run offline."""

import json

import pytest

#: a study's variants, and its last stage: 03 to 05 read nothing of the hub
STUDIES = {
    "hub_laptop": ("[none,cosmosqa]", "05_report"),
    "xlmr_base_afternoon": ("[none]", "02_transfer"),
    "xlmr_large": ("[none,multi]", "02_transfer"),  # multi reads all intermediate tasks
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_is_fetched_and_runs_without_a_network(project, big, name):
    """The first thing that a researcher types must work: fetch, then run, on real clients."""
    variants, last = STUDIES[name]
    few = {"intermediate.variants": variants}
    done = project.midway("fetch", name, **few)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = len(big.log)
    done = project.midway("run", name, f"--until={last}", offline=True, **few)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(big.log) == asked, big.log[asked:]
    out = project.folder / "outputs" / name
    for path in sorted(out.glob("02_transfer/**/record.json")):
        record = json.loads(path.read_text())
        assert len(record["results"]["targets"]) == 9
        for target, result in record["results"]["targets"].items():
            assert not result["missing"] and result["languages"], (target, result["missing"])
        assert "not XTREME" in record["results"]["targets"]["udpos"]["note"]
        read = record["environment"]["hub_files"]
        assert read and all("@" in key and len(value) == 64 for key, value in read.items())
    if last == "05_report":
        page = (out / "index.html").read_text(encoding="utf-8")
        assert "Not comparable with published scores" in page
    if name == "xlmr_large":
        assert "ccg train en: not on the hub" in done.stderr, "multi went without it, and says so"
