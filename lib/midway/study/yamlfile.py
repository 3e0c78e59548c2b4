"""A params file as a tree: safe YAML within limits; every refusal is one line."""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.resolver import BaseResolver

from midway.study.errors import InputError, meant, one_line
from midway.study.files import root

MAX_BYTES = 64 * 1024  # a params file is a page of text; anything larger is a mistake or an attack
TAG = "tag:yaml.org,2002:"

# A bare value is what YAML 1.2's core schema says. YAML 1.1, which PyYAML follows, reads 010 as 8,
# 1:30 as 90, no and on as booleans, 1e-5 as text and 2020-01-01 as a date.
_CORE = re.compile(
    r"(?P<null>null|Null|NULL|~|)|(?P<bool>true|True|TRUE|false|False|FALSE)|(?P<merge><<)"
    r"|(?P<int>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_READ = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    "float": lambda text: float(re.sub(r"\.(?=[in])", "", text.lower())),
    "str": str,
    "merge": str,  # but for a key of a card
}
#: keys of a card below which a bare value is the text that stands there: names in other files
_TEXT = {
    *("codes", "columns", "values", "drop", "where", "labels", "languages", "config", "revision"),
    *("path", "needs"),
}
_PLACE = re.compile("0|[1-9][0-9]*")  # a column of a file without a header


def _kind(text: str) -> str:
    found = _CORE.fullmatch(text)
    return str(found.lastgroup) if found else "str"


class _Core(BaseResolver):
    """For PyYAML's loaders and dumpers: bare values are of the core schema's kinds."""

    def resolve(self, kind, value, implicit):
        if kind is yaml.ScalarNode and implicit[0] and _kind(value) != "str":
            return TAG + _kind(value)
        return super().resolve(kind, value, implicit)


class _Params(_Core, yaml.BaseLoader):
    """Without aliases: a short file could otherwise unfold into gigabytes."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise InputError("aliases (*name) are not allowed in a params file")
        return super().compose_node(parent, index)


class _Cards(_Core, getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
    """With aliases and merge keys (<<), which cards share blocks by."""


class _Dumper(_Core, yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would read as something else than text."""


def _fault(node, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(None, None, problem, node.start_mark)


def _value(node, cards: bool, places: str | None = None, at: str = "values") -> Any:
    """Plain value of a node.

    places: bare values are text, but for numbers of columns among the keys or values ("": none).
    """
    kind = node.tag.removeprefix(TAG)
    if kind not in {"scalar": _READ, "sequence": ("seq",), "mapping": ("map",)}[node.id]:
        raise _fault(node, f"the tag {kind!r} is not known here")
    if node.id == "scalar":
        if places is not None and not (at == places and _PLACE.fullmatch(node.value)):
            return node.value
        if kind not in ("str", _kind(node.value)):
            raise _fault(node, f"{node.value!r} is no {kind}")
        if kind == "int" and len(node.value) > 20:  # 64 bits
            raise _fault(node, f"the number {node.value[:9]}... is too large")
        return _READ[kind](node.value)
    if node.id == "sequence":
        return [_value(item, cards, places) for item in node.value]
    found, merged = {}, {}
    for name, value in node.value:
        if cards and name.tag == TAG + "merge":
            blocks = value.value if value.id == "sequence" else [value]
            if not all(block.id == "mapping" for block in blocks):
                raise _fault(value, "<< stands before something else than a block")
            for block in blocks:
                merged = _value(block, cards, places) | merged
            continue
        if name.id != "scalar":
            raise _fault(name, "a key is a list or a block")
        key = _value(name, cards, places, "keys")
        if key in found:
            raise InputError(f"line {name.start_mark.line + 1}: key {key!r} occurs twice")
        below = places
        if cards and name.value in _TEXT and value.tag != TAG + "null":
            below = {"columns": "values", "where": "keys"}.get(name.value, "")
        found[key] = _value(value, cards, below)
    return merged | found


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
        node = yaml.compose(text, _Cards if cards else _Params)
        return None if node is None else _value(node, cards)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
