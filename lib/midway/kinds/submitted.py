"""Files of a submission in XTREME's layout: reading them, and scores as its evaluate.py gives them.

A file that cannot be scored is an InputError that names it. Scorers give the scores in percent and
what is to be said of predictions that are all alike.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from midway.evaluation import metrics
from midway.study.errors import InputError
from midway.study.files import once


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{path}: line {line} holds a zero byte; the file is damaged")
    return text


def lines(path: Path, columns: int = 1) -> list[str]:
    """Stripped lines; InputError when one has another number of tab-separated columns."""
    found = [line.strip() for line in _text(path).split("\n")]
    if not found[-1]:
        found.pop()
    for number, line in enumerate(found, 1):
        width = line.count("\t") + 1
        if line and width != columns:
            raise InputError(f"{path}: line {number} has {width} columns, {columns} expected")
    return found


def tags_of(path: Path) -> list[list[str]]:
    """Tags of each sentence."""
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
        return json.loads(_text(path), object_pairs_hook=once)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: broken JSON at line {error.lineno}: {error.msg}") from None
    except (RecursionError, ValueError):
        raise InputError(f"{path}: broken JSON (nested too deep or a number too long)") from None


def questions_of(path: Path) -> list[tuple[str, list[str]]]:
    """(id, gold texts) of a label file in SQuAD's schema."""
    tree = _json(path)
    try:
        articles = tree["data"] if isinstance(tree, dict) else tree
        pairs = [
            (str(qa["id"]), [answer["text"] for answer in qa["answers"]])
            for article in articles
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not in SQuAD's schema data/paragraphs/qas (at {error})"
        ) from None
    texts = [text for _, found in pairs for text in found]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path}: a gold answer is not text")
    if not any(texts):
        raise InputError(f"{path}: has no gold answers; XTREME's script removes test labels")
    return pairs


def answers_of(path: Path) -> dict[str, str]:
    """Question id -> answer."""
    tree = _json(path)
    if not isinstance(tree, dict) or not all(isinstance(text, str) for text in tree.values()):
        raise InputError(f"{path}: expected one JSON object {{question id: answer text}}")
    return tree


def _same_length(predictions: Sequence, gold: Sequence, path: Path, what: str) -> None:
    if not gold:
        raise InputError(f"{path}: the file with its labels is empty")
    if len(predictions) != len(gold):
        raise InputError(f"{path}: {len(predictions)} {what}, the labels have {len(gold)}")


def _known(told: Sequence[str], known: Sequence[str], path: Path, what: str) -> list[str]:
    """Warning for predictions that are none of the labels; InputError where none is one."""
    names = dict.fromkeys(known)
    strange = [name for name in told if name not in names]
    if len(strange) == len(told):
        shown = ", ".join(list(names)[:9]) + (", ..." if len(names) > 9 else "")
        raise InputError(f"{path}: no {what} is one of the labels {shown}; found {told[0]!r}")
    return [f"{what}s that are no label: {len(strange)}, e.g. {strange[0]!r}"] if strange else []


def _labelled(gold: Sequence[str], card, path: Path) -> list[str]:
    """Warning for a header above labels; InputError for labels that were stripped."""
    if "" in gold:
        line = gold.index("") + 1
        raise InputError(f"{path}: line {line} is empty; XTREME's script removes labels")
    own = [name in card.labels for name in gold]
    header = not own[0] and any(own) and own.count(False) == 1
    return [f"the first of the labels, {gold[0]!r}, is none: a header?"] if header else []


def _one_value(values, what: str) -> list[str]:
    """Warning for predictions that are all the same or all empty."""
    kinds = set(values)
    if len(values) < 10 or len(kinds) != 1:
        return []
    return [f"all {what} are {kinds.pop()!r}" if any(kinds) else f"all {what} are empty"]


