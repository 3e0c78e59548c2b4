"""A params file as a tree: safe YAML within limits; every refusal is one line."""

import re
from pathlib import Path
from typing import Any

import yaml

from midway.study.errors import InputError, meant, one_line
from midway.study.files import root

MAX_BYTES = 64 * 1024  # a params file is a page of text; anything larger is a mistake or an attack


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (a short file could otherwise unfold into gigabytes)."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise InputError("aliases (*name) are not allowed in a params file")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise InputError(f"key {key.value!r} stands twice (line {key.start_mark.line + 1})")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-5 as text; researchers write it as a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse(text: str) -> Any:
    """Parse YAML as params files are parsed (safe, no aliases, no double keys, 1e-5 a number)."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)


def read(path: Path) -> dict:
    """The keys and values of a params file; InputError when it is none."""
    try:
        if not path.is_file():
            what = "a folder, not a" if path.is_dir() else "no such"
            raise InputError(f"{path}: {what} params file; {_near(path)}")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES} bytes; is it a params file?")
        tree = parse(path.read_text(encoding="utf-8"))
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not a params file"
        raise InputError(f"{path}{line}: not valid YAML: {one_line(problem)}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected keys such as 'study:', found {type(tree).__name__}")
    return tree


def _near(path: Path) -> str:
    """Which params file may have been meant."""
    if (path / "params.yaml").is_file():
        return "it is a study's outputs: name the file that the study was run with"
    there = [shown(p) for p in sorted((root() / "params").glob("*.yaml"))]
    if alike := [p for p in there if Path(p).stem == path.stem]:  # 'mini' alone
        return f"did you mean {alike[0]!r}?"
    return meant(path, there, "there are", 0.6) if there else "look in params/"


def shown(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
