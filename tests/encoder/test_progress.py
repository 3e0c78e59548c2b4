"""Progress is for people who look: nothing of it in executed notebooks and log files."""

import nbformat
import pytest
from nbclient import NotebookClient

from midway.encoder import progress


def test_a_run_and_a_pipe_are_quiet(monkeypatch, capfd):
    """Thousands of bars in an executed notebook or a job's log would hide what matters."""
    monkeypatch.setenv("MIDWAY_RUNNER", "1")
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.bar([1, 2], "training", 2)) == [1, 2]
    monkeypatch.delenv("MIDWAY_RUNNER")
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    assert list(progress.bar([1, 2], "training", 2)) == [1, 2]
    assert capfd.readouterr().err == ""


def test_a_person_sees_what_runs(monkeypatch, capfd):
    """Forty seconds of silence look like a hang."""
    monkeypatch.setattr(progress, "quiet", lambda: False)
    assert list(progress.bar(iter([3, 4]), "training mnli", 4, 2)) == [3, 4]
    assert "training mnli" in capfd.readouterr().err


@pytest.mark.slow
def test_progress_in_a_kernel():
    """A saved notebook has no live widgets: where a bar was it would say "model not found".

    Under papermill and nbconvert nobody looks, and the output widget of a menu can stop them."""
    bar = "for i in progress.bar(range(3), 'training', 3): print(i)\nprint(progress.quiet())"
    code = ["from midway import progress\n" + bar, bar]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in code])
    client = NotebookClient(book, kernel_name="python3", timeout=60)
    seen = lambda cell, cell_index: setattr(client.kc, "allow_stdin", not cell_index)  # noqa: E731
    client.on_cell_start = seen
    client.execute()
    assert not [o for c in book.cells for o in c.outputs if "widget" in str(o.get("data"))]
    shown = ["".join(o.get("text", "") for o in c.outputs) for c in book.cells]
    assert shown == ["0\n1\n2\nFalse\n", "0\n1\n2\nTrue\n"]
