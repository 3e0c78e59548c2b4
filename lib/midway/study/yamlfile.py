"""A params file as a tree: safe YAML within limits; every refusal is one line."""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from midway.study.errors import InputError, meant, one_line
from midway.study.files import root

MAX_BYTES = 64 * 1024  # a params file is a page of text; anything larger is a mistake or an attack
TAG = "tag:yaml.org,2002:"

# A bare value is what YAML 1.2's core schema says. YAML 1.1, which PyYAML follows, reads 010 as 8,
# 1:30 as 90, no and on as booleans, 1e-5 as text and 2020-01-01 as a date.
_CORE = {
    "null": (r"null|Null|NULL|~|", "nN~"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
#: keys of a card below which a bare value is the text that stands there: names in other files
_TEXT = {
    *("codes", "columns", "values", "drop", "where", "labels", "languages", "config", "revision"),
    *("path", "needs"),
}
_PLACE = re.compile("0|[1-9][0-9]*")  # a column of a file without a header


def _scalar(kind: str):
    def construct(loader, node):
        text = loader.construct_scalar(node)
        if not re.fullmatch(_CORE[kind][0], text):
            raise yaml.YAMLError(f"{text!r} is no {kind}")
        if kind == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if kind == "float":
            return float(re.sub(r"\.(?=[in])", "", text.lower()))
        return None if kind == "null" else text.lower() == "true"

    return construct


class _Core(SafeConstructor):
    """For PyYAML's loaders: YAML 1.2's core schema, no other tags, no key twice."""

    yaml_implicit_resolvers: dict = {"": [(TAG + "null", re.compile(r"\Z"))]}
    yaml_constructors: dict = {
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (TAG + "str", TAG + "seq", TAG + "map", None)
    } | {TAG + kind: _scalar(kind) for kind in _CORE}

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if key.tag != TAG + "merge"):
            name = repr(self.construct_object(key, deep=True))
            if name in seen:
                raise InputError(f"line {key.start_mark.line + 1}: key {name} occurs twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


for _kind, (_pattern, _first) in _CORE.items():
    for _c in _first:
        _entry = TAG + _kind, re.compile(f"(?:{_pattern})\\Z")
        _Core.yaml_implicit_resolvers.setdefault(_c, []).append(_entry)


class _Loader(_Core, yaml.SafeLoader):
    """Without aliases: a short file could otherwise unfold into gigabytes."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise InputError("aliases (*name) are not allowed in a params file")
        return super().compose_node(parent, index)


_MERGE = re.compile(r"<<\Z")


class _Cards(_Core, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """With aliases and merge keys (<<), which cards share blocks by."""

    yaml_implicit_resolvers = {**_Core.yaml_implicit_resolvers, "<": [(TAG + "merge", _MERGE)]}

    def construct_mapping(self, node, deep=False):
        for key, value in node.value:
            alone = isinstance(value, yaml.ScalarNode) and value.tag.endswith(":null")
            if str(key.value) in _TEXT and not alone:
                _as_text(value, places={"columns": "values", "where": "keys"}.get(key.value, ""))
        return super().construct_mapping(node, deep)


def _as_text(node, places: str = "", at: str = "values") -> None:
    """Text in place of all bare values, but for numbers of columns among keys or values."""
    if isinstance(node, yaml.ScalarNode):
        if not (at == places and _PLACE.fullmatch(node.value)):
            node.tag = TAG + "str"
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _as_text(item, places)
    else:
        for key, value in node.value:
            if not key.tag.endswith(":merge"):
                _as_text(key, places, "keys")
            _as_text(value, places)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would read as something else than text."""


for _kind in ("int", "float"):
    _pattern, _first = _CORE[_kind]
    _Dumper.add_implicit_resolver(TAG + _kind, re.compile(f"(?:{_pattern})\\Z"), list(_first))


def dump(tree) -> str:
    """Plain values as YAML text that :func:`parse` reads back as they are."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse(text: str, cards: bool = False) -> Any:
    """Parse YAML by the core schema of YAML 1.2; InputError, one line, when it is not valid.

    cards: aliases and merge keys are allowed, and codes, columns, values, drop, where, labels,
    languages, path and needs hold text as it stands there (``no``, ``010``, ``1e3``), but that
    whole numbers without a leading zero are places of columns.
    """
    try:
        return yaml.load(text, Loader=_Cards if cards else _Loader)  # noqa: S506  (safe loaders)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        if isinstance(error, RecursionError):
            problem = "nested too deep"
        raise InputError(f"{line}not valid YAML: {one_line(problem)[:200]}") from None


def read(path: Path) -> dict:
    """The keys and values of a params file; InputError if it is not one."""
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
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else type(tree).__name__
        raise InputError(f"{path}: expected lines such as 'key: value', found {found}")
    return tree


def _near(path: Path) -> str:
    """Suggest the nearest existing params file."""
    if (path / "params.yaml").is_file():
        return "it is a study's outputs: name the file that the study was run with"
    there = [shown(p) for p in sorted((root() / "params").glob("*.yaml"))]
    if alike := [p for p in there if Path(p).stem == path.stem]:  # 'mini' alone
        return f"did you mean {alike[0]!r}?"
    return meant(path, there, "there are", 0.6) if there else "look in params/"


def shown(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
