"""Strict reader of a user's table: the cells exactly as in the file, or one error line that
names the line that does not fit. Nothing is guessed from what cells look like.

Text tables: UTF-8 or UTF-16 with its mark; separated by tabs (nothing is quoted), commas or
semicolons (csv quoting). Every row has as many cells as the header. Spaces around cells are not
part of them. A number is a number only where one is asked for (:mod:`midway.correlation.numerals`).
"""

import codecs
import csv
import io
import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from midway.study.errors import InputError, one_line

#: blanks and invisible characters, which are no part of a cell at its ends
_EDGE = "".join(map(chr, (*range(9, 14), *range(28, 33), *range(0x2000, 0x2010)))) + (
    "\x85\xa0\xad\u1680\u2028\u2029\u202a\u202c\u202f\u205f\u2060\u2066\u2069\u3000\ufeff"
)

_OTHER = {b"\x1f\x8b": "compressed (gzip)", b"BZh": "compressed (bzip2)", b"\xfd7zXZ": "compressed",
          b"PK\x03\x04": "an Excel or zip file", b"\xd0\xcf\x11\xe0": "an old Excel file",
          b"PAR1": "Parquet (name it .parquet)", b"SQLite": "a database"}  # fmt: skip
_CSV = (("unexpected end of data", "a quotation mark is opened and not closed"),
        ("new-line character", "a carriage return inside the line"))  # fmt: skip


@dataclass
class Table:
    """Cells of a file: text ('' where nothing stands), or typed values and None.

    cells: a column of objects per name; its index says where each row begins (``unit`` line or row
    of the file). notes: what was done to it; tidy: the columns that together name the number in
    ``value`` (results of a harness).
    """

    path: Path
    cells: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    unit: str = "line"
    tidy: tuple[str, ...] = ()

    def __post_init__(self):
        no_name_twice(self.path, self.cells)

    def text(self, name: str) -> list[str]:
        """Cells as text; '' where nothing stands."""
        return ["" if nothing(c) else str(c) for c in self.cells[name]]

    def fault(self, row: int, message: str) -> InputError:
        where = f"{self.path}: {self.unit} {self.cells.index[row]}"
        return InputError(one_line(f"{where}: {message}"))


