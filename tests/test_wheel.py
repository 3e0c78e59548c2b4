"""A plain install of the light core, outside a clone: what it does, and what it says it cannot."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIGHT = (  # what pip installs with the wheel: its dependencies and theirs
    "numpy scipy pandas statsmodels patsy packaging pydantic pydantic_core annotated_types "
    "typing_extensions typing_inspection yaml _yaml shtab click dateutil six tzdata pytz "
    "formulaic narwhals interface_meta wrapt jinja2 markupsafe"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> tuple[Path, dict]:
    """The wheel in an environment of its own that has the light packages only."""
    folder = tmp_path_factory.mktemp("plain install")
    for name in ("lib", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *alone, "-w", folder, folder], check=True, capture_output=True)
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    wheel = next(folder.glob("*.whl"))
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", site, wheel], check=True, capture_output=True
    )
    here = Path(next(p for p in sys.path if p.endswith("site-packages")))
    for name in LIGHT.split():
        for found in (here / name, here / f"{name}.py", here / f"{name}.libs"):
            if found.exists():
                Path(site, found.name).symlink_to(found)
    (folder / "away").mkdir()
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MIDWAY_ROOT")}
    return folder, env


def midway(installed, *words):
    folder, env = installed
    command = [folder / "env" / "bin" / "python", "-m", "midway", *map(str, words)]
    done = subprocess.run(command, cwd=folder / "away", env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr[-1500:]
    return done


@pytest.mark.slow
def test_correlate_and_score_need_no_torch(installed):
    """Somebody with a table or predictions of their own does not want two gigabytes first."""
    away = installed[0] / "away"
    rows = ["task,acc,gain", "a,80,3", "b,70,5", "c,90,1", "d,60,2", "e,85,-1", "f,50,4"]
    (away / "t.csv").write_text("\n".join(rows) + "\n")
    done = midway(installed, "correlate", "t.csv", "--unit", "task", "--predictors", "acc",
                  "--outcomes", "gain", "--permutations", "999", "--resamples", "999")  # fmt: skip
    assert done.returncode == 0 and "acc" in done.stdout, done.stderr
    done = midway(installed, "correlate", "t.csv", "--unit", "task", "--predictors", "acc",
                  "--outcomes", "gain", "--permutations", "999", "--out", "made")  # fmt: skip
    assert done.returncode == 0 and "toprule" in (away / "made" / "correlation.tex").read_text()
    for name in ("predictions", "labels"):
        (away / name / "xnli").mkdir(parents=True)
        (away / name / "xnli" / "test-de.tsv").write_text("entailment\nneutral\n")
    done = midway(installed, "score", "predictions", "labels")
    assert done.returncode == 0 and "100" in done.stdout, done.stderr


@pytest.mark.slow
def test_recommend_reads_a_folder_of_records(installed):
    """A colleague's outputs folder is enough; neither torch nor the clone is needed."""
    import synthetic

    synthetic.write(ROOT, installed[0] / "away" / "theirs")
    done = midway(installed, "recommend", "theirs")
    assert done.returncode == 0 and "multi" in done.stdout and "binomial" in done.stderr
    for words in (["design", "theirs"], ["design"]):
        done = midway(installed, *words)
        assert done.returncode == 0 and done.stdout, (words, done.stderr)
    for verb in ("status", "audit", "compare"):  # they need the project's notebooks and library
        done = midway(installed, verb, *["theirs"] * (1 + (verb == "compare")))
        assert done.returncode == 2 and "needs the project's folder" in done.stderr


@pytest.mark.slow
def test_lists_outside_a_clone(installed):
    """No params files are there: an empty answer would look like a study without any."""
    assert "xnli" in midway(installed, "list", "tasks").stdout
    assert midway(installed, "list", "encoders").stdout
    done = midway(installed, "list", "params")
    assert done.returncode == 2 and "needs the project's folder" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["run", "plan", "doctor", "fetch"])
def test_what_needs_the_project_says_so(installed, verb):
    """`run` once wrote its outputs into site-packages and failed on a missing file."""
    shutil.copy(ROOT / "params" / "smoke.yaml", installed[0] / "away" / "x.yaml")
    done = midway(installed, verb, "x.yaml")
    assert done.returncode == 2 and "needs the project's folder" in done.stderr
    assert done.stderr.count("\n") == 1 and not list(installed[0].glob("env/**/outputs"))


@pytest.mark.slow
def test_a_missing_package_is_named_with_its_extra(installed):
    """In a clone without the heavy packages, doctor says what to install."""
    folder, env = installed
    done = midway((folder, env | {"MIDWAY_ROOT": str(ROOT)}), "doctor", ROOT / "params/smoke.yaml")
    assert done.returncode == 2 and "pip install 'midway[all]'" in done.stderr
