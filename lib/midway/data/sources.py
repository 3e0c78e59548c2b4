"""Rows of any task from any of three sources, in one canonical schema per kind of task.

pair      id, text_a, text_b, label (index into ``card.labels``)
choice    id, context, choices, label (index into choices)
span      id, context, question, answers {text, answer_start} (empty lists: no answer)
tags      id, tokens, tags
parallel  id, source (foreign), target (English)
mining    id, side ('source' foreign | 'target' English), text, gold (ids of translations)

Every row also has ``lang``. Only ``data.source: hub`` uses a
network, and only for files at a pinned revision.

Examples
--------
>>> from midway import params, sources
>>> rows = sources.load("xnli", "test", "de", params.Data(source="mini"), size=2)
>>> len(rows), sorted(rows.column_names)[-3:]
(2, ['lang', 'text_a', 'text_b'])
"""

import hashlib
import random

from midway.data import hub, local, mini, readers
from midway.study import params, tasks
from midway.study.errors import InputError, MissingData, Unreachable
from midway.study.tasks import SPLITS, Card


def load(task: str, split: str, lang: str, data: params.Data, size: int | None = None, seed=0):
    """One split of a task in one language as a ``datasets.Dataset`` (schema above).

    size: train: a random subset that depends on ``seed`` only; dev: a fixed one; test: the first
    rows. Subsets of intermediate tasks and of targets are of different premises or contexts (MNLI
    and XNLI, SQuAD and XQuAD), as long as half of them suffice.
    Targets that are fine-tuned on another task's English data (XNLI on MNLI, XQuAD and MLQA on
    SQuAD) have that task's train, and its dev where they have none themselves.

    Raises MissingData, one line, when the rows are absent, broken, or stripped of their labels.
    """
    card, where = _read(task, split, lang, data)
    if where == "mini":
        return mini.load(card.name, split, lang, size, 1000 * data.seed + seed)
    if where == "local":
        made = local.load(card, split, lang, data.folder)
    else:
        made = hub.load(card, split, lang, size, seed)
    if split == "train" and size is not None and size < len(made):
        return _dataset(card.kind, _draw(card.kind, made, size, seed, tasks.get(task).role))
    return _dataset(card.kind, _subset(card.kind, made, split, size))


def languages(task: str, data: params.Data) -> tuple[str, ...]:
    """The languages in which this source may have rows of a task."""
    if source(tasks.get(task), data) == "mini":
        return mini.languages(task)
    return tasks.get(task).languages


def evaluated(study: params.Study, target: str) -> tuple[str, ...]:
    """The languages in which this study evaluates a target, in the card's order."""
    chosen = study.transfer.languages.get(target)
    known = languages(target, study.data)
    return tuple(lang for lang in known if chosen is None or lang in chosen)


def first_rows(study: params.Study, target: str, most: int = 4) -> list[dict]:
    """A target's first test row in each of its first languages that have one, to look at."""
    found: list[dict] = []
    for lang in evaluated(study, target):
        if len(found) < most:
            try:
                found.append(load(target, "test", lang, study.data, 1)[0])
            except (MissingData, Unreachable) as error:
                if not getattr(error, "final", True):
                    raise
    return found


def sentences(data: params.Data, size: int = 400) -> dict[str, list[str]]:
    """Plain sentences per language for continued masked-language modelling (X-STILTs: Wikipedia).

    mini: premises of a world that no task uses; local and hub: one sentence per line of
    ``<data.root>/download/mlm/<lang>.txt``. Raises MissingData when there are none.
    """
    if data.source == "mini":
        made = {lang: mini.rows("xnli", "train", lang, size, 9999) for lang in mini.LANGUAGES}
        return {lang: [row["text_a"] for row in rows] for lang, rows in made.items()}
    where = data.folder / "download" / "mlm"
    try:
        found = {p.stem: readers.lines(p, str(p)) for p in sorted(where.glob("*.txt"))}
    except readers.Broken as error:
        raise MissingData("mlm", "all languages", "train", str(error)) from None
    if not found:
        reason = f"no sentences in {where}/<lang>.txt"
        raise MissingData("mlm", "all languages", "train", reason, "one sentence per line")
    return {lang: [line for line in rows if line.strip()] for lang, rows in found.items()}


def on_hub(task: str, split: str, lang: str, data: params.Data) -> list[dict]:
    """Tables of the hub that a split is read from; none where it is not. Raises as load does."""
    card, where = _read(task, split, lang, data)
    if where == "hub":
        return hub.parts(card, split, lang)
    if where == "local":
        load(task, split, lang, data)
    return []