def nothing(cell) -> bool:
    """Whether a typed cell is missing."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def read(path: str | Path, separator: str | None = None, wanted=()) -> Table:
    """The table in a file: CSV, TSV or Parquet; ``harness`` reads JSON.

    separator: of a text table; None: the one by which all rows have the header's shape and the
    columns ``wanted`` are there. Raises InputError, one line.
    """
    path = Path(path)
    try:
        if not (path.is_file() or path.is_fifo()):
            raise InputError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        if path.suffix.lower() in (".parquet", ".pq"):
            return _parquet(path)
        return parse(decode(path), path, separator, wanted)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def decode(path: Path) -> str:
    """A file's text; InputError for other encodings and for what is no text."""
    data = path.read_bytes()
    for begin, what in _OTHER.items():
        if data.startswith(begin):
            raise InputError(f"{path}: {what}, not a text table; save it as CSV in UTF-8")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 if wide else data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {line}: not UTF-8 text (byte {data[error.start]:#04x}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(f"{path}: not a text table (it has zero bytes); save it as CSV in UTF-8")
    return text


def _parquet(path: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise InputError(f"{path}: not a Parquet table ({one_line(error)[:100]})") from None
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return typed(path, table.column_names, rows)


def typed(path: Path, names, rows, **more) -> Table:
    """A table of values that have a type; text is trimmed as in text tables."""
    rows = [[_trim(c) if type(c) is str else c for c in row] for row in rows]
    names = [_trim(str(name)) for name in names]
    cells = pd.DataFrame(rows, range(1, len(rows) + 1), names, dtype=object)
    return Table(path, cells, unit="row", **more)


def parse(text: str, path: Path, separator: str | None = None, wanted=()) -> Table:
    """A text table. Raises InputError that names the line."""
    text = text.replace("\r\n", "\n")
    if "\n" not in text.rstrip("\n"):
        text = text.replace("\r", "\n")
    if mark := re.match(r"sep=(.)\n", text):  # Excel's own first line
        separator, text = separator or mark[1], text[mark.end() - 1 :]
    rows, empty, fault = _rows(text, separator or _separator(text, path, wanted))
    lines, width = [line for line, _ in rows], len(rows[0][1]) if rows else 0
    for line, cells in rows:
        if len(cells) != width:
            fault = f"line {line}: {count(len(cells), 'cell')}, the header has {width}"
            break
    if width == 1 and not fault:
        fault = (
            f"one column only ({one_line(rows[0][1][0])[:60]!r}); "
            "separate columns by tabs, commas or semicolons"
        )
    if fault or not rows:
        raise InputError(f"{path}: {fault or 'the table is empty'}")
    raw = np.array([cells for _, cells in rows], object)
    cells = np.vectorize(str.strip if text.isascii() else _trim, otypes=[object])(raw)
    head = list(cells[0])
    notes: list[str] = []
    if changed := int((raw != cells).sum()):
        notes.append(f"spaces around the text of {count(changed, 'cell')} ignored")
    if between := sum(lines[0] < line < lines[-1] for line in empty):
        notes.append(f"{count(between, 'empty line')} between rows passed over")
    if broken := [line for line, row in rows[1:] if any("\n" in cell for cell in row)]:
        rows_are = f"{count(len(broken), 'row')} over several lines (first: line {broken[0]})"
        notes.append(f"quotation marks hold {rows_are}; is one of them not closed?")
    for i in range(width):
        if not head[i] and any(cells[:, i]):
            head[i] = f"column {i + 1}"
            notes.append(f"the header names no column {i + 1}; it is called {head[i]!r}")
    frame = pd.DataFrame(cells[1:], lines[1:], head, dtype=object)
    return Table(path, frame.loc[:, list(map(bool, head))], notes)


def count(n: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _trim(cell: str) -> str:
    """Without blanks and invisible characters at its ends; composed, with plain spaces inside."""
    cell = cell.strip(_EDGE)
    if cell.isascii():
        return cell
    return unicodedata.normalize("NFC", re.sub("[\xa0\u2007\u2009\u202f]", " ", cell))


def no_name_twice(path: Path, names) -> None:
    for name, n in Counter(names).items():
        if n > 1:
            raise InputError(f"{path}: {n} columns are called {name!r}; give each its own name")


def _rows(text: str, separator: str) -> tuple[list[tuple[int, list[str]]], list[int], str]:
    """(line, cells) of each row, the lines that are empty, and what stopped the reading."""
    found, empty, begin = [], [], 1
    tabs = separator == "\t"
    reader = csv.reader(
        io.StringIO(text, newline="\n"), delimiter=separator, strict=True,
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        skipinitialspace=not tabs and bool(re.search(rf'{re.escape(separator)} +"', text)),
    )  # fmt: skip
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                found.append((begin, cells))
            else:
                empty.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        what = next((ours for csvs, ours in _CSV if csvs in str(error)), one_line(error))
        return found, empty, f"line {begin}: {what}"
    return found, empty, ""


def _separator(text: str, path: Path, wanted) -> str:
    """The separator by which every row has the header's shape; asked for where several do so."""
    head = text.lstrip("\n").partition("\n")[0]
    if "\t" in head and path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    candidates = [c for c in "\t;," if c in head] or [","]
    if len(candidates) == 1:
        return candidates[0]
    fits = {}
    for c in candidates:
        rows, _, fault = _rows(text, c)
        first = rows[0][1] if rows else []
        alike = sum(len(cells) == len(first) for _, cells in rows) / max(1, len(rows))
        named = set(wanted) <= set(map(_trim, first))
        fits[c] = (0 if len(first) < 2 or fault else alike), named
    best = [c for c in candidates if fits[c] == max(fits.values())]
    if len(best) > 1 and fits[best[0]][0] == 1:
        shown = " or ".join({"\t": "tab"}.get(c, repr(c)) for c in best)
        raise InputError(f"{path}: separated by {shown}? Name the separator with --separator")
    return best[0]
