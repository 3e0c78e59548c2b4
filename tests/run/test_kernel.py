"""Forked kernels: the libraries of one process, and nothing else of it (faults: tests/faults)."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

import toy
from midway.run import kernel, notebook
from midway.study.files import root

linux = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
pytestmark = [pytest.mark.slow, linux]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A fork server as a run starts it, with all its libraries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_ROOT", str(tmp_path_factory.mktemp("root")))
        with kernel.forking(kernel.environment(root(), 1)):
            yield


def run(tmp_path, *cells):
    path = toy.write_notebook(tmp_path, "n", ["x = None", *cells])
    outcome = notebook.execute(path, tmp_path / "o", {})
    nb = nbformat.read(tmp_path / "o" / "notebook.ipynb", 4)
    return outcome, nb, "".join(o.get("text", "") for c in nb.cells for o in c.get("outputs", []))


def test_without_a_fork_server_there_is_no_forked_kernel(tmp_path):
    """It costs a step its quick start, not its life; so it is with options like -O."""
    assert kernel.fork([], str(tmp_path), {}, "") is None


FACTS = """import json, os, sys
loaded = sorted({name.partition(".")[0] for name in sys.modules})
parent = open(f"/proc/{os.getppid()}/cmdline").read()
own = [n for n in sys.modules if n.partition(".")[0] in ("midway", "__mp_main__", "pytest")]
print(json.dumps([loaded, own, parent, sys.path, os.environ["OMP_NUM_THREADS"], os.getcwd()]))
"""


def test_a_kernel_has_the_libraries_but_none_of_midways_code(server, tmp_path):
    """What a step computes must come from the files as they are when it starts."""
    outcome, _, text = run(tmp_path, FACTS)
    loaded, own, parent, path, threads, cwd = json.loads(text)
    assert outcome.state == "done" and "forkserver" in parent
    assert {"torch", "transformers", "datasets", "pandas", "seaborn"} <= set(loaded)
    assert own == [] and threads == "1" and cwd == str(root())
    assert path[0] == str(toy.PROJECT / "lib")


def test_figures_are_seen_in_a_forked_kernel(server, tmp_path):
    """Without its hooks matplotlib leaves <Figure size ...> in the executed notebook."""
    cells = [
        "import seaborn, matplotlib.pyplot as plt",
        "plt.plot([1, 2]);",
        "display(plt.subplots()[0])",
    ]
    outcome, nb, _ = run(tmp_path, *cells)
    assert outcome.state == "done"
    kinds = [{k for o in cell.outputs for k in o.get("data", {})} for cell in nb.cells[-2:]]
    assert all("image/png" in found for found in kinds), kinds


def test_random_numbers_are_not_those_of_the_next_kernel(server, tmp_path):
    cell = "import random, numpy\nprint(random.random(), numpy.random.rand())"
    one, two = run(tmp_path / "1", cell)[2].split(), run(tmp_path / "2", cell)[2].split()
    assert not set(one) & set(two)


def test_a_kernel_starts_processes_as_any_other(server, tmp_path):
    """Under the fork server's method each progress bar left a warning of a leaked semaphore."""
    cell = "import multiprocessing\nprint(multiprocessing.get_start_method())"
    plain = subprocess.check_output([sys.executable, "-c", cell], text=True)
    assert run(tmp_path, cell)[2] == plain


def test_a_kernels_end_is_known(server, tmp_path):
    assert run(tmp_path / "1", "import os; os._exit(3)")[0].error.endswith("exit code 3")
    assert "signal 9" in run(tmp_path / "2", "import os; os.kill(os.getpid(), 9)")[0].error
    assert run(tmp_path / "3", "print('the others live on')")[0].state == "done"


def test_kernels_are_not_forked_everywhere(monkeypatch):
    monkeypatch.setattr(kernel.multiprocessing.forkserver, "ensure_running", None)
    monkeypatch.setattr(kernel, "FORKS", None)  # another system
    with kernel.forking({}):
        pass


def test_threads_of_the_fork_server_are_seen():
    """A library that starts threads while it is imported: its kernels are not forks then."""
    code = "import importlib, threading; importlib.import_module = lambda _: None\n"
    code += "if {}: threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    code += "from midway.run import preload; print(preload.SAFE)"
    for other in (True, False):
        command = [sys.executable, "-c", code.format(other)]
        env = os.environ | {"PYTHONPATH": str(toy.PROJECT / "lib"), "OPENBLAS_NUM_THREADS": "1"}
        assert subprocess.check_output(command, text=True, env=env).strip() == str(not other)


def test_the_calling_program_is_not_run_again(tmp_path):
    """A script without a main guard would run once more in each kernel."""
    script = tmp_path / "script.py"
    script.write_text(
        "from midway.run import kernel\nprint('once')\n"
        "with kernel.forking(kernel.environment(kernel.Path.cwd(), 1)):\n"
        "    one = kernel.fork(['-h'], '.', dict(kernel.os.environ), 'log')\n"
        "    one.wait(60)\nprint(open('log').read().count('once'))\n"
    )
    env = os.environ | {"PYTHONPATH": str(toy.PROJECT / "lib")}
    command = [sys.executable, str(script)]
    said = subprocess.check_output(command, text=True, cwd=tmp_path, env=env)
    assert said.split() == ["once", "0"]
