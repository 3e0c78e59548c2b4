"""The runner: a notebook, its state file and the exit code tell the same true story."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import nbformat
import pytest

import midway
import toy
from midway.run import engine, notebook
from midway.run import status as state
from midway.study.errors import InputError


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
    assert str(os.path.dirname(midway.__file__)) in text(nb)


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
    "an unknown magic": ("%nosuchmagic", "failed", 1, "UsageError: Line magic function"),
    "memory of the GPU": (
        "raise RuntimeError('CUDA out of memory. Tried')", "failed", 1, "halve batch_size"
    ),
    "os._exit(1)": ("import os; os._exit(1)", "died", 138, "exit code 1"),
    "os._exit(0)": ("import os; os._exit(0)", "died", 138, "exit code 0"),
    "kill -9 of the kernel": (
        "import os; os.kill(os.getpid(), 9)", "died", 138, "signal 9: most often for want of memory"
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
    monkeypatch.setattr(engine, "OUTPUT_BUDGET", 1000)
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
    monkeypatch.setattr(engine, "Client", None)
    path = toy.write_notebook(tmp_path, "n", ["x = None"])
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].source = 'seed = 1  # int\nvariant: str = "none"\nlr = 0.1'
    nbformat.write(nb, path)
    given, words = PARAMETERS[fault]
    with pytest.raises(InputError, match=words.replace("?", "\\?")):
        notebook.execute(path, tmp_path / "o", given)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("content", ["", "{", '{"cells": 3}', "\x00\xff", "[]"])
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
    monkeypatch.setattr(engine, "BOOT", first + engine.BOOT)
    assert execute("print(1)")[0].state == "done" and flag.exists()


@pytest.mark.slow
def test_a_kernel_that_never_starts_is_a_failure_with_a_reason(execute, monkeypatch):
    monkeypatch.setattr(engine, "BOOT", "import os; os._exit(1)")
    outcome, _ = execute("print(1)")
    assert outcome.code == 1 and "no kernel could be started, twice" in outcome.error


def test_readers_never_see_a_broken_notebook(execute, tmp_path, monkeypatch):
    """papermill alone: 9 of 100 reads during a run were not valid JSON."""
    monkeypatch.setattr(engine, "SAVE_EVERY", 0.0)
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
    code = "import sys; from midway.run import notebook as runner; from pathlib import Path; "
    code += "sys.exit(runner.execute(Path(sys.argv[1]), Path(sys.argv[2]), {'x': 1}).code)"
    env = os.environ | {
        "PYTHONPATH": str(engine.root().parent),
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


def test_a_process_is_named_by_its_start_time_too():
    """Process ids are used again: another process must not pass for a run that is gone."""
    here = state.me()
    assert state.alive(here)
    assert not state.alive(here | {"ticks": "1"})
    assert not state.alive(here | {"pid": 2**22 + 1})


def test_a_runner_of_another_machine_lives_as_long_as_it_gives_signs(tmp_path):
    beat = tmp_path / "state.json"
    beat.write_text("{}")
    there = {"pid": 1, "ticks": "1", "host": "elsewhere"}
    assert state.alive(there, beat)
    os.utime(beat, (time.time() - 3600,) * 2)
    assert not state.alive(there, beat)


def test_signals_become_an_interruption():
    with pytest.raises(notebook.Interrupted, match="SIGTERM"):
        notebook._on_signal(signal.SIGTERM, None)
