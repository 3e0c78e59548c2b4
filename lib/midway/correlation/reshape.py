"""A table's rows as numbers by unit and run, whether the table is wide or long."""

import re
from collections import Counter

import numpy as np
import pandas as pd

from midway.correlation.column_names import columns_of, matching
from midway.correlation.numerals import numbers
from midway.correlation.table_file import Table, count
from midway.study.errors import InputError

_NUMERIC = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|")
_SUMS = {"average", "avg", "avg.", "mean", "median", "total", "sum", "overall", "std", "sd"}
_FRACTION = re.compile(r"\.[0-9]*[1-9]|[eE]-")


def with_units(table: Table, keys: list[str], unit: str) -> Table:
    """The rows that have a unit; a floating-point number that may have lost digits is none."""
    for key in keys:
        for i, cell in enumerate(table.columns[key]):
            if isinstance(cell, float) and abs(cell) >= 2**53:
                raise table.fault(
                    i, f"{key!r} is {cell:.0f} as a floating-point number, which may have lost "
                    "digits of a longer name; store names as text or as integers"
                )  # fmt: skip
    rows = enumerate(zip(*map(table.text, keys), strict=True))
    keep = [i for i, cells in rows if all(cells)]
    if left := len(table.lines) - len(keep):
        have = "has" if left == 1 else "have"
        table.notes.append(f"{count(left, 'row')} {have} no {unit}; left out")
        table.columns = {n: [cells[i] for i in keep] for n, cells in table.columns.items()}
        table.lines = [table.lines[i] for i in keep]
    for cells in map(table.text, keys):
        for row in (i for i, cell in enumerate(cells) if "\n" in cell):
            raise table.fault(row, f"{unit} goes over several lines; is a quote not closed?")
    return table


def _joined(parts) -> str:
    """One name of several; ('a/b', 'c') and ('a', 'b/c') stay two."""
    if len(parts) == 1:
        return parts[0]
    return "/".join(p.replace("\\", "\\\\").replace("/", "\\/") for p in parts)


def index(table: Table, keys, runs) -> tuple[pd.MultiIndex, list[str]]:
    """(unit, run) of every row, where unnamed runs are counted; and the units that have several."""
    units, named = (list(zip(*map(table.text, names), strict=True)) for names in (keys, runs))
    for i, _ in ((i, parts) for i, parts in enumerate(named) if not all(parts)):
        raise table.fault(i, f"no {','.join(runs)}; every row needs one where runs are named")
    units, told = list(map(_joined, units)), list(map(_joined, named))
    if not runs:
        told = pd.Series(units, dtype=object).groupby(pd.factorize(np.array(units, object))[0])
        told = told.cumcount()
    return pd.MultiIndex.from_arrays([units, told], names=["unit", "run"]), units


def no_other_runs(table: Table, units: list[str], others: list[str]) -> None:
    """Rows of one unit are its runs where no name and no whole number tells them apart."""
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
                    f"{table.path}: {table.unit}s {table.lines[j]} and {table.lines[i]} are both "
                    f"{units[i]!r} and differ in {name!r}: is that the run? Name the column of "
                    "runs (--run), add the column to --unit, or say --rows-are-runs"
                )
    table.notes.append(f"no run column: up to {most} rows of one unit are taken as its runs")


def wide(table: Table, index, used, missing, run) -> pd.DataFrame:
    """Numbers by unit and run; rows that are repeated word for word count once."""
    frame = pd.DataFrame(numbers(table, used, missing), index=index, columns=used)
    if frame.index.has_duplicates:
        first: dict = {}
        values = frame.to_numpy()
        keep = np.ones(len(frame), bool)
        for i, key in enumerate(frame.index):
            j = first.setdefault(key, i)
            keep[i] = i == j
            if i != j and not np.array_equal(values[i], values[j], equal_nan=True):
                where = f"{table.unit}s {table.lines[j]} and {table.lines[i]}"
                raise InputError(
                    f"{table.path}: unit {key[0]!r}, run {key[1]!r} occurs twice with "
                    f"different numbers ({where}); keep one, or leave out the run column {run!r}"
                )
        n = int((~keep).sum())
        are = "is" if n == 1 else "are"
        table.notes.append(f"{count(n, 'row')} {are} repeated word for word; counted once")
        frame = frame[keep]
    return frame


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
    if len(rest) != 2:
        return None
    for name, value in (rest, rest[::-1]):
        if any(matching(asked[what], rest, True)[0] for what in asked):
            return None
        held = list(dict.fromkeys(table.text(name)))
        if all(not matching(asked[what], held, True)[1] for what in asked):
            return name, value
    return None


def spread(table: Table, index, long, asked, missing, runs: bool):
    """A long table as a wide one: (frame, chosen columns)."""
    name, value = long
    told = table.text(name)
    held = list(dict.fromkeys(told))
    chosen = {what: columns_of(table, asked[what], what, held, globs=True) for what in asked}
    used = {n: i for i, n in enumerate([*chosen["predictors"], *chosen["outcomes"]])}
    units = index.get_level_values(0)
    keys = list(zip(units, index.get_level_values(1) if runs else [0] * len(units), strict=True))
    rows = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    wanted = [i for i, n in enumerate(told) if n in used]
    part = Table(
        table.path, {value: [table.columns[value][i] for i in wanted]},
        [table.lines[i] for i in wanted], table.notes, table.unit,
    )  # fmt: skip
    cells, seen = np.full((len(rows), len(used)), np.nan), {}
    for i, number in zip(wanted, numbers(part, [value], missing)[value], strict=True):
        at = rows[keys[i]], used[told[i]]
        if at in seen:
            which = f"run {keys[i][1]!r} " if runs else ""
            hint = "keep one" if runs else "name the column that tells runs apart (--run)"
            also = f"(also {table.unit} {table.lines[seen[at]]})"
            raise table.fault(i, f"{keys[i][0]!r} {which}has {told[i]!r} twice {also}; {hint}")
        seen[at], cells[at] = i, number
    table.notes.append(f"long table: {name!r} holds the names, {value!r} the values")
    index = pd.MultiIndex.from_tuples(list(rows), names=["unit", "run"])
    return pd.DataFrame(cells, index, list(used)), chosen
