"""Tables of other people: what stands there, or one line that names the line; never less."""

import csv
import gzip
import json
import os
import threading
import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from midway import cli
from midway.correlation import any_table, export
from midway.correlation.any_table import correlate_table
from midway.correlation.table_file import read
from midway.study.errors import InputError

FEW = {"permutations": 99, "resamples": 99}
TASKS = "mnli qqp csqa anli ccg squad boolq hswag".split()
DEV = [82.1, 88.0, 61.0, 74.5, 93.1, 80.2, 70.0, 77.0]
GAIN = [3.2, 0.4, -1.2, 2.9, -0.3, 1.1, 1.0, 0.2]


def text(sep=",", tasks=TASKS, dev=DEV, gain=GAIN, head=("task", "dev", "gain"), end="\n"):
    rows = [head, *zip(tasks, dev, gain, strict=True)]
    return "".join(sep.join(map(str, row)) + end for row in rows)


def run(tmp_path, content, name="t.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    asked = {"unit": "task", "predictors": "dev", "outcomes": "gain"} | FEW | options
    return correlate_table(path, **asked)


def with_cell(row, column, cell, sep=","):
    lines = [line.split(sep) for line in text(sep).split("\n")]
    lines[row - 1][column] = cell
    return "\n".join(map(sep.join, lines))


def rho(rows=slice(None)):
    return spearmanr(DEV[rows], GAIN[rows])[0]


def same(table, n=8, expected=None):
    assert len(table) == 1 and table["n"][0] == n
    assert table["rho"][0] == pytest.approx(rho() if expected is None else expected)
    return table.attrs["problems"]


def refused(tmp_path, content, message, **options):
    with pytest.raises(InputError) as error:
        run(tmp_path, content, **options)
    assert message in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


# -- the shape ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        text(), text(end="\r\n"), text(end="\r"), text(";"), text("\t"), text().rstrip(),
        text() + "\n\n  \n", "\n" + text(), "\ufeff" + text(), text().encode("utf-16"),
        b"\xfe\xff" + text("\t").encode("utf-16-be"), "sep=;\n" + text(";"),
        text(",", map('"{}"'.format, TASKS)), text(", "), text(" ; "),
    ],
)  # fmt: skip
def test_ways_to_write_the_same_table(tmp_path, content):
    same(run(tmp_path, content))


def test_tabs_are_not_quoted(tmp_path):
    """A quotation mark at the start of a cell swallowed the rows up to the next one."""
    tasks = [f'"{t}' if t in ("qqp", "hswag") else t for t in TASKS]
    for name in ("t.tsv", "t.csv"):
        same(run(tmp_path, text("\t", tasks), name=name))
    assert read(tmp_path / "t.tsv").text("task")[1] == '"qqp'


@pytest.mark.parametrize(
    "content, message",
    [
        (text() + "rte,1\n", "line 10: 2 cells, the header has 3"),
        (text() + "rte,1,2,3\n", "line 10: 4 cells, the header has 3"),
        (text() + "rte,1,2,\n", "line 10: 4 cells"),
        (text() + "\nrte\n", "line 11: 1 cell"),
        (text().replace("csqa", 'cs"qa').replace("ccg", '"ccg'), "line 6: a quotation mark is op"),
        (text(";") + "rte;1\n", "line 10: 2 cells"),
        (text("\t") + "rte\t1\n", "line 10: 2 cells"),
        ("# made by hand\n" + text(), "line 2: 3 cells, the header has 1"),
        (text("|"), "one column only"),
        ("", "the table is empty"),
        ("\n \n", "the table is empty"),
        (text(tasks=["é", *TASKS[1:]]).encode("latin-1"), "line 2: not UTF-8 text (byte 0xe9)"),
        (text().encode("utf-16-le"), "not a text table"),
        (b"PK\x03\x04\x00\x00", "not a text table"),
        (text().replace("dev", "task"), "2 columns are called 'task'"),
        (text(head=("task", "dev", " dev")), "2 columns are called 'dev'"),
        (text(tasks=["a\r\rb", *TASKS[1:]]), "line 2"),
        (text(head=("task", "dev", "gain")).split("\n")[0], "0 units by 'task'"),
    ],
)
def test_what_has_another_shape_is_refused_with_its_line(tmp_path, content, message):
    refused(tmp_path, content, message)


