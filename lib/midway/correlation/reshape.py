"""A table's columns by name, and its rows as numbers by unit and run, from wide and long tables."""

import fnmatch
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd

from midway.correlation.numerals import numbers
from midway.correlation.table_file import Table, count
from midway.study.errors import InputError, one_line

_NUMERIC = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|")
_SUMS = {"average", "avg", "avg.", "mean", "median", "total", "sum", "overall", "std", "sd"}
_FRACTION = re.compile(r"\.[0-9]*[1-9]|[eE]-")
#: how sure a number is: lm-eval's acc_stderr,none, wandb's loss__MIN; no pattern means these alone
_BESIDE = re.compile(r"_stderr(?![a-z])|__(MIN|MAX)$")


def matching(wanted, columns, globs: bool) -> tuple[list[str], list[str]]:
    """Columns that match the given names, in their order; and the names that match no column.

    A name is first taken as it stands, commas and brackets included; then the longest stretch
    between commas that is a column; then as a glob.
    """
    there, found, lost = set(columns), [], []
    for text in [wanted] if isinstance(wanted, str) else wanted:
        parts = text.split(",")
        i = 0
        while i < len(parts):
            for j in range(len(parts), i, -1):
                name, hits = ",".join(parts[i:j]).strip(), []
                if name in there:
                    hits = [name]
                elif globs and name and j == i + 1:
                    hits = _glob(name, columns)
                elif globs and set("*?") & set(name) and not _glob(parts[i].strip(), columns):
                    hits = _glob(name, columns)
                if hits:
                    break
            if not hits and name:
                lost.append(name)
            found += [c for c in hits if c not in found]
            i = j
    return found, lost


def _glob(pattern: str, columns) -> list[str]:
    """Columns of a pattern of * and ?; brackets stand for themselves unless nothing has them."""
    literal = pattern.replace("[", "[[]")
    hits = [c for c in columns if fnmatch.fnmatchcase(c, literal)]
    hits = hits or [c for c in columns if fnmatch.fnmatchcase(c, pattern)]
    there = set(hits)
    return [c for c in hits if _BESIDE.search(pattern) or _BESIDE.sub("", c) not in there - {c}]


def columns_of(table: Table, wanted, what: str, columns, globs: bool = False) -> list[str]:
    found, lost = matching(wanted, columns, globs)
    if lost:
        message = f"{what}: no column matches" if globs else "no column"
        it_has = "there are" if globs else "it has"
        raise InputError(one_line(f"{table.path}: {message} {lost[0]!r}; {it_has} {few(columns)}"))
    if not found:
        raise InputError(f"{what}: name at least one column")
    beside = [c for c in columns if _BESIDE.search(c) and _BESIDE.sub("", c) in found]
    left = [c for c in beside if c not in found]
    if left and globs and set("*?") & set("".join(wanted)):
        table.notes.append(f"{what}: a pattern does not mean {few(left, 2)}; name them in full")
    return found


