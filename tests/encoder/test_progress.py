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
