"""The stand-in hub as fixtures: real clients, an own empty cache, no waiting between attempts."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import repositories
import server
from huggingface_hub import _tree_cache, constants
from tiny_studies import big, project  # noqa: F401  (fixtures)

from midway.data.hub import chooser  # noqa: F401  (imported before the clients are pointed)
from midway.study import repository


@pytest.fixture(scope="session")
def repos(tmp_path_factory) -> Path:
    return repositories.write(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def hub(repos, tmp_path, monkeypatch):
    """A running stand-in with every card's repositories; the clients of this process ask it."""
    running = server.Server(repos)
    point(monkeypatch, running.url, tmp_path / "hf")
    yield running
    running.stop()


def point(monkeypatch, url: str, cache: Path) -> None:
    """Let the clients, which read their environment when imported, ask ``url``."""
    old = constants.ENDPOINT
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(old, url)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    _tree_cache._IN_MEMORY_TREE_CACHE.clear()
    monkeypatch.setattr(repository, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(repository, "READ", {})
