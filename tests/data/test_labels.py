"""Pair and span tasks of mini: parallel, balanced, exact, and not solvable by surface cues."""

import time
from collections import Counter

import pytest
from controls import bag_accuracy

from midway.data import mini
from midway.study.errors import InputError, MissingData

PAIRS = ["anli", "mnli", "xnli", "qqp", "pawsx"]
SPANS = ["squad1", "squad2", "xquad", "mlqa", "tydiqa"]


@pytest.mark.parametrize("task", PAIRS + SPANS)
def test_test_sets_are_parallel(task):
    """Zero-shot gaps compare languages: same ids, labels and world in each."""
    sets = [mini.rows(task, "test", lang, 40, 3) for lang in mini.LANGUAGES]
    for rows in sets:
        assert [r["id"] for r in rows] == [r["id"] for r in sets[0]]
        assert [r["kind"] for r in rows] == [r["kind"] for r in sets[0]]
        assert [r.get("label") for r in rows] == [r.get("label") for r in sets[0]]


@pytest.mark.parametrize("lang", mini.LANGUAGES)
@pytest.mark.parametrize("task", SPANS)
def test_answers_stand_where_they_say(task, lang):
    """An offset off by one would train and score every span wrongly."""
    for split in ("train", "test"):
        for row in mini.rows(task, split, lang, 150, 0):
            answers = row["answers"]
            assert len(answers["text"]) == len(answers["answer_start"]) <= 1
            for text, start in zip(answers["text"], answers["answer_start"], strict=True):
                assert text and row["context"][start : start + len(text)] == text


def test_only_squad2_has_questions_without_answers():
    """Its share of unanswerable questions is what sets squad2 apart."""
    for task in SPANS:
        empty = sum(not row["answers"]["text"] for row in mini.rows(task, "test", "en", 300, 0))
        assert (80 <= empty <= 160) if task == "squad2" else empty == 0


@pytest.mark.parametrize("task", PAIRS)
def test_labels_are_balanced_and_texts_differ(task):
    """Majority stays at chance; a pair of identical texts would be no pair."""
    rows = mini.rows(task, "test", "en", 300, 0)
    assert max(Counter(row["label"] for row in rows).values()) <= 300 / (3 if "nli" in task else 2)
    assert all(row["text_a"] != row["text_b"] for row in rows)


@pytest.mark.parametrize("task", PAIRS + SPANS)
def test_rows_depend_on_seed_and_nothing_else(task):
    """The same seed gives the same rows; more rows begin with the same rows."""
    first = mini.rows(task, "train", "ru", 30, 1)
    assert first == mini.rows(task, "train", "ru", 60, 1)[:30]
    assert first != mini.rows(task, "train", "ru", 30, 2)


def test_kept_rows_are_those_that_would_be_made(tmp_path, monkeypatch):
    """A torn or foreign file in the cache must not become data."""
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path))
    made = mini.rows("xquad", "test", "ru", 5, 3)
    (file,) = tmp_path.glob("mini-*/xquad-test-ru-5-3.json")
    assert mini.rows("xquad", "test", "ru", 5, 3) == made
    file.write_text(file.read_text(encoding="utf-8")[:50], encoding="utf-8")
    assert mini.rows("xquad", "test", "ru", 5, 3) == made
    monkeypatch.setenv("MIDWAY_CACHE", str(file))  # no folder: not kept, made again
    assert mini.rows("xquad", "test", "ru", 5, 3) == made
    assert mini._code() in file.parent.name


def test_anli_holds_what_its_plus_means():
    """ANLI+ is ANLI, MultiNLI and SNLI; of ANLI's kind alone, no class is learned in few steps."""
    rows = mini.rows("anli", "train", "en", 600, 0)
    harder = sum(row["kind"] == "two-step" for row in rows) / len(rows)
    assert 0.02 < harder < 0.1


@pytest.mark.parametrize("task", PAIRS + SPANS)
def test_no_test_row_is_a_training_row(task):
    """Test names never occur in training, so no text can."""
    key = "text_a" if task in PAIRS else "context"
    train = {row[key] for row in mini.rows(task, "train", "en", 500, 0)}
    for split in ("dev", "test"):
        assert not train & {row[key] for row in mini.rows(task, split, "en", 300, 0)}


def test_mlqa_trains_on_xquads_training_set():
    """The two targets share one fine-tuned model."""
    assert mini.rows("mlqa", "train", "en", 20, 0) == mini.rows("xquad", "train", "en", 20, 0)
    assert mini.rows("mlqa", "test", "en", 20, 0) != mini.rows("xquad", "test", "en", 20, 0)


def test_datasets_have_the_canonical_columns():
    """Training code relies on the schema, also where a list is empty."""
    data = mini.load("squad2", "dev", "de", 12, 0)
    assert {"id", "context", "question", "answers", "lang"} <= set(data.column_names)
    assert data.features["answers"]["answer_start"].feature.dtype == "int64"
    assert mini.load("xnli", "test", "zh", 6, 0)[0]["lang"] == "zh"


def test_unknown_task_language_and_split_are_refused():
    """One clear line instead of a traceback from inside."""
    with pytest.raises(InputError, match="snli"):
        mini.load("snli", "train", "en")
    with pytest.raises(MissingData, match="sw"):
        mini.load("xnli", "test", "sw")
    with pytest.raises(InputError, match="validation"):
        mini.load("xnli", "validation", "en")


def test_seven_thousand_rows_take_seconds():
    """A default study makes all its data anew; it must not wait for it."""
    start = time.process_time()
    mini.rows("mnli", "train", "en", 7000, 0)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("task", "blind", "surface"),
    [("mnli", 40, 62), ("xnli", 40, 50), ("anli", 40, 58), ("qqp", 58, 65), ("pawsx", 58, 65)],
)
def test_surface_cues_do_not_solve_it(task, blind, surface):
    """One side alone, or bags of words with their overlap, must stay near chance."""
    train, test = mini.rows(task, "train", "en", 800, 0), mini.rows(task, "test", "en", 800, 0)
    assert bag_accuracy(train, test, premise=False) <= blind
    assert bag_accuracy(train, test) <= surface
