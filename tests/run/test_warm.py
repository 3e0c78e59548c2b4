"""Forked kernels (their faults: tests/faults/test_steps.py)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

import toy
from midway.run import kernels, machine, notebook, warm
from toy import gone, wait_for

linux = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
pytestmark = pytest.mark.slow

KERNEL = """import json, os, sys
loaded = sorted({name.partition(".")[0] for name in sys.modules})
with open("seen.json", "w") as file:
    json.dump([loaded, sys.argv[1:], os.environ["MARK"]], file)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The process as a run starts it, with all its libraries: its folder, first in its path."""
    folder = tmp_path_factory.mktemp("warm")
    env = machine.kernel_environment(1)
    env["PYTHONPATH"] = os.pathsep.join([str(folder), env["PYTHONPATH"]])
    address = folder / "warm"
    command = [sys.executable, warm.__file__, address]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE) as process:
        wait_for(lambda: address.exists() or process.poll() is not None, 120)
        assert process.poll() is None, "an import has started threads: no kernel would be forked"
        yield process, folder


@pytest.fixture
def address(server, monkeypatch):
    monkeypatch.setenv(kernels.ADDRESS, str(server[1] / "warm"))
    return server[1]


def stand_in(folder, name: str, code: str):
    """A forked process that runs ``code`` in the place of ipykernel."""
    (folder / "ipykernel_launcher.py").write_text(code)
    try:
        kernel = kernels.fork(
            ["-f", name], str(folder), machine.kernel_environment(1) | {"MARK": name}
        )
        wait_for(lambda: (folder / "seen.json").exists() or kernel.poll() is not None)
    finally:
        (folder / "ipykernel_launcher.py").unlink()
    return kernel


@linux
def test_figures_are_seen_in_a_forked_kernel(address, tmp_path):
    """Without its hooks matplotlib leaves <Figure size ...> in the executed notebook."""
    cells = [
        "import seaborn, matplotlib.pyplot as plt",
        "plt.plot([1, 2]);",
        "display(plt.subplots()[0])",
    ]
    nb = toy.write_notebook(tmp_path, "figures", ["x = None", *cells])
    assert notebook.execute(nb, tmp_path, {}).state == "done"
    kinds = [
        {kind for output in cell.outputs for kind in output.get("data", {})}
        for cell in nbformat.read(tmp_path / "notebook.ipynb", 4).cells[-2:]
    ]
    assert all("image/png" in found for found in kinds), kinds


@linux
def test_a_kernel_has_the_libraries_but_none_of_midways_code(address):
    """What a step computes must come from the files as they are when it starts."""
    kernel = stand_in(address, "a b.json", KERNEL)
    assert kernel.wait(20) == 3 == kernel.poll()
    loaded, arguments, mark = json.loads((address / "seen.json").read_text())
    (address / "seen.json").unlink()
    assert {"torch", "transformers", "datasets", "pandas", "seaborn"} <= set(loaded)
    assert "midway" not in loaded
    assert arguments[:2] == ["-f", "a b.json"] and mark == "a b.json"


@linux
def test_a_kernel_and_its_runner_end_at_once(server, address):
    """It must not end the process, and with it the kernels of all other steps."""
    process, folder = server
    sleep = "import time\nopen('seen.json', 'w').close()\ntime.sleep(100)"
    one = stand_in(folder, "one", sleep)
    (folder / "seen.json").unlink()
    two = stand_in(folder, "two", sleep)
    (folder / "seen.json").unlink()
    os.kill(process.pid, signal.SIGSTOP)
    one.kill()
    wait_for(lambda: gone(one.pid))  # seen before the closed connection
    one.connection.close()
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.5)
    assert process.poll() is None and two.poll() is None
    two.kill()
    assert two.wait(5) == -9


def test_without_such_a_process_there_is_no_forked_kernel(tmp_path, monkeypatch):
    """A missing or dead one must cost a step its quick start, not its life."""
    monkeypatch.delenv(kernels.ADDRESS, raising=False)
    assert kernels.fork([], str(tmp_path), {}) is None
    monkeypatch.setenv(kernels.ADDRESS, str(tmp_path / "nobody"))
    assert kernels.fork([], str(tmp_path), {}) is None


@linux
@pytest.mark.parametrize("why", ["", "slurm", "gpu"])
def test_kernels_are_not_forked_everywhere(why, monkeypatch):
    """Turned off by an empty address; on a cluster and with GPUs nothing is started."""
    monkeypatch.delenv(kernels.ADDRESS, raising=False)
    if not why:
        monkeypatch.setenv(kernels.ADDRESS, "")
    monkeypatch.setattr(machine, "gpus", lambda _: ["0"] if why == "gpu" else [])
    monkeypatch.setattr(kernels.subprocess, "Popen", None)
    with kernels.forking(SimpleNamespace(threads=1), why if why == "slurm" else None):
        assert not os.environ.get(kernels.ADDRESS) and kernels.fork([], ".", {}) is None


@linux
def test_the_process_behind_the_kernels_ends_with_the_run(monkeypatch):
    """Its address and its folder go with it."""
    monkeypatch.delenv(kernels.ADDRESS, raising=False)
    monkeypatch.setattr(machine, "gpus", lambda _: [])
    started, start = [], subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1]
    )
    with kernels.forking(SimpleNamespace(threads=1), None):
        folder = Path(os.environ[kernels.ADDRESS]).parent
        assert folder.exists() and not gone(started[0].pid)
    assert kernels.ADDRESS not in os.environ and not folder.exists() and gone(started[0].pid)
