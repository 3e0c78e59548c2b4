"""The documents: their commands run, their links lead somewhere, what they name exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import synthetic

BLOCK = re.compile(r"^```console\n(.*?)^```\n(<!-- not run: (.+?) -->)?", re.M | re.S)
ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(page: Path) -> list[tuple[str, bool]]:
    """Commands of a page, and whether the page says why they are not run here."""
    found = []
    for block, skipped, _ in BLOCK.findall(page.read_text(encoding="utf-8")):
        found += [(x[2:], bool(skipped)) for x in block.splitlines() if x.startswith("$ ")]
    return found


@pytest.fixture(scope="module")
def project(root, tmp_path_factory) -> Path:
    """A project of its own, in which commands may write: a study, README's table of results."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("notebooks", "lib", "docs", "profiles", "pyproject.toml",
                 "requirements.lock"):  # fmt: skip
        (folder / part).symlink_to(root / part)
    (folder / "params").mkdir()
    for file in (root / "params").glob("*.yaml"):
        (folder / "params" / file.name).write_bytes(file.read_bytes())
    synthetic.write(root, folder / "outputs" / "mini")
    readme = (root / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^```\n(task,seed.*?)```", readme, re.M | re.S)
    (folder / "results.csv").write_text(table[1], encoding="utf-8")
    return folder


RUN = [(name(p), c) for p in PAGES for c, skipped in commands(p) if not skipped]


@pytest.mark.slow
@pytest.mark.parametrize("page, command", RUN, ids=[f"{p}: {c[:50]}" for p, c in RUN])
def test_commands_run(project, page, command):
    """A command that does not work is the first thing a new user meets."""
    shim = project / "bin" / "midway"
    if not shim.exists():
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m midway "$@"\n')
        shim.chmod(0o755)
    env = os.environ | {
        "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project / "lib"),
        "MIDWAY_ROOT": str(project),
    }
    done = subprocess.run(command, shell=True, cwd=project, env=env, capture_output=True, text=True)  # noqa: S602
    # doctor ends with 1 when this machine lacks something, and says what
    codes = (0, 1) if " doctor " in command else (0,)
    assert done.returncode in codes and "Traceback" not in done.stderr, done.stderr[-1500:]
    assert done.stdout.strip() or command.startswith("cp ")


def test_commands_are_run_or_say_why_not():
    """Every document with commands is looked at, and most of them run."""
    every = [(name(p), *c) for p in PAGES for c in commands(p)]
    assert len(every) >= 15 and len(RUN) >= 8
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert "```bash" not in text and "```sh\n" not in text, f"{name(page)}: use console"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    """A dead link sends a reader away."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(
        r"\]\(([^)#]+)(?:#[^)]*)?\)", re.sub(r"<!--.*?-->", "", text, flags=re.S)
    ):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{name(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_in_text_exist(page):
    """Files that a page names in code spans are there."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:docs|params|tests|notebooks|profiles|lib)/[\w./-]+)`", text):
        if path not in ("params/x.yaml", "params/mine.yaml", "params/full.yaml", "docs/sample/"):
            assert (ROOT / path).exists() or path == "docs/figure.svg", f"{name(page)}: {path}"


def test_traps_name_real_tests():
    """Every trap is held by tests that exist."""
    text = (ROOT / "docs/traps.md").read_text(encoding="utf-8")
    defined = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 30 and named <= defined, sorted(named - defined)


def test_settings_in_documents_exist(root):
    """Settings that documents advise are known to the schema."""
    from midway.study import params

    known = set()
    for part in ("encoder", "data", "intermediate", "transfer", "correlation", "compute"):
        fields = params.Study.model_fields[part].annotation.model_fields
        known |= {f"{part}.{k}" for k in fields}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        used = re.findall(r"`((?:encoder|intermediate|transfer|compute)\.[a-z_]+)[`:=]", text)
        assert set(used) <= known, (name(page), sorted(set(used) - known))


def test_yaml_examples_are_valid_params(tmp_path):
    """The example teaches as it stands: tasks enough to correlate, a rate that learns."""
    from midway.study import params

    text = (ROOT / "docs/adding-an-encoder.md").read_text(encoding="utf-8")
    first = re.search(r"```yaml\n(.*?)```", text, re.S)[1]
    (tmp_path / "mine.yaml").write_text(first, encoding="utf-8")
    study = params.load(tmp_path / "mine.yaml")
    assert study.encoder.kind == "path" and len(study.intermediate.variants) >= 6
    assert study.training("transfer", "xquad").lr >= 1e-4


def test_the_first_screen_quotes_the_answer(root):
    """The numbers at README's top are those of the generated sentences below it."""
    text = (root / "README.md").read_text(encoding="utf-8")
    screen, answer = text.split("## What Midway does")[0], text.split("## The answer in numbers")[1]
    numbers = re.findall(r"[+-]\d\.\d\d", screen)
    real, _, miniature = answer.partition("**In the miniature**")
    assert len(numbers) == 6
    assert all(n in real for n in numbers[:3]) and all(n in miniature for n in numbers[3:])


def test_hooks_and_citation_are_local(root):
    """House-keeping files are valid, and hooks fetch nothing."""
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [r["repo"] for r in hooks["repos"]] == ["local"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    import midway

    assert citation["version"] == midway.__version__
    assert f"## {midway.__version__}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
