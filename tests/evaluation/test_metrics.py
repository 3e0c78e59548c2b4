"""The scores agree with the reference scorers, and their definitions hold by hand."""

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midway.evaluation import metrics
from midway.study.errors import InputError

TAGS = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
UPOS = st.sampled_from(["NOUN", "VERB", "CCONJ", "SCONJ", "X", "PUNCT", "SYM", "INTJ"])
SENTENCES = st.lists(st.lists(TAGS, min_size=1, max_size=8), min_size=1, max_size=5)


# -- against the reference scorers' own output ----------------------------------------------------


@pytest.mark.parametrize("task", ["xquad", "mlqa"])
def test_qa_equals_reference_scorer(shared, task):
    """A user's XQuAD and MLQA numbers are those that XTREME's scorer prints."""
    for file in json.loads((shared / "oracle/qa.json").read_text("utf-8"))[task]:
        ours = metrics.qa_scores(file["predictions"], file["references"], file["lang"], task)
        assert ours == pytest.approx(file["expected"], abs=1e-6), file["lang"]


def test_tydiqa_equals_reference_scorer_with_repeated_ids(shared):
    """TyDiQA's training files repeat ids; every row counts once, as in the reference scorer."""
    folder = shared / "data/download/tydiqa/tydiqa-goldp-v1.1-train"
    for file in json.loads((shared / "oracle/qa.json").read_text("utf-8"))["tydiqa"]:
        path = folder / f"tydiqa.goldp.{file['lang']}.train.json"
        data = json.loads(path.read_text("utf-8"))["data"]
        rows = [qa for article in data for part in article["paragraphs"] for qa in part["qas"]]
        pairs = [(qa["id"], [answer["text"] for answer in qa["answers"]]) for qa in rows[:60]]
        assert dict(pairs) == file["references"]
        ours = metrics.qa_scores(file["predictions"], pairs, file["lang"], "tydiqa")
        assert ours == pytest.approx(file["expected"], abs=1e-6), file["lang"]


@pytest.mark.parametrize("task", ["udpos", "panx"])
def test_tags_equal_both_seqevals(shared, task):
    """POS and NER F1 are the same as seqeval 0.0.12 and 1.2.2 give for the same files."""
    for file in json.loads((shared / "oracle/tags.json").read_text("utf-8"))[task]:
        ours = metrics.tag_scores(file["predictions"], file["references"])
        expected = file["expected"]
        assert ours == pytest.approx(
            {
                "f1_xtreme": expected["f1_seqeval_0.0.12"],
                "f1_seqeval1": expected["f1_seqeval_1.2.2"],
                "accuracy": expected["token_accuracy"],
            },
            abs=1e-6,
        ), file["file"]


# -- question answering by hand -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "lang", "prediction", "golds", "exact", "f1"),
    [
        ("xquad", "en", "The Cat!", ["a cat"], 100, 100),
        ("xquad", "en", "black cat sat", ["cat"], 0, 50),  # p 1/3, r 1
        ("xquad", "en", "cat", ["dog", "the cat"], 100, 100),  # the best of the golds
        ("xquad", "de", "die Katze", ["Katze"], 0, 200 / 3),  # English articles only
        ("xquad", "zh", "北京市", ["北京"], 0, 0),  # not segmented
        ("xquad", "en", "«cat»", ["cat"], 0, 0),  # ASCII punctuation only
        ("xquad", "en", "the", ["an"], 100, 0),  # both empty: exact but no common token
        ("mlqa", "de", "die Katze", ["Katze"], 100, 100),
        ("mlqa", "en", "«cat»", ["cat"], 100, 100),
        ("mlqa", "zh", "北京市", ["北京"], 0, 80),  # p 2/3, r 1
        ("mlqa", "zh", "在2008年", ["2008 年"], 0, 80),  # Han apart, digits together
        ("mlqa", "ar", "القط", ["قط"], 100, 100),
        ("mlqa", "vi", "những con mèo", ["con mèo"], 100, 100),
        ("mlqa", "hi", "the बिल्ली", ["बिल्ली"], 0, 200 / 3),  # Hindi has no articles
        ("squad2", "en", "", [], 100, 100),
        ("squad2", "en", "cat", [], 0, 0),
        ("squad2", "en", "", ["cat"], 0, 0),
        ("squad2", "en", "cat", ["the", "cat"], 100, 100),  # a gold that normalises to nothing
    ],
)
def test_qa_by_hand(task, lang, prediction, golds, exact, f1):
    """Each normalisation rule changes a score in the way its scorer says."""
    scores = metrics.qa_scores({"q": prediction}, {"q": golds}, lang, task)
    assert scores == pytest.approx({"exact_match": exact, "f1": f1})


def test_qa_missing_prediction_counts_as_zero():
    """Leaving hard questions out of a submission does not raise its score."""
    scores = metrics.qa_scores({"a": "x"}, {"a": ["x"], "b": ["y"]}, "en", "xquad")
    assert scores == {"exact_match": 50.0, "f1": 50.0}


