"""Control baselines on the same rows: models that cannot understand a text.

Controls are fitted once on the English training rows and evaluated in any language. The file of a
kind in ``kinds`` says which controls it has. `blind` makes rows for training an encoder as a
control.
"""

from collections.abc import Sequence

import numpy as np

from midway import kinds
from midway.evaluation.lexical import MOST
from midway.kinds.kind import Scores
from midway.study.errors import InputError
from midway.study.tasks import Card


def blind(dataset, kind: str):
    """A copy of the rows without the part that makes the task solvable, to train a control.

    pair: text_a emptied (hypothesis-only); span: the question; choice: the context.
    """
    if kinds.get(kind).blind is None:
        raise InputError(f"controls: {kind} tasks have no blind version")
    emptied, columns = kinds.get(kind).blind[0], dataset.column_names
    left = dataset.remove_columns(emptied)
    return left.add_column(emptied, [""] * len(dataset)).select_columns(columns)


def fit(card: Card, train=None, seed: int = 0):
    """Fit the controls of `card` on labelled training rows (at most 20,000, drawn by `seed`).

    train may be None for retrieval and mining, which have none. Returns a function of test rows of
    the card's kind and their language: {control: {metric: percent}}. InputError without rows.
    """
    kind, state = kinds.get(card.kind), {}
    if kind.trains:
        if train is None or not len(train):
            raise InputError(f"controls: {card.name} needs training rows")
        if len(train) > MOST:
            chosen = np.random.default_rng(seed).permutation(len(train))[:MOST]
            train = train.select(chosen) if hasattr(train, "select") else [train[i] for i in chosen]
        rows = [row for row in train if row.get("label", 0) >= 0]
        if not rows:
            raise InputError(f"controls: the training rows of {card.name} have no labels")
        kind.fit_controls(card, rows, state)

    def evaluate(test: Sequence, lang: str) -> Scores:
        if not (rows := list(test)):
            raise InputError(f"controls: no rows of {card.name} {lang}")
        return kind.controls(card, rows, state, lang, np.random.default_rng([seed, *lang.encode()]))

    return evaluate