def source(card: Card, data: params.Data) -> str:
    """Where a task's rows come from: ``data.source``, or local where official files come first.

    With ``data.source: hub`` and a ``data.root``, the tasks whose official files lie under the root
    are read from there and the others from the hub; with ``mini``, the tasks that the miniature
    does not make.
    """
    if not data.root:
        return data.source
    if data.source == "mini" and card.name in mini.REGISTRY:
        return "mini"
    if data.source == "hub" and not local.present(card, local.folder(data.folder)):
        return "hub"
    return "local"


def beside_mini(study: dict) -> list[str]:
    """Titles of a study's tasks that the miniature does not make. study: plain parameters."""
    variants = study.get("intermediate", {}).get("variants", [])
    asked = [params.split_variant(v)[0] for v in variants]
    asked += study.get("transfer", {}).get("targets", [])
    cards, data = {**tasks.INTERMEDIATE, **tasks.TARGETS}, params.Data(**study["data"])
    here = [cards[name] for name in dict.fromkeys(asked) if name in cards]
    return [card.title for card in here if source(card, data) != "mini"]


def note(card: Card, data: params.Data) -> str:
    """Difference between the hub's copy and the official data; "" if there is none."""
    return (card.hub or {}).get("note", "") if source(card, data) == "hub" else ""


def refuse(study: params.Study) -> None:
    """InputError, before anything starts, if a source cannot have the data of a study."""
    if study.data.root:
        local.folder(study.data.folder)
    if study.data.source == "local":
        return
    bases = [params.split_variant(v)[0] for v in study.intermediate.variants]
    asked = {"intermediate.variants": bases, "transfer.targets": study.transfer.targets}
    for key, names in asked.items():
        for card in (tasks.get(n) for n in names if n not in ("none", "multi")):
            if not card.hub and source(card, study.data) == "hub":
                raise InputError(
                    f"{key}: {card.name} is not on the hub; leave it out, or get its files "
                    f"({card.get}) and name their folder in data.root"
                )


def _read(task: str, split: str, lang: str, data: params.Data) -> tuple[Card, str]:
    """Card and source of the rows of a split."""
    card = tasks.get(task)
    if source(card, data) == "mini":
        return card, "mini"
    if split not in SPLITS:
        raise InputError(f"no split {split!r}; known: {', '.join(SPLITS)}")
    if card.train_from and (split == "train" or (split == "dev" and not card.splits.get("dev"))):
        card = tasks.get(card.train_from)
    if lang not in card.languages:
        known = ", ".join(card.languages)
        raise MissingData(task, lang, split, f"{card.name} has no such language; it has {known}")
    return card, source(card, data)


def _draw(kind: str, made: list[dict], size: int, seed: int, role: str) -> list[dict]:
    """Random subset, first from the role's half of the premises, then from the other half.

    By content: ANLI+ contains the rows that XNLI is fine-tuned on, in another order.
    """

    def place(i: int) -> tuple[bool, float]:
        row = made[i]
        shared = {"pair": "text_a", "span": "context"}.get(kind)
        other = bool(shared) and (_hash(f"{seed}/{row[shared]}") < 0.5) == (role == "target")
        return other, _hash(f"{seed}/{i}")

    return [made[i] for i in sorted(sorted(range(len(made)), key=place)[:size])]


def _hash(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) / 2**56


def _subset(kind: str, made: list[dict], split: str, size: int | None) -> list[dict]:
    if size is None or size >= len(made):
        return made
    if split == "dev" and kind not in ("parallel", "mining"):
        # Some files are sorted by label. The same rows always, and in every language alike.
        keep = random.Random("dev").sample(range(len(made)), size)
        return [made[i] for i in sorted(keep)]
    if kind != "mining":
        return made[:size]
    # The first sentences of either side would have few translations in common.
    source = [row for row in made if row["side"] == "source"][:size]
    wanted = {link for row in source for link in row["gold"]}
    target = [row for row in made if row["side"] == "target"]
    others = [row["id"] for row in target if row["id"] not in wanted]
    wanted.update(others[: max(0, size - len(wanted))])
    return source + [row for row in target if row["id"] in wanted]


def _dataset(kind: str, made: list[dict]):
    from datasets import Dataset, Features

    known = mini.features(kind)
    columns = {key: [row[key] for row in made] for key in known}
    return Dataset.from_dict(columns, features=Features(known))
