"""A miniature of all eighteen tasks: made in seconds, offline, labels right by construction."""

import contextlib
import json
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from midway import kinds
from midway.study.errors import InputError, MissingData
from midway.study.files import cache_folder, digest, sha256, write_atomic

LANGUAGES = ("en", "de", "es", "fr", "ru", "zh", "ar", "hi", "tr")
SIZES = {"train": 800, "dev": 200, "test": 300}

#: task -> (module of this package, kind of canonical schema)
REGISTRY = {
    **dict.fromkeys(("anli", "mnli", "xnli"), ("nli", "pair")),
    **dict.fromkeys(("qqp", "pawsx"), ("paraphrase", "pair")),
    **dict.fromkeys(("squad1", "squad2", "xquad", "mlqa", "tydiqa"), ("qa", "span")),
    **dict.fromkeys(("hellaswag", "cosmosqa", "csqa"), ("scripts", "choice")),
    **dict.fromkeys(("ccg", "udpos", "panx"), ("tagging", "tags")),
    "tatoeba": ("packs", "parallel"),
    "bucc2018": ("packs", "mining"),
}
#: Tasks that are fine-tuned on another task's training set, as in XTREME.
SHARED_TRAINING = {"mlqa": "xquad"}


def module(task: str):
    """The module that makes a task (imported when first asked for)."""
    if task not in REGISTRY:
        raise InputError(
            f"the miniature has no data for {task!r}; name their folder in data.root, or "
            f"take one of {', '.join(REGISTRY)}"
        )
    return import_module(f"midway.data.mini.{REGISTRY[task][0]}")


def languages(task: str) -> tuple[str, ...]:
    """Languages of a task: its module's `languages(task)` if it has one, else all nine."""
    made_by = module(task)
    return made_by.languages(task) if hasattr(made_by, "languages") else LANGUAGES


def features(kind: str):
    """Types of a canonical schema's columns; others are inferred."""
    from datasets import List, Value

    def typed(given):
        if isinstance(given, dict):
            return {name: typed(value) for name, value in given.items()}
        if isinstance(given, list):
            return List(typed(given[0]))
        return Value({"text": "string", "number": "int64"}[given])

    return typed(kinds.get(kind).features | {"id": "text", "lang": "text"})


def rows(task: str, split: str, lang: str, size: int | None = None, seed: int = 0) -> list[dict]:
    """The same as `load`, as plain dicts."""
    if split == "train":
        task = SHARED_TRAINING.get(task, task)
    if lang not in languages(task):
        raise MissingData(task, lang, split, "mini does not have this language")
    if split not in SIZES:
        raise InputError(f"mini: no split {split!r}; known: {', '.join(SIZES)}")
    size = SIZES[split] if size is None else size
    kept = cache_folder() / f"mini-{_code()}" / f"{task}-{split}-{lang}-{size}-{seed}.json"
    if REGISTRY[task][0] != "packs":  # which depend on what is installed
        with contextlib.suppress(OSError, ValueError):  # missing or damaged
            return json.loads(kept.read_text(encoding="utf-8"))
    made = [{**row, "lang": lang} for row in module(task).make(task, split, lang, size, seed)]
    if REGISTRY[task][0] != "packs":
        with contextlib.suppress(OSError):  # a full or read-only disk: made again each time
            write_atomic(kept, json.dumps(made, ensure_ascii=False))
    return made


@cache
def _code() -> str:
    """Hash of the code and data that make the rows: these files and CLDR."""
    files = sorted(p for p in Path(__file__).parent.rglob("*") if p.suffix in (".py", ".yaml"))
    return digest([version("babel"), *(sha256(path) for path in files)])[:12]


def load(task: str, split: str, lang: str, size: int | None = None, seed: int = 0):
    """A split of a task as a `datasets.Dataset` in its kind's canonical schema.

    size: rows (default 800/200/300); a larger size begins with the rows of a smaller one.
    seed: which microworld; the same seed gives the same world in every language.
    """
    from datasets import Dataset, Features, Value

    made = rows(task, split, lang, size, seed)
    known = features(REGISTRY[task][1])
    types = {"str": Value("string"), "int": Value("int64"), "bool": Value("bool")}
    for key, example in (made[0] if made else {}).items():
        known.setdefault(key, types.get(type(example).__name__))
    columns = {key: [row[key] for row in made] for key in known}
    return Dataset.from_dict(columns, features=Features(known))
