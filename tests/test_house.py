"""The library's floor plan: rooms that import downwards only, modules of one idea, a small face."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import midway

LIB = Path(midway.__file__).parent
FLOORS = (
    {"study"},
    {"evaluation"},
    {"kinds"},
    {"data", "encoder"},
    {"intermediate", "correlation"},
    {"transfer", "run"},
    {"report"},
    {"cli"},
)
FILES = [p for p in LIB.rglob("*.py") if "mini" not in p.parts]


def module(path: Path) -> str:
    parts = path.relative_to(LIB.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(p): p for p in LIB.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """Midway's modules that a file imports anywhere, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return {m for m in found if m in MODULES and m != module(path)}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_imports_run_downwards_only():
    """A change in a room cannot break a room below it."""
    floor = {r: i for i, rooms in enumerate(FLOORS) for r in rooms}
    wrong = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imported(path)
        if room(name) != room(other)
        and room(other)
        and floor.get(room(name), len(FLOORS)) <= floor[room(other)]
    ]
    assert wrong == [] and len(FLOORS) <= 8


def test_no_module_imports_itself_by_others():
    graph = {name: imported(path) for name, path in MODULES.items()}
    state: dict[str, int] = {}

    def visit(name, path):
        state[name] = 1
        for other in sorted(graph[name]):
            assert state.get(other) != 1, " -> ".join([*path, name, other])
            if other not in state:
                visit(other, [*path, name])
        state[name] = 2

    for name in graph:
        if name not in state:
            visit(name, [])


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(LIB).as_posix())
def test_a_module_is_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_every_room_says_what_enters_and_what_leaves():
    for name in set().union(*FLOORS) - {"cli"}:
        text = ast.get_docstring(ast.parse((LIB / name / "__init__.py").read_text("utf-8")))
        assert "Input:" in text and "Output:" in text, name


def test_the_face_is_small_and_all_that_notebooks_import(root):
    """A notebook author learns these names and no others."""
    assert len(midway.FACE) <= 35
    for name in midway.FACE:
        assert getattr(midway, name) is not None
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] != "code":
                continue
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("midway"):
                    names = {a.name for a in node.names}
                    assert node.module == "midway" and names <= set(midway.FACE), path.name


def test_importing_the_package_loads_no_library():
    """`midway --help` and completion stay quick."""
    code = "import sys, midway; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    env = os.environ | {"PYTHONPATH": str(LIB.parent)}
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]", shown.stderr


def test_tests_mirror_the_rooms(root):
    """A stranger finds a module's tests by its path."""
    rooms = {p.name for p in (root / "tests").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert set().union(*FLOORS) - {"cli"} - rooms <= {"kinds", "correlation"}
