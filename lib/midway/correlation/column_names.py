"""Columns by name: as it stands, commas and brackets included, or by a pattern of * and ?."""

import fnmatch
import re

from midway.correlation.table_file import Table
from midway.study.errors import InputError, one_line

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
