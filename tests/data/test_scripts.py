"""The mini choice tasks: real content, balanced, and not solvable without the context."""

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from midway.data.mini import scripts
from midway.study.errors import InputError, MissingData

TASKS = scripts.TASKS
OPTIONS = {"hellaswag": 4, "cosmosqa": 4, "csqa": 5}


def rows(task, split, size=None, seed=0):
    return scripts.make(task, split, "en", size, seed)


def things(split):
    """(relation, thing) of every fact of a split."""
    for relation, (_, answers) in scripts.facts(split).items():
        yield from ((relation, thing) for some in answers.values() for thing in some)


def option_scores(model, vectorizer, examples):
    """Accuracy of always taking the option that a model of single options likes best."""
    flat = vectorizer.transform([c for row in examples for c in row["choices"]])
    scores = model.predict_proba(flat)[:, 1].reshape(len(examples), -1)
    return 100 * np.mean(scores.argmax(1) == [row["label"] for row in examples])


def test_enough_scripts_and_facts():
    """Few scripts would make hundreds of rows worth a handful of independent items."""
    assert len(scripts.stories("train")) >= 60
    assert len(scripts.stories("dev")) >= 20
    assert len(scripts.stories("test")) >= 40
    for split in scripts.SPLITS:
        assert len(set(things(split))) >= 150


def test_splits_share_no_script_name_or_thing():
    """A script or person seen in training would make dev and test measure memory."""
    for parts in (
        [set(scripts.stories(s)) for s in scripts.SPLITS],
        [set(" ".join(scripts.PEOPLE[s]).split()) for s in scripts.SPLITS],
        [{story["setup"] for story in scripts.stories(s).values()} for s in scripts.SPLITS],
        [set(things(s)) for s in scripts.SPLITS],
    ):
        train, dev, test = parts
        assert not train & dev and not train & test and not dev & test


def test_every_event_is_one_sentence_and_no_two_are_the_same():
    """An ending that two scripts share could be right where it is counted as wrong."""
    events = [
        event
        for split in scripts.SPLITS
        for story in scripts.stories(split).values()
        for way in "ab"
        for event in story[way]
    ]
    assert len(events) == len(set(events)) == 120 * 6
    assert all(re.fullmatch(r"[A-Z][^.?!]+\.", event) for event in events)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", scripts.SPLITS)
def test_rows_are_complete(task, split):
    """Schema, ids, as many options as the real task, no placeholder left over."""
    made = rows(task, split)
    assert len(made) == scripts.SIZES[split]
    assert len({row["id"] for row in made}) == len(made)
    for row in made:
        assert set(row) == {"id", "context", "choices", "label", "kind", "lang"}
        assert len(set(row["choices"])) == OPTIONS[task] and 0 <= row["label"] < OPTIONS[task]
        text = " ".join([row["context"], *row["choices"]])
        assert not re.search(r"\b(P|Q|X|T|HE|HIS|HIM)\b(?!-)|HIMself", text), text
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa]n (?!hour)[^aeiouX]", text), text
    texts = {(row["context"], *sorted(row["choices"])) for row in made}
    assert len(texts) > 0.9 * len(made)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", scripts.SPLITS)
def test_gold_positions_and_options_are_balanced(task, split):
    """An option that is gold more often than its share could be guessed without the context."""
    n = OPTIONS[task]
    made = rows(task, split, size=60 * n)
    assert set(Counter(row["label"] for row in made).values()) == {60}
    for start in range(0, len(made), n):
        one = made[start : start + n]
        assert {row["label"] for row in one} == set(range(n))
        assert len({tuple(sorted(row["choices"])) for row in one}) == 1
        assert len({row["choices"][row["label"]] for row in one}) == n


@pytest.mark.parametrize("task", TASKS)
def test_options_alone_do_not_give_the_answer(task):
    """Bag-of-words over single options, trained on train, on train itself, dev and test."""
    train = rows(task, "train")
    vectorizer = CountVectorizer(ngram_range=(1, 2), min_df=2)
    x = vectorizer.fit_transform([c for row in train for c in row["choices"]])
    y = [i == row["label"] for row in train for i in range(OPTIONS[task])]
    model = LogisticRegression(max_iter=500, C=0.3).fit(x, y)
    chance = 100 / OPTIONS[task]
    for split in scripts.SPLITS:
        assert option_scores(model, vectorizer, rows(task, split)) <= chance + 8, split


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", scripts.SPLITS)
def test_length_does_not_give_the_answer(task, split):
    """The longest or the shortest option must not be right more often than any other."""
    made = rows(task, split)
    gold = np.array([row["label"] for row in made])
    lengths = np.array([[len(c) for c in row["choices"]] for row in made])
    for guess in (lengths.argmax(1), lengths.argmin(1)):
        assert 100 * np.mean(guess == gold) <= 100 / OPTIONS[task] + 8


@pytest.mark.parametrize(("task", "most"), [("hellaswag", 50), ("cosmosqa", 55), ("csqa", 35)])
def test_word_overlap_is_not_enough(task, most):
    """Taking the option that shares most words with the context finds the topic, no more."""
    made = rows(task, "dev") + rows(task, "test")
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5))
    contexts = vectorizer.fit_transform([row["context"] for row in made])
    right = 0
    for i, row in enumerate(made):
        right += (vectorizer.transform(row["choices"]) @ contexts[i].T).argmax() == row["label"]
    assert 100 * right / len(made) <= most


@pytest.mark.parametrize("task", TASKS[:2])
def test_half_of_the_sets_are_twins(task):
    """Without twins the topic would be enough; with nothing else training would not start."""
    kinds = Counter(row["kind"].split()[1] for row in rows(task, "dev") + rows(task, "test"))
    assert kinds["twins"] / kinds.total() == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_rows_and_smaller_is_a_beginning(task):
    """Records would not be reproducible, and a smaller dev set not comparable."""
    assert rows(task, "dev", 80, seed=3) == rows(task, "dev", 80, seed=3)
    assert rows(task, "dev", 80, seed=3)[:20] == rows(task, "dev", 20, seed=3)
    assert rows(task, "dev", 80, seed=3) != rows(task, "dev", 80, seed=4)


def test_english_only_and_known_splits():
    """Asking for a translation must say that there is none, not return English."""
    assert scripts.languages("hellaswag") == ("en",)
    with pytest.raises(MissingData, match="English only"):
        rows_de = scripts.make("csqa", "train", "de", 10, 0)
        assert not rows_de
    with pytest.raises(InputError, match="validation"):
        rows("csqa", "validation")
