"""Steps: a notebook, its state file and the exit code tell the same true story."""

import ast
import json
import os
import subprocess
import sys
import threading
import time

import nbclient.output_widget
import nbformat
import pytest

import toy
from midway.run import client, kernel, notebook, status, step
from midway.study.errors import InputError, ensure

LIB = toy.PROJECT / "lib"


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run cells as a notebook; its outcome and the executed notebook."""
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))

    def execute(*cells, parameters=None, **kwargs):
        path = toy.write_notebook(tmp_path, "n", ["x, y = None, None", *cells])
        outcome = notebook.execute(path, tmp_path / "o", parameters or {}, **kwargs)
        return outcome, nbformat.read(tmp_path / "o" / "notebook.ipynb", as_version=4)

    return execute


def statuses(nb):
    return [c.metadata.papermill.status for c in nb.cells if c.cell_type == "code"][-3:]


def text(nb):
    return "".join(o.get("text", "") for c in nb.cells for o in c.get("outputs", []))


def test_a_notebook_runs_in_this_interpreter_with_its_threads_and_root(execute, tmp_path):
    """Without any installed kernelspec, whatever kernel the notebook names."""
    outcome, nb = execute(
        "import os, sys; print(sys.executable, os.getcwd(), os.environ['OMP_NUM_THREADS'], x)",
        "import midway; print(midway.__file__, os.environ.get('MPLBACKEND'))",
        parameters={"x": "a 'quoted' name"},
        threads=3,
    )
    assert outcome.state == "done" and outcome.code == 0 and nb.metadata.midway.state == "done"
    assert f"{sys.executable} {tmp_path} 3 a 'quoted' name" in text(nb)
    assert str(LIB / "midway") in text(nb)


def test_an_unknown_kernelspec_in_the_notebook_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "empty"))
    path = toy.write_notebook(tmp_path, "n", ["x = None", "print(1)"])
    nb = nbformat.read(path, as_version=4)
    nb.metadata.kernelspec = {"name": "somebodys-conda", "display_name": "x", "language": "python"}
    nbformat.write(nb, path)
    assert notebook.execute(path, tmp_path / "o", {}).state == "done"


ENDS = {
    "a cell raises": ("1/0", "failed", 1, "ZeroDivisionError: division by zero"),
    "sys.exit(0)": ("import sys; sys.exit(0)", "done", 0, ""),
    "sys.exit(3)": ("import sys; sys.exit(3)", "failed", 1, "SystemExit: 3"),
    "exit()": ("exit()", "failed", 1, "SystemExit: exit() or quit() in a cell"),
    "quit(1)": ("quit(1)", "failed", 1, "SystemExit"),
    "exit, bare": ("exit", "failed", 1, "SystemExit"),
    "raise SystemExit(1)": ("raise SystemExit(1)", "failed", 1, "SystemExit: 1"),
    "an unknown magic": ("%nosuchmagic", "failed", 1, "UsageError: Line magic function"),
    "memory of the GPU": (
        "raise RuntimeError('CUDA out of memory. Tried')", "failed", 1, "halve batch_size"
    ),
    "os._exit(1)": ("import os; os._exit(1)", "died", 138, "exit code 1"),
    "os._exit(0)": ("import os; os._exit(0)", "died", 138, "exit code 0"),
    "kill -9 of the kernel": (
        "import os; os.kill(os.getpid(), 9)", "died", 138, "signal 9: most often for want of memory"
    ),
    "stdout set to None": ("import sys; sys.stdout = None", "failed", 1, "left a sys.stdout that"),
    "stderr without flush": (
        "import sys; sys.stderr = object()", "failed", 1, "left a sys.stderr that"
    ),
    "a kernel that cannot answer": (
        "get_ipython().kernel.session = None", "died", 138, "could not answer (AttributeError"
    ),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", "died", 138, "signal 11"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ENDS)
def test_every_end_is_told_truly(execute, fault):
    """papermill alone calls every cell completed when the kernel dies."""
    cell, state, code, words = ENDS[fault]
    outcome, nb = execute("print('before')", cell, "print('after')")
    assert (outcome.state, outcome.code) == (state, code) and words in outcome.error
    assert "before" in text(nb) and "after" not in text(nb)
    here = "completed" if state == "done" else "failed"
    assert statuses(nb) == ["completed", here, "pending"]
    assert nb.metadata.midway.state == state and nb.cells[0].source.startswith(f"`{state}`")
    assert outcome.cell == (4 if state != "done" else None)


def test_text_of_an_error_is_shown_as_text(execute):
    """A dataset row with a script tag must not become a script in somebody's browser."""
    _, nb = execute("raise ValueError('<script>alert(1)</script>\\n`x`')")
    assert "<script>" not in nb.cells[0].source and "&lt;script&gt;" in nb.cells[0].source


