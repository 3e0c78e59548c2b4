"""The interface of a kind of task, and what several kinds have in common."""

from dataclasses import dataclass, field, replace
from html import escape

import numpy as np

from midway.kinds import submitted
from midway.kinds.tokens import columns, nothing

Scores = dict[str, dict[str, float]]  # control -> metric -> percent


@dataclass
class Answers:
    """A model's answers to one set of rows.

    predictions: per example a class index, option index, answer text, or list of tags;
    scores: (decisions, rivals) log-probabilities for class, option and tag decisions, else empty;
    losses: nats per decision; margin: per decision, gold minus strongest rival in log-odds (both
    nan where there is no gold); confidence, right: per decision, for calibration; owner: the
    example of each decision, where an example has several (words).
    """

    predictions: list
    losses: np.ndarray
    margin: np.ndarray
    scores: np.ndarray = field(default_factory=nothing)
    confidence: np.ndarray = field(default_factory=nothing)
    right: np.ndarray = field(default_factory=nothing)
    owner: np.ndarray = field(default_factory=nothing)

    @property
    def loss(self) -> float:
        """Mean nats per decision."""
        return _mean(self.losses)

    @property
    def contrast(self) -> float:
        """Mean margin."""
        return _mean(self.margin)

    def of(self, rows) -> "Answers":
        """The answers to some examples only."""
        at = np.flatnonzero(np.isin(self.owner, rows)) if len(self.owner) else rows
        names = ("losses", "margin", "scores", "confidence", "right")
        parts = {k: v[at] if len(v) else v for k, v in ((k, getattr(self, k)) for k in names)}
        return replace(
            self, predictions=[self.predictions[i] for i in rows], owner=nothing(), **parts
        )


