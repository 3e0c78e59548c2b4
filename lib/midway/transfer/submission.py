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
from pathlib import Path

from midway import kinds
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
    suffix = kinds.get(tasks.get(task).kind).suffix
    return Path(folder) / task / f"test-{lang}.{suffix}"


def write_predictions(folder: str | Path, task: str, lang: str, predictions) -> Path:
    """Write one prediction file and return its path.

    predictions by kind: pair: label names; tags: lists of tags; span: {id: text};
    mining: (source id, target id) pairs; parallel: for each English sentence a foreign row.
    """
    content = kinds.get(tasks.get(task).kind).write(predictions)
    return write_atomic(path_of(folder, task, lang), content)


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
    kind, found = kinds.get(card.kind), {}
    for lang in languages:
        paths = (path_of(folder, card.name, lang) for folder in (predictions, labels))
        found[lang] = kind.score_files(card, *paths)
    average = {name: _mean([f[name] for f in found.values()]) for name in found[languages[0]]}
    return {
        "score": kind.summary(card, average),
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
