"""Text of files in XTREME's layout, and checks of what a person submits.

What cannot be scored is an InputError; the caller names the file.
"""

import json
from collections.abc import Sequence

from midway.study.errors import InputError
from midway.study.files import once


def lines(text: str, columns: int = 1) -> list[str]:
    """Stripped lines; InputError when one has another number of tab-separated columns."""
    found = [line.strip() for line in text.split("\n")]
    if not found[-1]:
        found.pop()
    for number, line in enumerate(found, 1):
        width = line.count("\t") + 1
        if line and width != columns:
            raise InputError(f"line {number} has {width} columns, {columns} expected")
    return found


def labels(found: list) -> list:
    """Labels as they are; InputError where there is none, or an empty one."""
    if not found:
        raise InputError("holds no labels")
    if "" in found:
        raise InputError(f"line {found.index('') + 1} is empty; XTREME's script removes labels")
    return found


def tree(text: str):
    """The value of a JSON text."""
    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError(f"broken JSON at line {error.lineno}: {error.msg}") from None
    except (RecursionError, ValueError):
        raise InputError("broken JSON (nested too deep or a number too long)") from None


def questions(text: str) -> list[tuple[str, list[str]]]:
    """(id, gold texts) of a label file in SQuAD's schema."""
    data = tree(text)
    try:
        articles = data["data"] if isinstance(data, dict) else data
        asked = [qa for article in articles for part in article["paragraphs"] for qa in part["qas"]]
        gold = [(str(qa["id"]), [answer["text"] for answer in qa["answers"]]) for qa in asked]
    except (KeyError, TypeError) as error:
        raise InputError(f"not in SQuAD's schema data/paragraphs/qas (at {error})") from None
    texts = [text for _, answers in gold for text in answers]
    if not all(isinstance(text, str) for text in texts):
        raise InputError("a gold answer is not text")
    if not any(texts) or not all(answers for _, answers in gold):
        raise InputError("has no gold answers; XTREME's script removes test labels")
    return gold


def same_length(told: Sequence, gold: Sequence, what: str) -> None:
    if len(told) != len(gold):
        raise InputError(f"{len(told)} {what}, the labels have {len(gold)}")


def known(told: Sequence[str], names, what: str) -> list[str]:
    """Warning for predictions that are none of the labels; InputError where none is one."""
    names = dict.fromkeys(names)
    strange = [name for name in told if name not in names]
    if len(strange) == len(told):
        shown = ", ".join(list(names)[:9]) + (", ..." if len(names) > 9 else "")
        raise InputError(f"no {what} is one of the labels {shown}; found {told[0]!r}")
    return [f"{what}s that are no label: {len(strange)}, e.g. {strange[0]!r}"] if strange else []


def alike(told: Sequence[str], what: str) -> list[str]:
    """Warning for predictions that are all the same or all empty."""
    kinds = set(told)
    if len(told) < 10 or len(kinds) != 1:
        return []
    return [f"all {what} are {kinds.pop()!r}" if any(kinds) else f"all {what} are empty"]