class Kind:
    """One kind of task: reading, encoding, loss, answers, scores and controls.

    Rows are canonical rows of the kind; ``card`` is a task's card. Where nothing is overridden, a
    kind behaves like classification of one text pair.
    """

    trains = True  # False: the encoder is used as it is
    pooled = True  # the head sees one vector a sequence; False: one a piece
    blind: tuple[str, str] | None = None  # column to empty, and what the control is called
    suffix = "tsv"  # of a submission's files
    features: dict = {}  # canonical column -> "text", "number", or a list of or dict of these

    # -- rows ---------------------------------------------------------------------------------

    def read(self, card, part: dict, row: dict) -> dict | None:
        """A raw row as a canonical one; None when the protocol leaves it out; raises Broken."""
        raise NotImplementedError

    def inventory(self, card, rows) -> tuple[str, ...]:
        """The labels in index order."""
        return card.labels

    def shuffled(self, table: dict, rng) -> dict:
        """Columns with shuffled labels, for the placebo of intermediate training."""
        raise NotImplementedError

    # -- training -----------------------------------------------------------------------------

    def encode(self, rows: dict, labels, tokenizer, max_length: int, stride: int):
        """Columns of canonical rows as :class:`tokens.Features`."""
        raise NotImplementedError

    def head_size(self, labels) -> int:
        """Outputs of the head for each vector that it sees."""
        return len(labels)

    def groups(self, features, examples) -> list[list[int]]:
        """The sequences with which each of these examples is trained."""
        return features.of(examples)

    def targets(self, features, examples, sequences, width: int) -> dict:
        """Arrays that the loss needs besides the logits; ``width``: pieces with padding."""
        return {"labels": features.labels[np.asarray(examples)]}

    def loss(self, logits, batch: dict):
        """Mean cross-entropy in nats per example (or word)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, batch["labels"])

    def probed(self, features, sequence: int):
        """Pieces of a sequence and their labels, for LogME; None: its pooled vector."""
        return None

    # -- answers and scores -------------------------------------------------------------------

    def answer(self, values: list, features, rows: dict, labels, null: bool) -> Answers:
        """Answers from head outputs per sequence; ``null`` allows 'no answer'."""
        return decided(log_softmax(np.stack(values)), features.labels)

    def score(self, card, predictions, rows, lang: str) -> dict[str, float]:
        """All metrics of a target; the main one under ``card.metric``. Percent."""
        raise NotImplementedError

    def about(self, card, features, rows, lang: str) -> dict:
        """What else the record of a target's language says of its rows."""
        return {}

    def measure(self, card, answers: Answers, rows) -> dict[str, float]:
        """Scores of an intermediate task's development rows."""
        return self.score(card, answers.predictions, rows, "en")

    def main(self, card, scores: dict[str, float]) -> float:
        """The main score among those of :meth:`measure`, percent."""
        return scores["accuracy"]

    def chance(self, card) -> float:
        """Score of a guess, percent."""
        return 0.0

    # -- to read ------------------------------------------------------------------------------

    def shown(self, row: dict, labels) -> dict[str, str]:
        """A row for a reader: columns of HTML, the right answer bold."""
        return {k: escape(row[k]) for k in ("source", "target", "text") if k in row}

    def asked(self, row: dict, labels) -> tuple[str, str]:
        """What a row asks, and the right answer, as text."""
        raise NotImplementedError

    def said(self, row: dict, prediction, labels) -> str:
        """A prediction as text."""
        return " ".join(map(str, prediction)) if isinstance(prediction, list) else prediction

    # -- controls -----------------------------------------------------------------------------

    def fit_controls(self, card, rows: list, state: dict) -> None:
        """Fit the controls on English training rows; results go into ``state``."""

    def controls(self, card, rows: list, state: dict, lang: str, rng) -> Scores:
        """Scores of the control baselines on the same rows."""
        raise NotImplementedError

    # -- submission files ---------------------------------------------------------------------

    def submission(self, card, predictions, rows):
        """Predictions as XTREME's files hold them."""
        return predictions

    def write(self, predictions) -> str:
        """Text of a submission's file."""
        return "".join(f"{prediction}\n" for prediction in predictions)

    def parse(self, text: str):
        """Predictions of a submission's file, from its text; InputError names the line."""
        return submitted.lines(text)

    def parse_gold(self, text: str):
        """Labels, from the text of a submission's file."""
        return submitted.labels(self.parse(text))

    def score_parsed(self, card, told, gold, lang: str) -> tuple[dict[str, float], list[str]]:
        """Scores of parsed predictions against parsed labels, and warnings about them.

        InputError where they cannot be scored.
        """
        submitted.same_length(told, gold, "lines")
        right = sum(p == g for p, g in zip(told, gold, strict=True))
        said = submitted.alike(told, "lines") if len(set(gold)) > 1 else []
        said += submitted.known(told, [*gold, *card.labels], "line")
        own = [name in card.labels for name in gold]
        if not own[0] and any(own) and own.count(False) == 1:
            said.append(f"the first of the labels, {gold[0]!r}, is none: a header?")
        return {"accuracy": 100.0 * right / len(gold)}, said

    def gold(self, card, rows, lang: str) -> dict:
        """Item -> right answer; items of one name are the same question in several languages."""
        raise NotImplementedError

    def shares(self, card, gold: dict, told, lang: str) -> np.ndarray | None:
        """Each item's share of the score's deviation, points; None: the file has other rows.

        gold: of :meth:`gold`; told: of :meth:`parse`. Their squares add up to the variance.
        """
        if len(told) != len(gold):
            return None
        return of_mean([100.0 * (s == g) for s, g in zip(told, gold.values(), strict=True)])

    def summary(self, card, average: dict[str, float]) -> float:
        """One number for a task from its metrics' means over languages, as XTREME takes it."""
        return average[card.metric]


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def decided(scores: np.ndarray, gold: np.ndarray) -> Answers:
    chosen = scores.argmax(1)
    known = gold >= 0
    at = np.arange(len(gold)), np.where(known, gold, 0)
    rest = scores.copy()
    rest[at] = -np.inf
    margin = np.where(known, scores[at] - rest.max(1), np.nan)
    losses = np.where(known, -scores[at], np.nan)
    confidence = np.exp(scores.max(1))
    return Answers(chosen.tolist(), losses, margin, scores, confidence, chosen == gold)


def _mean(values) -> float:
    values = np.asarray(values)
    return float(np.nanmean(values)) if (values == values).any() else float("nan")


def of_mean(values) -> np.ndarray:
    """Each value's share of their mean's deviation."""
    values = np.array(values)
    return (values - values.mean()) / len(values)


def of_f1(pairs) -> np.ndarray | None:
    """The same of F1 = 200 T / (P + G) over (told, right) sets: (2 t - F (p + g)) / (P + G)."""
    counts = np.array([[len(a & b), len(a) + len(b)] for a, b in pairs], float)
    both, size = counts.sum(0)
    return 100 * (2 * counts[:, 0] - 2 * both / size * counts[:, 1]) / size if size else None


def by_row_kind(kind: Kind, card, predictions, rows, lang: str) -> dict:
    """Scores by the rows' ``kind`` column where there is one (mini says what a row tests)."""
    rows = columns(rows)
    kinds, out = rows.get("kind", []), {}
    for name in sorted(set(kinds)):
        at = [i for i, k in enumerate(kinds) if k == name]
        own = {column: [values[i] for i in at] for column, values in rows.items()}
        some = kind.score(card, [predictions[i] for i in at], own, lang)
        out[name] = {"n": len(at), card.metric: some[card.metric]}
    return {"kinds": out} if out else {}
