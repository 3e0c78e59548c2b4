"""YAML means what YAML 1.2's core schema says, wherever it is read, and text stays text."""

import math
from pathlib import Path

import pytest
import yaml

import midway
from midway import cli
from midway.data import canonical, local
from midway.kinds import raw as raw_cells
from midway.study import params, tasks, yamlfile
from midway.study.errors import InputError

VALUES = {
    "010": 10, "001": 1, "08": 8, "-017": -17, "+3": 3, "0o17": 15, "0x1F": 31, "1e3": 1000.0,
    "1e-5": 1e-5, "12e03": 12000.0, ".5": 0.5, "5.": 5.0, "-.inf": -math.inf, "-.INF": -math.inf,
    "1:30": "1:30", "1:30:00": "1:30:00", "no": "no", "No": "No", "yes": "yes", "on": "on",
    "OFF": "OFF", "y": "y", "n": "n", "2020-01-01": "2020-01-01", "1_000": "1_000", "0b11": "0b11",
    "true": True, "FALSE": False, "tRUE": "tRUE", "~": None, "Null": None, "nULL": "nULL",
    "=": "=", "<<": "<<", "0x": "0x", "1e": "1e", ".e3": ".e3", "0o9": "0o9", "'010'": "010",
}  # fmt: skip


@pytest.mark.parametrize("text, value", VALUES.items())
def test_core_schema(text, value):
    """Seeds `001, 010` were 1 and 8, `1:30` was 90, `no` was false: other numbers in silence."""
    cards = [True] if text != "<<" else []  # which merges there
    for found in [yamlfile.parse(f"[{text}]", *how) for how in ([], *([c] for c in cards))]:
        assert found == [value] and type(found[0]) is type(value)


def test_set_reads_as_a_params_file_does(tmp_path):
    """The two ways to give a setting must not differ."""
    path = tmp_path / "p.yaml"
    path.write_text(
        "study: x\nseeds: [001, 010]\nintermediate: {steps: 012}\ntransfer: {steps: 1}\n"
    )
    a = params.load(path)
    b = params.load(path, cli.changes(["seeds=[1, 010]", "intermediate.steps=012"]))
    assert a == b and a.seeds == [1, 10] and a.intermediate.steps == 12


@pytest.mark.parametrize(
    "line, message",
    [
        ("seeds: [1:30]", "seeds.0: found '1:30'"),
        ("seeds: [2020-01-01]", "seeds.0"),
        ("encoder: {frozen_embeddings: yes}", "found 'yes'; write true or false"),
        ("study: 010", "study: found 10"),
        ("transfer: {steps: 1e1}", "transfer.steps: found 10.0"),
        ("transfer: {steps: 1_0}", "transfer.steps: found '1_0'"),
        (
            "transfer: {steps: 1, languages: {xnli: [no]}}\nintermediate: {steps: 1}",
            "xnli has no language 'no'",
        ),
        ("transfer: {<<: {steps: 1}}", "unknown key 'transfer.<<'"),
        ("seeds: [!!bool maybe]", "'maybe' is no bool"),
        ("seeds: [!!timestamp x]", "not valid YAML"),
        ("seeds: {1: 2, 01: 3}", "occurs twice"),
        ("transfer: {steps: " + 400 * "9" + "}", "line 1: not valid YAML: the number 999999999..."),
    ],
)
def test_what_another_reader_would_bend_is_refused_by_name(tmp_path, line, message):
    path = tmp_path / "p.yaml"
    path.write_text(f"{line}\n" + ("" if line.startswith("study") else "study: x\n"))
    with pytest.raises(InputError, match="p.yaml") as error:
        params.load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("study", ["1e3", "010", "0o10", "no", "on", "1.5", "0x10", "y", "1-1-1"])
def test_a_study_that_was_written_reads_back_as_it_was(tmp_path, study):
    """`outputs/<study>/params.yaml` is what audit and the report read."""
    path = tmp_path / "p.yaml"
    path.write_text(f"study: '{study}'\nintermediate: {{steps: 1}}\ntransfer: {{steps: 1}}\n")
    first = params.load(path)
    path.write_text(yamlfile.dump(first.fold()))
    assert params.load(path) == first and first.study == study
    assert yaml.safe_load(path.read_text()) == yamlfile.parse(path.read_text())  # for others, too


def card(part: str, labels="['0', '1']"):
    facts = "title: T, role: target, kind: pair, group: pair, metric: accuracy"
    return tasks.read(
        f"x: {{{facts}, labels: {labels}, languages: [en, no, on], local: {{codes: {{no: 010, on: "
        f"1e3, en: yes}}, layouts: [{{name: o, needs: [], test: [{{read: tsv, path: '{{code}}.tsv',"
        f" header: true, columns: {{text_a: a, text_b: b, label: y}}, {part}}}]}}]}}}}"
    )["x"]