def test_rows_inside_quotation_marks_are_named(tmp_path):
    """The table is whole by its form, and yet rows are missing."""
    content = text().replace("qqp,", '"qqp,').replace("anli,", 'anli",')
    refused(tmp_path, content, "line 3: task goes over several lines")
    noted = "\n".join(f"{line},note" if i == 0 else f"{line},x" for i, line in enumerate(
        text().rstrip().split("\n")))  # fmt: skip
    noted = noted.replace(",x\nqqp", ',"x\nqqp').replace("-1.2,x", '-1.2,x"')
    problems = run(tmp_path, noted).attrs["problems"]
    assert "quotation marks hold 1 row over several lines (first: line 2)" in problems[0]


def test_empty_lines_between_rows_are_said(tmp_path):
    for sep in ",\t":
        content = text(sep).replace("ccg", "\nccg").replace("qqp", "\n\nqqp")
        assert "3 empty lines between rows passed over" in same(run(tmp_path, content))


def test_a_separator_inside_names_is_none(tmp_path):
    """lm-eval's acc,none has as many commas as the file has tabs."""
    head = ("task", "dev,none", "gain,none")
    asked = {"predictors": "dev,none", "outcomes": "gain,none"}
    for sep, name in (("\t", "t.tsv"), ("\t", "t.csv"), (";", "t.csv")):
        same(run(tmp_path, text(sep, head=head), name=name, **asked))
    same(run(tmp_path, text(head=("task", '"dev;x"', '"gain;x"')), predictors="dev;x",
             outcomes="gain;x"))  # fmt: skip


def test_a_separator_in_doubt_is_asked_for(tmp_path):
    content = "task;a,b;c\n" + "".join(f"t{i};{i},5;{i}\n" for i in range(5))
    options = {"unit": "t", "predictors": "x", "outcomes": "y"}
    refused(
        tmp_path, content, "separated by ';' or ','? Name the separator with --separator", **options
    )
    options |= {"unit": "task", "predictors": "a,b", "outcomes": "c"}
    assert run(tmp_path, content, separator=";", **options)["n"][0] == 5


def test_columns_without_a_name(tmp_path):
    """pandas writes its index so; a separator at the end of every line makes an empty one."""
    rows = text().rstrip().split("\n")
    same(run(tmp_path, "\n".join(f"{line}," for line in rows)))
    indexed = "\n".join(f"{i - 1 if i else ''},{line}" for i, line in enumerate(rows))
    assert "it is called 'column 1'" in same(run(tmp_path, indexed))[0]


# -- text stays text ----------------------------------------------------------------------------


def test_units_are_the_text_that_stands_there(tmp_path):
    """12e4 is not 120000, 0070 not 70, and None, NA and null are names."""
    tasks = ["12e4", "120000", "0070", "70", "7e1", "None", "NA", "null"]
    same(run(tmp_path, text(tasks=tasks)))
    seeds = "task,seed,dev,gain\n" + "".join(
        f"{t},{s},{d + i},{g}\n"
        for t, d, g in zip(TASKS, DEV, GAIN, strict=True)
        for i, s in enumerate(("1", "01", "1.0", "NA"))
    )
    assert run(tmp_path, seeds, run="seed").attrs["runs"] == 4


def test_rows_without_a_unit_are_left_out_and_said(tmp_path):
    content = text() + ",50,1\n , 51, 2\n"
    problems = same(run(tmp_path, content))
    assert "2 rows have no task; left out" in problems


def test_composed_units(tmp_path):
    """An empty part is missing; ('a/b', 'c') and ('a', 'b/c') are two units."""
    rows = [
        ("a/b", "c"),
        ("a", "b/c"),
        ("a\\", "b"),
        ("a", "\\b"),
        ("None", "1"),
        ("x", "01"),
        ("x", "1"),
    ]
    body = "".join(f"{t},{x},{d},{g}\n" for (t, x), d, g in zip(rows, DEV, GAIN, strict=False))
    table = run(tmp_path, f"task,lang,dev,gain\n{body},en,9,9\nmnli,,9,9\n", unit="task,lang")
    assert table["n"][0] == 7
    assert "2 rows have no task,lang; left out" in table.attrs["problems"]


def test_spaces_around_cells_are_trimmed_and_said(tmp_path):
    odd = [
        "mnli ",
        " qqp",
        "csqa\xa0",
        "anli\u200b",
        "\ufeffccg",
        "squad\u3000",
        "boolq\u2009",
        "hswag",
    ]
    problems = same(run(tmp_path, text(tasks=odd, head=(" task", "dev ", "gain"))))
    assert "spaces around the text of 9 cells ignored" in problems
    twice = "task,dev,gain\n" + "".join(
        f"{t},{d},{g}\n" for t, d, g in zip(odd + TASKS, DEV * 2, GAIN * 2, strict=True)
    )
    problems = same(run(tmp_path, twice))
    assert "no run column: up to 2 rows of one unit are taken as its runs" in problems


