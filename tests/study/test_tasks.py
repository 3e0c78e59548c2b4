"""Cards are the only place where tasks are named; a wrong fact there is wrong everywhere."""

import shutil
import subprocess
import sys
import textwrap

import pytest

from midway import kinds
from midway.study import tasks
from midway.study.errors import InputError

XTREME_LANGUAGES = {
    "xnli": 15, "pawsx": 7, "udpos": 33, "panx": 40, "xquad": 11, "mlqa": 7, "tydiqa": 9,
    "bucc2018": 4, "tatoeba": 36,
}  # fmt: skip
STILTS = "anli mnli qqp squad1 squad2 hellaswag ccg cosmosqa csqa".split()


def test_names_and_order_are_xtremes():
    """Tables and job parts follow this order; tasks of a user's own come after."""
    assert list(tasks.TARGETS)[:9] == list(XTREME_LANGUAGES)
    assert list(tasks.INTERMEDIATE)[:9] == STILTS


@pytest.mark.parametrize("name, count", XTREME_LANGUAGES.items())
def test_languages_are_complete(name, count):
    """A language left out would silently change XTREME's mean."""
    languages = tasks.get(name).languages
    assert len(set(languages)) == len(languages) == count
    assert all(len(lang) == 2 and lang.islower() for lang in languages)


def test_facts_of_every_card():
    for card in [*tasks.INTERMEDIATE.values(), *tasks.TARGETS.values()]:
        assert card.licence and card.citation and card.sources and card.get and card.splits
        assert card.kind in tasks.KINDS and card.metric in tasks.METRICS
        assert card.trains == (card.train_size is not None)
        assert card.hub or card.local["layouts"], card.name
        if card.name in (*STILTS, *XTREME_LANGUAGES):
            assert (card.hub is None) == (card.name == "ccg")
            assert not card.verified  # nothing was loaded from the hub itself yet


def test_shared_models():
    """XQuAD and MLQA share one fine-tuned model, XNLI uses MultiNLI's data."""
    keys = {name: card.train_key for name, card in tasks.TARGETS.items()}
    assert keys["xquad"] == keys["mlqa"] == "squad1"
    assert keys["xnli"] == "mnli" and keys["pawsx"] == "pawsx"
    assert not tasks.get("tatoeba").trains and not tasks.get("bucc2018").trains
    assert tasks.get("xnli").labels == ("entailment", "neutral", "contradiction")
    assert tasks.get("pawsx").labels == ("0", "1")


def test_anli_plus_is_three_corpora():
    """The published number of training examples is the sum of the three parts."""
    assert tasks.get("anli").train_size == 162_865 + 392_702 + 549_367


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(InputError, match="did you mean 'hellaswag'"):
        tasks.get("helaswag")


@pytest.mark.parametrize(
    "text, message",
    [
        ("x: {title: x, colour: red}", "unknown field 'colour'"),
        ("x: {title: x, role: target, kind: pairs, group: pair, metric: f1}", "kind is 'pairs'"),
        ("x: {title: x, role: target, kind: pair, group: pair}", "metric is None"),
        (
            "x: {title: x, role: target, kind: pair, group: pair, metric: f1, languages: no}",
            "'no', not a list",
        ),
        ("x: {title: x, role: target, kind: pair, group: pair, metric: f1, train_from: y}", "'y'"),
        ("x: {role: target, kind: pair, group: pair, metric: f1}", "title"),
        ("x: [", "not valid YAML"),
        ("- x", "expected"),
    ],
)
def test_a_wrong_card_is_named(text, message):
    """Somebody who adds a task sees which field of which card is wrong."""
    with pytest.raises(InputError, match=message) as error:
        tasks.read(text)
    assert "\n" not in str(error.value)


def test_nothing_heavy_is_imported():
    """A refused parameter file must take under a second; params imports the cards."""
    code = "import sys, midway.study.tasks; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"datasets", "torch", "pandas", "numpy", "transformers", "pydantic"}
    assert not heavy & set(loaded.stdout.split())


