"""The shipped hub studies made tiny, in a copy of the project that asks the stand-in."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import repositories
import server

from midway.study import tasks

ROOT = Path(__file__).parents[2]
MODELS = {
    "FacebookAI/xlm-roberta-large": ("c23d21b0620b635a76227c604d44e43a9f0ee389", 24),
    "FacebookAI/xlm-roberta-base": ("e73636d4f797dec63c3081bb6ed5c7b0bb3f2089", 12),
}
TINY = {
    "seeds": "[1]",
    "data.dev_size": 12,
    "data.test_size": 6,
    "correlation.permutations": 999,
    "correlation.resamples": 999,
}
for phase in ("intermediate", "transfer"):
    for key, value in (
        ("epochs", "null"), ("steps", 2), ("train_size", 24), ("batch_size", 4),
        ("accumulation", 1), ("max_length", 48), ("stride", 16), ("selections", 1), ("tasks", "{}"),
    ):  # fmt: skip
        TINY[f"{phase}.{key}"] = value
for key in ("eval_size", "probe_size"):
    TINY[f"intermediate.{key}"] = 6
TINY["intermediate.checkpoints"] = 1
TINY["transfer.targets_per_job"] = 9  # a start of a kernel costs more than a target here
TWO = {t: [lang for lang in ("en", "de", "zh", "fi") if lang in tasks.get(t).languages][:2]
       for t in tasks.TARGETS}  # fmt: skip
TINY["transfer.languages"] = json.dumps(TWO)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    root = repositories.write(tmp_path_factory.mktemp("big"), size=30)
    for name, (commit, layers) in MODELS.items():
        repositories.model(root, name, commit, layers)
    running = server.Server(root)
    yield running
    running.stop()


class Project:
    """A copy of what `midway` needs, an empty hub cache, and the stand-in's address."""

    def __init__(self, folder: Path, url: str):
        self.folder = folder
        for name in ("lib", "notebooks", "params", "profiles"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("requirements.lock", "pyproject.toml"):
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, folder / name)
        self.env = os.environ | {
            "HF_ENDPOINT": url, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0",
            "PYTHONPATH": str(folder / "lib"), "MIDWAY_ROOT": str(folder),
            "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip

    def midway(self, verb: str, name: str, *more: str, offline: bool = False, **changes):
        sets = [f"--set={key}={value}" for key, value in (TINY | changes).items()]
        words = [f"outputs/{name}"] if verb == "audit" else [f"params/{name}.yaml", *sets, *more]
        command = [sys.executable, "-m", "midway", verb, *words]
        env = self.env | {"HF_HUB_OFFLINE": str(int(offline))}
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=900
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr[-2000:]
        return done


@pytest.fixture
def project(tmp_path, big):
    big.faults.clear()
    return Project(tmp_path / "clone", big.url)