@pytest.mark.parametrize(
    "more, said",
    [
        (["MNLI"], "'mnli' and 'MNLI' count as two units; are they one?"),
        (["squad v2", "squad-v2"], "'squad v2' and 'squad-v2' count as two units; are they one?"),
        (["squad  v2", "Squad v2", "QQP"], "units (1 more like them)"),
        (["Average"], "'Average' counts as a unit; leave it out if it sums up the others"),
        (["12e4", "120000", "anli2"], ""),
    ],
)
def test_units_that_may_be_none_are_said(tmp_path, more, said):
    """A row of means was a further point of the correlation, MNLI and mnli were two, unsaid."""
    n = len(more)
    found = run(tmp_path, text(tasks=TASKS + more, dev=DEV + DEV[:n], gain=GAIN + GAIN[:n]))
    assert found["n"].tolist() == [len(TASKS) + n]
    problems = " ".join(found.attrs["problems"])
    assert said in problems and bool(said) == ("unit" in problems)


@pytest.mark.parametrize(
    "dev, doubt",
    [
        (["392.702", "9.741", "800", *DEV[3:]], False),  # others have one decimal
        (["392.702", "9.741", "800", "163.000", "87.599", "5", "6", "7"], True),
        (["0.702", "0.741", "1", "0.163", "0.599", "0", "1", "0"], False),
        (["82.125", "83.000", "61.111", "74.500", "93.125", "80.250", "70.375", "77.125"], False),
    ],
)
def test_points_that_may_set_thousands_apart_are_said(tmp_path, dev, doubt):
    """9.741 rows beside 800 rows were read as fewer."""
    problems = run(tmp_path, text(dev=dev)).attrs["problems"]
    assert any("is read as 392.702; or do its points set" in p for p in problems) is doubt
    assert bool(problems) is doubt


def test_names_that_look_the_same_are_the_same(tmp_path):
    """A composed and a decomposed letter, a no-break space inside a name."""
    content = text() + "caf\u00e9 x,50,1\ncafe\u0301\xa0x,50,1\n"
    assert run(tmp_path, content)["n"][0] == 9


# -- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dash",
    ["", "-", "–", "—", "−", "n/a", "N/A", "NA", "nan", "NaN", "null", "None", "#N/A", "?", "..."],
)
def test_a_missing_number_is_counted(tmp_path, dash):
    for sep in ",\t":
        problems = same(run(tmp_path, with_cell(9, 2, dash, sep)), 7, rho(slice(7)))
        assert problems == ["1 of 16 cells is missing; left out pair by pair"]


@pytest.mark.parametrize(
    "cell",
    ["82.1*", "**82.1**", "82.1 (0.3)", "(82.1)", "$82.1", "82.1k", "failed", "82,1", "1_000",
     "0x10", "#DIV/0!", "inf", "-Infinity", "1e999", "١٢", "82.1.3", "1 2", "8-2", "'82.1",
     '"""82.1"""',
     "2020-01-01", "82.1%", "=1+1", "1e", "+", "true", "1:30"],
)  # fmt: skip
def test_other_text_among_numbers_is_refused_with_its_line(tmp_path, cell):
    """Counted as missing it was not missing at random: exactly the marked values went."""
    content = with_cell(4, 1, cell, "\t")
    if cell == ".":
        return same(run(tmp_path, content), 7, spearmanr(DEV[:2] + DEV[3:], GAIN[:2] + GAIN[3:])[0])
    return refused(
        tmp_path, content, "line 4: column 'dev': " if cell != "82.1%" else "line 2: column"
    )


def test_a_text_of_ones_own_for_missing(tmp_path):
    content = with_cell(9, 1, "Crashed").replace("-1.2", "OOM")
    table = run(tmp_path, content, missing=["crashed", "oom"])
    assert table["n"][0] == 6


@pytest.mark.parametrize("minus", "−–‐﹣－-")
def test_every_minus_is_one(tmp_path, minus):
    """Exactly the negative gains were left out."""
    gain = [str(g).replace("-", minus) for g in GAIN]
    assert same(run(tmp_path, text(gain=gain))) == []


def test_a_minus_sign_before_nothing_or_between_digits_is_none(tmp_path):
    refused(tmp_path, with_cell(4, 2, "1–2"), "'1–2' is not a number")


COMMA = [str(d).replace(".", ",") for d in DEV]