def few(names, most=6):
    names = [str(n) for n in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def index(table: Table, keys, runs, unit: str) -> pd.MultiIndex:
    """(unit, run) of every row, where unnamed runs are counted; rows without a unit are dropped.

    A floating-point number that may have lost digits is no name of a unit.
    """
    for key in keys:
        for i, cell in enumerate(table.cells[key]):
            if isinstance(cell, float) and abs(cell) >= 2**53:
                raise table.fault(
                    i, f"{key!r} is {cell:.0f} as a floating-point number, which may have lost "
                    "digits of a longer name; store names as text or as integers"
                )  # fmt: skip
    there = [all(cells) for cells in zip(*map(table.text, keys), strict=True)]
    if left := there.count(False):
        have = "has" if left == 1 else "have"
        table.notes.append(f"{count(left, 'row')} {have} no {unit}; left out")
        table.cells = table.cells[there]
    units, named = (list(zip(*map(table.text, names), strict=True)) for names in (keys, runs))
    for row, parts in enumerate(units):
        if "\n" in "".join(parts):
            raise table.fault(row, f"{unit} goes over several lines; is a quote not closed?")
    for row, parts in enumerate(named):
        if not all(parts):
            raise table.fault(row, f"no {','.join(runs)}; every row needs one where runs are named")
    first, told = list(map(_joined, units)), list(map(_joined, named))
    if not runs:
        seen: Counter = Counter()
        told = [seen.update([name]) or seen[name] - 1 for name in first]
    return pd.MultiIndex.from_arrays([first, told], names=["unit", "run"])


def _joined(parts) -> str:
    """One name of several; ('a/b', 'c') and ('a', 'b/c') stay two."""
    if len(parts) == 1:
        return parts[0]
    return "/".join(p.replace("\\", "\\\\").replace("/", "\\/") for p in parts)


def no_other_runs(table: Table, index, others: list[str]) -> None:
    """Rows of one unit are its runs where no name and no whole number tells them apart."""
    units = list(index.get_level_values(0))
    most = max(Counter(units).values(), default=1)
    if most == 1:
        return
    first: dict[str, int] = {}
    pairs = [(first.setdefault(unit, i), i) for i, unit in enumerate(units)]
    for name in others:
        cells = table.text(name)
        fractions = all(map(_NUMERIC.fullmatch, cells)) and any(map(_FRACTION.search, cells))
        if fractions and len(set(cells)) > len(cells) / 2:
            continue  # a measure, as those that were asked for; few values: a learning rate
        for j, i in pairs:
            if cells[i] != cells[j]:
                raise InputError(
                    f"{table.path}: {_rows(table, j, i)} are both {units[i]!r} and differ in "
                    f"{name!r}: is that the run? Name the column of runs (--run), add the column "
                    "to --unit, or say --rows-are-runs"
                )
    table.notes.append(f"no run column: up to {most} rows of one unit are taken as its runs")


def _rows(table: Table, i: int, j: int) -> str:
    return f"{table.unit}s {table.cells.index[i]} and {table.cells.index[j]}"


def wide(table: Table, index, used, missing, run) -> pd.DataFrame:
    """Numbers by unit and run; rows that are repeated word for word count once."""
    frame = pd.DataFrame(numbers(table, used, missing), index=index, columns=used)
    again = frame.index.duplicated()
    if again.any():
        first = {key: i for i, key in reversed(list(enumerate(frame.index)))}
        values = frame.to_numpy()
        for i in np.flatnonzero(again):
            j, (unit, told) = first[frame.index[i]], frame.index[i]
            if not np.array_equal(values[i], values[j], equal_nan=True):
                raise InputError(
                    f"{table.path}: unit {unit!r}, run {told!r} occurs twice with different "
                    f"numbers ({_rows(table, j, i)}); keep one, or leave out the run column {run!r}"
                )
        n = int(again.sum())
        are = "is" if n == 1 else "are"
        table.notes.append(f"{count(n, 'row')} {are} repeated word for word; counted once")
    return frame[~again]


def doubtful(names) -> list[str]:
    """What is to be said of units that may be none: written in two ways, or sums of the others."""
    first: dict[str, str] = {}
    keys = [(" ".join(re.split(r"[\s_-]+", name.casefold())), name) for name in names]
    twice = [(first[key], name) for key, name in keys if first.setdefault(key, name) != name]
    said = [f"{name!r} counts as a unit; leave it out if it sums up the others"
            for key, name in keys if key in _SUMS]  # fmt: skip
    if twice:
        more = f" ({len(twice) - 1} more like them)" if len(twice) > 1 else ""
        said.append("{!r} and {!r} count as two units{}; are they one?".format(*twice[0], more))
    return said


def long(table: Table, rest, asked, names, values) -> tuple[str, str] | None:
    """The columns of names and of values of a long table; None for a wide one."""
    if bool(names) != bool(values):
        what = "a column of names and one of values"
        raise InputError(f"--names and --values belong together: {what}")
    if names:
        named = columns_of(table, names, "names", rest)[0]
        return named, columns_of(table, values, "values", rest)[0]
    if len(rest) != 2 or any(matching(wanted, rest, True)[0] for wanted in asked.values()):
        return None
    for name, value in (rest, rest[::-1]):
        held = list(dict.fromkeys(table.text(name)))
        if not any(matching(wanted, held, True)[1] for wanted in asked.values()):
            return name, value
    return None


def spread(table: Table, index, long, used, missing, runs: bool) -> pd.DataFrame:
    """A long table's numbers by unit and run, a column for each of the names ``used``."""
    name, value = long
    if not runs:
        index = pd.MultiIndex.from_arrays([index.get_level_values(0), [0] * len(index)])
    told = pd.Series(table.text(name), index, dtype=object)
    wanted = told.isin(used).to_numpy()
    part = replace(table, cells=table.cells[wanted])
    keys = list(told[wanted].items())
    first: dict = {}
    values = numbers(part, [value], missing)[value]
    for i, (key, what) in enumerate(keys):
        if (j := first.setdefault((key, what), i)) != i:
            which = f"run {key[1]!r} " if runs else ""
            hint = "keep one" if runs else "name the column that tells runs apart (--run)"
            also = f"(also {table.unit} {part.cells.index[j]})"
            raise part.fault(i, f"{key[0]!r} {which}has {what!r} twice {also}; {hint}")
    table.notes.append(f"long table: {name!r} holds the names, {value!r} the values")
    frame = pd.Series(values, pd.MultiIndex.from_tuples([(*key, what) for key, what in keys]))
    return frame.unstack().reindex(index.unique())[used].rename_axis(["unit", "run"])
