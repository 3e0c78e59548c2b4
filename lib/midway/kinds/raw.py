"""Read cells of raw rows: columns by dotted paths, labels as cards write them."""

import re
from fnmatch import fnmatchcase

from midway.study.errors import one_line

REACH = 32  # characters; longest run of stripped spaces for which an answer is looked for


class Broken(Exception):
    """One file or row cannot be used: what and where, in one line whatever the file holds."""

    def __init__(self, reason: str):
        super().__init__(one_line(reason[:500]))


def spellings(raw) -> tuple[str, ...]:
    """How a card may write a raw value: as text, and a boolean or null as JSON and YAML do."""
    special = {"None": ("None", "null", "~"), "True": ("true", "True"), "False": ("false", "False")}
    return special.get(repr(raw), (str(raw),))


def matches(raw, pattern: str) -> bool:
    """Whether a raw value has the pattern of a card's ``where``."""
    return any(fnmatchcase(text, pattern) for text in spellings(raw))


def get(row, path):
    """The value at a dotted path; Broken names a column that is not there."""
    if isinstance(path, int) and isinstance(row, dict) and path in row:
        return row[path]  # a file without a header
    value = row
    for step in str(path).split("."):
        name, each = (step[:-2], True) if step.endswith("[]") else (step, False)
        try:
            if isinstance(value, list):
                value = [item[name] for item in value]
            else:
                value = value[name]
        except (KeyError, TypeError, IndexError):
            have = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
            raise Broken(f"no column {path!r} (found: {have[:120]})") from None
        if each and not isinstance(value, list):
            raise Broken(f"column {path!r} is not a list")
    return value


def blank(value: str) -> bool:
    """Whether nothing stands there; a no-break or ideographic space is text, as for scorers."""
    return not value.strip(" \t\r\n")


def text(row, path, empty: bool = False) -> str:
    """A column as text, several columns joined; Broken when it is empty or not text."""
    found = " ".join(text(row, p) for p in path) if isinstance(path, list) else get(row, path)
    if not isinstance(found, str):
        raise Broken(f"column {path!r} is {type(found).__name__}, not text")
    if blank(found) and not empty:
        raise Broken(f"column {path!r} is empty")
    return found


def label(part: dict, raw, names) -> int | None:
    """Index of a raw label; -1 when it was stripped; None when the row is to be dropped."""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    known, written = part.get("values", {}), spellings(raw)
    if any(text in part.get("drop", ()) for text in written):
        return None
    value = next((known[text] for text in written if text in known), None)
    if value is None and (raw is None or raw == "" or (raw == -1 and not isinstance(raw, bool))):
        return -1
    index = raw if value is None else int(value) if re.fullmatch("0|[1-9][0-9]*", value) else None
    value = str(raw) if value is None else value
    if value in names:
        return names.index(value)
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(names):
        return index
    raise Broken(f"label {short(raw)} is not one of {', '.join([*known, *names])}")


def id_of(row: dict, columns: dict) -> str:
    if "id" not in columns:
        return ""
    found = str(get(row, columns["id"]))
    if not found.strip():
        raise Broken("the id is empty")
    return found


def short(value) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."
