"""Files of a submission in XTREME's layout: reading them, and scores as its evaluate.py gives them.

A file that cannot be scored is an InputError that names it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from midway.evaluation import metrics
from midway.study.errors import InputError


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8") from None


def lines(path: Path, columns: int = 1) -> list[str]:
    """Stripped lines; InputError when one has another number of tab-separated columns."""
    lines = [line.strip() for line in _text(path).split("\n")]
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        found = line.count("\t") + 1
        if line and found != columns:
            raise InputError(f"{path}: line {number} has {found} columns, {columns} expected")
    return lines


def tags_of(path: Path) -> list[list[str]]:
    sentences, sentence = [], []
    for line in [*lines(path), ""]:
        if line:
            sentence.append(line)
        else:
            sentences.append(sentence)
            sentence = []
    return sentences if sentences[-1] else sentences[:-1]


def _json(path: Path):
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: broken JSON at line {error.lineno}: {error.msg}") from None


def questions(path: Path) -> list[tuple[str, list[str]]]:
    """(id, gold texts) of a label file in SQuAD's schema."""
    tree = _json(path)
    try:
        articles = tree["data"] if isinstance(tree, dict) else tree
        pairs = [
            (str(qa["id"]), [str(answer["text"]) for answer in qa["answers"]])
            for article in articles
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not in SQuAD's schema (at {error}); data/paragraphs/qas"
        ) from None
    if not any(text for _, texts in pairs for text in texts):
        raise InputError(f"{path}: has no gold answers; XTREME's preparation strips test labels")
    return pairs


def answers_of(path: Path) -> dict[str, str]:
    tree = _json(path)
    if not isinstance(tree, dict) or not all(isinstance(text, str) for text in tree.values()):
        raise InputError(f"{path}: one JSON object {{question id: answer text}} is needed")
    return tree


def _same_length(predictions: Sequence, gold: Sequence, path: Path, what: str) -> None:
    if not gold:
        raise InputError(f"{path}: the labels for it are empty")
    if len(predictions) != len(gold):
        raise InputError(f"{path}: {len(predictions)} {what}, the labels have {len(gold)}")


def accuracy(predicted: Path, expected: Path) -> dict[str, float]:
    predictions, gold = lines(predicted), lines(expected)
    _same_length(predictions, gold, predicted, "lines")
    right = sum(p == g for p, g in zip(predictions, gold, strict=True))
    names = sorted(set(gold))
    if not right and len(names) < 10 and set(predictions).isdisjoint(names):
        raise InputError(
            f"{predicted}: no line is one of the labels {', '.join(names)} "
            f"(line 1 is {predictions[0]!r})"
        )
    return {"accuracy": 100.0 * right / len(gold)}


def tagging(predicted: Path, expected: Path) -> dict[str, float]:
    predictions, gold = tags_of(predicted), tags_of(expected)
    _same_length(predictions, gold, predicted, "sentences")
    try:
        found = metrics.tag_scores(predictions, gold)
    except InputError as error:
        raise InputError(f"{predicted}: {error}") from None
    return {"f1": found.pop("f1_xtreme")} | found


def answers_score(card, predicted: Path, expected: Path) -> dict[str, float]:
    predictions, gold = answers_of(predicted), questions(expected)
    unanswered = sum(key not in predictions for key, _ in gold)
    if unanswered == len(gold):
        raise InputError(f"{predicted}: answers none of the {len(gold)} questions (other ids?)")
    lang = expected.stem.removeprefix("test-")
    found = metrics.qa_scores(predictions, gold, lang, card.name)
    return found | {"unanswered": 100.0 * unanswered / len(gold)}


def pairs(predicted: Path, expected: Path) -> dict[str, float]:
    predictions, gold = (set(lines(path, columns=2)) for path in (predicted, expected))
    if not gold:
        raise InputError(f"{expected}: has no gold pairs")
    right = len(predictions & gold)
    return {
        "f1": 200.0 * right / (len(predictions) + len(gold)),
        "precision": 100.0 * right / len(predictions) if predictions else 0.0,
        "recall": 100.0 * right / len(gold),
    }