def test_output_is_bounded(execute, monkeypatch):
    """A forgotten print in a training loop must not make a notebook that no browser opens."""
    monkeypatch.setattr(client, "OUTPUT_BUDGET", 1000)
    outcome, nb = execute("for i in range(200): print('x' * 100, flush=True)", "print('y')", "1/0")
    assert outcome.error.startswith("ZeroDivisionError")
    assert len(text(nb)) < 2000 and text(nb).count("is left out") == 1
    assert nb.cells[-1].outputs[0].output_type == "error"


def test_a_progress_bar_leaves_its_last_state(execute):
    bar = (
        "import sys, time\nfor i in range(5): sys.stdout.write(f'\\r{i} of 5'); sys.stdout.flush();"
    )
    _, nb = execute(bar + " time.sleep(0.05)\nprint('\\nend')")
    (output,) = nb.cells[-1].outputs
    assert output.text == "4 of 5\nend\n"


PARAMETERS = {
    "typo": ({"seeed": 1}, "unknown notebook parameter 'seeed'; did you mean 'seed'?"),
    "text for a number": ({"seed": "10"}, "found '10', expected int"),
    "number for text": ({"variant": 3}, "found 3, expected str"),
}


@pytest.mark.parametrize("fault", PARAMETERS)
def test_a_wrong_parameter_is_refused_before_a_kernel_starts(tmp_path, fault, monkeypatch):
    monkeypatch.setattr(client, "Client", None)
    path = toy.write_notebook(tmp_path, "n", ["x = None"])
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].source = 'seed = 1  # int\nvariant: str = "none"\nlr = 0.1'
    nbformat.write(nb, path)
    given, words = PARAMETERS[fault]
    with pytest.raises(InputError, match="n.ipynb: .*" + words.replace("?", "\\?")):
        notebook.execute(path, tmp_path / "o", given)
    assert not (tmp_path / "o").exists()


def test_old_and_odd_notebooks_run(tmp_path, monkeypatch):
    """Format 3, a byte-order mark, null tags, one tag as text: right, as papermill reads them."""
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    path = toy.write_notebook(tmp_path, "n", ["x = None", "print(x)"])
    tree = json.loads(path.read_text())
    tree["cells"][0]["metadata"]["tags"] = "parameters"
    tree["cells"][1]["metadata"]["tags"] = None
    tree["nbformat_minor"] = 4  # though its cells have ids
    tree["cells"][1].pop("execution_count"), tree["cells"][1].pop("outputs")
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(tree).encode())
    assert notebook.execute(path, tmp_path / "o", {"x": 1}).state == "done"
    nb = nbformat.read(toy.write_notebook(tmp_path, "old", ["x = None", "print(x)"]), 4)
    nbformat.write(nbformat.v3.convert.downgrade(nb), tmp_path / "v3.ipynb")
    outcome = notebook.execute(tmp_path / "v3.ipynb", tmp_path / "o3", {"x": 1})
    assert outcome.state == "done"


@pytest.mark.parametrize("source", ["%matplotlib inline\nx = 1", "!ls", "x = ", "x = 1\n  y = 2"])
def test_a_parameters_cell_that_is_not_plain_python_is_refused(tmp_path, source):
    path = toy.write_notebook(tmp_path, "n", ["x = None"])
    tree = json.loads(path.read_text())
    tree["cells"][0]["source"] = source
    path.write_text(json.dumps(tree))
    with pytest.raises(InputError, match="'parameters' is not plain Python"):
        notebook.execute(path, tmp_path / "o", {"x": 1})


UNKIND = {
    "PYTHONOPTIMIZE": "2", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "5",
    "PYTHONSTARTUP": "/nowhere.py", "JUPYTER_CONFIG_DIR": "/proc", "MPLBACKEND": "nonsense",
    "TMPDIR": "/proc/nowhere", "HOME": "/proc/nowhere", "IPYTHONDIR": "/proc/nowhere",
}  # fmt: skip