CARD = """
films:
  title: Film plots
  role: target
  kind: pair
  group: pair
  metric: accuracy
  labels: [unrelated, sequel]
  languages: [en, fr]
  train_size: 400
  splits: {train: train, dev: dev, test: test}
  hub:
    id: someone/films
    revision: 0123456789abcdef0123456789abcdef01234567
    train:
    - config: "{lang}"
      split: train
      columns: {text_a: first, text_b: second, label: relation}
  local:
    layouts:
    - name: official
      needs: [films/train-en.csv]
      train:
      - &films
        read: csv
        path: films/train-{lang}.csv
        columns: {text_a: first, text_b: second, label: relation}
      test: [{<<: *films, path: "films/test-{lang}.csv"}]
  get: example.org/films
  licence: CC0
  citation: none
  sources: {columns: example.org/films}
"""


def test_a_new_task_is_one_card_and_no_code(tmp_path, root):
    """The promise of docs/adding-a-task.md, in a copy of the library with one more card.

    Renamed, anchor too: a user who has pasted the page's card has ``films`` in that file already.
    """
    shutil.copytree(root / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "lib/midway/study/cards.yaml"
    cards = path.read_text(encoding="utf-8")
    cards += "" if "\nfilms:" in cards else CARD  # both must be possible
    path.write_text(cards + CARD.replace("films", "plays"), encoding="utf-8")
    data = tmp_path / "data" / "plays"
    data.mkdir(parents=True)
    header = "first,second,relation\n"
    (data / "train-en.csv").write_text(header + "A,B,sequel\nC,D,unrelated\n" * 2, encoding="utf-8")
    (data / "test-fr.csv").write_text(header + '"Le chat, noir",B,sequel\n', encoding="utf-8")
    page = (root / "docs/adding-a-task.md").read_text(encoding="utf-8")
    look = page.partition('python -c "\n')[2].partition('"\n.venv')[0].replace("films", "plays")
    code = f"""
        from midway.data import sources
        from midway.study import params, tasks
        from midway.study.errors import InputError
        data = params.Data(source="local", root={str(data.parent)!r})
        assert list(tasks.TARGETS)[-1] == "plays"
        print(sources.load("plays", "train", "en", data)["label"])
        print(sources.load("plays", "test", "fr", data)[0]["text_a"])
        both = params.Data(source="mini", root={str(data.parent)!r})
        assert sources.load("plays", "test", "fr", both)[0]["text_a"] == "Le chat, noir"
        assert sources.languages("plays", both) == ("en", "fr")
        assert len(sources.load("xnli", "test", "fr", both, 6)) == 6
        assert sources.source(tasks.get("xnli"), both) == "mini"
        try:
            sources.load("plays", "test", "fr", params.Data(source="mini"))
        except InputError as error:
            assert "data.root" in str(error)
        transfer = dict(steps=1, targets=["plays"])
        print(params.Study(study="x", intermediate=dict(steps=1), transfer=transfer).parts())
    """
    shown = subprocess.run(
        [sys.executable, "-c", f"{look}\n{textwrap.dedent(code)}"],
        capture_output=True,
        text=True,
        env={
            "PYTHONPATH": str(tmp_path / "lib"), "HF_HUB_OFFLINE": "1", "PATH": "",
            "MIDWAY_ROOT": str(tmp_path),
        },
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    row, *files, labels, text, parts = shown.stdout.splitlines()
    assert "'text_a': 'Le chat, noir'" in row and labels == "Column([1, 0, 1, 0])"
    assert files == [str(data / "test-fr.csv"), str(data / "train-en.csv")]
    assert (text, parts) == ("Le chat, noir", "{'part1': ['plays']}")


def test_the_documentation_shows_that_card(root):
    """What the page tells people to write is what the test above uses."""
    page = (root / "docs/adding-a-task.md").read_text(encoding="utf-8")
    assert CARD.strip() in page


def test_the_kinds_are_the_files_that_define_one():
    """A helper beside them is no kind that a card may have."""
    assert tasks.KINDS == ("choice", "mining", "pair", "parallel", "span", "tags")
    for name in tasks.KINDS:
        assert kinds.get(name).features
