"""Cells as numbers: understood without a doubt, counted as missing, or refused by line."""

import math
import re
from decimal import Decimal

import numpy as np

from midway.correlation.table_file import Table, nothing
from midway.study.errors import InputError, one_line

#: what stands for a missing number, in any case; in columns that are no numbers only '' is missing
MISSING = frozenset(
    "- – — − n/a na n.a. n.d. nan <na> #n/a null none missing ? . .. ... …".split()
) | {""}
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_POINT = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?")  # 392,702.5
_COMMA = re.compile(  # 82,1 and 1.234,5; 8,2e3; 1.234.567
    r"[-+]?(?:(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|[0-9]*),[0-9]+|[0-9]+,[0-9]+[eE][-+]?[0-9]+"
    r"|[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,})"
)
_GAPS = re.compile(r"[-+]?[0-9]{1,3}([ '’])[0-9]{3}(\1[0-9]{3})*([.,][0-9]+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}\.[0-9]{3}")  # 392.702
_WITH_COMMA = re.compile(r"[-+]?[0-9.]*,[0-9.,]*(?:[eE][-+]?[0-9]+)?")
_MINUS = str.maketrans({c: "-" for c in "\u2212\ufe63\uff0d"})
_SPREAD = re.compile(r"\s*(?:±|\+/-|\+-)\s*")

_NO_NUMBER = (
    " is not a number; correct it, leave the cell empty, or name what stands for a missing value "
    "(--missing)"
)
_DOUBT = (
    ": is the comma a decimal sign or one of thousands? The columns do not tell; write numbers as "
    "1234.5"
)


def numbers(table: Table, names, missing=()) -> dict[str, np.ndarray]:
    """Columns as float64 with nan where a number is missing.

    Understood: typographic minus signs, decimal commas and thousands where the columns together
    leave no doubt, percent where a whole column has it, ``82.1 ± 0.3`` (the mean). Anything else
    raises InputError with the line and the cell; nothing is left out in silence.
    """
    skip = MISSING | {text.strip().casefold() for text in missing}
    comma = _decimal_comma(table, names)
    return {name: _column(table, name, skip, comma) for name in names}


def _column(table: Table, name: str, skip, comma: bool | None) -> np.ndarray:
    cells, what = list(table.cells[name]), f"column {name!r}"
    found = [_value(cell, skip, comma) for cell in cells]
    values, marks = np.array([v for v, _ in found], float), [mark for _, mark in found]
    bad, there = [i for i, m in enumerate(marks) if m == "bad"], len(marks) - marks.count("missing")
    if len(bad) == there > 0:
        flags = [str(cells[i]).casefold() for i in bad]
        if set(flags) <= {"true", "false"}:
            values[bad], bad = [flag == "true" for flag in flags], []
        elif comma is not None:
            shown = _short(cells[bad[0]])
            raise InputError(f"{table.path}: {what} holds text ({shown}), not numbers")
    doubt = bad and comma is None and _WITH_COMMA.fullmatch(_plain(str(cells[bad[0]])))
    faults = [(i, _DOUBT if doubt else _NO_NUMBER) for i in bad[:1]]
    if "%" in marks:
        others = [i for i, mark in enumerate(marks) if mark not in ("%", "missing")]
        faults += [(i, " is no percentage, others are") for i in others]
    faults += [(i, " is no finite number") for i in np.flatnonzero(np.isinf(values))]
    for row, why in faults:
        raise table.fault(row, f"{what}: {_short(cells[row])}{why}")
    points = [c for c in cells if type(c) is str and "." in c]
    if comma is False and 0 < len(points) < there and all(map(_THOUSANDS.fullmatch, points)):
        told = f"{_short(points[0])} is read as {float(points[0]):g}"
        table.notes.append(f"{what}: {told}; or do its points set thousands apart?")
    if "±" in marks:
        table.notes.append(f"{what}: of 'a ± b' the mean a is taken")
    return values


def _value(cell, skip, comma: bool | None) -> tuple[float, str]:
    """The number in a cell, and what it is: '', 'missing', '%', '±' or 'bad'."""
    if type(cell) is str and comma is False and _NUMBER.fullmatch(cell):
        return float(cell), ""
    if nothing(cell) or type(cell) is str and cell.casefold() in skip:
        return math.nan, "missing"
    if type(cell) is not str:
        try:
            good = isinstance(cell, (bool, int, float, Decimal))
            return (float(cell), "") if good else (math.nan, "bad")
        except OverflowError:
            return math.inf, ""
    mark, text = "", _plain(re.sub("^[\u2010-\u2013](?=[0-9.,])", "-", cell))
    if len(parts := _SPREAD.split(text)) == 2 and _value(parts[1], (), comma)[1] == "":
        mark, text = "±", parts[0]
    if text.endswith("%"):
        mark, text = mark or "%", text[:-1].rstrip()
    if _GAPS.fullmatch(text):
        text = re.sub("[ '’]", "", text)
    if comma and ("," in text or "." in text) and _COMMA.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    elif comma and "." in text:  # 1.234 beside 82,1
        return math.nan, "bad"
    elif comma is False and _POINT.fullmatch(text):
        text = text.replace(",", "")
    return (float(text), mark) if _NUMBER.fullmatch(text) else (math.nan, "bad")


def _decimal_comma(table: Table, names) -> bool | None:
    """Whether commas are decimal signs in these columns; None: the cells do not tell."""
    texts = [c for name in names for c in table.cells[name] if type(c) is str]
    if not any("," in c for c in texts):
        return False
    cells = [part.rstrip(" %") for c in texts for part in _SPREAD.split(_plain(c))]
    commas = [c for c in cells if "," in c and _WITH_COMMA.fullmatch(c)]
    decimal = any(not _POINT.fullmatch(c) for c in commas)
    point = any("." in c and c.rindex(".") > c.rindex(",") or c.count(",") > 1 for c in commas)
    point |= any("." in c and _NUMBER.fullmatch(c) for c in cells)
    return decimal if decimal != point or not commas else None


def _plain(cell: str) -> str:
    return cell.translate(_MINUS)


def _short(cell) -> str:
    shown = repr(cell)
    return one_line(shown if len(shown) <= 40 else shown[:37] + "...")
