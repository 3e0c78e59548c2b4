"""Fixtures of tests that run notebooks in their own process."""

import pytest


@pytest.fixture
def one_format(monkeypatch):
    """Figures as SVG only: drawing each three times is most of what 03 takes here."""
    from midway.report import drawing

    draw = drawing._file
    monkeypatch.setattr(drawing, "_file", lambda fig, end: draw(fig, end) if end == "svg" else b"")


@pytest.fixture
def clone(root, tmp_path, monkeypatch):
    """A new clone as the project: work by hand leaves no files in this one."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for part in ("notebooks", "lib", "docs", "params", "pyproject.toml"):
        (folder / part).symlink_to(root / part)
    monkeypatch.setenv("MIDWAY_ROOT", str(folder))
    return folder
