"""Controls are right by hand, deterministic, quick, and no trick passes for understanding."""

import os
import subprocess
import sys
import time

import pytest

from midway.evaluation import lexical
from midway.study import tasks
from midway.study.errors import InputError
from midway.transfer import controls

PAIR, CHOICE, SPAN = tasks.get("xnli"), tasks.get("hellaswag"), tasks.get("xquad")


def for_task(card, train, test, lang, seed=0):
    """What `fit` and `Fitted.evaluate` say together."""
    return controls.fit(card, train, seed)(test, lang)


def pairs(n: int, leak: bool) -> list[dict]:
    """NLI rows; with `leak` the second text alone gives the label away."""
    signs = ("certainly", "maybe", "never")
    return [
        {
            "text_a": f"person {i} came home late",
            "text_b": f"{signs[i % 3] if leak else 'so'} the person {i // 3} slept",
            "label": i % 3,
        }
        for i in range(n)
    ]


def question(context: str, asked: str, answer: str) -> dict:
    """One SQuAD row; an empty answer is none."""
    given = {"text": [answer], "answer_start": [context.index(answer)]}
    return {
        "context": context,
        "question": asked,
        "answers": given if answer else {"text": [], "answer_start": []},
    }


def test_leaky_hypotheses_are_shown():
    """Labels that stand in the hypothesis alone give the control 100; without a leak it fails."""
    leaky = for_task(PAIR, pairs(90, True), pairs(30, True), "en")
    assert leaky["bag_of_words_text_b"]["accuracy"] == 100
    honest = for_task(PAIR, pairs(90, False), pairs(30, False), "en")
    assert honest["bag_of_words_text_b"]["accuracy"] < 60
    assert honest["majority"]["accuracy"] == pytest.approx(100 / 3)
    assert set(honest) == {
        "majority",
        "random",
        "bag_of_words",
        "bag_of_words_overlap",
        "bag_of_words_text_b",
    }


def test_overlap_crosses_languages():
    """A label that is only word overlap is found in a language never trained on."""
    rows = [
        {
            "text_a": f"alpha{i} beta{i} gamma{i}",
            "text_b": f"gamma{i} beta{i}" if i % 2 else f"delta{i} epsilon{i}",
            "label": i % 2,
        }
        for i in range(60)
    ]
    russian = [
        {"text_a": "дом стоит здесь", "text_b": "здесь дом", "label": 1},
        {"text_a": "дом стоит здесь", "text_b": "она ушла", "label": 0},
    ]
    scores = for_task(tasks.get("pawsx"), rows, russian, "ru")
    assert scores["bag_of_words_overlap"]["accuracy"] == 100
    assert scores["bag_of_words"]["accuracy"] == 50


def test_options_that_give_themselves_away_are_shown():
    """A right option that is told by its own words is found without the context."""
    rows = [
        {
            "context": f"story {i}",
            "choices": [f"wrong end {i}", f"proper close {i}", f"bad end {i}"],
            "label": 1,
        }
        for i in range(40)
    ]
    for i, row in enumerate(rows):
        row["choices"] = row["choices"][i % 3 :] + row["choices"][: i % 3]
        row["label"] = (1 - i) % 3
    scores = for_task(CHOICE, rows, rows[:12], "en")
    assert scores["option_only"]["accuracy"] == 100
    assert scores["majority"]["accuracy"] == pytest.approx(100 / 3)


def test_span_controls_by_hand():
    """The usual place needs no question; the window finds the word among the question's words."""
    train = [question("Anna lives in Rome .", "where", "Rome") for _ in range(4)]
    text = "Bob likes tea . Eva lives in Oslo town now . Tom is tall"
    test = [question(text, "in which town lives Eva ?", "Oslo")]
    scores = for_task(SPAN, train, test, "en")
    assert scores["sliding_window"]["em_f1"] == 100
    # in training the answer begins after 3 of 4 words; here that is "now"
    assert scores["usual_place"]["em_f1"] == 0
    assert "no_answer" not in scores
    same_place = for_task(SPAN, train, train[:1], "en")
    assert same_place["usual_place"] == {"em": 100, "f1": 100, "em_f1": 100}
    train.append(question("Anna lives in Rome .", "who", ""))
    empty = for_task(tasks.get("squad2"), train, [train[-1], train[0]], "en")
    assert empty["no_answer"]["em"] == 50


