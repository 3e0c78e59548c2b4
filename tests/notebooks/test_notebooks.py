"""Every notebook: its skeleton, and that it runs by itself as a fresh clone would run it."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import synthetic
from midway.run import notebook as runner
from midway.run import record

NAMES = ["00_tour", "01_intermediate", "02_transfer", "03_correlation", "04_published", "05_report"]
SMALL = {"intermediate.steps": 2, "intermediate.train_size": 32, "intermediate.checkpoints": 1}
SMALL |= {"transfer.steps": 2, "transfer.train_size": 32, "data.test_size": 20}


@pytest.fixture(params=NAMES)
def notebook(request, root):
    path = root / "notebooks" / f"{request.param}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell) -> str:
    return "".join(cell["source"])


def test_skeleton(notebook):
    """Readers find the same places everywhere; sources hold no outputs and no long cells."""
    cells = notebook["cells"]
    code = [c for c in cells if c["cell_type"] == "code"]
    words = [c for c in cells if c["cell_type"] == "markdown"]
    tags = [t for c in cells for t in c["metadata"].get("tags", [])]
    assert source(cells[0]).startswith("# ") and "*Run time:*" in source(cells[0])
    assert "**reads**" in source(cells[1]) and "**writes**" in source(cells[1])
    assert [tags.count(t) for t in ("parameters", "setup", "checks")] == [1, 1, 1]
    assert (
        "## Summary" in source(cells[-1])
        and "**References:**" in source(cells[-1])
        or ("What's next" in source(cells[-1]))
    )
    assert len(words) >= len(code) - 2 and 15 <= len(cells) <= 42
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)
    assert max(len(source(c).splitlines()) for c in code) <= 20
    levels = [len(x.split()[0]) for c in words for x in source(c).splitlines() if x[:1] == "#"]
    assert levels.count(1) == 1 and max(levels) <= 3


def test_parameters_say_what_they_are(notebook):
    """One name, type, default and comment a line: what papermill and people read."""
    cell = next(c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    for line in source(cell).splitlines():
        (node,) = ast.parse(line).body
        assert isinstance(node, ast.Assign) and "  # " in line, line
        ast.literal_eval(node.value)


def execute(root, tmp_path, name, **given) -> dict:
    """Run a notebook in a kernel of its own; its texts by cell."""
    outcome = runner.execute(root / "notebooks" / f"{name}.ipynb", tmp_path, given)
    assert outcome.state == "done", f"{name}: {outcome.error} (code cell {outcome.cell})"
    if "out" in given:  # what run_step does when the notebook has ended well
        pending = Path(given["out"], record.PENDING)
        pending.rename(pending.with_name("record.json"))
    return json.loads((tmp_path / "notebook.ipynb").read_text(encoding="utf-8"))


def by_papermill(root, tmp_path, name, **given) -> dict:
    """Run a notebook as papermill's manual says, without our runner."""
    if shutil.which("papermill", path=os.path.dirname(sys.executable)) is None:
        pytest.skip("no papermill beside this Python")
    command = [sys.executable, "-m", "papermill", str(root / "notebooks" / f"{name}.ipynb")]
    command += [str(tmp_path / "out.ipynb"), "--log-level", "ERROR", "--no-progress-bar"]
    for key, value in given.items():
        command += ["-p", key, value]
    env = os.environ | {"PYTHONPATH": str(root / "lib")}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    if "No such kernel" in done.stderr:
        pytest.skip("no kernel named python3 is installed here")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((tmp_path / "out.ipynb").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_tour(root, tmp_path, clone):
    """The first notebook that anybody opens must run without anything else."""
    tree = execute(root, tmp_path, "00_tour", steps=2)
    pictures = [
        o for c in tree["cells"] for o in c.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 7 and (clone / "outputs/by_hand").is_dir()
    assert all(o["metadata"]["image/png"]["alt"] for o in pictures)


@pytest.mark.slow
def test_a_chain_by_hand(root, tmp_path):
    """01 and 02 by hand, one after the other, as a reader would: no runner, no params of ours."""
    for variant in ("none", "mnli"):
        first = tmp_path / "01_intermediate" / variant / "seed1"
        execute(root, tmp_path, "01_intermediate", variant=variant, changes=SMALL, out=str(first))
        assert record.load(first / "record.json").results["trajectory"]
    out = tmp_path / "02_transfer/mnli/seed1/part1"
    execute(root, tmp_path, "02_transfer", variant="mnli", changes=SMALL, out=str(out))
    assert set(record.load(out / "record.json").results["targets"]) == {"xnli", "xquad", "tatoeba"}


def test_links_lead_somewhere(notebook, root):
    """A link between notebooks and documents that leads nowhere ends a lesson."""
    text = "\n".join(source(c) for c in notebook["cells"] if c["cell_type"] == "markdown")
    local = [u for u in re.findall(r"\]\(([^)#]+)\)", text) if not u.startswith("http")]
    assert all((root / "notebooks" / u).exists() for u in local), local


def test_exercises_have_a_place_and_a_check(root):
    """An exercise without a place to try is a sentence."""
    for name in NAMES:
        tree = json.loads((root / f"notebooks/{name}.ipynb").read_text(encoding="utf-8"))
        cells = [source(c) for c in tree["cells"] if c["cell_type"] == "code"]
        assert any("yours = None" in c and "lesson.check(" in c for c in cells), name


@pytest.mark.slow
def test_the_heart_has_something_to_read(root, clone):
    """03 and 05 of a new clone show ten tasks of the sample, and touch no study."""
    env = os.environ | {"PYTHONPATH": str(root / "lib")}
    code = "from midway.run import outputs; s = outputs.source('05_report'); print(s.out, s.about)"
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "by_hand" in found.stdout and "sample" in found.stdout, found.stderr
    assert [p.name for p in (clone / "outputs").iterdir()] == ["by_hand"]


@pytest.mark.slow
def test_report_of_half_a_study(root, tmp_path):
    """05 by hand on a study of which most is to come."""
    folder = tmp_path / "half"
    synthetic.write(root, folder, seeds=(1,), transferred=["none", "mnli"])
    where = {"study": str(folder / "params.yaml"), "out": str(folder / "05_report")}
    tree = by_papermill(root, tmp_path, "05_report", **where)
    texts = json.dumps(tree["cells"])
    assert "changes the zero-shot" in texts and "to come" in texts
    assert (folder / "index.html").exists()
    assert record.load(folder / "05_report/record.json").results["done"] == 13


@pytest.mark.slow
def test_the_report_needs_no_torch(root, tmp_path):
    """The report is made beside a running study; it must not cost a training's memory."""
    code = "import midway.report.page, sys; print('torch' in sys.modules)"
    env = os.environ | {"PYTHONPATH": str(root / "lib")}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert found.stdout.split() == ["False"], found.stderr


@pytest.mark.slow
def test_plain_papermill_works(root, tmp_path):
    """Without our runner: papermill alone, as its manual says."""
    synthetic.write(root, tmp_path / "s", seeds=(1,), transferred=["none"])
    where = {"study": str(tmp_path / "s/params.yaml"), "out": str(tmp_path / "s/05_report")}
    by_papermill(root, tmp_path, "05_report", **where)
    assert (tmp_path / "s/index.html").exists()