@pytest.mark.parametrize(
    "dev, gain, expected",
    [
        (COMMA, [str(g).replace(".", ",") for g in GAIN], None),
        ([f'"{d}"' for d in COMMA], [f'"{g}"'.replace(".", ",") for g in GAIN], None),
        ([f'"{int(d * 1e6):,}"' for d in DEV], GAIN, None),  # 82,100,000
        ([f'"{d * 1000:,.1f}"' for d in DEV], [int(g * 10) for g in GAIN], None),  # 82,100.0
        ([f"{d * 1000:,.1f}".translate({44: 46, 46: 44}) for d in DEV], GAIN, "mixed"),
        ([f"{d * 1000:,.0f}".replace(",", " ") for d in DEV], GAIN, None),
        ([f"{d * 1000:,.0f}".replace(",", "\xa0") for d in DEV], GAIN, None),
        ([f"{d * 1000:,.0f}".replace(",", "\u202f") for d in DEV], GAIN, None),
        ([f"{d * 1000:,.0f}".replace(",", "'") for d in DEV], GAIN, None),
        ([f"{d} %" for d in DEV], GAIN, None),
        ([f"{d}%" for d in DEV], [f"{g} ± 0.2" for g in GAIN], None),
        ([f"{d}±0.3" for d in DEV], [f"{g} +/- .2" for g in GAIN], None),
        ([f"{d / 100:.2e}" for d in DEV], [f"+{g}" if g > 0 else g for g in GAIN], None),
        (DEV, [str(g).replace("0.", ".") for g in GAIN], None),
        ([f'"{d * 1000:,.0f}"' for d in DEV], [int(g * 10) for g in GAIN], "ambiguous"),
        (["82,1", *DEV[1:]], GAIN, "mixed"),
    ],
)
def test_numbers_as_people_write_them(tmp_path, dev, gain, expected):
    """Understood where the columns leave no doubt, else refused by cell; never dropped."""
    sep = "," if '"' in f"{dev}{gain}" else ";"
    if expected:
        refused(tmp_path, text(sep, dev=dev, gain=gain), "is the comma a decimal sign")
    else:
        same(run(tmp_path, text(sep, dev=dev, gain=gain)))


def test_thousands_among_small_numbers(tmp_path):
    """392,702 was counted as missing beside 800, so that the small ones alone were left."""
    sizes = ["392,702", "363,846", "9,741", "163,000", "800", "87,599", "9,427", "39,905"]
    table = run(tmp_path, text(dev=[f'"{s}"' for s in sizes]))
    expected = spearmanr([int(s.replace(",", "")) for s in sizes], GAIN)[0]
    same(table, 8, expected)


def test_a_point_among_decimal_commas_is_in_doubt(tmp_path):
    refused(
        tmp_path, text(";", dev=["82.100", *COMMA[1:]], gain=range(8)), "is the comma a decimal"
    )


def test_true_and_false_are_one_and_zero(tmp_path):
    flags = ["True", "false", "TRUE", "True", "False", "true", "True", "False"]
    expected = spearmanr([f.lower() == "true" for f in flags], GAIN)[0]
    same(run(tmp_path, text(dev=flags)), 8, expected)
    refused(tmp_path, text(dev=["True", *DEV[1:]]), "'True' is not a number")


# -- which column is what -----------------------------------------------------------------------