def accuracy(card, predicted: Path, expected: Path):
    """Accuracy of one label or number a line."""
    predictions, gold = lines(predicted), lines(expected)
    _same_length(predictions, gold, predicted, "lines")
    header = _labelled(gold, card, expected)
    right = sum(p == g for p, g in zip(predictions, gold, strict=True))
    strange = _known(predictions, [*gold, *card.labels], predicted, "line")
    from_1 = [str(int(g) + 1) if g.isdecimal() else g for g in gold]
    shifted = sum(p == g for p, g in zip(predictions, from_1, strict=True))
    if card.kind == "parallel" and not right and shifted > len(gold) / 4:
        raise InputError(f"{predicted}: counts lines from 1, the labels count from 0")
    said = _one_value(predictions, "lines") if len(set(gold)) > 1 else []
    return {"accuracy": 100.0 * right / len(gold)}, said + strange + header


def tagging(card, predicted: Path, expected: Path):
    """F1 and accuracy of one tag a line."""
    predictions, gold = tags_of(predicted), tags_of(expected)
    _same_length(predictions, gold, predicted, "sentences")
    try:
        found = metrics.tag_scores(predictions, gold)
    except InputError as error:
        raise InputError(f"{predicted}: {error}") from None
    told, known = ([tag for tags in side for tag in tags] for side in (predictions, gold))
    strange = _known(told, [*known, *card.labels], predicted, "tag")
    said = _one_value(told, "tags") if len(set(known)) > 1 else []
    return {"f1": found.pop("f1_xtreme")} | found, said + strange


def answers_score(card, predicted: Path, expected: Path):
    """Exact match and F1 of answers by question id."""
    predictions, gold = answers_of(predicted), questions_of(expected)
    unanswered = sum(key not in predictions for key, _ in gold)
    if unanswered == len(gold):
        raise InputError(f"{predicted}: answers none of {len(gold)} questions; do the ids agree?")
    lang = expected.stem.removeprefix("test-")
    try:
        found = metrics.qa_scores(predictions, gold, lang, card.name)
    except InputError as error:
        raise InputError(f"{expected}: {error}") from None
    answers = [predictions[key].strip() for key, _ in gold if key in predictions]
    said = _one_value(answers, "answers")
    return found | {"unanswered": 100.0 * unanswered / len(gold)}, said


def pairs(predicted: Path, expected: Path):
    """F1, precision and recall of sentence pairs."""
    told, known = (list(filter(None, lines(path, columns=2))) for path in (predicted, expected))
    predictions, gold = set(told), set(known)
    if not gold:
        raise InputError(f"{expected}: has no gold pairs")
    right = len(predictions & gold)
    said = [] if predictions else ["no pair is predicted"]
    for found, whose in ((told, "predictions"), (known, "labels")):
        if [any(map(str.isdigit, line)) for line in found[:2]] == [False, True]:
            shown = found[0].replace("\t", " ")
            said.append(f"the first pair of the {whose}, {shown!r}, holds no number: a header?")
    turned = sum("\t".join(reversed(line.split("\t"))) in gold for line in predictions - gold)
    said += [f"pairs that are gold with their columns swapped: {turned}"] if turned else []
    if predictions and not right:
        split = ([line.split("\t") for line in side] for side in (predictions, gold))
        told, known = ([set(ids) for ids in zip(*side, strict=True)] for side in split)
        strange = [i for i in (0, 1) if told[i].isdisjoint(known[i])]
        if strange and not (told[0].isdisjoint(known[1]) and told[1].isdisjoint(known[0])):
            raise InputError(
                f"{predicted}: its columns or those of {expected} are swapped; the foreign id "
                "must come first"
            )
        if strange:
            where = ("first", "second")[strange[0]]
            what = f"no id of the {where} column occurs in the labels; do the ids agree?"
            if len(predictions) >= 10:
                raise InputError(f"{predicted}: {what}")
            said.append(what)
    scores = {
        "f1": 200.0 * right / (len(predictions) + len(gold)),
        "precision": 100.0 * right / len(predictions) if predictions else 0.0,
        "recall": 100.0 * right / len(gold),
    }
    return scores, said
