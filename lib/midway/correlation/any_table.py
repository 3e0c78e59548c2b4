"""Correlate the columns of any table of results: wide or long, text, Parquet or a harness' JSON."""

import sys
from pathlib import Path

import pandas as pd

from midway.correlation import harness, reshape
from midway.correlation.correlate import correlate
from midway.correlation.reshape import columns_of, few
from midway.correlation.table_file import count, read
from midway.study.errors import InputError, one_line


def correlate_table(
    path,
    unit: str,
    predictors,
    outcomes,
    run: str | None = None,
    *,
    names: str | None = None,
    values: str | None = None,
    rows_are_runs: bool = False,
    missing=(),
    separator: str | None = None,
    **options,
) -> pd.DataFrame:
    """Correlate columns of a table; rows of one unit are its runs and are averaged.

    path: see :func:`table_file.read`. Wide: a column per measure. Long: a column of names and
    one of values, given as ``names`` and ``values`` or, where only two columns are left beside unit
    and run, known by holding what is asked for. unit: column, or several with commas ('task,seed'
    makes every run a unit: the published habit, see docs/reading-a-correlation.md). predictors,
    outcomes: names or globs, a list or with commas. rows_are_runs: rows of one unit are its runs
    although other columns differ in them. missing: texts that stand for a missing number.
    options: of :func:`correlate.correlate`.

    What was done to the table is one line each in ``table.attrs["problems"]``; InputError names the
    line of whatever cannot be read without a doubt.
    """
    path = Path("/dev/stdin" if str(path) == "-" else path)
    if path.is_dir() or path.suffix.lower() in (".json", ".jsonl"):
        table = harness.read(path)
    else:
        table = read(path, separator, [n for n in (unit, run, names, values) if n and "," not in n])
    keys = columns_of(table, unit, "unit", list(table.cells))
    runs = columns_of(table, run, "run", list(table.cells)) if run else []
    if set(keys) & set(runs):
        raise InputError(f"{path}: {run!r} is named as unit and as run; name two different columns")
    if table.tidy:
        table = harness.spread(table, [*keys, *runs])
    rows = reshape.index(table, keys, runs, unit)
    asked = {"predictors": predictors, "outcomes": outcomes}
    rest = [c for c in table.cells if c not in (*keys, *runs)]
    form = reshape.long(table, rest, asked, names, values)
    held = list(dict.fromkeys(table.text(form[0]))) if form else rest
    chosen = {what: columns_of(table, asked[what], what, held, globs=True) for what in asked}
    both = sorted(set(chosen["predictors"]) & set(chosen["outcomes"]))
    if both:
        raise InputError(f"{few(both)}: named as predictor and as outcome; name each column once")
    used = [*chosen["predictors"], *chosen["outcomes"]]
    if form:
        frame = reshape.spread(table, rows, form, used, missing, bool(runs))
    else:
        if not runs and not rows_are_runs:
            reshape.no_other_runs(table, rows, [c for c in rest if c not in used])
        frame = reshape.wide(table, rows, used, missing, run)
    units = frame.index.unique(0)
    if len(units) < 3:
        found = count(len(units), "unit")
        raise InputError(f"{path}: {found} by {unit!r}; a correlation needs at least 3")
    problems = [*table.notes, *reshape.doubtful(units)]
    if empty := int(frame.isna().to_numpy().sum()):
        are = "is" if empty == 1 else "are"
        problems.append(f"{empty} of {frame.size} cells {are} missing; left out pair by pair")
    constant = [c for c in used if frame[c].nunique() == 1]
    problems += [f"column {c!r} is constant; it has no correlation" for c in constant]
    result = correlate(frame[chosen["predictors"]], frame[chosen["outcomes"]], **options)
    result.attrs |= {"problems": [one_line(p) for p in problems], "unit": unit, "run": run}
    return result


def report(table, out=None, **args) -> int:
    """Output of `midway correlate`: a CSV to stdout; problems and sentences to stderr.

    out: folder for the table instead; args: of :func:`correlate_table`.
    """
    from midway.correlation import export, words

    if not 0 < args["alpha"] < 1:
        raise InputError(f"--alpha: {args['alpha']:g}; expected a number between 0 and 1")
    if args["seed"] < 0:
        raise InputError(f"--seed: {args['seed']}; expected a whole number, at least 0")
    if args["separator"] in ("tab", "\\t"):
        args["separator"] = "\t"
    if args["separator"] and len(args["separator"]) != 1:
        raise InputError(f"--separator: {args['separator']!r}; expected one character, or tab")
    if out:
        try:
            Path(out).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {out}: not a folder ({error.strerror})") from None
    try:
        result = correlate_table(table, **args)
    except MemoryError:
        raise InputError(
            f"{table}: not enough memory; name fewer columns or lower --resamples, --permutations"
        ) from None
    except (TypeError, SyntaxError, RecursionError, UnicodeError) as error:  # of a library
        raise InputError(f"{table}: cannot be correlated ({one_line(error)[:200]})") from None
    for line in result.attrs["problems"]:
        print(f"midway: {line}", file=sys.stderr)
    shown = export.zeros(result.rename(columns={"rho": words.SYMBOLS[args["method"]]}))
    if out:
        for path in export.write(shown, out, "correlation", digits=3, index=False):
            print(path)
    else:
        print(shown.to_csv(index=False, float_format="%.4g"), end="")
    for line in words.family(result, f"values of {args['unit']}"):
        print(line, file=sys.stderr)
    return 0