def test_columns_are_named_exactly(tmp_path):
    """acc,none of lm-eval; brackets, stars; a name that is also a glob."""
    head = ["task", "acc,none", "acc", "f1 [en]", "f1 [de]", "a*", "ab", "gain"]
    rows = [
        [t, d, d + 1, d + 2, d + 3, d + 4, d + 5, g]
        for t, d, g in zip(TASKS, DEV, GAIN, strict=True)
    ]
    with (tmp_path / "c.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    content = (tmp_path / "c.csv").read_bytes()
    for asked, found in {
        "acc,none": ["acc,none"], "acc,none,ab": ["acc,none", "ab"], "acc, ab": ["acc", "ab"],
        "ab,acc,none": ["ab", "acc,none"], "f1 [en]": ["f1 [en]"], "* [en]": ["f1 [en]"],
        "f1 *": ["f1 [en]", "f1 [de]"], "a*": ["a*"], "a?": ["a*", "ab"],
        "acc*": ["acc,none", "acc"], "acc,,ab,": ["acc", "ab"],
        "acc?none": ["acc,none"], "a[b]": ["ab"], ("acc", "none*", "ab"): None,
        ("acc", "acc,none"): ["acc", "acc,none"], "acc,acc": ["acc"],
    }.items():  # fmt: skip
        if found is None:
            refused(tmp_path, content, "no column matches 'none*'", predictors=list(asked))
        else:
            asked = list(asked) if isinstance(asked, tuple) else asked
            assert list(run(tmp_path, content, predictors=asked)["predictor"]) == found
    with pytest.raises(InputError, match="no column 'tas'; it has task, acc,none, acc"):
        run(tmp_path, content, unit="tas")


def test_verb_takes_options_more_than_once(tmp_path, capsys):
    (tmp_path / "t.csv").write_text(text(head=("task", "dev", '"g,1"')))
    args = ["correlate", str(tmp_path / "t.csv"), "--unit", "task", "--predictors", "dev"]
    args += ["--outcomes", "g,1", "--permutations", "99", "--resamples", "99"]
    assert cli.main(args) == 0 and '"g,1"' in capsys.readouterr().out


def long(seeds=1, metrics=("dev", "gain"), shift=0.0):
    rows = ["task,seed,metric,value"]
    for t, d, g in zip(TASKS, DEV, GAIN, strict=True):
        for seed in range(seeds):
            for name, value in zip(metrics, (d, g), strict=True):
                rows.append(f"{t},{seed},{name},{value + shift * seed}")
    return "\n".join(rows)


def test_long_tables(tmp_path):
    bare = long().replace(",0,", ",").replace(",seed", "")
    for options in ({}, {"names": "metric", "values": "value"}):
        assert "long table" in same(run(tmp_path, bare, **options))[0]
    table = run(tmp_path, long(3, shift=0.5), run="seed")
    assert same(table) and table.attrs["runs"] == 3
    more = "\n".join(f"{line},{i and 'x'}" for i, line in enumerate(long().split("\n")))
    same(run(tmp_path, more, run="seed", names="metric", values="value"))
    dashed = long().replace("value", "score").replace("ccg,0,dev,93.1", "ccg,0,dev,–")
    table = run(tmp_path, dashed, run="seed")
    assert table["n"][0] == 7


def test_several_numbers_of_one_metric_ask_for_the_run(tmp_path):
    bare = "\n".join(line.replace(",0,", ",").replace(",1,", ",") for line in
                     long(2, shift=1).replace(",seed", "").split("\n"))  # fmt: skip
    refused(tmp_path, bare, "line 4: 'mnli' has 'dev' twice (also line 2); name the column")


def test_a_wide_table_with_a_dash_stays_wide(tmp_path):
    """A cell of text among the numbers made it a long one."""
    same(run(tmp_path, with_cell(9, 1, "–")), 7, rho(slice(7)))
    refused(tmp_path, with_cell(9, 1, "82.1*"), "line 9: column 'dev'")


def test_different_metrics_are_never_runs(tmp_path):
    """acc in percent and loss in nats were averaged to one number per task."""
    content = "task,metric,dev,gain\n" + "".join(
        f"{t},{m},{d if m == 'acc' else 5 - d / 50:.3f},{g}\n"
        for t, d, g in zip(TASKS, DEV, GAIN, strict=True)
        for m in ("acc", "loss")
    )
    message = "lines 2 and 3 are both 'mnli' and differ in 'metric': is that the run?"
    refused(tmp_path, content, message)
    assert run(tmp_path, content, rows_are_runs=True)["n"][0] == 8
    assert run(tmp_path, content, unit="task,metric")["n"][0] == 16


@pytest.mark.parametrize("seeds", [("1", "2"), ("1.0", "2.0"), ("a", "b"), ("", "2")])
def test_a_column_that_may_be_the_run_is_asked_for(tmp_path, seeds):
    content = "task,s,dev,gain\n" + "".join(
        f"{t},{s},{d},{g}\n" for t, d, g in zip(TASKS, DEV, GAIN, strict=True) for s in seeds
    )
    refused(tmp_path, content, "differ in 's'")
    if all(seeds):
        same(run(tmp_path, content, run="s"))
    else:
        refused(tmp_path, content, "line 2: no s", run="s")


def test_repeated_runs(tmp_path):
    head, body = "task,s,dev,gain\n", "".join(
        f"{t},1,{d},{g}\n" for t, d, g in zip(TASKS, DEV, GAIN, strict=True))  # fmt: skip
    problems = same(run(tmp_path, head + body * 2, run="s"))
    assert "8 rows are repeated word for word; counted once" in problems
    other = body.replace("ccg,1,93.1", "ccg,1,93.2")
    refused(tmp_path, head + body + other, "'ccg', run '1' occurs twice with different", run="s")
    refused(tmp_path, head + body, "'task' is named as unit and as run", run="task")


# -- files of other tools -----------------------------------------------------------------------


def test_typed_files(tmp_path):
    """Whole numbers with a gap stay whole as names; lists and infinities do not pass."""
    frame = pd.DataFrame({"task": [70, 7, 71, 8, 9, 10, 11, None], "dev": DEV, "gain": GAIN})
    frame["task"] = frame["task"].astype("Int64")
    frame.to_parquet(tmp_path / "t.parquet")
    table = correlate_table(tmp_path / "t.parquet", "task", "dev", "gain", **FEW)
    assert table["n"][0] == 7 and read(tmp_path / "t.parquet").text("task")[:2] == ["70", "7"]
    frame["task"] = [2**53 + k for k in range(8)]
    frame.to_parquet(tmp_path / "t.parquet")
    assert correlate_table(tmp_path / "t.parquet", "task", "dev", "gain", **FEW)["n"][0] == 8
    frame["task"] = frame["task"].astype(float)  # as pandas does where one is missing: two in one
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="row 1: 'task' is 9007199254740992 as a floating-point"):
        correlate_table(tmp_path / "t.parquet", "task", "dev", "gain", **FEW)
    records = [
        {"task": t, "dev": d, "gain": str(g)} for t, d, g in zip(TASKS, DEV, GAIN, strict=True)
    ]
    for name, content in {
        "t.json": json.dumps(records),
        "t.jsonl": "\n".join(map(json.dumps, records)) + "\n",
    }.items():
        same(run(tmp_path, content, name=name))
    for cell, message in {
        "[1]": "row 3: column 'dev': [1] is not a number", "Infinity": "'dev': inf is no finite",
        "1" + "0" * 400: "no finite", "{}": "is not a number", '"x"': "'x' is not a number",
    }.items():  # fmt: skip
        content = json.dumps(records).replace("61.0", cell)
        refused(tmp_path, content, message, name="t.json")
    refused(tmp_path, json.dumps(records)[:-9], "broken JSON", name="t.json")
    refused(tmp_path, "[" * 100_000, "broken JSON", name="t.json")
    refused(
        tmp_path, json.dumps(records).replace("gain", "dev", 1), "'dev' occurs twice", name="t.json"
    )
    refused(tmp_path, "{}", "not results of", name="t.json")
    refused(tmp_path, "[1, 2]", "not results of", name="t.json")


