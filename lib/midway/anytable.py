"""Correlate the columns of any table of results: wide or long, CSV or Parquet."""

import argparse
import fnmatch
import sys
from pathlib import Path

import pandas as pd

from midway.correlation import correlate
from midway.errors import InputError

EXAMPLES = """examples:
  midway correlate lib/midway/published/pruksachatkun2020_runs.csv --unit int_task --run run \\
    --predictors "edges-*_PRB" --outcomes "*_TRG"
  midway correlate results.csv --unit task --predictors "dev_*" --outcomes "gain_*" --out tables

The table goes to standard output as CSV, what follows from it to standard error.
"""


def correlate_table(
    path, unit: str, predictors, outcomes, run: str | None = None, **options
) -> pd.DataFrame:
    """Correlate columns of a table; rows of one unit are its runs and are averaged.

    path: CSV, TSV or Parquet. Wide: a column per measure. Long: besides unit and run one column
    of names and one of values. unit: column, or several with commas ('task,seed' makes every run
    a unit: the published habit, see docs/reading-a-correlation.md). predictors, outcomes: names
    or globs, a list or with commas. options: of :func:`midway.correlation.correlate`.

    Problems that can be lived with are one line each in ``table.attrs["problems"]``; InputError
    for the others.
    """
    frame, problems = read(path), []
    keys = _names(unit)
    for name in [*keys, *([run] if run else [])]:
        if name not in frame:
            raise InputError(f"{path}: no column {name!r}; it has {_few(frame.columns)}")
    index = frame[keys].astype(str).agg("/".join, axis=1) if len(keys) > 1 else frame[keys[0]]
    if index.isna().any():
        n = int(index.isna().sum())
        problems.append(f"{count(n, 'row')} {'has' if n == 1 else 'have'} no {unit}; left out")
        frame, index = frame[index.notna()], index.dropna()
    frame = _to_wide(frame, index, run, [*keys, *([run] if run else [])], problems)
    columns = {}
    for what, wanted in (("predictors", predictors), ("outcomes", outcomes)):
        columns[what] = _matching(frame, wanted, what)
    both = sorted(set(columns["predictors"]) & set(columns["outcomes"]))
    if both:
        raise InputError(f"{_few(both)}: predictor and outcome at once; name each column once")
    used = [*columns["predictors"], *columns["outcomes"]]
    frame = _unique_runs(frame[used], run, problems)
    units = frame.index.get_level_values(0).nunique()
    if units < 3:
        found = count(units, "unit")
        raise InputError(f"{path}: {found} by {unit!r}; a correlation needs at least 3")
    numbers = pd.concat([_number(frame[c], problems) for c in used], axis=1)
    missing = int(numbers.isna().sum().sum())
    if missing:
        are = "is" if missing == 1 else "are"
        problems.append(f"{missing} of {numbers.size} cells {are} missing; left out pair by pair")
    for c in used:
        if numbers[c].nunique() == 1:
            problems.append(f"column {c!r} is constant; it has no correlation")
    table = correlate(numbers[columns["predictors"]], numbers[columns["outcomes"]], **options)
    table.attrs |= {"problems": problems, "unit": unit, "run": run}
    return table


