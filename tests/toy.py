"""A toy project with the real chain and records, whose notebooks take milliseconds.

``hook(step_path, code)`` puts code into a step without changing its notebook: how faults get in.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path

import nbformat
from filelock import FileLock

from midway.run import steps
from midway.study import params

PROJECT = Path(__file__).resolve().parents[1]
ONE_STEP = PROJECT / "tests" / "one_step.py"
STUDY = """study: toy
seeds: [1]
data: {dev_size: 10}
intermediate: {variants: [none, mnli], steps: 2}
transfer: {targets: [xnli, tatoeba], targets_per_job: 1, steps: 2}
"""
HOOK = """import os
from pathlib import Path
name = Path(out).as_posix().partition("toy/")[2].replace("/", ".")
hook = Path(os.environ["MIDWAY_ROOT"], "hooks", f"{name}.py")
exec(hook.read_text() if hook.exists() else "")
"""
BEGIN = (
    "from midway.run import record as records, recording\n"
    "from midway.study import params\n"
    "step = recording.begin(out, {step!r}, params.load(study){which})"
)
CELLS = {
    "01_intermediate": [
        "study, out, variant, seed = None, None, None, None",
        BEGIN.format(step="01_intermediate", which=", variant, seed"),
        HOOK,
        "(Path(out) / 'encoder.safetensors').write_bytes(f'{variant} {seed}'.encode())",
        "step.finish({'task': variant, 'trajectory': [{'step': 0}]}, ['encoder.safetensors'])",
    ],
    "02_transfer": [
        "study, out, variant, seed, part = None, None, None, None, None",
        BEGIN.format(step="02_transfer", which=", variant, seed, part"),
        HOOK,
        "encoder = Path(out).parents[3] / '01_intermediate' / variant / f'seed{seed}'\n"
        "(encoder / 'encoder.safetensors').read_bytes()",
        "computed = []\n"
        "for target in step.study.parts()[part]:\n"
        "    for lang in ('de', 'fr'):\n"
        "        if step.scored(target, lang) is None:\n"
        "            path = Path(out) / 'predictions' / target / f'test-{lang}.tsv'\n"
        "            records.write_atomic(path, 'a\\n')\n"
        "            metrics = {'accuracy': 50 + seed}\n"
        "            step.score(target, lang, n=2, metrics=metrics, predictions=path)\n"
        "            computed.append(lang)\n"
        "print(computed)",
        "step.finish({'targets': {t: {'zero_shot': 50 + seed} for t in step.study.parts()[part]}})",
    ],
    "03_correlation": [
        "study, out = None, None",
        BEGIN.format(step="03_correlation", which=""),
        HOOK,
        "step.finish({'rho': 0.5})",
    ],
    "04_published": [
        "study, out = None, None",
        BEGIN.format(step="04_published", which=""),
        HOOK,
        "step.finish({})",
    ],
    "05_report": [
        "study, out = None, None",
        BEGIN.format(step="05_report", which=""),
        HOOK + "from midway.study import files\n",
        "from midway.run import steps\n"
        "done = [s.path for s in steps.steps(step.study)]\n"
        "done = [p for p in done if (Path(study).parent / p / 'record.json').exists()]\n"
        "files.write_atomic(Path(study).parent / 'index.html', '\\n'.join(done))",
        "step.finish({}, ['../index.html'])",
    ],
}


def write_notebook(folder: Path, step: str, sources: list[str]) -> Path:
    """A notebook whose first source is its parameter cell, ``a, b = None, None``."""
    nb = nbformat.v4.new_notebook()
    names = sources[0].partition("=")[0].split(",")
    parameters = "\n".join(f"{name.strip()} = None" for name in names)
    nb.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    nb.cells += [nbformat.v4.new_code_cell(source) for source in sources[1:]]
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, folder / f"{step}.ipynb")
    return folder / f"{step}.ipynb"


class Toy:
    """One toy project below ``root``."""

    def __init__(self, root: Path, fresh: bool = True):
        self.root, self.params, self.out = root, root / "params/toy.yaml", root / "outputs/toy"
        temporary = tempfile.mkdtemp(prefix="toy-")  # a run that is killed leaves its socket there
        weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)
        own = {"MIDWAY_ROOT": str(root), "PYTHONPATH": str(root / "lib"), "TMPDIR": temporary}
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MIDWAY")} | own
        if fresh:
            self.make()

    def make(self) -> None:
        root = self.root
        for name in ("notebooks", "params", "hooks"):
            (root / name).mkdir(parents=True, exist_ok=True)
        lib = root / "lib" / "midway"
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "lib" / "midway", lib, ignore=skip)
        preload = lib / "run" / "preload.py"  # toy steps need no large library
        few = 'LIBRARIES = ("ipykernel.kernelapp",)'
        preload.write_text(re.sub(r"LIBRARIES = \(.*?\n\)", few, preload.read_text(), flags=re.S))
        shutil.copytree(PROJECT / "profiles", root / "profiles")
        self.params.write_text(STUDY)
        for step, sources in CELLS.items():
            self.notebook(step, sources)

    def notebook(self, step: str, sources: list[str]) -> Path:
        return write_notebook(self.root / "notebooks", step, sources)

    def hook(self, step: str, code: str = "") -> None:
        path = self.root / "hooks" / f"{step.replace('/', '.')}.py"
        path.write_text(code) if code else path.unlink(missing_ok=True)

    def midway(self, *args, **kwargs) -> subprocess.CompletedProcess:
        """``midway ARGS`` in a process of its own; the params file is added where one is needed."""
        return subprocess.run(
            self.command(*args),
            env=self.env | kwargs.pop("env", {}), cwd=kwargs.pop("cwd", self.root),
            capture_output=True, text=True, timeout=120, **kwargs,
        )  # fmt: skip

    def command(self, verb: str, *args) -> list[str]:
        where = [str(self.params if verb in ("run", "plan", "doctor") else self.out)]
        return [sys.executable, "-m", "midway", verb, *where, *map(str, args)]

    def shell(self, verb: str, *args) -> str:
        return shlex.join(map(str, self.command(verb, *args)))

    def start(self, verb: str, *args, **kwargs) -> subprocess.Popen:
        env = self.env | kwargs.pop("env", {})
        return subprocess.Popen(
            self.command(verb, *args), env=env, cwd=self.root, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **kwargs,
        )  # fmt: skip

    def step(self, step: str, **kwargs) -> subprocess.CompletedProcess:
        """One step through the runner; ``step`` as a folder, e.g. 01_intermediate/none/seed1."""
        return subprocess.run(
            self.step_command(step), env=self.env | kwargs.pop("env", {}), cwd=self.root,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def step_command(self, step: str) -> list[str]:
        stage, *rest = step.split("/")
        self.write_study()
        args = [sys.executable, str(ONE_STEP), stage, str(self.out / "params.yaml")]
        for option, value in zip(("--variant", "--seed", "--part"), rest, strict=False):
            args += [option, value.removeprefix("seed")]
        return args

    def write_study(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "params.yaml").write_text(self.params.read_text())

    def plan(self, *args) -> dict[str, dict]:
        done = self.midway("plan", "--json", *args)
        assert done.returncode == 0, done.stderr
        return {row["step"]: row for row in json.loads(done.stdout)}

    def state(self, step: str) -> dict:
        return json.loads((self.out / step / "state.json").read_text())

    def executed(self, step: str) -> nbformat.NotebookNode:
        return nbformat.read(self.out / step / "notebook.ipynb", as_version=4)

    def numbers(self) -> dict[str, dict]:
        """What must be equal after a kill and a resume: results and product hashes of all steps."""
        found, study = {}, params.load(self.params)
        known = [self.out / sid.path / "record.json" for sid in steps.steps(study)]
        for path in sorted(p for p in known if p.exists()):
            tree = json.loads(path.read_text())
            files = {k: v for k, v in tree["files"].items() if k != "notebook.ipynb"}
            found[path.parent.relative_to(self.out).as_posix()] = [
                tree["results"],
                files,
                tree["key"],
            ]
        return found


def numbered(step: str) -> list[str]:
    """Cells of 02 whose scores tell the learning rate, so that a mixed-up setting shows."""
    score = "50 + step.study.transfer.lr"
    return [cell.replace("50 + seed", score) for cell in CELLS[step]]


def finished(folder: Path, base: Path, tell: bool = False) -> Toy:
    """A toy project with a finished study; it is run once per test session and then copied.

    tell: its scores tell the settings (:func:`numbered`).
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all processes of the session
    first = base / ("finished and numbered toy" if tell else "finished toy, schön")
    with FileLock(first.with_suffix(".lock")):
        if not first.exists():
            project = Toy(first)
            if tell:
                project.notebook("02_transfer", numbered("02_transfer"))
            # as unkind a place as any: spaces, other letters, locale C, another working directory
            env = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}
            done = project.midway("run", cwd="/", env=env)
            assert done.returncode == 0, done.stderr
    shutil.copytree(first, folder, symlinks=True)
    return Toy(folder, fresh=False)


def wait_for(condition, seconds: float = 30.0):
    """Poll until ``condition()`` is true; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def kill(process_or_pid, number: int = signal.SIGKILL) -> None:
    """Kill one process that a test has started."""
    pid = getattr(process_or_pid, "pid", process_or_pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def gone(pid: int) -> bool:
    """Has a process ended (zombies count as ended)?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
