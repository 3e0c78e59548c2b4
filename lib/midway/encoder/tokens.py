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
    labels: np.ndarray | None = None
    spans: np.ndarray | None = None
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


def _backend(tokenizer, max_length: int | None):
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    if max_length:
        backend.enable_truncation(max_length, strategy="longest_first")
    else:
        backend.no_truncation()
    return backend


def _check(tokenizer, max_length: int) -> None:
    most = tokenizer.model_max_length
    if max_length > most:
        raise InputError(f"max_length: {max_length}, but the encoder reads at most {most} pieces")


def _plain(kind, encodings, examples=None, owner=None) -> Features:
    types = [np.array(e.type_ids, np.int32) for e in encodings]
    return Features(
        kind,
        [np.array(e.ids, np.int32) for e in encodings],
        np.arange(len(encodings)) if owner is None else np.asarray(owner),
        len(encodings) if examples is None else examples,
        types if any(t.any() for t in types) else None,
    )


def texts(lines: list[str], tokenizer, max_length: int) -> Features:
    """One sequence per text."""
    _check(tokenizer, max_length)
    return _plain("text", _backend(tokenizer, max_length).encode_batch(list(lines)))


def columns(rows) -> dict[str, list]:
    """Columns as lists; iterating over a Dataset's own columns is twenty times slower."""
    return rows if isinstance(rows, dict) else rows[:]


def encode(rows, kind: str, labels, tokenizer, max_length: int, stride: int = 64) -> Features:
    """Tokenise canonical rows of one kind.

    Parameters
    ----------
    rows : datasets.Dataset or dict of columns
        Rows in the canonical schema of ``kind``.
    labels : sequence of str
        Tag inventory (tags); ignored otherwise.
    max_length, stride : int
        Pieces per sequence; overlap of windows over long contexts (span).
    """
    _check(tokenizer, max_length)
    rows = columns(rows)
    if kind == "pair":
        return _pair(rows, tokenizer, max_length)
    if kind == "choice":
        return _choice(rows, tokenizer, max_length)
    if kind == "span":
        return _span(rows, tokenizer, max_length, stride)
    if kind == "tags":
        return _tags(rows, labels, tokenizer, max_length)
    raise ValueError(f"rows of kind {kind!r} have no features; use texts()")


def _pair(rows, tokenizer, max_length) -> Features:
    pairs = list(zip(rows["text_a"], rows["text_b"], strict=True))
    features = _plain("pair", _backend(tokenizer, max_length).encode_batch(pairs))
    features.labels = np.array(rows["label"], np.int64)
    return features


def _choice(rows, tokenizer, max_length) -> Features:
    pairs, owner = [], []
    for i, (context, choices) in enumerate(zip(rows["context"], rows["choices"], strict=True)):
        pairs += [(context, choice) for choice in choices]
        owner += [i] * len(choices)
    encodings = _backend(tokenizer, max_length).encode_batch(pairs)
    features = _plain("choice", encodings, len(rows["context"]), owner)
    features.labels = np.array(rows["label"], np.int64)
    return features


def _span(rows, tokenizer, max_length, stride) -> Features:
    backend = _backend(tokenizer, None)
    plain, answers = rows["context"], rows["answers"]
    questions = backend.encode_batch(rows["question"], add_special_tokens=False)
    contexts = backend.encode_batch(plain, add_special_tokens=False)
    special = backend.num_special_tokens_to_add(True)
    encodings, owner, spans, offsets = [], [], [], []
    for i, (question, context) in enumerate(zip(questions, contexts, strict=True)):
        # A question may take at most half of the room, so that every context gets its turn.
        question.truncate((max_length - special) // 2)
        room = max_length - special - len(question.ids)
        context.truncate(room, stride=min(stride, room // 2))
        for window in [context, *context.overflowing]:
            both = backend.post_process(question, window, True)
            inside = np.array([s == 1 for s in both.sequence_ids])
            where = np.array(both.offsets, np.int32).reshape(-1, 2)
            where[~inside] = -1
            encodings.append(both)
            owner.append(i)
            offsets.append(where)
            spans.append(_locate(where, answers[i], plain[i]))
    features = _plain("span", encodings, len(questions), owner)
    features.spans, features.offsets = np.array(spans, np.int64).reshape(-1, 2), offsets
    return features


def _locate(where: np.ndarray, answers: dict, context: str) -> tuple[int, int]:
    """First and last piece of the first gold answer in this window; (0, 0) when not inside."""
    if not answers["text"]:
        return 0, 0
    begin = answers["answer_start"][0]
    end = begin + len(answers["text"][0])
    while begin < end and context[begin].isspace():
        begin += 1
    inside = where[:, 0] >= 0
    first = np.flatnonzero(inside & (where[:, 1] > begin))
    last = np.flatnonzero(inside & (where[:, 0] < end) & (where[:, 1] > where[:, 0]))
    if not len(first) or not len(last) or last[-1] < first[0]:
        return 0, 0
    if where[first[0], 0] > begin or where[last[-1], 1] < end:
        return 0, 0  # cut by the window
    return int(first[0]), int(last[-1])


def _tags(rows, labels, tokenizer, max_length) -> Features:
    index = {label: i for i, label in enumerate(labels)}
    backend = _backend(tokenizer, None)
    room, space = max_length - backend.num_special_tokens_to_add(False), _space(backend)
    encodings, owner, words, tags = [], [], [], []
    for i, (tokens, gold) in enumerate(zip(rows["tokens"], rows["tags"], strict=True)):
        # Words are encoded one by one, as the reference scripts do; a sentence too long for the
        # encoder becomes several sequences, cut between words.
        spaced = [space + token for token in tokens]
        pieces = backend.encode_batch(spaced, add_special_tokens=False)
        start = 0
        while start < len(tokens):
            end, used = start, 0
            while end < len(tokens) and (end == start or used + len(pieces[end].ids) <= room):
                used += len(pieces[end].ids)
                end += 1
            merged = _merge(pieces[start:end])
            merged.truncate(room)
            encodings.append(backend.post_process(merged, None, True))
            owner.append(i)
            places = _first_pieces(pieces[start:end], start, room)
            words.append(places)
            tags.append(
                np.array(
                    [index.get(gold[w], UNKNOWN) if gold else UNKNOWN for _, w in places], np.int64
                )
            )
            start = end
    features = _plain("tags", encodings, len(rows["tokens"]), owner)
    features.words, features.tags = words, tags
    return features


def _space(backend) -> str:
    """What a word alone needs before it to be cut as in a sentence: BPE keeps spaces in pieces."""
    alone, inside = (backend.encode(t, add_special_tokens=False).tokens for t in ("a", " a"))
    return " " if alone != inside and not alone[0].startswith(tuple(BLANK)) else ""


def _merge(pieces):
    from tokenizers import Encoding

    return Encoding.merge(list(pieces), growing_offsets=False)


def _first_pieces(pieces, start: int, room: int) -> np.ndarray:
    """(position, word) of each word's first piece that has text; +1 for the start token."""
    places, at = [], 1
    for w, word in enumerate(pieces, start):
        filled = next((k for k, t in enumerate(word.tokens) if t.strip(BLANK)), None)
        if filled is None and word.ids:
            filled = 0
        if filled is not None and at - 1 + filled < room:
            places.append((at + filled, w))
        at += len(word.ids)
    return np.array(places, np.int64).reshape(-1, 2)
