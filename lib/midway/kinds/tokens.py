"""Canonical rows to token ids, and token ids to batches with little padding.

A *sequence* is one line of token ids; an *example* owns one sequence (pair), one per option
(choice), one per window (span, long tags), or one per text (parallel, mining).
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from midway.study.errors import InputError

UNKNOWN = -100  # a label outside the inventory; torch's cross-entropy passes it over
BLANK = "▁Ġ"  # word-start marks of SentencePiece and of byte-level BPE; alone they carry no text


def nothing() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass
class Features:
    """Tokenised rows of one task and language.

    sequences: list of int32 arrays (token ids, specials included); owner[s]: the example of
    sequence s; labels: (examples,) int64 (pair, choice); spans: (sequences, 2) first and last
    piece of the answer, (0, 0) for none; words[s]: (words, 2) array of (piece position, word
    index); tags[s]: label ids of these words; offsets[s]: (pieces, 2) characters of the context,
    -1 outside it; types[s]: token type ids or None for encoders without them.
    """

    kind: str
    sequences: list
    owner: np.ndarray
    examples: int
    types: list | None = None
    labels: np.ndarray = field(default_factory=nothing)
    spans: np.ndarray = field(default_factory=nothing)
    words: list = field(default_factory=list)
    tags: list = field(default_factory=list)
    offsets: list = field(default_factory=list)

    @cached_property  # asked for in every batch; half a million rows take a while
    def lengths(self) -> np.ndarray:
        return np.array([len(s) for s in self.sequences])

    def of(self, examples) -> list[list[int]]:
        """Sequence numbers of each of these examples, in order."""
        if not hasattr(self, "_of"):
            lists: list[list[int]] = [[] for _ in range(self.examples)]
            for s, e in enumerate(self.owner):
                lists[e].append(s)
            self._of = lists
        return [self._of[e] for e in examples]


def backend_of(tokenizer, max_length: int | None):
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    if max_length:
        backend.enable_truncation(max_length, strategy="longest_first")
    else:
        backend.no_truncation()
    return backend


def check(tokenizer, max_length: int) -> None:
    most = tokenizer.model_max_length
    if max_length > most:
        raise InputError(f"max_length: {max_length}; the encoder reads at most {most} pieces")


def plain(kind, encodings, examples=None, owner=None) -> Features:
    types = [np.array(e.type_ids, np.int32) for e in encodings]
    return Features(
        kind,
        [np.array(e.ids, np.int32) for e in encodings],
        np.arange(len(encodings)) if owner is None else np.asarray(owner),
        len(encodings) if examples is None else examples,
        types if any(t.any() for t in types) else None,
    )


def texts(lines: list[str], tokenizer, max_length: int) -> Features:
    """One sequence per text, as :class:`Features` of ``len(lines)`` examples without labels.

    ``max_length`` counts pieces, specials included; InputError where the encoder reads fewer.

    Examples
    --------
    >>> features = texts(["Guten Tag."], encoded.tokenizer, 128)  # doctest: +SKIP
    """
    check(tokenizer, max_length)
    return plain("text", backend_of(tokenizer, max_length).encode_batch(list(lines)))


def columns(rows) -> dict[str, list]:
    """Columns as lists; iterating over a Dataset's own columns is twenty times slower."""
    return rows if isinstance(rows, dict) else rows[:]


def space_of(backend) -> str:
    """What a word alone needs before it to be cut as in a sentence: BPE keeps spaces in pieces."""
    alone, inside = (backend.encode(t, add_special_tokens=False).tokens for t in ("a", " a"))
    return " " if alone != inside and not alone[0].startswith(tuple(BLANK)) else ""
