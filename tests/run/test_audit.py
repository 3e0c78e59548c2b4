"""midway audit: whatever is changed in a finished study is found and named."""

import json
import shutil

import pytest

from midway.run import audit
from midway.run import record as records
from midway.study.files import digest, sha256

M, N = "01_intermediate/mnli/seed1", "01_intermediate/none/seed1"
T = "02_transfer/none/seed1/part1"
SWAHILI = f"{T}/scores/xnli.sw.json"


def test_a_finished_study_agrees(project):
    found = audit.audit(project.out)
    assert found["problems"] == [] and len(found["checked"]) == 9


def test_nothing_checked_is_not_called_agreement():
    text = audit.show({"checked": [], "problems": [], "notes": ["01: no record"]})
    assert "everything agrees" not in text and "0 record(s) checked" in text


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def forge(path, **fields):
    """A record changed by somebody who knows how to make its self-hash right."""
    record = records.load(path)
    record.model_copy(update=fields).write(path)


def swap(a, b):
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def forge_hashes(path, **parts):
    """The same, with another hash of what the step was made from, and a key that fits."""
    hashes = records.load(path).hashes | parts
    forge(path, hashes=hashes, key=digest(hashes))


def swap_folders(a, b):
    a.rename(a.with_name("x"))
    b.rename(a)
    a.with_name("x").rename(b)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def leave_out(out, variant):
    replace(out / "params.yaml", f"  - {variant}\n", "")
    for path in out.glob(f"0*/{variant}"):
        shutil.rmtree(path)


def results(zero_shot=51.0, **languages):
    given = {lang: {"accuracy": value} for lang, value in languages.items()}
    return {"targets": {"xnli": {"languages": given, "zero_shot": zero_shot}}}