def test_names_in_cards_are_the_text_that_stands_there(tmp_path):
    """`codes: {no: nob}` lost Norwegian, `values: {yes: ...}` every label."""
    one = card("values: {no: 0, off: 0, 0x10: 0, 1e3: 1, 08: 1, true: 1}, drop: [~, 007, null]")
    assert one.languages == ("en", "no", "on")
    labels = ["no", "off", "0x10", "1e3", "08", "true", "~", "007", "null"]
    for name in ("yes", "010", "1e3"):
        rows = "".join(f"p{i}\tq\t{label}\n" for i, label in enumerate(labels))
        (tmp_path / f"{name}.tsv").write_text(f"a\tb\ty\n{rows}")
    for lang in one.languages:
        found = local.load(one, "test", lang, tmp_path)
        assert [row["label"] for row in found] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("text", ["1: {title: T}", "x: 3", "x: [a]", "x: null", "true: {}"])
def test_a_card_that_is_none_is_one_line(text):
    with pytest.raises(InputError, match="card .*: expected 'name: {field: value"):
        tasks.read(text)


def test_bare_paths_are_text(tmp_path):
    """`path: 08` was a traceback."""
    layout = "{name: o, needs: [08], test: [{read: tsv, path: 08, columns: {text: 0}}]}"
    facts = f"local: {{layouts: [{layout}]}}"
    one = tasks.read(
        "x: {title: T, role: target, kind: pair, group: pair, metric: accuracy, labels: [0, 1], "
        f"languages: [en], {facts}}}"
    )["x"]
    (found,) = one.local["layouts"]
    assert found["needs"] == ["08"] and found["test"][0]["path"] == "08"


def test_bare_labels_are_text():
    assert card("note: x", labels="[yes, no]").labels == ("yes", "no")
    assert card("note: x", labels="[0, 01, 1e3, true, 2020-01-01]").labels == (
        *("0", "01", "1e3", "true", "2020-01-01"),
    )
    with pytest.raises(InputError, match="labels is 'no', not a list"):
        card("note: x", labels="no")


@pytest.mark.parametrize(
    "raw, values, names, found",
    [
        (True, {"true": "b"}, ["a", "b"], 1),
        (True, {"True": "b"}, ["a", "b"], 1),
        (False, {"false": "a", "0": "b"}, ["a", "b"], 0),
        (None, {"null": "b"}, ["a", "b"], 1),
        (None, {}, ["a", "b"], -1),
        (1, {"1": "a"}, ["a", "b"], 0),  # not the boolean
        (1.0, {}, ["a", "b"], 1),
        ("B", {"B": "1"}, ["a", "b"], 1),  # an index
        (0, {}, ["a", "b"], 0),
        (-1, {}, ["a", "b"], -1),
    ],
)
def test_raw_values_meet_names_as_json_and_yaml_write_them(raw, values, names, found):
    assert raw_cells.label({"values": values}, raw, names) == found


@pytest.mark.parametrize("raw", ["1", "01", True, 2, "true"])
def test_what_no_card_names_is_no_label(raw):
    with pytest.raises(raw_cells.Broken, match="is not one of"):
        raw_cells.label({"values": {"B": "01"}}, "B" if raw == "01" else raw, ["a", "b"])


def test_where_and_drop_of_a_boolean_column():
    part = {"columns": {"text_a": "a", "text_b": "b", "label": "y"}, "where": {"ok": "true"}}
    raw = [("1", {"a": "p", "b": "q", "y": y, "ok": ok}) for y in (0, 1) for ok in (True, False)]
    one = card("note: x")
    assert [r["label"] for r in canonical.rows(one, part, raw, "en")] == [0, 1]


def test_names_of_columns_are_text_and_their_places_numbers():
    """`label: 08` looked for a column '8', and said so; `true` for one called True."""
    part = yamlfile.parse(
        "{columns: {a: 08, b: 1e3, c: true, d: [0, 12], e: x.y}, where: {0: 1, 08: 2}}", cards=True
    )
    assert part["columns"] == {"a": "08", "b": "1e3", "c": "true", "d": [0, 12], "e": "x.y"}
    assert part["where"] == {0: "1", "08": "2"}


def test_every_yaml_file_of_the_project_means_the_same_to_yaml_1_1():
    """Editors and other tools follow YAML 1.1; no value may depend on the version."""
    root = Path(midway.__file__).parents[2]
    for path in [*root.glob("lib/**/*.yaml"), *root.glob("p[ar]*/**/*.yaml")]:
        text = path.read_text(encoding="utf-8")
        assert yamlfile.parse(text, cards=path.name == "cards.yaml") == yaml.safe_load(text), path