def test_tag_controls_by_hand():
    """The lexicon knows seen words and gives unknown ones the tag of rare words."""
    train = [
        {"tokens": ["The", "dog", "runs"], "tags": ["DET", "NOUN", "VERB"]},
        {"tokens": ["the", "cat", "runs"], "tags": ["DET", "NOUN", "VERB"]},
        {"tokens": ["the", "owl"], "tags": ["DET", "NOUN"]},
    ]
    test = [{"tokens": ["the", "bird", "runs", "up"], "tags": ["DET", "NOUN", "VERB", "ADV"]}]
    scores = for_task(tasks.get("udpos"), train, test, "en")
    assert scores["lexicon"]["accuracy"] == 75
    assert scores["majority"]["accuracy"] == 25  # DET; in all three training rows


def test_retrieval_controls_by_hand():
    """Shared letters find translations without any encoder; chance is 1 / n."""
    rows = [
        {"source": f"{name} wohnt hier", "target": f"{name} lives here"}
        for name in ("Barack", "Angela", "Vladimir", "Emmanuel")
    ]
    scores = for_task(tasks.get("tatoeba"), None, rows, "de")
    assert scores == {"random": {"accuracy": 25}, "char_ngrams": {"accuracy": 100}}
    mining = [
        {"id": "d1", "side": "source", "text": "Barack wohnt hier", "gold": ["e1"]},
        {"id": "d2", "side": "source", "text": "etwas anderes", "gold": []},
        {"id": "e1", "side": "target", "text": "Barack lives here", "gold": []},
        {"id": "e2", "side": "target", "text": "quite different", "gold": []},
    ]
    scores = for_task(tasks.get("bucc2018"), None, mining, "de")
    assert scores["random"]["f1"] == pytest.approx(100 * 2 * 0.5 / 3)
    assert scores["char_ngrams"]["f1"] >= 200 / 3
    with pytest.raises(InputError, match="both sides"):
        for_task(tasks.get("bucc2018"), None, mining[:2], "de")


def test_words_of_scripts_without_spaces():
    """Chinese, Japanese and Thai are compared by character, others by word."""
    assert lexical.words("Das Haus, 北京2008") == ["das", "haus", "北", "京", "2008"]
    assert lexical.places_of("北京市")[1] == 2 and lexical.places_of("two words")[1] == 1
    assert lexical.words("ไทย") == ["ไ", "ท", "ย"]


@pytest.mark.parametrize("kind,column", [("pair", "text_a"), ("span", "question")])
def test_blind_rows_lack_one_column(kind, column):
    """A blind copy differs from the rows in exactly the column that makes the task solvable."""
    datasets = pytest.importorskip("datasets")
    row = {"text_a": "a", "text_b": "b"} if kind == "pair" else {"context": "c", "question": "q"}
    rows = datasets.Dataset.from_list([{"id": str(i)} | row for i in range(3)])
    copy = controls.blind(rows, kind)
    assert copy.column_names == rows.column_names
    assert copy.to_list() == [one | {column: ""} for one in rows.to_list()]
    with pytest.raises(InputError, match="tags tasks have no blind version"):
        controls.blind(rows, "tags")


def test_rows_that_cannot_be_used_are_named():
    """Empty or unlabelled rows stop with a sentence."""
    with pytest.raises(InputError, match="xnli needs training rows"):
        controls.fit(PAIR, [])
    with pytest.raises(InputError, match="no labels"):
        controls.fit(PAIR, [{"text_a": "a", "text_b": "b", "label": -1}])
    with pytest.raises(InputError, match="no rows of tatoeba de"):
        controls.fit(tasks.get("tatoeba"))([], "de")


def test_one_class_in_training_is_no_error():
    """A tiny training sample with one class still gives majority and random."""
    scores = for_task(PAIR, pairs(1, False), pairs(6, False), "en")
    assert set(scores) == {"majority", "random"}


@pytest.mark.slow
def test_controls_do_not_depend_on_the_hash_seed():
    """A rerun in another process gives the same control scores."""
    code = (
        "from test_controls import *; print(for_task(PAIR, pairs(60, False), "
        "pairs(30, False), 'en'), for_task(CHOICE, [{'context': 'a b', 'choices': "
        "['a x', 'y b', str(i)], 'label': i % 3} for i in range(30)], [{'context': 'a', "
        "'choices': ['a', 'y', 'q'], 'label': 1}], 'en'))"
    )
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] and "majority" in outputs[0]


def test_many_training_rows_are_sampled(monkeypatch):
    """Full MNLI does not make the controls the slowest part of a study."""
    monkeypatch.setattr(controls, "MOST", 60)
    start = time.perf_counter()
    scores = for_task(PAIR, pairs(100_000, True), pairs(30, True), "en", seed=3)
    assert scores["bag_of_words_text_b"]["accuracy"] == 100
    assert time.perf_counter() - start < 20
