"""What a score is worth: simple rivals, computed on the same rows, that cannot understand a text.

Fitted once on the English training rows, then evaluated in any language. By kind of task:

pair      majority, random, bag_of_words (logistic regression over the words of both texts),
          bag_of_words_overlap (also how far the texts share words), bag_of_words_text_b (the
          second text alone: what a hypothesis gives away, Poliak et al. 2018)
choice    majority (position), random, option_only (words of the option), option_overlap
span      random_span, usual_place (no question: where answers usually stand), sliding_window
          (words of the question nearby, Richardson et al. 2013), no_answer where train has such
tags      majority, random, lexicon (each word's most frequent tag, rare words' tag for unknown)
parallel  random (1/n), char_ngrams (tf-idf of character n-grams, English looks for foreign)
mining    random, char_ngrams (mutual nearest neighbours, no threshold)

`blind` makes the rows with which an encoder itself becomes a control.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from midway.evaluation import metrics
from midway.study.errors import InputError
from midway.study.tasks import Card
from midway.transfer.lexical import (
    Linear,
    nearest_by_ngrams,
    overlap,
    places_of,
    window,
    words,
)

MOST = 20_000  # training rows a control is fitted on, sentences a side for char_ngrams
_BLIND = {"pair": "text_a", "span": "question", "choice": "context"}
Scores = dict[str, dict[str, float]]


def blind(dataset, kind: str):
    """A copy whose rows lack what makes the task solvable, for training an encoder as a control.

    pair: text_a emptied (hypothesis-only); span: the question; choice: the context.
    """
    if kind not in _BLIND:
        raise InputError(f"controls: {kind} tasks have no blind version, only {', '.join(_BLIND)}")
    columns = dataset.column_names
    emptied = dataset.remove_columns(_BLIND[kind])
    return emptied.add_column(_BLIND[kind], [""] * len(dataset)).select_columns(columns)


# -- kinds ----------------------------------------------------------------------------------------


@dataclass
class Fitted:
    """Controls of one task, ready for any language; see `fit`."""

    card: Card
    seed: int
    state: dict = field(default_factory=dict)

    def evaluate(self, test: Sequence, lang: str) -> Scores:
        """{control: {metric: percent}} on the rows of `test` in the card's kind of schema."""
        rows = list(test)
        if not rows:
            raise InputError(f"controls: no rows of {self.card.name} {lang}")
        rng = np.random.default_rng([self.seed, *lang.encode()])
        return _KINDS[self.card.kind][1](self, rows, lang, rng)


def _pair_inputs(rows: list) -> dict[str, tuple]:
    """(words, dense features) that each linear control sees."""
    a, b = ([words(row[name]) for row in rows] for name in ("text_a", "text_b"))
    second = [["b:" + word for word in bag] for bag in b]
    both = [["a:" + word for word in x] + y for x, y in zip(a, second, strict=True)]
    shared = [overlap(x, y) for x, y in zip(a, b, strict=True)]
    return {
        "bag_of_words": (both, None),
        "bag_of_words_overlap": (both, shared),
        "bag_of_words_text_b": (second, None),
    }


def _option_inputs(rows: list) -> dict[str, tuple]:
    """The same for every option of every row, one after the other."""
    bags, dense = [], []
    for row in rows:
        context = words(row["context"])
        for option in row["choices"]:
            bags.append(words(option))
            dense.append([*overlap(context, bags[-1]), min(len(bags[-1]), 50) / 50])
    return {"option_only": (bags, None), "option_overlap": (bags, dense)}


def _fit_linear(fitted: Fitted, rows: list) -> None:
    labels = [row["label"] for row in rows]
    fitted.state["majority"] = Counter(labels).most_common(1)[0][0]
    if fitted.card.kind == "choice":
        labels = [i == row["label"] for row in rows for i in range(len(row["choices"]))]
    inputs = _pair_inputs if fitted.card.kind == "pair" else _option_inputs
    fitted.state["models"] = {}
    if len(set(labels)) > 1:
        for name, (bags, dense) in inputs(rows).items():
            fitted.state["models"][name] = Linear(bags, labels, dense)


def _pair(fitted: Fitted, rows: list, lang: str, rng) -> Scores:
    gold, n = [row["label"] for row in rows], len(fitted.card.labels)
    answers = {
        "majority": np.full(len(rows), fitted.state["majority"]),
        "random": rng.integers(0, n, len(rows)),
    }
    inputs = _pair_inputs(rows)
    for name, model in fitted.state["models"].items():
        answers[name] = model.predict(*inputs[name])
    return {name: metrics.class_scores(given, gold, n) for name, given in answers.items()}


def _choice(fitted: Fitted, rows: list, lang: str, rng) -> Scores:
    gold, sizes = [row["label"] for row in rows], [len(row["choices"]) for row in rows]
    answers = {
        "majority": np.minimum(fitted.state["majority"], np.array(sizes) - 1),
        "random": rng.integers(0, sizes),
    }
    inputs = _option_inputs(rows)
    for name, model in fitted.state["models"].items():
        parts = np.split(model.decision(*inputs[name]), np.cumsum(sizes)[:-1])
        answers[name] = np.array([part.argmax() for part in parts])
    return {name: metrics.class_scores(given, gold, max(sizes)) for name, given in answers.items()}