def test_qa_refuses_what_cannot_be_scored():
    """Stripped gold and empty files are said, not scored as 0."""
    with pytest.raises(InputError, match="no questions"):
        metrics.qa_scores({}, {}, "en", "xquad")
    with pytest.raises(InputError, match="question q has no gold"):
        metrics.qa_scores({}, {"q": []}, "en", "xquad")


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=20), min_size=1, max_size=5))
def test_qa_properties(answers):
    """Gold as prediction is always exact, and F1 stays within 0..100."""
    golds = {key: [text] for key, text in answers.items()}
    for task, lang in (("xquad", "en"), ("mlqa", "zh"), ("mlqa", "ar"), ("squad2", "en")):
        scores = metrics.qa_scores(answers, golds, lang, task)
        assert scores["exact_match"] == pytest.approx(100)
        assert 0 <= scores["f1"] <= 100 + 1e-9
        if task == "squad2":  # there two empty answers agree
            assert scores["f1"] == pytest.approx(100)


# -- tags by hand ---------------------------------------------------------------------------------


def test_pos_runs_are_chunks():
    """One wrong tag of eight costs a whole run: F1 5/7 where accuracy is 7/8."""
    gold = [["DET", "NOUN", "NOUN", "VERB", "ADP", "DET", "NOUN", "PUNCT"]]
    pred = [["DET", "NOUN", "VERB", "VERB", "ADP", "DET", "NOUN", "PUNCT"]]
    scores = metrics.tag_scores(pred, gold)
    # 7 chunks each side; the changed token spoils NOUN-NOUN and VERB
    assert scores["f1_xtreme"] == pytest.approx(100 * 5 / 7)
    assert scores["accuracy"] == 87.5


def test_pos_conjunctions_are_one_label_in_new_seqeval():
    """CCONJ for SCONJ is an error in XTREME's numbers and none under seqeval >= 1."""
    scores = metrics.tag_scores([["CCONJ"]], [["SCONJ"]])
    assert scores == {"f1_xtreme": 0.0, "f1_seqeval1": 100.0, "accuracy": 0.0}


def test_pos_symbol_tags_never_merge():
    """SYM begins with S, so two of them are two chunks; two NOUNs are one."""
    assert len(metrics.chunks([["SYM", "SYM"]])) == 2
    assert len(metrics.chunks([["NOUN", "NOUN"]])) == 1
    assert len(metrics.chunks([["NOUN"], ["NOUN"]])) == 2


#: conlleval's rules with IOBES: these tags end a chunk after one another, and these begin one
ENDS = "E? S? BB BS BO IB IS IO".split()
STARTS = "?B ?S EE EI SE SI OE OI".split()


def conlleval(tags):
    """Chunks of one sentence by the rules of seqeval 0.0.12, which are those of conlleval."""
    found, begin = set(), 0
    before, kind = "O", ""
    for i, tag in enumerate([*tags, "O"]):
        now, own = tag[0], tag.split("-")[-1]
        pairs = {before + now, f"{before}?", f"?{now}"}
        if pairs & set(ENDS) or (before not in "O." and own != kind):
            found.add((kind, begin, i - 1))
        if pairs & set(STARTS) or (now not in "O." and own != kind):
            begin = i
        before, kind = now, own
    return found


def test_chunks_follow_the_rules_of_conlleval():
    """Every sequence of three tags, with the rare prefixes E, S and the full stop, too."""
    tags = ["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "S-Y", ".", "NOUN"]
    for three in product(tags, repeat=3):
        assert metrics.chunks([three]) == conlleval(three), three


def test_types_in_both_versions_of_seqeval():
    """New: what follows the first letter and hyphen; "_" where nothing does, so also of "O"."""
    tags = [["B-A-B", "O", "X", "NOUN"]]
    assert metrics.chunks(tags) == {("B", 0, 0), ("X", 2, 2), ("NOUN", 3, 3)}
    assert metrics.chunks(tags, "1") == {("A-B", 0, 0), ("_", 0, 2), ("OUN", 3, 3)}


def test_ner_by_hand():
    """IOB2: a type change or B- starts a chunk; I- without B- is one too (conlleval)."""
    gold = [["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"]]
    pred = [["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-PER"]]
    assert metrics.chunks(pred) == {("PER", 0, 1), ("LOC", 3, 3), ("LOC", 4, 4), ("PER", 5, 5)}
    scores = metrics.tag_scores(pred, gold)
    assert scores["f1_xtreme"] == pytest.approx(100 * 2 * 1 / (4 + 2))
    assert scores["f1_seqeval1"] == scores["f1_xtreme"]
    assert metrics.tag_scores([["O"]], [["O"]])["f1_xtreme"] == 0.0


@pytest.mark.parametrize(
    ("pred", "gold", "said"),
    [
        ([["O"]], [["O"], ["O"]], "1 predicted sentences for 2"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], "sentence 2 has 2 tags, gold 1"),
        ([[""]], [["O"]], "sentence 1 has an empty tag"),
        ([], [], "no tokens"),
    ],
)
def test_tags_refuse_misaligned_input(pred, gold, said):
    """Shifted or stripped tag files are named instead of scored."""
    with pytest.raises(InputError, match=said):
        metrics.tag_scores(pred, gold)


