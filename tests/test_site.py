"""The rendered site: every setting is explained, every page and link is built."""

import importlib.util
import re
import subprocess
import sys

import pytest

from midway.study import params


@pytest.fixture(scope="module")
def site(root):
    spec = importlib.util.spec_from_file_location("build_site", root / "docs" / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_is_explained(site):
    """A key without a comment beside it would stand in the reference without a meaning."""
    text = site.settings()
    for group, field in params.Study.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, params.Strict)):
            assert f"| `{group}` |" in text
            continue
        for key, inner in model.model_fields.items():
            row = re.search(rf"^\| `{group}\.{key}` \| (.+) \| (.+) \| (.+) \|$", text, re.M)
            assert row and len(row[3]) > 5, f"{group}.{key}"
            assert row[2] == f"`{site.json.dumps(inner.default)}`"
    assert "| `intermediate.multi_cap` | whole number; at least 1 | `131072` | K of " in text


@pytest.mark.slow
def test_the_site_builds(root):
    """mkdocs is strict: a dead link or a page that cannot be rendered stops the build."""
    pytest.importorskip("mkdocs_jupyter")
    command = [sys.executable, root / "docs" / "build_site.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for page in ("index", "docs/settings", "docs/api", "notebooks/00_tour", "docs/install"):
        html = (root / "site" / f"{page}.html").read_text(encoding="utf-8")
        assert "</html>" in html
        assert not re.findall(r'<script[^>]+src="?https?:|<link[^>]+stylesheet[^>]+https?:', html)
    text = (root / "site/notebooks/00_tour.html").read_text(encoding="utf-8")
    for link in re.findall(r'href="(\.\./docs/[^"#]+)', text):
        assert (root / "site" / "notebooks" / link).exists(), link
