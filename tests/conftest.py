"""Fixtures that several test modules use; the suite never opens a socket off this machine."""

import os
import signal
import socket
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
hypothesis.settings.register_profile("slow machine", deadline=None)  # no test fails for its time
hypothesis.settings.load_profile("slow machine")

ROOT = Path(__file__).resolve().parents[1]
LONG = (  # files that take longest, longest first
    "hub/test_studies", "faults/test_runs", "notebooks/test_few_scores", "notebooks/test_notebooks",
    "run/test_schedule", "run/test_notebook", "notebooks/test_answer",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest files first: else one process works on the last of them alone."""
    place = {f"tests/{name}.py": i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONG)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real task files that stands beside a checkout; tests skip without it."""
    folder = Path(os.environ.get("MIDWAY_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real task files are not at {folder} (set MIDWAY_SHARED to their folder)")
    return folder


@pytest.fixture
def project(tmp_path, tmp_path_factory, monkeypatch):
    """A toy project of its own with a finished study (see :func:`toy.finished`)."""
    import toy

    made = toy.finished(tmp_path / "p", tmp_path_factory.getbasetemp())
    monkeypatch.setenv("MIDWAY_ROOT", str(made.root))
    return made


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every connection that would leave this machine."""
    real = socket.socket.connect

    def connect(self, address):
        host = address[0] if isinstance(address, tuple) else ""
        if host and not (host.startswith("127.") or host in ("localhost", "::1")):
            raise OSError(f"tests must not use the network: {address}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
