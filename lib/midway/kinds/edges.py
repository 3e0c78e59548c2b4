"""Where answers begin and end: pieces of a text without blanks and zero-width characters in front,
with what belongs to them behind."""

import unicodedata
from functools import cache
from html import escape

import numpy as np

from midway.evaluation import metrics


@cache
def _class_of(char: str) -> str:
    """ "blank", "format" (zero-width and control characters), "mark" (accents, U+FFFD) or ""."""
    if char.isspace():
        return "blank"
    category = "Mn" if char == "\ufffd" else unicodedata.category(char)  # a letter lost in decoding
    return {"Cf": "format", "Cc": "format", "Mn": "mark", "Me": "mark"}.get(category, "")


def edges(context: str) -> tuple[np.ndarray, np.ndarray]:
    """For each place in a text (and its end): where the first visible character is, and how far
    characters reach that belong to what stands before them (marks, zero-width ones)."""
    kinds = [_class_of(c) for c in context]
    found = []
    for passed in (("blank", "format"), ("format", "mark")):
        stops = np.array([i if k not in passed else len(kinds) for i, k in enumerate(kinds)] or [0])
        stops = np.minimum.accumulate(stops[::-1])[::-1]
        found.append(np.append(stops[: len(kinds)], len(kinds)))
    return found[0], found[1]


def visible(where: np.ndarray, first: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Pieces' characters without blanks and zero-width ones in front, with what no piece covers
    behind: tokenizers drop zero-width characters and cut decomposed accents off their letters, but
    answers end in them (MLQA's in U+200B), and scorers keep them."""
    begin, end = where[:, 0], where[:, 1]
    begin = np.minimum(first[begin], end)
    filled = np.where(end > begin, begin, np.iinfo(np.int32).max)
    following = np.append(np.minimum.accumulate(filled[::-1])[::-1][1:], np.iinfo(np.int32).max)
    end = np.where(end > begin, np.maximum(end, np.minimum(reach[end], following)), end)
    return np.stack([begin, end], 1)


def locate(where: np.ndarray, answers: dict, context: str) -> tuple[int, int]:
    """First and last piece of the first gold answer in this window; (0, 0) when not inside."""
    if not answers["text"]:
        return 0, 0
    begin = answers["answer_start"][0]
    end = begin + len(answers["text"][0])
    while begin < end and _class_of(context[begin]) in ("blank", "format"):
        begin += 1
    while begin < end and _class_of(context[end - 1]) == "blank":
        end -= 1
    filled = (where[:, 0] >= 0) & (where[:, 1] > where[:, 0])
    first = np.flatnonzero(filled & (where[:, 1] > begin))
    last = np.flatnonzero(filled & (where[:, 0] < end))
    if not len(first) or not len(last) or last[-1] < first[0]:
        return 0, 0
    if where[first[0], 0] > begin or where[last[-1], 1] < end:
        return 0, 0  # cut by the window
    return int(first[0]), int(last[-1])


def reachable(features, rows: dict, card, lang: str, longest: int) -> dict:
    """The best that spans of pieces can score on span rows: exact_match, f1 in percent, and the ids
    of rows below 100 (a gold answer ends inside a piece, or has more than ``longest`` pieces)."""
    best = {}
    windows = features.of(range(features.examples))
    for e, (key, answers, context) in enumerate(
        zip(rows["id"], rows["answers"], rows["context"], strict=True)
    ):
        found = [{"exact_match": 0.0, "f1": 0.0}]
        for one in zip(answers["text"], answers["answer_start"], strict=True):
            gold = {"text": one[:1], "answer_start": one[1:]}
            for s in windows[e]:
                where = features.offsets[s]
                first, last = locate(where, gold, context)
                if not last:
                    continue
                pieces = [k for k in range(first, last + 1) if where[k, 1] > where[k, 0]]
                for i in range(max(1, len(pieces) - longest + 1)):
                    part = pieces[i : i + longest]
                    text = context[where[part[0], 0] : where[part[-1], 1]]
                    refs = [(key, answers["text"])]
                    found.append(metrics.qa_scores({key: text}, refs, lang, card.name))
            if found[-1]["exact_match"]:
                break
        if answers["text"]:
            best[e] = max(found, key=lambda f: (f["exact_match"], f["f1"]))
    short = [rows["id"][e] for e, f in best.items() if f["exact_match"] < 100 or f["f1"] < 100]
    mean = {k: float(np.mean([f[k] for f in best.values()])) for k in ("exact_match", "f1") if best}
    return mean | {"rows": short}


def excerpt(text: str, answers: dict, width: int = 90) -> str:
    """The part of a context around its first answer, which is bold; HTML."""
    if not answers["text"]:
        return f"{escape(text[: 2 * width])} … (no answer in this text)"
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    left, right = max(0, start - width), min(len(text), end + width)
    before, after = ("… " if left else ""), (" …" if right < len(text) else "")
    return (
        f"{before}{escape(text[left:start])}<b>{escape(text[start:end])}</b>"
        f"{escape(text[end:right])}{after}"
    )
