"""Task cards: the description of each task, read from ``cards.yaml``.

A card says what a task is (kind, metric, labels, languages), where its rows come from (hub
repository, official files) and who says so. Code asks cards; nothing else knows task names. A new
task of an existing kind is one more card: see ``docs/adding-a-task.md``.

Examples
--------
>>> from midway import tasks
>>> tasks.get("xnli").labels, tasks.get("xnli").train_key
(('entailment', 'neutral', 'contradiction'), 'mnli')
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from midway.study import yamlfile
from midway.study.errors import InputError, meant

CARDS = Path(__file__).with_name("cards.yaml")
_FILES = sorted(CARDS.parents[1].glob("kinds/*.py"))
KINDS = tuple(p.stem for p in _FILES if "\nKIND = " in p.read_text("utf-8"))  # what cards may be
METRICS = ("accuracy", "f1", "em_f1")
GROUPS = ("pair", "structured", "qa", "retrieval")
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Card:
    """Description of one task. Mappings inside are data and must not be changed."""

    name: str
    title: str
    role: str  # intermediate | target
    kind: str  # which canonical schema, see midway.data.sources
    group: str  # XTREME's task groups
    metric: str  # main score, in percent
    labels: tuple[str, ...] = ()  # pair classes in index order, or the tag inventory
    languages: tuple[str, ...] = ("en",)  # ISO 639-1, XTREME's full list
    family: str | None = None  # tasks that share data, labels or makers; None: its own
    train_from: str | None = None  # card whose English training data fine-tunes this target
    train_size: int | None = None  # official number of English training examples
    splits: Mapping[str, str] = field(default_factory=dict)  # official data that plays each split
    hub: Mapping[str, Any] | None = None  # see midway.data.hub
    local: Mapping[str, Any] = field(default_factory=dict)  # see midway.data.local
    get: str = ""  # where a user finds the official files
    licence: str = ""
    citation: str = ""  # arXiv id, or another identifier where there is none
    verified: bool = False  # True: a row of every hub column named here has been seen
    sources: Mapping[str, str] = field(default_factory=dict)  # fact -> where it was read

    @property
    def train_key(self) -> str:
        """Targets with the same key share one fine-tuned model."""
        return self.train_from or self.name

    @property
    def trains(self) -> bool:
        """False for retrieval and mining, which use the encoder as it is."""
        return self.kind not in ("parallel", "mining")


def read(text: str) -> dict[str, Card]:
    """Cards from YAML text, in its order; InputError names the card and the field that is wrong."""
    try:
        tree = yamlfile.parse(text, cards=True)
    except InputError as error:
        raise InputError(f"cards: {error}") from None
    if not isinstance(tree, dict):
        raise InputError("cards: expected 'name: {field: value, ...}'")
    cards = {}
    for name, facts in tree.items():
        if not isinstance(name, str) or not (isinstance(facts, dict) or name.startswith(".")):
            raise InputError(f"card {name}: expected 'name: {{field: value, ...}}', name a text")
        if name.startswith("."):  # blocks that cards share by YAML alias
            continue
        facts = {"title": None} | facts
        allowed = {"kind": KINDS, "metric": METRICS, "group": GROUPS}
        for key in set(facts) - set(Card.__dataclass_fields__):
            raise InputError(f"card {name}: unknown field {key!r}")
        for key, values in (allowed | {"role": ("intermediate", "target")}).items():
            if facts.get(key) not in values:
                raise InputError(f"card {name}: {key} is {facts.get(key)!r}, not one of {values}")
        if not isinstance(facts["title"], str):
            raise InputError(f"card {name}: title is {facts['title']!r}, not a text")
        for key in {"labels", "languages"} & set(facts):
            if not isinstance(facts[key], list):
                raise InputError(f"card {name}: {key} is {facts[key]!r}, not a list")
            facts[key] = tuple(facts[key])
        cards[name] = Card(name=name, **facts)
    for card in cards.values():
        if card.train_from and card.train_from not in cards:
            raise InputError(f"card {card.name}: train_from is {card.train_from!r}, not a card")
    return cards


_ALL = read(CARDS.read_text(encoding="utf-8"))
INTERMEDIATE: Mapping[str, Card] = MappingProxyType(
    {name: card for name, card in _ALL.items() if card.role == "intermediate"}
)
TARGETS: Mapping[str, Card] = MappingProxyType(
    {name: card for name, card in _ALL.items() if card.role == "target"}
)


def get(name: str) -> Card:
    """The card of that name; InputError with the nearest name when there is none."""
    if name in _ALL:
        return _ALL[name]
    raise InputError(f"unknown task {name!r}; {meant(name, _ALL)}")
