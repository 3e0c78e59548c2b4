"""Progress is for people who look: nothing of it in executed notebooks and log files."""

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


def test_a_bar_leaves_nothing_in_a_cell():
    """A saved notebook has no live widgets: where a bar was it would say "model not found"."""
    import nbformat
    from nbclient import NotebookClient

    code = "from midway import progress\nfor i in progress.bar(range(3), 'training', 3): print(i)"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(book, kernel_name="python3").execute()
    outputs = book.cells[0].outputs
    assert "".join(o.get("text", "") for o in outputs) == "0\n1\n2\n"
    assert not [o for o in outputs if any("widget" in kind for kind in o.get("data", {}))]
