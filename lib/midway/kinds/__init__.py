"""Kinds of tasks, one file each: reading, encoding, loss, answers, scores and controls.

Input: rows, logits, predictions of one kind. Output: tokens, losses, answers, scores, controls.
A new kind is one file here with ``KIND``; ``kind`` says what it may override.

Examples
--------
>>> from midway import kinds
>>> kinds.get("pair").blind  # the column that a blind control lacks, and the control's name
('text_a', 'hypothesis_only')
"""

from functools import cache
from importlib import import_module


@cache
def get(name: str):
    """The :class:`kind.Kind` of that name, e.g. "pair"."""
    return import_module(f"midway.kinds.{name}").KIND


def encode(rows, kind: str, labels, tokenizer, max_length: int, stride: int = 64):
    """Tokenise canonical rows of one kind.

    rows: datasets.Dataset or dict of columns, in the canonical schema of ``kind``; labels: the tag
    inventory (tags only); max_length: pieces per sequence; stride: overlap of windows over long
    contexts (span). Returns :class:`tokens.Features`.
    """
    from midway.kinds.tokens import check, columns

    check(tokenizer, max_length)
    return get(kind).encode(columns(rows), labels, tokenizer, max_length, stride)


def shuffle_labels(rows, kind: str, seed: int):
    """Rows with shuffled labels: the placebo of intermediate training."""
    import numpy as np

    table = get(kind).shuffled(rows.to_dict(), np.random.default_rng([seed, 5]))
    return type(rows).from_dict(table, features=rows.features)
