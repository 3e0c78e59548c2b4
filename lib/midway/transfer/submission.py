"""A submission in XTREME's layout, scored as XTREME's evaluate.py does (google-research/xtreme).

XTREME's averages are over XTREME's languages; a submission that cannot be right (no known id or
label) is refused; one whose predictions are all the same is scored with a note. A submission is a
folder with `<task>/test-<lang>.tsv` (QA: `.json`); the folder of labels looks the same:

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


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("missing, but the other folder has this file; add it") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"line {line} holds a zero byte; the file is damaged")
    return text


def _score_task(predictions: Path, labels: Path, card: tasks.Card) -> dict:
    pattern = str(path_of("", card.name, "*"))
    files = [path for folder in (predictions, labels) for path in folder.glob(pattern)]
    languages = sorted({path.stem.removeprefix("test-") for path in files})
    if not languages:
        raise InputError(
            f"{predictions / card.name}: has no {path_of('', card.name, '<lang>').name}"
        )
    kind, found, notes = kinds.get(card.kind), {}, []
    for lang in languages:
        path = path_of(labels, card.name, lang)
        try:
            gold = kind.parse_gold(_text(path))
            path = path_of(predictions, card.name, lang)
            found[lang], said = kind.score_parsed(card, kind.parse(_text(path)), gold, lang)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        notes += [f"{lang}: {note}" for note in said]
    own = [lang for lang in card.languages if lang in found]
    if not own:
        raise InputError(f"{predictions / card.name}: has no language of XTREME's {card.title}")
    average = {name: _mean([found[lang][name] for lang in own]) for name in found[own[0]]}
    return {
        "score": kind.summary(card, average),
        "metric": card.metric,
        "average": average,
        "languages": found,
        "absent": [lang for lang in card.languages if lang not in found],
        "others": [lang for lang in languages if lang not in own],
        "notes": notes,
    }


def score_folder(predictions: str | Path, labels: str | Path) -> dict:
    """Score every task that `predictions` holds; percent throughout.

    Returns tasks {task: score (XTREME's: QA the mean of EM and F1), metric, average {metric:
    mean over XTREME's languages}, languages {lang: {metric: value}}, absent (XTREME's languages
    that neither folder has), others (languages that are not XTREME's: in no average), notes
    (predictions that are all the same, all empty, or no label)}, groups and overall: plain means
    over tasks, None unless all of the group's, or all nine, are there; complete: all nine tasks in
    all of XTREME's languages; not_read: files of `predictions` whose name is no task's. `f1` of
    udpos and panx has seqeval 0.0.12's semantics, `f1_seqeval1` those of seqeval >= 1.

    Raises InputError naming the file for anything that cannot be scored: a file that only one
    folder has, other row counts, broken JSON, stripped labels.
    """
    predictions, labels = Path(predictions), Path(labels)
    for folder, what in ((predictions, "predictions"), (labels, "labels")):
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder of {what}")
    given = [card for name, card in tasks.TARGETS.items() if (predictions / name).is_dir()]
    if not given:
        raise InputError(f"{predictions}: has no folder named after a task, like xnli or udpos")
    found = {card.name: _score_task(predictions, labels, card) for card in given}
    means = {
        group: _mean([found[name]["score"] for name in names]) if set(names) <= set(found) else None
        for group, names in GROUPS.items()
    }
    everything = len(found) == len(tasks.TARGETS)
    used = {path_of(predictions, t, lang) for t, one in found.items() for lang in one["languages"]}
    files = (p for p in predictions.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {
        "metric_version": metrics.METRIC_VERSION,
        "overall": _mean([task["score"] for task in found.values()]) if everything else None,
        "complete": everything and not any(task["absent"] for task in found.values()),
        "groups": means,
        "tasks": found,
        "not_read": sorted(p.relative_to(predictions).as_posix() for p in {*files} - used),
    }


def main_score(predictions: str | Path, labels: str | Path, as_json: bool = False) -> str:
    """Output of `midway score PREDICTIONS LABELS [--json]`."""
    result = score_folder(predictions, labels)
    if as_json:
        return json.dumps(result, indent=2)
    shown_lines, blank = [], " " * 18
    for task, found in result["tasks"].items():
        average = "  ".join(f"{name} {value:.2f}" for name, value in found["average"].items())
        shown_lines.append(f"{task:<10}{found['score']:6.2f}  {average}")
        main = "f1" if found["metric"] == "em_f1" else found["metric"]
        shown = {lang: f"{lang} {f[main]:.1f}" for lang, f in found["languages"].items()}
        others = "  ".join(shown.pop(lang) for lang in found["others"])
        shown_lines.append(f"{blank}{main}: {'  '.join(shown.values())}")
        if others:
            shown_lines.append(f"{blank}not among XTREME's languages, in no average: {others}")
        shown_lines += [f"{blank}note: {note}" for note in found["notes"]]
        if found["absent"]:
            shown_lines.append(f"{blank}in neither folder: {' '.join(found['absent'])}")
    shown_lines.append("")
    for group, value in (result["groups"] | {"overall": result["overall"]}).items():
        shown = "     -  not all tasks" if value is None else f"{value:6.2f}"
        shown_lines.append(f"{group:<10}{shown}")
    if strange := result["not_read"]:
        more = f" and {len(strange) - 4} more" if strange[4:] else ""
        shown_lines.append(f"Not read, by their names: {', '.join(strange[:4])}{more}")
    if not result["complete"]:
        shown_lines.append("Not all tasks and languages of XTREME: not comparable with its tables.")
    return "\n".join(shown_lines)