def lm_eval(folder, model, values, **more):
    results = {
        task: {"alias": task, "acc,none": v, "acc_stderr,none": "N/A", "acc_norm,none": v / 2 + i}
        for i, (task, v) in enumerate(values.items())
    }
    tree = {
        "results": results,
        "model_name": model,
        "config": {"model": "hf"},
        "versions": {},
    } | more
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results_2024-05-01T10-00-00.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def test_lm_evaluation_harness(tmp_path):
    """One file: tasks as units; a folder: models as units, a column per task and metric."""
    one = lm_eval(tmp_path / "a", "m/a", dict(zip(TASKS, DEV, strict=True)))
    asked = {"predictors": "acc,none", "outcomes": "acc_norm,none"} | FEW
    assert correlate_table(one, "task", **asked)["n"][0] == 8
    for i, model in enumerate("bcdef"):
        lm_eval(tmp_path / model, f"m/{model}", {"arc": DEV[i], "piqa": GAIN[i]})
    one.unlink()
    table = correlate_table(tmp_path, "model", "arc/acc,none", "piqa/acc,none", **FEW)
    assert table["n"][0] == 5 and table["rho"][0] == pytest.approx(spearmanr(DEV[:5], GAIN[:5])[0])
    assert list(table["predictor"]) == ["arc/acc,none"]
    lm_eval(tmp_path / "b2", "m/b", {"arc": 1.0, "piqa": 2.0})  # the same model once more
    with pytest.raises(InputError, match="'arc/acc,none' of 'm/b' is .*b2/results.*--run file"):
        correlate_table(tmp_path, "model", "arc/acc,none", "piqa/acc,none", **FEW)
    runs = correlate_table(tmp_path, "model", "arc/acc,none", "piqa/acc,none", "file", **FEW)
    assert runs["n"][0] == 5 and runs.attrs["runs"] == 2
    with pytest.raises(InputError, match="no column 'arc'; it has model, task, metric, file"):
        correlate_table(tmp_path, "arc", "acc,none", "x", **FEW)


