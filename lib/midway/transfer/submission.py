"""Predictions and gold in XTREME's submission layout, scored as XTREME's evaluate.py scores them.

A submission is a folder with `<task>/test-<lang>.tsv` (QA: `.json`); the labels folder looks the
same. What the files hold (google-research/xtreme, README and evaluate.py):

xnli, pawsx      one label a line ("entailment"; "0" or "1")
udpos, panx      one tag a line, a blank line between sentences
xquad mlqa tydiqa  predictions {question id: answer text}; labels in SQuAD's schema
bucc2018         "source id<TAB>target id" a line, any order, each pair once
tatoeba          one number a line: for each English sentence the foreign line (from 0)
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from midway.evaluation import metrics
from midway.study import tasks
from midway.study.errors import InputError
from midway.study.files import write_atomic

#: XTREME's groups are called classification, tagging, qa and retrieval there.
GROUPS = {
    group: [name for name, card in tasks.TARGETS.items() if card.group == group]
    for group in tasks.GROUPS
}


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


def _lines(path: Path, columns: int = 1) -> list[str]:
    """Stripped lines; InputError when one has another number of tab-separated columns."""
    lines = [line.strip() for line in _text(path).split("\n")]
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        found = line.count("\t") + 1
        if line and found != columns:
            raise InputError(f"{path}: line {number} has {found} columns, {columns} expected")
    return lines


def _tags(path: Path) -> list[list[str]]:
    sentences, sentence = [], []
    for line in [*_lines(path), ""]:
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


def _questions(path: Path) -> list[tuple[str, list[str]]]:
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


def _answers(path: Path) -> dict[str, str]:
    tree = _json(path)
    if not isinstance(tree, dict) or not all(isinstance(text, str) for text in tree.values()):
        raise InputError(f"{path}: one JSON object {{question id: answer text}} is needed")
    return tree


# -- scoring --------------------------------------------------------------------------------------


def _same_length(predictions: Sequence, gold: Sequence, path: Path, what: str) -> None:
    if not gold:
        raise InputError(f"{path}: the labels for it are empty")
    if len(predictions) != len(gold):
        raise InputError(f"{path}: {len(predictions)} {what}, the labels have {len(gold)}")


def _accuracy(predicted: Path, expected: Path, _) -> dict[str, float]:
    predictions, gold = _lines(predicted), _lines(expected)
    _same_length(predictions, gold, predicted, "lines")
    right = sum(p == g for p, g in zip(predictions, gold, strict=True))
    names = sorted(set(gold))
    if not right and len(names) < 10 and set(predictions).isdisjoint(names):
        raise InputError(
            f"{predicted}: no line is one of the labels {', '.join(names)} "
            f"(line 1 is {predictions[0]!r})"
        )
    return {"accuracy": 100.0 * right / len(gold)}


def _tagging(predicted: Path, expected: Path, _) -> dict[str, float]:
    predictions, gold = _tags(predicted), _tags(expected)
    _same_length(predictions, gold, predicted, "sentences")
    try:
        found = metrics.tag_scores(predictions, gold)
    except InputError as error:
        raise InputError(f"{predicted}: {error}") from None
    return {"f1": found.pop("f1_xtreme")} | found


def _qa_scores(predicted: Path, expected: Path, card: tasks.Card) -> dict[str, float]:
    predictions, gold = _answers(predicted), _questions(expected)
    unanswered = sum(key not in predictions for key, _ in gold)
    if unanswered == len(gold):
        raise InputError(f"{predicted}: answers none of the {len(gold)} questions (other ids?)")
    lang = expected.stem.removeprefix("test-")
    found = metrics.qa_scores(predictions, gold, lang, card.name)
    return found | {"unanswered": 100.0 * unanswered / len(gold)}


def _mining(predicted: Path, expected: Path, _) -> dict[str, float]:
    predictions, gold = (set(_lines(path, columns=2)) for path in (predicted, expected))
    if not gold:
        raise InputError(f"{expected}: has no gold pairs")
    right = len(predictions & gold)
    return {
        "f1": 200.0 * right / (len(predictions) + len(gold)),
        "precision": 100.0 * right / len(predictions) if predictions else 0.0,
        "recall": 100.0 * right / len(gold),
    }


_SCORERS = {
    "pair": _accuracy,
    "tags": _tagging,
    "span": _qa_scores,
    "mining": _mining,
    "parallel": _accuracy,
}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _languages(folder: Path, task: str) -> set[str]:
    pattern = path_of(folder, task, "*")
    return {path.stem.removeprefix("test-") for path in pattern.parent.glob(pattern.name)}


def _score_task(predictions: Path, labels: Path, card: tasks.Card) -> dict:
    ours, theirs = _languages(predictions, card.name), _languages(labels, card.name)
    languages = sorted(ours | theirs)
    if not languages:
        raise InputError(
            f"{predictions / card.name}: has no {path_of('', card.name, '<lang>').name}"
        )
    for lang in languages:
        for folder, there in ((predictions, ours), (labels, theirs)):
            if lang not in there:
                missing = path_of(folder, card.name, lang)
                raise InputError(f"{missing}: missing, but the other folder has {lang}; add it")
    scorer, found = _SCORERS[card.kind], {}
    for lang in languages:
        paths = (path_of(folder, card.name, lang) for folder in (predictions, labels))
        found[lang] = scorer(*paths, card)
    average = {name: _mean([f[name] for f in found.values()]) for name in found[languages[0]]}
    both = (average["exact_match"] + average["f1"]) / 2 if card.kind == "span" else None
    return {
        "score": average[card.metric] if both is None else both,
        "metric": card.metric,
        "average": average,
        "languages": found,
        "absent": [lang for lang in card.languages if lang not in found],
    }


def score_folder(predictions: str | Path, labels: str | Path) -> dict:
    """Score every task that `predictions` holds; percent throughout.

    Returns tasks {task: score (XTREME's: QA the mean of EM and F1), metric, average {metric:
    mean over languages}, languages {lang: {metric: value}}, absent (XTREME's languages that
    neither folder has)}, groups and overall: plain means over tasks, None unless all of the
    group's, or all nine, are there; complete: all nine tasks in all of XTREME's languages. `f1`
    of udpos and panx has seqeval 0.0.12's semantics, `f1_seqeval1` those of seqeval >= 1.

    Raises InputError naming the file for anything that cannot be scored: a file that only one
    folder has, other row counts, broken JSON, stripped labels.
    """
    predictions, labels = Path(predictions), Path(labels)
    for folder, what in ((predictions, "predictions"), (labels, "labels")):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder of {what}")
    given = [card for name, card in tasks.TARGETS.items() if (predictions / name).is_dir()]
    if not given:
        raise InputError(f"{predictions}: has no folder named after a task, like xnli or udpos")
    found = {card.name: _score_task(predictions, labels, card) for card in given}
    means = {
        group: _mean([found[name]["score"] for name in names]) if set(names) <= set(found) else None
        for group, names in GROUPS.items()
    }
    everything = len(found) == len(tasks.TARGETS)
    return {
        "metric_version": metrics.METRIC_VERSION,
        "overall": _mean([task["score"] for task in found.values()]) if everything else None,
        "complete": everything and not any(task["absent"] for task in found.values()),
        "groups": means,
        "tasks": found,
    }


def main_score(predictions: str | Path, labels: str | Path, as_json: bool = False) -> str:
    """What `midway score PREDICTIONS LABELS [--json]` prints."""
    result = score_folder(predictions, labels)
    if as_json:
        return json.dumps(result, indent=2)
    lines, blank = [], " " * 18
    for task, found in result["tasks"].items():
        average = "  ".join(f"{name} {value:.2f}" for name, value in found["average"].items())
        lines.append(f"{task:<10}{found['score']:6.2f}  {average}")
        main = "f1" if found["metric"] == "em_f1" else found["metric"]
        by_language = (f"{lang} {f[main]:.1f}" for lang, f in found["languages"].items())
        lines.append(f"{blank}{main}: {'  '.join(by_language)}")
        if found["absent"]:
            lines.append(f"{blank}in neither folder: {' '.join(found['absent'])}")
    lines.append("")
    for group, value in (result["groups"] | {"overall": result["overall"]}).items():
        shown = "     -  not all tasks" if value is None else f"{value:6.2f}"
        lines.append(f"{group:<10}{shown}")
    if not result["complete"]:
        lines.append("Not all tasks and languages of XTREME: not comparable with its tables.")
    return "\n".join(lines)