def read(path) -> pd.DataFrame:
    """A table from CSV (comma, semicolon or tab, UTF-8) or Parquet."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
            return frame if frame.index.name is None else frame.reset_index()
        head = path.open(encoding="utf-8-sig").readline()
        separator = max(",;\t", key=head.count)
        return pd.read_csv(path, sep=separator, encoding="utf-8-sig")
    except (UnicodeDecodeError, ValueError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a CSV or Parquet table ({first})") from None


def _to_wide(frame, index, run, keys, problems):
    """Indexed by unit and run; a long table (one column of names, one of values) is spread."""
    rest = [c for c in frame if c not in keys]
    text = [c for c in rest if not pd.api.types.is_numeric_dtype(frame[c])]
    counter = index.groupby(index).cumcount()
    if len(rest) == 2 and len(text) == 1:
        name, value = text[0], next(c for c in rest if c != text[0])
        runs = frame[run] if run else counter.groupby([index, frame[name]]).cumcount()
        whole = pd.DataFrame({"unit": index, "run": runs, "name": frame[name], "v": frame[value]})
        again = whole.duplicated(["unit", "run", "name"])
        if again.any():
            bad = whole[again].iloc[0]
            raise InputError(
                f"{bad['unit']!r}, run {bad['run']!r} has {bad['name']!r} twice; keep one of them"
            )
        problems.append(f"long table: {name!r} holds the names, {value!r} the values")
        return whole.pivot(index=["unit", "run"], columns="name", values="v")
    if not run and counter.any():
        most = int(counter.max()) + 1
        problems.append(f"no run column: up to {most} rows of one unit are taken as its runs")
    runs = frame[run] if run else counter
    return frame[rest].set_index(pd.MultiIndex.from_arrays([index, runs], names=["unit", "run"]))


def _unique_runs(frame, run, problems):
    again = frame.index.duplicated()
    if again.any():
        kept = frame[~frame.reset_index().duplicated().to_numpy()]
        if kept.index.has_duplicates:
            bad = kept.index[kept.index.duplicated()][0]
            raise InputError(
                f"unit {bad[0]!r}, run {bad[1]!r} stands there twice with different numbers; "
                f"keep one, or leave out the run column {run!r}"
            )
        n = int(again.sum())
        are = "is" if n == 1 else "are"
        problems.append(f"{count(n, 'row')} {are} repeated word for word; counted once")
        return kept
    return frame


def _number(column, problems):
    if pd.api.types.is_bool_dtype(column):
        return column.astype(float)
    if pd.api.types.is_numeric_dtype(column):
        return column.replace([float("inf"), float("-inf")], float("nan"))
    numbers = pd.to_numeric(column, errors="coerce")
    bad = column[numbers.isna() & column.notna()]
    if len(bad) == column.notna().sum():
        raise InputError(f"column {column.name!r} holds text ({bad.iloc[0]!r}), not numbers")
    if len(bad):
        shown = _few([repr(v) for v in bad.unique()])
        are = "is" if len(bad) == 1 else "are"
        values = f"{count(len(bad), 'value')} {are} text ({shown})"
        problems.append(f"column {column.name!r}: {values}; counted as missing")
    return numbers


def _matching(frame, wanted, what):
    found = []
    for pattern in _names(wanted):
        hits = [c for c in frame if fnmatch.fnmatchcase(str(c), pattern) and c not in found]
        if not hits and not any(fnmatch.fnmatchcase(str(c), pattern) for c in found):
            raise InputError(f"{what}: no column matches {pattern!r}; there are {_few(frame)}")
        found += hits
    if not found:
        raise InputError(f"{what}: none named")
    return found


def count(n: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _names(text):
    parts = text.split(",") if isinstance(text, str) else text
    return [p.strip() for p in parts if p.strip()]


def _few(names, most=6):
    names = [str(n) for n in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def main(table, rest: list[str]) -> int:
    """The verb: result to stdout (CSV), problems and the words about it to stderr."""
    from midway import tables, words

    p = argparse.ArgumentParser(
        "midway correlate TABLE", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--unit", required=True, help="column of what was chosen (several: a,b)")
    p.add_argument("--run", help="column that tells runs of one unit apart")
    p.add_argument("--predictors", required=True, help="columns, by name or as in '*_PRB'")
    p.add_argument("--outcomes", required=True, help="columns, by name or as in '*_TRG'")
    p.add_argument("--method", default="spearman", choices=tuple(words.SYMBOLS))
    p.add_argument("--permutations", type=int, default=100_000, help="default 100000")
    p.add_argument("--resamples", type=int, default=9999, help="of the bootstrap; default 9999")
    p.add_argument("--alpha", type=float, default=0.05, help="default 0.05")
    p.add_argument("--seed", type=int, default=0, help="of both; default 0")
    p.add_argument("--out", help="folder for correlation.csv, .md and .tex")
    args = vars(p.parse_args(rest))
    if not 0 < args["alpha"] < 1:
        raise InputError(f"--alpha: {args['alpha']:g}; a share between 0 and 1")
    out = args.pop("out")
    if out:
        try:
            Path(out).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {out}: not a folder ({error.strerror})") from None
    result = correlate_table(table, **args)
    for line in result.attrs["problems"]:
        print(f"midway: {line}", file=sys.stderr)
    shown = result.rename(columns={"rho": words.SYMBOLS[args["method"]]})
    if out:
        for path in tables.write(shown, out, "correlation", digits=3, index=False):
            print(path)
    else:
        print(shown.to_csv(index=False, float_format="%.4g"), end="")
    for line in words.family(result, args["unit"]):
        print(line, file=sys.stderr)
    return 0