def test_mteb(tmp_path):
    """Newer files (scores by split and subset) and older ones (split, languages) give one table."""
    for i, model in enumerate("abcd"):
        folder = tmp_path / f"org__{model}" / ("0" * 39 + str(i))
        folder.mkdir(parents=True)
        (folder / "model_meta.json").write_text(json.dumps({"name": f"org/{model}"}))
        sub = [
            {"main_score": DEV[i] + k, "hf_subset": s, "languages": [s]}
            for k, s in enumerate(("de", "fr"))
        ]
        tree = {"task_name": "STS22", "mteb_version": "1.14", "scores": {"test": sub}}
        (folder / "STS22.json").write_text(json.dumps(tree))
        scores = {"accuracy": GAIN[i], "main_score": GAIN[i], "evaluation_time": 1.5}
        old = {"mteb_dataset_name": "Bank", "mteb_version": "1.0", "test": scores}
        (folder / "Bank.json").write_text(json.dumps(old))
    table = correlate_table(
        tmp_path, "model", "STS22/de/main_score", "Bank/default/accuracy", **FEW
    )
    assert table["n"][0] == 4 and table["rho"][0] == pytest.approx(spearmanr(DEV[:4], GAIN[:4])[0])


def test_helm(tmp_path):
    head = [{"value": "Model/adapter"}, {"value": "MMLU - EM", "description": "x"}]
    rows = [[{"value": t, "href": ""}, {"value": d}] for t, d in zip(TASKS, DEV, strict=True)]
    one = {"title": "Accuracy", "header": head, "rows": rows}
    cells = [[{"value": t}, {"value": g, "style": {}}] for t, g in zip(TASKS, GAIN, strict=True)]
    two = {"title": "Robustness", "header": head, "rows": [*cells[:7], [{"value": "hswag"}, {}]]}
    path = tmp_path / "core_scenarios.json"
    path.write_text(json.dumps([one, two]))
    table = correlate_table(
        path, "Model/adapter", "Accuracy/MMLU - EM", "Robustness/MMLU - EM", **FEW
    )
    same(table, 7, rho(slice(7)))
    path.write_text(json.dumps(one))
    (tmp_path / "robustness.json").write_text(json.dumps(two))  # a file for each table
    asked = ("Model/adapter", "Accuracy/MMLU - EM", "Robustness/MMLU - EM")
    same(correlate_table(tmp_path, *asked, **FEW), 7, rho(slice(7)))
    path.write_text(json.dumps(one | {"rows": [*rows, rows[0]]}))
    with pytest.raises(InputError, match="row 9: 'mnli' occurs twice"):
        correlate_table(path, "Model/adapter", "MMLU - EM", "MMLU - EM", **FEW)


def test_wandb_export(tmp_path):
    """Notes over several lines, JSON in cells, runs that crashed, names with slashes and dots."""
    head = ["Name", "State", "Notes", "Tags", "config.seed", "eval/dev.acc", "eval/gain"]
    with (tmp_path / "w.csv").open("w", newline="") as file:
        out = csv.writer(file, quoting=csv.QUOTE_ALL)
        out.writerow(head)
        for i, (t, d, g) in enumerate(zip(TASKS, DEV, GAIN, strict=True)):
            state, gain = ("crashed", "") if i == 7 else ("finished", g)
            out.writerow([t, state, 'two\nlines, "quoted"', '{"a": 1}', "1", d, gain])
    table = correlate_table(tmp_path / "w.csv", "Name", "eval/dev.acc", "eval/gain", **FEW)
    problems = same(table, 7, rho(slice(7)))
    assert "8 rows over several lines" in problems[0] and "1 of 16 cells is missing" in problems[1]


