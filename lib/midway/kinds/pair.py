"""Classification of a pair of texts: NLI and paraphrases.

Rows: text_a, text_b, label (index into ``card.labels``; -1: stripped).
Controls: majority, random, bag_of_words (logistic regression over the words of both texts),
bag_of_words_overlap (also how far the texts share words), bag_of_words_text_b (the second text
alone: what a hypothesis gives away, Poliak et al. 2018).
"""

from collections import Counter
from html import escape

import numpy as np

from midway.evaluation import metrics
from midway.evaluation.lexical import Linear, overlap, words
from midway.kinds import raw as cells
from midway.kinds.kind import Answers, Kind, Scores
from midway.kinds.tokens import Features, backend_of, columns, plain


class Pair(Kind):
    blind = ("text_a", "hypothesis_only")
    features = {"text_a": "text", "text_b": "text", "label": "number"}

    def read(self, card, part: dict, row: dict) -> dict | None:
        named, raw = part["columns"], None
        if "label" in named:
            raw = row.get(named["label"]) if named["label"] in row else None
            if raw is None and not part.get("unlabelled"):
                raw = cells.get(row, named["label"])
        label = cells.label(part, raw, list(card.labels))
        if label is None:
            return None
        made = {name: cells.text(row, named[name]) for name in ("text_a", "text_b")}
        return made | {"id": "", "label": label, "labelled": label >= 0}

    def shuffled(self, table: dict, rng) -> dict:
        """Classes permuted over examples."""
        return table | {"label": rng.permutation(table["label"]).tolist()}

    def encode(self, rows: dict, labels, tokenizer, max_length: int, stride: int) -> Features:
        pairs = list(zip(rows["text_a"], rows["text_b"], strict=True))
        features = plain("pair", backend_of(tokenizer, max_length).encode_batch(pairs))
        features.labels = np.array(rows["label"], np.int64)
        return features

    def score(self, card, predictions, rows, lang: str) -> dict[str, float]:
        return metrics.class_scores(predictions, columns(rows)["label"], len(card.labels))

    def measure(self, card, answers: Answers, rows) -> dict[str, float]:
        out, gold = self.score(card, answers.predictions, rows, "en"), np.array(rows["label"])
        if card.labels[:1] == ("entailment",):
            entailed = np.exp(answers.scores[:, 0])
            out["entailment_contrast"] = metrics.entailment_contrast(entailed, gold == 0)
        return out

    def chance(self, card) -> float:
        return 100 / len(card.labels) if card.labels else 0.0

    def shown(self, row: dict, labels) -> dict[str, str]:
        texts = {"first": row["text_a"], "second": row["text_b"]}
        label = labels[row["label"]] if 0 <= row["label"] < len(labels) else "–"
        return {k: escape(v) for k, v in (texts | {"label": label}).items()}

    def asked(self, row: dict, labels) -> tuple[str, str]:
        return f"{row['text_a']} / {row['text_b']}", labels[row["label"]]

    def said(self, row: dict, prediction, labels) -> str:
        return labels[prediction] if prediction < len(labels) else prediction

    def fit_controls(self, card, rows: list, state: dict) -> None:
        labels = [row["label"] for row in rows]
        state["majority"] = Counter(labels).most_common(1)[0][0]
        state["models"] = linear(_inputs(rows), labels)

    def controls(self, card, rows: list, state: dict, lang: str, rng) -> Scores:
        gold, n = [row["label"] for row in rows], len(card.labels)
        answers = {
            "majority": np.full(len(rows), state["majority"]),
            "random": rng.integers(0, n, len(rows)),
        }
        inputs = _inputs(rows)
        for name, model in state["models"].items():
            answers[name] = model.predict(*inputs[name])
        return {name: metrics.class_scores(given, gold, n) for name, given in answers.items()}

    def submission(self, card, predictions, rows):
        return [card.labels[p] for p in predictions]

    def gold(self, card, rows, lang: str) -> dict:
        return {r["id"]: card.labels[r["label"]] for r in rows}


def linear(inputs: dict[str, tuple], labels: list) -> dict[str, Linear]:
    """Linear models of (words, dense features); none where all labels are the same."""
    if len(set(labels)) < 2:
        return {}
    return {name: Linear(bags, labels, dense) for name, (bags, dense) in inputs.items()}


def _inputs(rows: list) -> dict[str, tuple]:
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


KIND = Pair()