@pytest.mark.parametrize("name", UNKIND)
def test_a_kernels_environment_is_made_not_inherited(tmp_path, name):
    """Variables of somebody's shell must not strip checks or change numbers."""
    text = "import os; print(__debug__, os.environ['OMP_NUM_THREADS'], hash('x') == {}, "
    text += "os.getcwd())"
    seed = {"PYTHONHASHSEED": "0"}
    code = [sys.executable, "-c", "print(hash('x'))"]
    value = subprocess.run(code, env=os.environ | seed, capture_output=True, text=True).stdout
    path = toy.write_notebook(tmp_path, "n", ["x = None", text.format(value.strip())])
    run = "import sys; from pathlib import Path; from midway.run import notebook; "
    run += "print(notebook.execute(Path(sys.argv[1]), Path(sys.argv[2]), {}))"
    env = os.environ | {"PYTHONPATH": str(LIB), "MIDWAY_ROOT": str(tmp_path), name: UNKIND[name]}
    command = [sys.executable, "-c", run, str(path), str(tmp_path / "o")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    assert "state='done'" in done.stdout, done.stdout + done.stderr
    said = text_of(tmp_path / "o" / "notebook.ipynb")
    assert f"True 1 True {tmp_path}" in said


def test_checks_are_no_bare_asserts():
    """PYTHONOPTIMIZE=1 strips them, and a notebook whose check fails would end as done."""
    sources = {p: p.read_text() for p in (LIB / "midway").rglob("*.py")}
    for path in (toy.PROJECT / "notebooks").glob("*.ipynb"):
        cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        sources[path] = "\n".join(cells)
    for path, source in sources.items():
        bare = [n.lineno for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assert)]
        assert not bare, f"{path}: use midway.study.errors.ensure"
    with pytest.raises(AssertionError, match="too few rows"):
        ensure([], "too few rows")


def text_of(path):
    return text(nbformat.read(path, as_version=4))


def test_an_executed_notebook_is_a_document(execute, tmp_path):
    """Read-only for editors; what a viewer saves into its metadata is no change, its text is."""
    from midway.study.files import file_hash

    execute("print('seen')")
    path = tmp_path / "o" / "notebook.ipynb"
    assert path.stat().st_mode & 0o777 == 0o444
    before, tree = file_hash(path), json.loads(path.read_text())
    path.unlink()
    tree["metadata"]["kernelspec"]["display_name"] = "my kernel"
    tree["cells"][-1]["metadata"]["collapsed"] = True
    tree["cells"][-1]["source"] = "".join(tree["cells"][-1]["source"])  # one string, not lines
    path.write_text(json.dumps(tree))
    assert file_hash(path) == before
    tree["cells"][-1]["outputs"][0]["text"] = ["other\n"]
    path.write_text(json.dumps(tree))
    assert file_hash(path) != before


CELL = {"cell_type": "code", "source": "x = 1", "metadata": {"tags": ["parameters"]},
        "outputs": [], "execution_count": None}  # fmt: skip
V4 = {"metadata": {}, "nbformat": 4, "nbformat_minor": 4}
WRONG = [
    {"cells": [CELL], "metadata": {}},
    {"cells": [CELL], "metadata": {}, "nbformat": 4},
    {"cells": [CELL | {"source": None}]} | V4,
    {"cells": [CELL | {"source": 3}]} | V4,
    {"cells": [{k: v for k, v in CELL.items() if k != "cell_type"}]} | V4,
    {"cells": [CELL | {"metadata": None}]} | V4,
    {"cells": [None]} | V4,
]


@pytest.mark.parametrize(
    "content", ["", "{", '{"cells": 3}', "\x00\xff", "[]", *map(json.dumps, WRONG)]
)
def test_a_broken_notebook_is_bad_input(tmp_path, content):
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(InputError, match="not a notebook"):
        notebook.execute(tmp_path / "n.ipynb", tmp_path / "o", {})


@pytest.mark.slow
def test_a_kernel_that_fails_to_start_is_started_once_more(execute, tmp_path, monkeypatch):
    flag = tmp_path / "first"
    first = (
        f"import os\nif not os.path.exists({str(flag)!r}): open({str(flag)!r}, 'w'); os._exit(1)\n"
    )
    monkeypatch.setattr(kernel, "BOOT", first + kernel.BOOT)
    assert execute("print(1)")[0].state == "done" and flag.exists()


@pytest.mark.slow
def test_a_kernel_that_never_starts_is_a_failure_with_a_reason(execute, monkeypatch):
    monkeypatch.setattr(kernel, "BOOT", "import os; os._exit(1)")
    outcome, _ = execute("print(1)")
    assert outcome.code == 1 and "no kernel could be started, twice" in outcome.error