@pytest.mark.parametrize(
    "content, name, message",
    [
        (gzip.compress(text().encode(), mtime=0), "t.csv", "compressed (gzip), not a text table"),
        (b"PK\x03\x04\x14\x00rest", "t.xlsx", "an Excel or zip file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "t.xls", "an old Excel file"),
        (b"PAR1xPAR1", "t.csv", "Parquet (name it .parquet)"),
        ('{"task": "a"}\n{"task": \n', "t.jsonl", "line 2: broken JSON"),
        ('{"task": "a"}\n\n{"dev": 1, "dev": 2}\n', "t.jsonl", "line 3: 'dev' occurs twice"),
        ('{"header": [], "rows": []}', "t.json", "not results of"),
        ('{"header": ["task", "dev", "dev"], "rows": [["a", 1, 2]]}', "t.json", "2 columns are"),
        ('{"header": ["task", "dev"], "rows": [[]]}', "t.json", "row 1: it has another number"),
        ('{"task_name": "X", "scores": {"test": [null]}}', "t.json", "scores.test is no list of"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, content, name, message):
    refused(tmp_path, content, message, name=name)


@pytest.mark.parametrize(
    ("more", "content", "message"),
    [
        (["--seed", "-1"], text(), "--seed: -1; expected a whole number"),
        ([], json.dumps([{"task": t, "dev": 1, "gain": 2} for t in ("\ud800", "b", "c")]),
         "cannot be correlated ('utf-8' codec"),
    ],
)  # fmt: skip
def test_what_only_a_library_refuses_is_one_line(tmp_path, capsys, more, content, message):
    (tmp_path / "t.json").write_text(content)
    (tmp_path / "t.csv").write_text(content)
    name = str(tmp_path / ("t.csv" if more else "t.json"))
    words = ["correlate", name, "--unit", "task", "--predictors", "dev", "--outcomes", "gain"]
    assert cli.main([*words, *more]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_objects_line_by_line_under_any_name(tmp_path):
    rows = [{"task": t, "dev": d, "gain": g} for t, d, g in zip(TASKS, DEV, GAIN, strict=True)]
    same(run(tmp_path, "\n".join(map(json.dumps, rows)), name="t.json"))


def test_a_table_from_a_pipe(tmp_path):
    """`midway correlate <(zcat t.csv.gz)` and `... | midway correlate -`."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text(text()))
    writer.start()
    same(correlate_table(tmp_path / "pipe", "task", "dev", "gain", **FEW))
    writer.join()


def test_a_pattern_does_not_mean_standard_errors_and_ranges(tmp_path):
    """They were outcomes of their own, and were corrected for; each can still be named."""
    head = ("task", "dev", "gain", "gain_stderr,none", "gain__MIN")
    rows = [head, *((t, d, g, 0.1 * i, g) for i, (t, d, g) in
                    enumerate(zip(TASKS, DEV, GAIN, strict=True)))]  # fmt: skip
    content = "\n".join("\t".join(map(str, row)) for row in rows).replace(
        "gain\t", "gain,none\t", 1
    )
    table = run(tmp_path, content, outcomes="gain*")
    assert list(table["outcome"]) == ["gain,none", "gain__MIN"]
    assert "outcomes: a pattern does not mean gain_stderr,none" in table.attrs["problems"][0]
    assert list(run(tmp_path, content, outcomes="*_stderr*")["outcome"]) == ["gain_stderr,none"]
    both = run(tmp_path, content, outcomes="gain,none,gain_stderr,none")
    assert len(both) == 2 and not any("pattern" in p for p in both.attrs["problems"])


def test_a_learning_rate_is_no_measure(tmp_path):
    """Runs of two learning rates were averaged, because their column holds fractions."""
    rows = "task,lr,dev,gain\na,1e-5,1,2\na,2e-5,2,3\nb,1e-5,1,1\nc,1e-5,4,5\n"
    refused(tmp_path, rows, "lines 2 and 3 are both 'a' and differ in 'lr'")
    measures = (
        rows.replace("lr", "other").replace("1e-5,1,1", "3e-5,1,1").replace("1e-5,4", "4e-5,4")
    )
    assert run(tmp_path, measures)["n"][0] == 3


def test_rounding_errors_are_printed_as_zeros():
    """`midway correlate` printed a low bound such as 4.962e-17, and -0."""
    table = pd.DataFrame({"low": [4.962e-17, -3e-17, 0.25, np.nan], "p": [1e-30, 0.5, 1.0, 0.0]})
    shown = export.zeros(table)
    assert shown.to_csv(index=False) == "low,p\n0.0,1e-30\n0.0,0.5\n0.25,1.0\n,0.0\n"


# -- no traceback, no waiting -------------------------------------------------------------------


@pytest.mark.parametrize("error", [MemoryError, TypeError, SyntaxError, RecursionError])
def test_errors_of_libraries_are_one_line(tmp_path, monkeypatch, capsys, error):
    def fails(*_, **__):
        raise error("first\nsecond")

    monkeypatch.setattr(any_table, "correlate", fails)
    (tmp_path / "t.csv").write_text(text())
    args = [str(tmp_path / "t.csv"), "--unit", "task", "--predictors", "dev", "--outcomes", "gain"]
    assert cli.main(["correlate", *args]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_large_table_is_read_quickly(tmp_path, monkeypatch):
    """5,000 units and 100 columns come through unchanged; the time is printed, not asserted."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((5000, 100)).round(4)).add_prefix("c")
    frame = frame.mask(rng.random(frame.shape) < 0.01)
    frame.insert(0, "task", [f"t{i}" for i in range(5000)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    seen = {}
    monkeypatch.setattr(
        any_table, "correlate", lambda x, y, **_: seen.update(x=x, y=y) or pd.DataFrame()
    )
    begin = time.perf_counter()
    correlate_table(tmp_path / "t.csv", "task", [f"c{i}" for i in range(50)], "c5?,c6?,c7?,c8?,c9?")
    print(f"read in {time.perf_counter() - begin:.2f} s")
    again = pd.concat([seen["x"], seen["y"]], axis=1).to_numpy()
    np.testing.assert_array_equal(again, frame.drop(columns="task").to_numpy())