def _fit_span(fitted: Fitted, rows: list) -> None:
    starts, lengths = [], []
    for row in rows:
        total = max(1, len(words(row["context"])))
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            starts.append(len(words(row["context"][:start])) / total)
            lengths.append(max(1, len(words(text))))
    fitted.state["start"] = float(np.median(starts)) if starts else 0.0
    fitted.state["length"] = float(np.median(lengths)) if lengths else 1.0
    fitted.state["unanswerable"] = any(not row["answers"]["text"] for row in rows)


def _span(fitted: Fitted, rows: list, lang: str, rng) -> Scores:
    answers = {"random_span": [], "usual_place": [], "sliding_window": []}
    if fitted.state["unanswerable"]:
        answers["no_answer"] = [""] * len(rows)
    for row in rows:
        context, (places, factor) = row["context"], places_of(row["context"])
        tokens = [context[a:b].lower() for a, b in places]
        length = min(len(places), round(factor * fitted.state["length"]))
        most = len(places) - length
        starts = {
            "random_span": int(rng.integers(0, most + 1)),
            "usual_place": min(most, int(fitted.state["start"] * len(places))),
            "sliding_window": window(tokens, set(words(row["question"])), length),
        }
        for name, first in starts.items():
            answers[name].append(context[places[first][0] : places[first + length - 1][1]])
    gold, scores = {str(i): row["answers"]["text"] for i, row in enumerate(rows)}, {}
    for name, given in answers.items():
        numbered = {str(i): text for i, text in enumerate(given)}
        found = metrics.qa_scores(numbered, gold, lang, fitted.card.name)
        em, f1 = found["exact_match"], found["f1"]
        scores[name] = {"em": em, "f1": f1, "em_f1": (em + f1) / 2}
    return scores


def _fit_tags(fitted: Fitted, rows: list) -> None:
    counts: dict[str, Counter] = {}
    for row in rows:
        for word, tag in zip(row["tokens"], row["tags"], strict=True):
            counts.setdefault(word.lower(), Counter())[tag] += 1
    total, rare = Counter(), Counter()
    for of_word in counts.values():
        total += of_word
        if of_word.total() == 1:
            rare += of_word
    fitted.state["lexicon"] = {word: c.most_common(1)[0][0] for word, c in counts.items()}
    fitted.state["total"] = total
    fitted.state["unknown"] = (rare or total).most_common(1)[0][0]


def _tags(fitted: Fitted, rows: list, lang: str, rng) -> Scores:
    lexicon, unknown, total = (fitted.state[key] for key in ("lexicon", "unknown", "total"))
    names, usual = sorted(total), total.most_common(1)[0][0]
    shares = np.array([total[name] for name in names]) / total.total()
    answers = {
        "majority": [[usual] * len(row["tokens"]) for row in rows],
        "random": [rng.choice(names, len(row["tokens"]), p=shares).tolist() for row in rows],
        "lexicon": [[lexicon.get(w.lower(), unknown) for w in row["tokens"]] for row in rows],
    }
    gold, scores = [list(row["tags"]) for row in rows], {}
    for name, given in answers.items():
        found = metrics.tag_scores(given, gold)
        scores[name] = {"f1": found["f1_xtreme"], "accuracy": found["accuracy"]}
    return scores


def _parallel(fitted: Fitted, rows: list, lang: str, rng) -> Scores:
    scores = {"random": {"accuracy": 100.0 / len(rows)}}
    if len(rows) <= MOST:
        _, near = nearest_by_ngrams([r["source"] for r in rows], [r["target"] for r in rows])
        right = near == np.arange(len(rows))
        scores["char_ngrams"] = {"accuracy": 100.0 * float(right.mean())}
    return scores


def _mining(fitted: Fitted, rows: list, lang: str, rng) -> Scores:
    x, y = ([row for row in rows if row["side"] == side] for side in ("source", "target"))
    gold = {(row["id"], other) for row in x for other in row["gold"]}
    if not x or not y or not gold:
        raise InputError(f"controls: {fitted.card.name} {lang} needs both sides and gold pairs")
    # one random partner for each of x: expected number right is gold / y
    scores = {"random": {"f1": 200.0 * len(gold) / len(y) / (len(x) + len(gold))}}
    if max(len(x), len(y)) <= MOST:
        ahead, back = nearest_by_ngrams([row["text"] for row in x], [row["text"] for row in y])
        pairs = {(x[i]["id"], y[j]["id"]) for i, j in enumerate(ahead) if back[j] == i}
        scores["char_ngrams"] = {"f1": 200.0 * len(pairs & gold) / (len(pairs) + len(gold))}
    return scores


_KINDS = {
    "pair": (_fit_linear, _pair),
    "choice": (_fit_linear, _choice),
    "span": (_fit_span, _span),
    "tags": (_fit_tags, _tags),
    "parallel": (None, _parallel),
    "mining": (None, _mining),
}


def fit(card: Card, train: Sequence | None = None, seed: int = 0) -> Fitted:
    """Fit the controls of `card` on labelled training rows (at most 20,000, drawn by `seed`).

    train may be None for retrieval and mining, which have none. InputError without labels.
    """
    fitted, learn = Fitted(card, seed), _KINDS[card.kind][0]
    if learn is None:
        return fitted
    if train is None or not len(train):
        raise InputError(f"controls: {card.name} needs training rows")
    if len(train) > MOST:
        chosen = np.random.default_rng(seed).permutation(len(train))[:MOST]
        train = train.select(chosen) if hasattr(train, "select") else [train[i] for i in chosen]
    rows = [row for row in train if row.get("label", 0) >= 0]
    if not rows:
        raise InputError(f"controls: the training rows of {card.name} have no labels")
    learn(fitted, rows)
    return fitted
