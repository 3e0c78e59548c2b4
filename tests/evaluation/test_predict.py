"""From logits to answers: decoding mistakes would look like bad transfer."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from midway import kinds
from midway.data import sources
from midway.encoder import encoder
from midway.evaluation import metrics
from midway.kinds.choice import by_example
from midway.kinds.edges import reachable
from midway.kinds.kind import decided
from midway.kinds.span import LONGEST
from midway.kinds.tokens import Features
from midway.study import params, tasks
from midway.study.errors import MissingData


def windows(context, *starts, n=4):
    """Features of one question whose context is cut into windows of ``n`` characters."""
    offsets = []
    for s in starts:
        inside = [[i, i + 1] for i in range(s, min(s + n, len(context)))]
        offsets.append(np.array([[-1, -1], [-1, -1], *inside, [-1, -1]]))
    f = Features("span", [np.zeros(len(o), int) for o in offsets], np.zeros(len(starts), int), 1)
    f.offsets, f.spans = offsets, np.zeros((len(starts), 2), int)
    rows = {"context": [context], "answers": [{"text": ["b"], "answer_start": [1]}], "id": ["1"]}
    return f, rows


def flat(f, value=0.0):
    return [np.full((len(s), 2), value, np.float32) for s in f.sequences]


def test_best_span_wins_over_all_windows():
    f, rows = windows("abcdefgh", 0, 4)
    values = flat(f)
    values[0][3] = 2.0  # "b"
    values[1][4] = 3.0  # "g": second window, third character
    assert kinds.get("span").answer(values, f, rows, (), False).predictions == ["g"]


def test_span_never_runs_backwards_nor_leaves_the_context():
    f, rows = windows("abcd", 0)
    values = flat(f)
    values[0][5, 0] = values[0][2, 1] = 9.0  # best start behind best end
    values[0][1] = 50.0  # the question itself
    text = kinds.get("span").answer(values, f, rows, (), False).predictions[0]
    assert text and text in "abcd"


def test_no_answer_only_where_it_is_allowed():
    f, rows = windows("abcd", 0)
    values = flat(f)
    values[0][0] = 9.0
    assert kinds.get("span").answer(values, f, rows, (), True).predictions == [""]
    assert kinds.get("span").answer(values, f, rows, (), False).predictions != [""]


def test_confidence_is_that_of_the_given_answer():
    """A sure "no answer" must not count as an unsure span in the calibration error."""
    f, rows = windows("abcd", 0)
    values = flat(f)
    values[0][0] = 9.0
    assert kinds.get("span").answer(values, f, rows, (), True).confidence[0] > 0.99
    assert kinds.get("span").answer(values, f, rows, (), False).confidence[0] < 0.01


def test_margin_is_gold_against_the_strongest_rival():
    f, rows = windows("abcd", 0)
    f.spans[0] = [3, 3]
    values = flat(f)
    values[0][3], values[0][4] = 2.0, 1.5
    answers = kinds.get("span").answer(values, f, rows, (), False)
    assert answers.margin[0] == pytest.approx(0.5)  # rival: "bc", 2.0 + 1.5 against 4.0
    assert answers.loss > 0 and 0 < answers.confidence[0] < 1


def test_every_word_gets_a_tag():
    """A word of control characters has no piece; a missing tag would shift all later ones."""
    f = Features("tags", [np.zeros(4, int)], np.array([0]), 1)
    f.words, f.tags = [np.array([[1, 0], [2, 2]])], [np.array([1, 0])]
    values = [np.eye(4, 2, k=-1, dtype=np.float32) * 5]
    out = kinds.get("tags").answer(values, f, {"tokens": [["a", "\x00", "b"]]}, ("O", "B-PER"))
    assert [len(t) for t in out.predictions] == [3] and out.predictions[0][1] == "O"


def test_options_are_compared_within_their_example():
    scores, options = torch.tensor([1.0, 3, 2, 9, 8]), torch.tensor([3, 2])
    table = by_example(scores, options)
    assert table.argmax(1).tolist() == [1, 0] and table[1, 2] == -1e4


def test_unlabelled_rows_do_not_count():
    answers = decided(np.log([[0.9, 0.1], [0.5, 0.5]]), np.array([0, -1]))
    assert answers.loss == pytest.approx(-np.log(0.9)) and np.isnan(answers.margin[1])


@pytest.mark.parametrize("kind", ["pair", "choice", "tags", "span"])
def test_shuffled_labels_keep_the_text_and_the_label_counts(kind):
    """The control must differ from its variant in nothing but what labels say."""
    n = 60
    table = {
        "pair": {"text_a": ["a"] * n, "label": [0, 1, 2] * (n // 3)},
        "choice": {"choices": [["x", "y", "z"]] * n, "label": [1] * n},
        "tags": {"tokens": [["a", "b"]] * n, "tags": [["A", "B"]] * n},
        "span": {
            "context": ["one two three four"] * n,
            "answers": [{"text": ["two"], "answer_start": [4]}] * n,
        },
    }[kind]
    rows = Dataset.from_dict(table)
    made = kinds.shuffle_labels(rows, kind, seed=1)
    assert made.features == rows.features and made.to_dict() != rows.to_dict()
    assert made.to_dict() == kinds.shuffle_labels(rows, kind, seed=1).to_dict()
    if kind == "pair":
        assert sorted(made["label"]) == sorted(rows["label"])
    if kind == "tags":
        assert sorted(sum(made["tags"], [])) == sorted(sum(rows["tags"], []))
    if kind == "span":
        for context, answers in zip(made["context"], made["answers"], strict=True):
            at, text = answers["answer_start"][0], answers["text"][0]
            assert text and context[at : at + len(text)] == text


def test_reachable_names_the_rows_that_no_span_can_answer():
    """A gold answer that ends inside a piece, or is longer than any answer may be."""
    context = "abcdefgh" * 5
    f, rows = windows(context, 0, n=40)
    card = tasks.get("xquad")
    assert reachable(f, rows, card, "en", LONGEST) == {"exact_match": 100, "f1": 100, "rows": []}
    long = {"text": [context], "answer_start": [0]}
    assert reachable(f, rows | {"answers": [long]}, card, "en", LONGEST)["rows"] == ["1"]
    f.offsets[0][3] = [1, 3]  # one piece "bc"
    inside = {"text": ["c"], "answer_start": [2]}
    found = reachable(f, rows | {"answers": [inside]}, card, "en", LONGEST)
    assert found == {"exact_match": 0, "f1": 0, "rows": ["1"]}
    other = {"text": ["c", "def"], "answer_start": [2, 3]}  # the second can be given
    assert reachable(f, rows | {"answers": [other]}, card, "en", LONGEST)["rows"] == []


@pytest.mark.slow
@pytest.mark.parametrize("task", ["squad1", "xquad", "mlqa", "tydiqa"])
def test_every_real_answer_is_reachable_or_named(shared, task):
    """In a real file 8 of 500 gold answers were lost; what remains ends inside a piece."""
    tokenizer = encoder.load(params.Encoder(layers=1)).tokenizer
    card, data = tasks.get(task), params.Data(source="local", root=str(shared / "data"))
    seen = 0
    for lang in card.languages:
        try:
            rows = sources.load(task, "test" if card.role == "target" else "dev", lang, data)[:]
        except MissingData:
            continue
        features = kinds.encode(rows, "span", (), tokenizer, 384, 128)
        found = reachable(features, rows, card, lang, LONGEST)
        seen += len(rows["id"])
        lost = set(found["rows"])
        assert found["exact_match"] >= 100 * (1 - len(lost) / len(rows["id"])) - 1e-9
        windows = features.of(range(features.examples))
        for e, key in enumerate(rows["id"]):
            if key in lost:
                begin = rows["answers"][e]["answer_start"][0]
                text = rows["answers"][e]["text"][0]
                edges = {begin + len(text) - len(text.lstrip()), begin + len(text.rstrip())}
                where = np.concatenate([features.offsets[s] for s in windows[e]])
                cut = any(((where[:, 0] < at) & (at < where[:, 1])).any() for at in edges)
                longest = max(int(np.diff(features.spans[s])[0]) for s in windows[e]) + 1
                # "una" alone: the scorer removes articles, and no answer has a common word with it
                empty = task == "mlqa" and not metrics.normalise_mlqa(text, lang)
                assert cut or longest > LONGEST or empty, (lang, key, text)
        print(f"{task} {lang}: {found['exact_match']:.2f} {found['f1']:.2f}, {len(lost)} named")
    assert seen
