"""Predictions and gold in XTREME's submission layout: written, and read with every fault named.

A submission is a folder with `<task>/test-<lang>.tsv` (QA: `.json`); the labels folder looks the
same. What the files hold (google-research/xtreme, README and evaluate.py):

xnli, pawsx      one label a line ("entailment"; "0" or "1")
udpos, panx      one tag a line, a blank line between sentences
xquad mlqa tydiqa  predictions {question id: answer text}; labels in SQuAD's schema
bucc2018         "source id<TAB>target id" a line, any order, each pair once
tatoeba          one number a line: for each English sentence the foreign line (from 0)
"""

import json
from collections.abc import Mapping
from pathlib import Path

from midway.study import tasks
from midway.study.errors import InputError
from midway.study.files import write_atomic


def path_of(folder: str | Path, task: str, lang: str) -> Path:
    """Where a submission keeps one task and language."""
    suffix = "json" if tasks.get(task).kind == "span" else "tsv"
    return Path(folder) / task / f"test-{lang}.{suffix}"


def write_predictions(folder: str | Path, task: str, lang: str, predictions) -> Path:
    """Write one prediction file and return its path.

    predictions by kind: pair: label names; tags: lists of tags; span: {id: text};
    mining: (source id, target id) pairs; parallel: for each English sentence a foreign row.
    """
    kind = tasks.get(task).kind
    if kind == "span":
        content = json.dumps(dict(predictions), ensure_ascii=False, indent=0) + "\n"
    elif kind == "tags":
        content = "\n".join("".join(f"{tag}\n" for tag in tags) for tags in predictions)
    elif kind == "mining":
        content = "".join(f"{source}\t{target}\n" for source, target in predictions)
    else:
        content = "".join(f"{prediction}\n" for prediction in predictions)
    return write_atomic(path_of(folder, task, lang), content)


def _qa(row: Mapping) -> dict:
    answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    return {
        "id": row["id"],
        "question": row["question"],
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
    }


# -- reading --------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8") from None


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
        return json.loads(_text(path))
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
    """Question id -> answer."""
    tree = _json(path)
    if not isinstance(tree, dict) or not all(isinstance(text, str) for text in tree.values()):
        raise InputError(f"{path}: one JSON object {{question id: answer text}} is needed")
    return tree
