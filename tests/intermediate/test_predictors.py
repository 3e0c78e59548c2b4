"""Predictors are the study's x axis: each definition is pinned here by numbers made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset

from midway import kinds
from midway.encoder import encoder, heads, predict
from midway.encoder.device import Inputs, setup
from midway.evaluation import retrieval
from midway.intermediate import predictors
from midway.kinds import encode, kind
from midway.kinds.kind import Answers
from midway.kinds.tokens import texts
from midway.study import params, tasks
from midway.study.errors import MissingData
from tiny import checkpoint

MACHINE = setup(params.Compute(precision="fp32"))


def development(task, rows, answers, monkeypatch, labels=None):
    """Measures of ``task`` when its model gives ``answers``; what it was asked is kept."""
    asked = {}

    def answer(*args, **options):
        asked.update(options)
        return answers

    monkeypatch.setattr(predict, "answer", answer)
    dev = predictors.Development.__new__(predictors.Development)
    gold = np.array(rows["label"]) if "label" in rows else None
    dev.card, dev.rows, dev.machine = tasks.get(task), rows, MACHINE
    dev.labels = dev.card.labels if labels is None else labels
    dev.inputs = SimpleNamespace(features=SimpleNamespace(labels=gold))
    dev.model, dev.head = None, task
    return dev.measure(), asked


def decided(probabilities, gold):
    return kind.decided(np.log(np.array(probabilities)), np.array(gold))


def test_classes_by_hand(monkeypatch):
    """Entailment is class 0; the contrast is in probability; ECE compares confidence with right."""
    p = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]]
    gold = [0, 0, 1, 2]
    found, asked = development("mnli", {"label": gold}, decided(p, gold), monkeypatch)
    assert found["accuracy"] == found["main"] == 75.0
    assert found["macro_f1"] == pytest.approx(100 * (0.8 + 0.0 + 1.0) / 3)
    assert found["loss"] == pytest.approx(-np.mean(np.log([0.8, 0.6, 0.4, 0.7])))
    odds = [np.log(0.8 / 0.1), np.log(0.6 / 0.3), np.log(0.4 / 0.5), np.log(0.7 / 0.2)]
    assert found["contrast"] == pytest.approx(np.mean(odds))
    assert found["entailment_contrast"] == pytest.approx((0.8 + 0.6) / 2 - (0.5 + 0.1) / 2)
    assert found["ece"] == pytest.approx(
        (0.2 + 0.4 + 0.5 + 0.3) / 4
    )  # .5 sure and wrong: off by .5
    assert asked["null"] is False


@pytest.mark.parametrize(("sure", "right", "expected"), [(0.9, False, 0.9), (0.9, True, 0.1)])
def test_calibration_error_is_large_for_the_sure_and_wrong(sure, right, expected, monkeypatch):
    rest = (1 - sure) / 2
    p, gold = [[sure, rest, rest]] * 3, [0 if right else 1] * 3
    found, _ = development("mnli", {"label": gold}, decided(p, gold), monkeypatch)
    assert found["ece"] == pytest.approx(expected)


def test_only_nli_has_an_entailment_contrast(monkeypatch):
    found, _ = development("qqp", {"label": [0, 1]}, decided([[0.6, 0.4]] * 2, [0, 1]), monkeypatch)
    assert "entailment_contrast" not in found and found["accuracy"] == 50.0


def answered(texts_, right=(1.0, -2.0, np.nan), sure=(0.9, 0.8, 0.5)):
    return Answers(list(texts_), 1.5, np.array(right), None, np.array(sure), None)


def test_spans_by_hand(monkeypatch):
    """Main is the mean of exact match and F1; right is an exact match; no margin where no gold."""
    gold = [["in Oslo"], ["Lima Peru"], []]
    rows = {"id": ["1", "2", "3"], "answers": [{"text": g} for g in gold]}
    given = answered(["in Oslo", "Lima", ""])
    found, asked = development("squad2", rows, given, monkeypatch)
    assert asked["null"] is True  # may say that there is no answer; SQuAD v1.1 may not
    assert found["em"] == pytest.approx(200 / 3)
    assert found["f1"] == pytest.approx(100 * (1 + 2 / 3 + 1) / 3)
    assert found["main"] == pytest.approx((found["em"] + found["f1"]) / 2)
    assert found["contrast"] == pytest.approx((1.0 - 2.0) / 2)
    assert found["ece"] == pytest.approx((0.1 + 0.8 + 0.5) / 3)
    rows = {"id": ["1"], "answers": [{"text": ["in Oslo"]}]}
    _, asked = development("squad1", rows, answered(["x"], [1.0], [0.5]), monkeypatch)
    assert asked["null"] is False


def test_tags_by_hand(monkeypatch):
    """CCG's main score is token accuracy, PAN-X's is F1 of entities."""
    gold, given = [["B-PER", "O", "B-LOC"]], [["B-PER", "O", "O"]]
    a = Answers(given, 0.5, np.array([1.0, 2.0, -3.0]), None, np.array([1.0, 1.0, 1.0]))
    a.right = np.array([True, True, False])
    found, _ = development("panx", {"tags": gold}, a, monkeypatch)
    assert found["main"] == found["tag_f1"] == pytest.approx(100 * 2 / 3)
    assert found["ece"] == pytest.approx(1 / 3) and found["contrast"] == 0.0
    found, _ = development("ccg", {"tags": gold}, a, monkeypatch)
    assert found["main"] == found["accuracy"] == pytest.approx(200 / 3)
    scores = {"accuracy": 10.0, "tag_f1": 20.0}
    assert kinds.get("tags").main(tasks.get("ccg"), scores) == 10.0
    assert kinds.get("tags").main(tasks.get("udpos"), scores) == 20.0


def points(*pairs):
    return [{"step": s, "metrics": {"main": v}} for s, v in pairs]


def test_steps_to_ninety_percent_of_what_was_learned():
    """Of the rise since the start, not of the score; linear between checkpoints."""
    assert predictors.steps_to(points((0, 40), (10, 70), (20, 80))) == pytest.approx(16.0)
    assert predictors.steps_to(points((0, 0), (10, 100))) == pytest.approx(9.0)
    assert predictors.steps_to(points((0, 0), (10, 90), (20, 100))) == 10
    assert predictors.steps_to(points((0, 50), (10, 95), (20, 60))) == pytest.approx(2.0)  # first
    assert predictors.steps_to(points((0, 50), (10, 50))) is None  # nothing learned
    assert predictors.steps_to(points((0, 50), (10, 40))) is None
    assert predictors.steps_to(points((0, 50))) is None
    assert predictors.steps_to([{"step": 0, "metrics": {}}]) is None


# -- what reads hidden states ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("tiny"))


def make(folder, kind="pair", **options):
    options = params.Encoder(kind="path", path=str(folder), **options)
    encoded = encoder.load(options)
    return heads.Model(encoded, options, {"t": (kind, 2)}, seed=1), encoded


def hidden(encoded, features, layer):
    """Each sequence's states of one layer, computed one by one by the library's own model."""
    with torch.no_grad():
        return [
            encoded.model(torch.tensor(s[None].astype(np.int64)), output_hidden_states=True)
            .hidden_states[layer][0]
            .numpy()
            for s in features.sequences
        ]


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("layer", [1, 2])
def test_logme_of_pairs_reads_the_asked_layer(folder, layer, frozen):
    """Of pooled vectors and classes; every layer gives another number."""
    model, encoded = make(folder, frozen_layers=frozen, frozen_embeddings=bool(frozen))
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abcdef"), 4)) for _ in range(80)]
    made = {"text_a": words[:40], "text_b": words[40:], "label": rng.integers(0, 2, 40).tolist()}
    features = encode(made, "pair", (), encoded.tokenizer, 32)
    x = np.stack([states.mean(0) for states in hidden(encoded, features, layer)])
    found = predictors.logme(model, Inputs(features, model, MACHINE, None), layer, MACHINE)
    assert found == pytest.approx(retrieval.logme(x, made["label"]), abs=1e-3)
    other = np.stack([states.mean(0) for states in hidden(encoded, features, 3 - layer)])
    assert found != pytest.approx(retrieval.logme(other, made["label"]), abs=1e-3)


def test_logme_of_pairs_pools_as_the_heads_do(folder):
    model, encoded = make(folder, head_pooling="cls")
    made = {"text_a": list("abcdefgh"), "text_b": list("stuvwxyz"), "label": [0, 1] * 4}
    features = encode(made, "pair", (), encoded.tokenizer, 32)
    x = np.stack([states[0] for states in hidden(encoded, features, 2)])
    found = predictors.logme(model, Inputs(features, model, MACHINE, None), 2, MACHINE)
    assert found == pytest.approx(retrieval.logme(x, made["label"]), abs=1e-3)


def test_logme_of_tags_reads_first_pieces(folder):
    model, encoded = make(folder, "tags")
    rows = {
        "tokens": [["abc", "de"], ["fg", "h", "ij"], ["kl"]] * 4,
        "tags": [["X", "Y"], ["Y", "X", "X"], ["Y"]] * 4,
    }
    features = encode(rows, "tags", ("X", "Y"), encoded.tokenizer, 32)
    states = hidden(encoded, features, 2)
    x = np.concatenate([s[w[:, 0]] for s, w in zip(states, features.words, strict=True)])
    y = np.concatenate(features.tags)
    found = predictors.logme(model, Inputs(features, model, MACHINE, None), 2, MACHINE)
    assert found == pytest.approx(retrieval.logme(x, y), abs=1e-3)


def test_logme_of_tags_reads_whole_sentences_up_to_2000_pieces(folder):
    """The sentence in which the 2,000th piece stands is read, the next is not."""
    model, encoded = make(folder, "tags")
    words = np.random.default_rng(1).choice(list("abcdef"), (300, 8)).tolist()
    tags = [["XY"[w in "abc"] for w in line] for line in words]
    features = encode({"tokens": words, "tags": tags}, "tags", "XY", encoded.tokenizer, 32)
    n = int(np.searchsorted(features.lengths.cumsum(), 2000)) + 1
    assert n < 300
    states = hidden(encoded, features, 2)
    x = np.concatenate([s[w[:, 0]] for s, w in zip(states, features.words, strict=True)][:n])
    y = np.concatenate(features.tags[:n])
    found = predictors.logme(model, Inputs(features, model, MACHINE, None), 2, MACHINE)
    assert found == pytest.approx(retrieval.logme(x, y), abs=1e-4)


def test_logme_of_spans_asks_which_pieces_of_the_context_answer(folder):
    """Pieces of the question are no part of it."""
    model, encoded = make(folder, "span")
    n = 12
    rows = {
        "context": ["abc de fgh ij"] * n,
        "question": ["q" * (i % 3 + 1) for i in range(n)],
        "answers": [
            {"text": ["de"], "answer_start": [4]} if i % 4 else {"text": [], "answer_start": []}
            for i in range(n)
        ],
    }
    features = encode(rows, "span", (), encoded.tokenizer, 40)
    x, y = [], []
    for states, where, (first, last) in zip(
        hidden(encoded, features, 2), features.offsets, features.spans, strict=True
    ):
        inside = np.flatnonzero(where[:, 0] >= 0)
        x.append(states[inside])
        y += [int(last > 0 and first <= i <= last) for i in inside]
    found = predictors.logme(model, Inputs(features, model, MACHINE, None), 2, MACHINE)
    assert found == pytest.approx(retrieval.logme(np.concatenate(x), y), abs=1e-3)


def test_logme_of_one_class_is_undefined(folder):
    model, encoded = make(folder)
    made = {"text_a": ["a"] * 4, "text_b": ["b"] * 4, "label": [1] * 4}
    features = encode(made, "pair", (), encoded.tokenizer, 32)
    assert predictors.logme(model, Inputs(features, model, MACHINE, None), 1, MACHINE) is None


def test_logme_reads_at_most_512_pairs(folder):
    """A larger sample is another number, and takes longer at every checkpoint."""
    model, encoded = make(folder)
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdef"), 4)) for _ in range(1100)]
    made = {"text_a": words[:550], "text_b": words[550:], "label": [0, 1] * 275}
    found = []
    for n in (550, 512, 500):
        features = encode({k: v[:n] for k, v in made.items()}, "pair", (), encoded.tokenizer, 32)
        found.append(predictors.logme(model, Inputs(features, model, MACHINE, None), 2, MACHINE))
    assert found[0] == pytest.approx(found[1], abs=1e-7) != found[2]


NLI = {
    "text_a": ["abc", "bcd", "cde", "def"],
    "text_b": ["abd", "xyz", "cdf", "zzz"],
    "label": [0, 1, 0, 2],
}
SAME = {
    "text_a": ["ab", "cd", "ef", "gh"],
    "text_b": ["ac", "ce", "eg", "gi"],
    "label": [1, 0, 1, 1],
}
PARALLEL = {"en": ["ab", "cd", "ef"], "de": ["ba", "dc", "fe"], "fr": ["aa", "cc", "ee"]}


@pytest.mark.parametrize("layer", [None, 2])
def test_probes_by_hand(folder, layer, monkeypatch):
    """Cosines at the retrieval layer; class 0 is entailed; paraphrases only; no English pair."""

    def rows(self, task, lang, data, size):
        made = {"mnli": NLI, "qqp": SAME}.get(task)
        if made is None:
            texts_ = PARALLEL[lang]
            made = {"text_a": texts_, "text_b": texts_, "label": [0] * len(texts_)}
        return Dataset.from_dict(made)

    monkeypatch.setattr(predictors.Probes, "_rows", rows)
    model, encoded = make(folder, retrieval_layer=layer)
    options = params.Encoder(kind="path", path=str(folder), retrieval_layer=layer)
    study = params.Study(
        study="s",
        encoder=options,
        intermediate=params.Intermediate(
            steps=1, max_length=32, probe_languages=["en", "de", "fr"]
        ),
        transfer=params.Transfer(steps=1),
    )
    found = predictors.Probes(study, model, encoded.tokenizer, MACHINE, None).measure()

    def vectors(lines):
        features = texts(lines, encoded.tokenizer, 32)
        return np.stack([s.mean(0) for s in hidden(encoded, features, layer or 3)])

    def cosines(x, y):
        return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)

    c = cosines(vectors(NLI["text_a"]), vectors(NLI["text_b"]))
    expected = (c[0] + c[2]) / 2 - (c[1] + c[3]) / 2
    assert found["probe_entailment_contrast"] == pytest.approx(expected, abs=1e-5)
    left, right = (vectors([SAME[k][i] for i in (0, 2, 3)]) for k in ("text_a", "text_b"))
    assert found["retrieval_probe"] == pytest.approx(retrieval.precision_at_1(left, right))
    english, german, french = (vectors(PARALLEL[k]) for k in ("en", "de", "fr"))
    gaps = [retrieval.cosine_gap(english, x) for x in (german, french)]
    assert found["cosine_gap"] == pytest.approx(np.mean(gaps), abs=1e-5)
    hits = [retrieval.precision_at_1(english, x) for x in (german, french)]
    assert found["p_at_1"] == pytest.approx(np.mean(hits))


def test_probes_ask_for_what_they_need(folder, monkeypatch):
    """PAWS-X where there is no QQP; enough rows to find paraphrases and premises; no odd pairs."""
    asked = []

    def load(task, split, lang, data, size):
        asked.append((task, split, lang, size))
        if task == "qqp" or lang == "ru":
            raise MissingData(task, lang, split, "gone")
        made = {"mnli": NLI, "pawsx": SAME}.get(task)
        lines = PARALLEL.get(lang, [])[: 2 if lang == "fr" else 3]
        made = made or {"text_a": lines, "text_b": lines, "label": [0] * len(lines)}
        return Dataset.from_dict(made)

    monkeypatch.setattr(predictors.sources, "load", load)
    model, encoded = make(folder)
    study = params.Study(
        study="s",
        encoder=params.Encoder(kind="path", path=str(folder)),
        intermediate=params.Intermediate(
            steps=1, max_length=32, probe_size=2, probe_languages=["en", "de", "fr", "ru"]
        ),
        transfer=params.Transfer(steps=1),
    )
    probes = predictors.Probes(study, model, encoded.tokenizer, MACHINE, None)
    first = [("mnli", "en", 2), ("qqp", "en", 8), ("pawsx", "en", 8), ("xnli", "en", 6)]
    known = [*first, ("xnli", "de", 6), ("xnli", "fr", 6), ("xnli", "ru", 6)]
    assert asked == [(task, "dev", lang, size) for task, lang, size in known]
    assert {k: v[1] for k, v in probes.sets.items()} == {
        "nli": 4,
        "paraphrase": 2,
        "parallel.de": 2,
    }
    assert probes.missing["xnli.fr"] == "2 rows, English 3"
    assert set(probes.missing) == {"qqp.en", "xnli.ru", "xnli.fr"}