FAULTS = {
    "a number in a record": (
        lambda o: replace(o / "03_correlation/record.json", '"rho": 0.5', '"rho": 0.8'),
        "03_correlation: record: record.json was changed by hand",
    ),
    "a space in a record": (
        lambda o: replace(o / "03_correlation/record.json", '"rho": 0.5', '"rho":  0.5'),
        "03_correlation: record: record.json was changed by hand",
    ),
    "a forged record": (
        lambda o: forge(o / M / "record.json", results={"task": "better"}),
        "02_transfer/mnli/seed1/part1: upstream: 01_intermediate/mnli/seed1",
    ),
    "forged hashes": (
        lambda o: forge(o / M / "record.json", hashes={}), f"{M}: key does not agree with hashes"
    ),
    "an edited prediction": (
        lambda o: (o / T / "predictions/xnli/test-de.tsv").write_text("b\n"),
        f"{T}: predictions/xnli/test-de.tsv is not what scores/xnli.de.json was computed from",
    ),
    "an edited score": (
        lambda o: replace(o / T / "scores/xnli.de.json", "51", "91"),
        f"{T}: scores/xnli.de.json was changed after it was written",
    ),
    "a torn score": (
        lambda o: (o / T / "scores/xnli.de.json").write_text('{"schema'), "incomplete or damaged"
    ),
    "a score of another language": (
        lambda o: swap(o / T / "scores/xnli.de.json", o / T / "scores/xnli.fr.json"),
        f"{T}: scores/xnli.de.json is of xnli fr",
    ),
    "a score more": (
        lambda o: records.ScoreRecord(target="xnli", lang="sw").write(o / SWAHILI),
        f"{T}: scores/xnli.sw.json is not named by the record",
    ),
    "a swapped notebook": (
        lambda o: swap(o / M / "notebook.ipynb", o / N / "notebook.ipynb"),
        f"{M}: notebook.ipynb was run for variant 'none'",
    ),
    "an edited notebook": (
        lambda o: replace(o / T / "notebook.ipynb", "computed = []", "computed = [1]"),
        f"{T}: the code of notebook.ipynb is not the code that was hashed",
    ),
    "a torn notebook": (
        lambda o: (o / T / "notebook.ipynb").write_text('{"cells'), f"{T}: notebook.ipynb cannot be"
    ),
    "a notebook is gone": (
        lambda o: (o / T / "notebook.ipynb").unlink(), f"{T}: file: notebook.ipynb is gone"
    ),
    "other weights": (
        lambda o: (o / M / "encoder.safetensors").write_bytes(b"x"),
        f"{M}: file: encoder.safetensors was changed",
    ),
    "a record of another variant": (
        lambda o: swap(o / M / "record.json", o / N / "record.json"),
        f"{M}: record: it is of 01_intermediate/none/seed1",
    ),
    "other params": (
        lambda o: replace(o / "params.yaml", "dev_size: 10", "dev_size: 11"),
        f"{M}: params: data.dev_size 10 -> 11",
    ),
    "another state": (
        lambda o: replace(o / T / "state.json", '"done"', '"failed"'), "state.json says failed"
    ),
    "a variant less": (
        lambda o: leave_out(o, "mnli"),
        "03_correlation: upstream: 01_intermediate/mnli/seed1 (gone)",
    ),
    "an edited page": (
        lambda o: (o / "index.html").write_text("better"),
        "05_report: file: ../index.html was changed",
    ),
    "no page": (
        lambda o: (o / "index.html").unlink(), "05_report: file: ../index.html is gone"
    ),
    "a page more": (
        lambda o: write(o / "pages/02_transfer/mnli.html", "better"),
        "pages/02_transfer/mnli.html is not named by the record of 05_report",
    ),
    "a table more": (
        lambda o: write(o / "03_correlation/tables/better.csv", "rho\n1\n"),
        "03_correlation: tables/better.csv is not named by the record",
    ),
    "a figure more": (
        lambda o: write(o / M / "figures/better.png", "x"), f"{M}: figures/better.png is not named"
    ),
    "a prediction more": (
        lambda o: write(o / T / "predictions/xnli/test-sw.tsv", "a"),
        f"{T}: predictions/xnli/test-sw.tsv is not named by the record",
    ),
    "results that no score gives": (
        lambda o: forge(o / T / "record.json", results=results(de=99.0, fr=51.0)),
        f"{T}: results.targets.xnli.languages.de.accuracy is 99.0, but scores/ give 51",
    ),
    "results of a language without a score": (
        lambda o: forge(o / T / "record.json", results=results(de=51.0, fr=51.0, sw=51.0)),
        f"{T}: results.targets.xnli.languages.sw.accuracy is 51.0, but scores/ give null",
    ),
    "a mean that is none": (
        lambda o: forge(o / T / "record.json", results=results(zero_shot=90.0, de=51.0, fr=51.0)),
        f"{T}: results.targets.xnli.zero_shot is 90.0, but scores/ give 51.0",
    ),
    "hashes of zeros": (
        lambda o: forge(o / M / "record.json", files={"encoder.safetensors": "0" * 64}),
        f"{M}: file: encoder.safetensors was changed",
    ),
    "code of zeros": (
        lambda o: forge_hashes(o / M / "record.json", lib={"run/steps.py": "0" * 64}),
        f"{M}: lib: run/steps.py",
    ),
    "encoder of zeros": (
        lambda o: forge_hashes(o / M / "record.json", encoder="0" * 64),
        f"{M}: encoder: other weights",
    ),
    "two variants that changed places": (
        lambda o: swap_folders(o / M, o / N), f"{M}: notebook.ipynb was run for variant 'none'"
    ),
    "two variants that changed places, rehashed": (
        lambda o: (swap_folders(o / M, o / N), forge(o / M / "record.json", variant="mnli")),
        f"{M}: notebook.ipynb was run for variant 'none'",
    ),
    "a record of brackets": (
        lambda o: (o / M / "record.json").write_text("[" * 100_000),
        f"{M}: record: ",
    ),
    "a score in the place of a record": (
        lambda o: shutil.copy(o / T / "scores/xnli.de.json", o / M / "record.json"),
        f"{M}: record: ",
    ),
    "other line ends in a record": (
        lambda o: (o / M / "record.json").write_bytes(
            (o / M / "record.json").read_bytes().replace(b"\n", b"\r\n")
        ),
        f"{M}: record: record.json was changed by hand",
    ),
    "another definition of scores": (
        lambda o: forge(o / M / "record.json", metric_version=9), f"{M}: metric_version: 9 -> "
    ),
    "results of another target": (
        lambda o: forge(o / T / "record.json", results={"targets": {"tatoeba": {}}}),
        f"{T}: results.targets: tatoeba is missing or foreign",
    ),
    "no results": (
        lambda o: forge(o / T / "record.json", results={"targets": None}),
        f"{T}: results.targets: xnli is missing or foreign",
    ),
    "results of another shape": (
        lambda o: forge(o / T / "record.json", results={"targets": {"xnli": {"languages": "x"}}}),
        f"{T}: results.targets.xnli.languages is \"x\", but scores/ give null",
    ),
    "results of a list": (
        lambda o: forge(o / T / "record.json", results={"targets": ["xnli"]}),
        f"{T}: results.targets are not results of a transfer",
    ),
    "a score that is in no result": (
        lambda o: forge(o / T / "record.json", results=results(51.0, de=51.0)),
        f"{T}: results.targets.xnli.languages.fr.accuracy is null, but scores/ give 51",
    ),
    "a notebook of no cells": (
        lambda o: ((o / T / "notebook.ipynb").unlink(),
                   (o / T / "notebook.ipynb").write_text('{"cells": null, "metadata": {}}')),
        f"{T}: file: notebook.ipynb was changed",
    ),
    "a table beside the variants": (
        lambda o: write(o / "01_intermediate/mnli/better.csv", "x"),
        "01_intermediate/mnli/better.csv is not named by a record",
    ),
    "scores of a step that the study has not": (
        lambda o: write(o / "02_transfer/qqp/seed1/part1/scores/xnli.de.json", "x"),
        "02_transfer/qqp/seed1/part1/scores/xnli.de.json is not named by a record",
    ),
    "hashes of another type": (
        lambda o: forge_hashes(o / T / "record.json", lib="x", upstream=["x"]), f"{T}: lib: "
    ),
    "a newer schema": (
        lambda o: replace(o / T / "record.json", '"schema_version": 1', '"schema_version": 9'),
        "schema version 9; this midway reads 1 to 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_is_found_and_named(project, fault):
    change, words = FAULTS[fault]
    change(project.out)
    problems = audit.audit(project.out)["problems"]
    assert any(words in p for p in problems), problems


def test_files_that_no_record_names_are_noted(project):
    """A second page, a table beside it, and a page whose record is gone."""
    write(project.out / "tables/better.csv", "x")
    write(project.out / "index2.html", "x")
    (project.out / "05_report/record.json").unlink()
    found = audit.audit(project.out)
    assert found["problems"] == []
    for name in ("tables/better.csv", "index2.html", "index.html"):
        assert f"{name} is not named by a record" in found["notes"]


def test_another_library_and_another_notebook_are_found(project):
    """Numbers are only explained by the code that they were made with."""
    path = project.root / "lib/midway/study/tasks.py"
    path.write_text(path.read_text() + "CHANGED = True\n")
    found = json.loads(project.midway("audit", "--json").stdout)["problems"]
    assert f"{M}: lib: study/tasks.py" in found


def test_a_renamed_study_and_what_is_left_of_others_are_noted(project):
    """plan calls a renamed study done; so does audit, and says it."""
    renamed = project.out.with_name("renamed")
    project.out.rename(renamed)
    replace(renamed / "params.yaml", "study: toy", "study: renamed")
    write(renamed / "02_transfer/qqp/seed1/part1/record.json", "{}")
    found = audit.audit(renamed)
    assert found["problems"] == []
    assert "the study has been renamed: renamed, toy" in found["notes"]
    assert any(n.startswith("02_transfer/qqp/seed1/part1: not a step") for n in found["notes"])


def test_what_a_viewer_saves_into_a_notebook_is_no_change(project):
    path = project.out / T / "notebook.ipynb"
    tree = json.loads(path.read_text())
    tree["metadata"]["language_info"] = {"name": "python", "version": "3.99"}
    tree["cells"][0]["metadata"]["editable"] = True
    path.unlink()
    path.write_text(json.dumps(tree))
    assert audit.audit(project.out)["problems"] == []


def test_the_verb_prints_problems_and_ends_with_one(project):
    (project.out / T / "predictions/xnli/test-de.tsv").write_text("b\n")
    done = project.midway("audit")
    assert done.returncode == 1 and "problem: " in done.stdout and "Traceback" not in done.stderr
    assert project.midway("audit", "--json").returncode == 1


def test_steps_that_have_not_run_are_noted_not_blamed(project):
    (project.out / "03_correlation" / "record.json").unlink()
    found = audit.audit(project.out)
    assert any("03_correlation: no record" in n for n in found["notes"])
    assert all("05_report" in p for p in found["problems"])


@pytest.mark.slow
def test_a_second_execution_finds_the_same_numbers_or_says_which_differ(project):
    done = project.midway("audit", "--rerun", T)
    assert done.returncode == 0 and "predictions and weights are equal" in done.stdout
    forge(project.out / T / "record.json", results={"targets": {"xnli": {"zero_shot": 50}}})
    done = project.midway("audit", "--rerun", T)
    assert done.returncode == 1
    assert "results.targets.xnli.zero_shot was 50, is 51 (by +1)" in done.stdout
    weights = project.out / M / "encoder.safetensors"
    weights.write_bytes(b"mnli 2")  # and rehashed: only a second execution sees it
    files = records.load(project.out / M / "record.json").files
    forge(project.out / M / "record.json", files=files | {"encoder.safetensors": sha256(weights)})
    done = project.midway("audit", "--rerun", M)
    assert done.returncode == 1 and f"problem: {M}: encoder.safetensors differs" in done.stdout
    wrong = project.midway("audit", "--rerun", "02_transfer")
    assert wrong.returncode == 2 and "name one step" in wrong.stderr


def test_comparing_names_the_place_and_the_difference():
    old = {"a": [1, {"b": 2.0}], "c": None, "d": "x"}
    new = {"a": [1, {"b": 2.5}], "c": 1, "d": "x"}
    assert audit.compare(old, new) == [
        "results.a[1].b was 2.0, is 2.5 (by +0.5)", "results.c was null, is 1"
    ]  # fmt: skip
    assert audit.compare(old, json.loads(json.dumps(old))) == []
