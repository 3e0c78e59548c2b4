"""Multiple choice: which of several options fits a context.

Rows: context, choices, label (index into choices).
Controls: majority (position), random, option_only (words of the option), option_overlap.
"""

from collections import Counter
from html import escape

import numpy as np

from midway.evaluation import metrics
from midway.evaluation.lexical import overlap, words
from midway.kinds import raw as cells
from midway.kinds.kind import Answers, Kind, Scores, decided, log_softmax
from midway.kinds.pair import linear
from midway.kinds.raw import Broken
from midway.kinds.tokens import Features, backend_of, columns, plain


class Choice(Kind):
    blind = ("context", "context_blind")
    features = {"context": "text", "choices": ["text"], "label": "number"}

    def read(self, card, part: dict, row: dict) -> dict | None:
        named = part["columns"]
        source = named["choices"]
        many = isinstance(source, list)
        choices = [cells.get(row, c) for c in source] if many else cells.get(row, source)
        if not isinstance(choices, list) or len(choices) < 2:
            raise Broken("fewer than two choices")
        if not all(isinstance(c, str) and c.strip() for c in choices):
            raise Broken("a choice is empty or not text")
        names = [str(i) for i in range(len(choices))]
        if "keys" in named:
            names = [str(k) for k in cells.get(row, named["keys"])]
            if len(names) != len(choices) or len(set(names)) < len(names):
                raise Broken("choices and their letters do not match")
        label = cells.label(part, cells.get(row, named["label"]), names)
        if label is None:
            return None
        made = {"context": cells.text(row, named["context"]), "choices": choices, "label": label}
        return made | {"id": cells.id_of(row, named), "labelled": label >= 0}

    def shuffled(self, table: dict, rng) -> dict:
        """Gold options drawn at random."""
        return table | {"label": [int(rng.integers(len(c))) for c in table["choices"]]}

    def encode(self, rows: dict, labels, tokenizer, max_length: int, stride: int) -> Features:
        pairs, owner = [], []
        for i, (context, choices) in enumerate(zip(rows["context"], rows["choices"], strict=True)):
            pairs += [(context, choice) for choice in choices]
            owner += [i] * len(choices)
        encodings = backend_of(tokenizer, max_length).encode_batch(pairs)
        features = plain("choice", encodings, len(rows["context"]), owner)
        features.labels = np.array(rows["label"], np.int64)
        return features

    def head_size(self, labels) -> int:
        return 1

    def targets(self, features, examples, sequences, width: int) -> dict:
        options = np.array([len(group) for group in features.of(examples)])
        return {"labels": features.labels[np.asarray(examples)], "options": options}

    def loss(self, logits, batch: dict):
        from torch.nn.functional import cross_entropy

        return cross_entropy(by_example(logits[:, 0], batch["options"]), batch["labels"])

    def answer(self, values: list, features, rows: dict, labels, null: bool) -> Answers:
        import torch

        scores = torch.from_numpy(np.stack(values)[:, 0])
        table = by_example(scores, np.bincount(features.owner)).numpy()
        return decided(log_softmax(table), features.labels)

    def score(self, card, predictions, rows, lang: str) -> dict[str, float]:
        rows = columns(rows)
        return metrics.class_scores(predictions, rows["label"], max(map(len, rows["choices"])))

    def chance(self, card) -> float:
        """Of four options, as all tasks of this kind but one have."""
        return 25.0

    def shown(self, row: dict, labels) -> dict[str, str]:
        choices = [escape(c) for c in row["choices"]]
        choices = [f"<b>{c}</b>" if i == row["label"] else c for i, c in enumerate(choices)]
        return {"context": escape(row["context"]), "choices": "<br>".join(choices)}

    def asked(self, row: dict, labels) -> tuple[str, str]:
        return row["context"], row["choices"][row["label"]]

    def said(self, row: dict, prediction, labels) -> str:
        return row["choices"][prediction]

    def fit_controls(self, card, rows: list, state: dict) -> None:
        state["majority"] = Counter(row["label"] for row in rows).most_common(1)[0][0]
        gold = [i == row["label"] for row in rows for i in range(len(row["choices"]))]
        state["models"] = linear(_inputs(rows), gold)

    def controls(self, card, rows: list, state: dict, lang: str, rng) -> Scores:
        gold, sizes = [row["label"] for row in rows], [len(row["choices"]) for row in rows]
        answers: dict = {
            "majority": np.minimum(state["majority"], np.array(sizes) - 1),
            "random": rng.integers(0, sizes),
        }
        inputs, most = _inputs(rows), max(sizes)
        for name, model in state["models"].items():
            parts = np.split(model.decision(*inputs[name]), np.cumsum(sizes)[:-1])
            answers[name] = np.array([part.argmax() for part in parts])
        return {name: metrics.class_scores(given, gold, most) for name, given in answers.items()}


def _inputs(rows: list) -> dict[str, tuple]:
    """(words, dense features) for every option of every row, one after the other."""
    bags, dense = [], []
    for row in rows:
        context = words(row["context"])
        for option in row["choices"]:
            bags.append(words(option))
            dense.append([*overlap(context, bags[-1]), min(len(bags[-1]), 50) / 50])
    return {"option_only": (bags, None), "option_overlap": (bags, dense)}


def by_example(scores, options):
    """(sequences,) option scores to (examples, most options); absent options are -1e4."""
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence(scores.split(options.tolist()), True, -1e4)


KIND = Choice()
