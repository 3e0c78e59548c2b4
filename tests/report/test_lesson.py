"""What the course shows and asks: rows as they are, right answers marked, exercises judged."""

import pytest

from midway.report import explore, lesson
from midway.study import names, tasks

EVIL = "<b>x</b> & y"


def html(frame) -> str:
    return lesson.table(frame).to_html()


def test_the_answer_is_marked_where_it_stands():
    """The same word earlier in the text is not the evidence."""
    context = "Ann has a bus. " * 20 + "Bea takes the bus."
    start = context.rindex("bus")
    row = {"context": context, "question": "How?", "lang": "en",
           "answers": {"text": ["bus"], "answer_start": [start]}}  # fmt: skip
    shown = lesson.evidence([row], tasks.get("squad1")).iloc[0]
    assert shown["context"].endswith("Bea takes the <b>bus</b>.")
    assert shown["context"].startswith("… ") and shown["question"] == "How?"
    row["answers"] = {"text": [], "answer_start": []}
    assert "no answer" in lesson.evidence([row], tasks.get("squad2")).iloc[0]["context"]


def test_labels_have_names():
    rows = [{"text_a": "a", "text_b": "b", "label": 2}, {"text_a": "a", "text_b": "b", "label": -1}]
    shown = lesson.evidence(rows, tasks.get("mnli"))
    assert shown["label"].tolist() == ["contradiction", "–"]


def test_text_of_rows_is_text():
    """Markup in a row must not become markup of the notebook."""
    answers = {"text": ["x"], "answer_start": [EVIL.index("x")]}
    span = {"context": EVIL, "question": EVIL, "answers": answers}
    choice = {"context": EVIL, "choices": [EVIL, "z"], "label": 0}
    tags = {"tokens": [EVIL], "tags": ["N"]}
    pair = {"text_a": EVIL, "text_b": EVIL, "label": 0}
    sides = {"source": EVIL, "target": EVIL}
    mined = {"text": EVIL, "side": "source", "gold": []}
    for row, task in ((span, "squad1"), (choice, "csqa"), (tags, "ccg"), (pair, "mnli"),
                      (sides, "tatoeba"), (mined, "bucc2018")):  # fmt: skip
        text = html(lesson.evidence([row], tasks.get(task)))
        assert "<b>x</b> &amp; y" not in text and "&lt;b&gt;" in text, task


def test_the_first_row_is_asked_and_answered_in_words():
    """Class and option numbers say nothing to a reader."""
    pair = {"text_a": "a", "text_b": "b", "label": 2}
    found = lesson.first([pair], [0], tasks.get("mnli"))
    assert found == {"asked": "a / b", "right": "contradiction", "said": "entailment"}
    choice = {"context": "c", "choices": ["x", "y"], "label": 1}
    found = lesson.first([choice], [0], tasks.get("csqa"))
    assert found == {"asked": "c", "right": "y", "said": "x"}
    tags = {"tokens": ["The", "end"], "tags": ["DET", "NOUN"]}
    assert lesson.first([tags], [["DET", "X"]], tasks.get("udpos"))["said"] == "DET X"


@pytest.mark.parametrize(
    ("given", "right", "said"),
    [(None, 1.0, "in place of None"), (57, 57.1, "Right"), (50, 57.1, "Not yet"),
     (" XNLI ", "xnli", "Right"), ("pawsx", "xnli", "Not yet")],
)  # fmt: skip
def test_an_exercise_is_judged(given, right, said, capsys):
    lesson.check(given, right, 0.5)
    assert said in capsys.readouterr().out


def test_without_menus_there_is_one_drawing(monkeypatch):
    """In a run, a notebook's pictures are there without anybody to choose."""
    seen = []
    monkeypatch.setattr(explore, "quiet", lambda: True)
    explore.controls(
        lambda **chosen: seen.append(chosen), a=[("one", 1), ("two", 2)], b=[("x", None)]
    )
    assert seen == [{"a": 1, "b": None}]


def test_names_in_words():
    """A page of short names can be read by those who made it only."""
    assert names.predictor("logme:tydiqa") == "LogME on TyDiQA-GoldP"
    assert names.variant("squad1+mlm@0.5") == "SQuAD v1.1 + mlm at 50 %"
    assert names.effect("gain", "average") == "average gain"
    assert names.effect("gain", "xquad") == "gain on XQuAD"
    assert names.outcome("average") == "average" and names.predictor("unheard") == "unheard"
    assert all(names.meaning(n).endswith(".") and names.unit(n) for n in names.PREDICTORS)