@given(SENTENCES)
def test_ner_gold_scores_full(gold):
    """Gold as prediction gives 100 whenever there is a chunk, in both versions."""
    scores = metrics.tag_scores(gold, gold)
    full = 100.0 if any(tag != "O" for sentence in gold for tag in sentence) else 0.0
    assert scores == {"f1_xtreme": full, "f1_seqeval1": full, "accuracy": 100.0}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(UPOS, UPOS), min_size=1, max_size=30))
def test_tag_f1_equals_installed_seqeval(pairs):
    """Where seqeval >= 1 is installed, `f1_seqeval1` is its F1 for any tags."""
    seqeval = pytest.importorskip("seqeval.metrics")
    pred, gold = [[a for a, _ in pairs]], [[b for _, b in pairs]]
    expected = 100 * seqeval.f1_score(gold, pred, zero_division=0)
    assert metrics.tag_scores(pred, gold)["f1_seqeval1"] == pytest.approx(expected)


# -- classes and contrasts ------------------------------------------------------------------------


def test_class_scores_by_hand():
    """Accuracy 3/4; F1 0.8, 2/3, and the class never seen is left out of the mean."""
    scores = metrics.class_scores([0, 0, 0, 1], [0, 0, 1, 1], 3)
    assert scores == pytest.approx({"accuracy": 75, "macro_f1": 100 * (0.8 + 2 / 3) / 2})


def test_class_scores_refuse_stripped_labels():
    """Test files without labels give an error, not the share of class 0."""
    with pytest.raises(InputError, match="gold label -1"):
        metrics.class_scores([0, 1], [-1, -1], 2)
    with pytest.raises(InputError, match="0 gold"):
        metrics.class_scores([], [], 2)


@settings(deadline=None)  # the first example imports scikit-learn
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_class_scores_equal_sklearn(pairs):
    """The same numbers as scikit-learn's for any labels."""
    sklearn = pytest.importorskip("sklearn.metrics")
    pred, gold = [a for a, _ in pairs], [b for _, b in pairs]
    scores = metrics.class_scores(pred, gold, 4)
    assert scores["accuracy"] == pytest.approx(100 * sklearn.accuracy_score(gold, pred))
    assert scores["macro_f1"] == pytest.approx(100 * sklearn.f1_score(gold, pred, average="macro"))


def test_ece_by_hand():
    """Two items at 0.8 of which one is right, two at 0.6, both right: |.5-.8|/2 + |1-.6|/2."""
    probs = [[0.8, 0.2], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]]
    assert metrics.ece(probs, [0, 0, 0, 0]) == pytest.approx(0.15 + 0.2)
    assert metrics.ece([[1.0, 0.0]], [0]) == 0.0
    assert metrics.ece([[0.5, 0.5]], [0], bins=2) == pytest.approx(0.5)


@given(st.lists(st.floats(0.5, 1.0), min_size=1, max_size=50), st.data())
def test_ece_properties(confidence, data):
    """Always in [0, 1], and with one bin it is |mean confidence - accuracy|."""
    probs = np.array([[c, 1 - c] for c in confidence])
    labels = data.draw(st.lists(st.integers(0, 1), min_size=len(probs), max_size=len(probs)))
    assert 0 <= metrics.ece(probs, labels) <= 1
    gap = abs(probs.max(1).mean() - np.mean(probs.argmax(1) == labels))
    assert metrics.ece(probs, labels, bins=1) == pytest.approx(gap)


def test_entailment_contrast_by_hand():
    """Perfect, useless and inverted entailment give 1, 0 and -1; one group alone gives nan."""
    assert metrics.entailment_contrast([1, 1, 0], [True, True, False]) == 1
    assert metrics.entailment_contrast([0.4, 0.4], [True, False]) == 0
    assert metrics.entailment_contrast([0, 1], [True, False]) == -1
    assert math.isnan(metrics.entailment_contrast([0.5], [True]))


def test_calibration_bins_are_closed_above():
    """0.6 belongs to (8/15, 9/15], together with 0.59."""
    probs = np.array([[0.6, 0.4], [0.59, 0.41]])
    assert metrics.ece(probs, [0, 1]) == pytest.approx(abs(0.4 - 0.59) / 2)


@pytest.mark.parametrize(("low", "high"), [(0.06, 0.07), (0.66, 0.67), (0.93, 0.94)])
def test_fifteen_bins_of_calibration(low, high):
    """Right below an edge and wrong above it cannot balance: 1/15, 10/15 and 14/15 are edges."""
    assert metrics.ece([[low], [high]], [0, 1]) == pytest.approx((1 - low + high) / 2)


def test_gold_answers_of_nothing_do_not_make_an_empty_answer_right():
    """ "The" normalises to nothing; beside a real answer it allows no empty prediction."""
    golds = {"a": ["the", "cat"]}
    assert metrics.qa_scores({"a": ""}, golds, "en", "squad2")["exact_match"] == 0
    assert metrics.qa_scores({"a": ""}, {"a": ["the"]}, "en", "squad2")["exact_match"] == 100