def test_readers_never_see_a_broken_notebook(execute, tmp_path, monkeypatch):
    """papermill alone: 9 of 100 reads during a run were not valid JSON."""
    monkeypatch.setattr(client, "SAVE_EVERY", 0.0)
    bad, seen, stop = [], [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                seen.append(len(json.loads((tmp_path / "o" / "notebook.ipynb").read_text())))
            except FileNotFoundError:
                pass
            except ValueError as error:
                bad.append(error)
            time.sleep(0.002)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        execute(*["print('x' * 300_000)"] * 6)
    finally:
        stop.set()
        reader.join()
    assert len(seen) > 10 and not bad


@pytest.mark.slow
def test_parallel_starts_do_not_disturb_each_other(tmp_path, monkeypatch):
    """TCP kernels race for ports; 8 at once must all start."""
    path = toy.write_notebook(tmp_path, "n", ["x = None", "print(x)"])
    code = "import sys; from midway.run import notebook; from pathlib import Path; "
    code += "sys.exit(notebook.execute(Path(sys.argv[1]), Path(sys.argv[2]), {'x': 1}).code)"
    env = os.environ | {
        "PYTHONPATH": str(LIB),
        "MIDWAY_ROOT": str(tmp_path),
    }
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(tmp_path / f"o{i}")], env=env)
        for i in range(8)
    ]
    assert [p.wait(120) for p in started] == [0] * 8


@pytest.mark.slow
def test_no_slower_than_papermill(tmp_path, monkeypatch):
    """What truth costs: nothing that can be measured."""
    import papermill

    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    path = toy.write_notebook(tmp_path, "n", ["x = None", *["print(1)"] * 20])
    nb = nbformat.read(path, as_version=4)
    nb.metadata.kernelspec = {"name": "python3", "display_name": "p", "language": "python"}
    nbformat.write(nb, path)

    def best(call):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    def plain():
        papermill.execute_notebook(str(path), str(tmp_path / "p.ipynb"), progress_bar=False)

    plain()
    assert best(lambda: notebook.execute(path, tmp_path / "o", {})) < 1.2 * best(plain)


def test_a_runner_of_another_machine_lives_as_long_as_it_gives_signs(tmp_path):
    there = {"state": "running", "pid": 1, "host": "elsewhere"}
    (tmp_path / "state.json").write_text(json.dumps(there))
    assert status.read_state(tmp_path)["state"] == "running"
    os.utime(tmp_path / "state.json", (time.time() - 3600,) * 2)
    assert status.read_state(tmp_path)["state"] == "died"


def test_the_lock_tells_whether_a_step_is_executed_not_a_process_id(tmp_path):
    """Process ids are used again, and files are copied and torn."""
    (tmp_path / "state.json").write_text(json.dumps(status.me() | {"state": "running"}))
    assert status.read_state(tmp_path)["state"] == "died"
    with status.only_one(tmp_path):
        assert status.read_state(tmp_path)["state"] == "running"


def test_a_stopped_step_ends_as_interrupted(execute, tmp_path):
    stop, here = status.Stop(), tmp_path / "here"

    def wait():
        toy.wait_for(here.exists)
        stop.reason = "SIGTERM"

    threading.Thread(target=wait).start()
    cell = f"import time; open({str(here)!r}, 'w'); time.sleep(60)"
    outcome, nb = execute(cell, "print('after')", stop=stop)
    assert (outcome.state, outcome.code, outcome.error) == ("interrupted", 130, "SIGTERM")
    assert statuses(nb)[1:] == ["failed", "pending"]


def test_the_record_decides_how_a_killed_step_had_ended(tmp_path):
    """A kill between record.json and the last words in state.json: the step is done, not dead."""
    state = status.me() | {"state": "running"}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert status.read_state(tmp_path)["state"] == "died"
    (tmp_path / "record.json").write_text("{}")
    assert step.settle(tmp_path)["state"] == "done"
    assert json.loads((tmp_path / "state.json").read_text())["state"] == "done"


@pytest.mark.slow
def test_a_reply_that_comes_while_a_widget_is_answered_is_not_lost(execute, monkeypatch):
    """nbclient sends to an output widget past its own poller (its issue 312): the wake-up of a
    reply that arrives just then was gone, and the cell waited for ever."""
    send = nbclient.output_widget.OutputWidget.send

    def late(self, *args, **kwargs):
        time.sleep(1)  # the cell ends, and its reply is here
        send(self, *args, **kwargs)

    monkeypatch.setattr(nbclient.output_widget.OutputWidget, "send", late)
    stop, started = status.Stop(), time.monotonic()

    def beat():
        if time.monotonic() - started > 30:
            stop.reason = stop.reason or "it never ended"

    cell = "import ipywidgets\nwith ipywidgets.Output(): print(1)"
    outcome, _ = execute(cell, "y = 2", beat=beat, stop=stop)
    assert outcome.state == "done", outcome.error


@pytest.mark.parametrize("content", ["[]", "7", "null", '{"pid', "{}", '{"state": "running"}'])
def test_a_damaged_state_file_is_no_state(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    assert status.read_state(tmp_path).get("state") in (None, "died")
