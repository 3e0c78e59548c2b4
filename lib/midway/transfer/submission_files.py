"""Predictions and gold in XTREME's submission layout: places and contents of the files.

A submission is a folder with `<task>/test-<lang>.tsv` (QA: `.json`); the labels folder looks the
same. What the files hold (google-research/xtreme, README and evaluate.py):

xnli, pawsx      one label a line ("entailment"; "0" or "1")
udpos, panx      one tag a line, a blank line between sentences
xquad mlqa tydiqa  predictions {question id: answer text}; labels in SQuAD's schema
bucc2018         "source id<TAB>target id" a line, any order, each pair once
tatoeba          one number a line: for each English sentence the foreign line (from 0)
"""

from pathlib import Path

from midway import kinds
from midway.study import tasks
from midway.study.files import write_atomic


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
