"""Predictors, outcomes and variants in words, and numbers as people read them.

Examples
--------
>>> from midway import names
>>> names.predictor("logme:xnli"), names.variant("squad1+mlm@0.5"), names.number(-1.25)
('LogME on XNLI', 'SQuAD v1.1 + mlm at 50 %', '−1.2')
"""

from pathlib import Path
from typing import NamedTuple

from midway.study import tasks, yamlfile


class Name(NamedTuple):
    """A title for axes and tables, the unit of its values, and a definition in one sentence."""

    title: str
    unit: str
    meaning: str
    smaller: bool = False  # a smaller value is better


_TABLE = yamlfile.parse(Path(__file__).with_name("names.yaml").read_text(encoding="utf-8"))
PREDICTORS = {key: Name(**fields) for key, fields in _TABLE.items()}
TITLES = yamlfile.parse(Path(__file__).with_name("titles.yaml").read_text(encoding="utf-8"))
GROUPS = {
    "pair": "sentence pairs", "structured": "tagging", "qa": "question answering",
    "retrieval": "retrieval",
}  # fmt: skip


def _known(name: str) -> Name:
    return PREDICTORS.get(str(name).partition(":")[0], Name("", "", ""))


def predictor(name: str) -> str:
    """A predictor in words: "logme:xnli" is "LogME on XNLI"; unknown names stay as they are."""
    short, _, target = str(name).partition(":")
    title = _known(name).title or TITLES["published"].get(short, short)
    return effect(title, target) if target else title


def outcome(name: str) -> str:
    """A target or group of targets in words; "average", languages and others as they are."""
    if name in tasks.TARGETS:
        return tasks.get(name).title.partition(" (")[0]
    return GROUPS.get(name) or TITLES["published"].get(name, str(name))


def title(name: str, of: str) -> str:
    """A name of titles.yaml in words, e.g. of "columns": "p_maxt" is "family-wise p"."""
    return TITLES[of].get(name, name.replace("_", " "))


def effect(what: str, name: str) -> str:
    """A gain, score or metric on an outcome: "gain on XNLI", "average gain"."""
    return f"average {what}" if name == "average" else f"{what} on {outcome(name)}"


def variant(name: str) -> str:
    """A variant in words: "squad1+mlm@0.5" is "SQuAD v1.1 + mlm at 50 %"."""
    whole, _, dose = str(name).partition("@")
    base, _, recipe = whole.partition("+")
    known = {"none": "none (no intermediate task)", "multi": "all tasks together"}
    card = tasks.INTERMEDIATE.get(base)
    title = card.title.partition(" (")[0] if card else known.get(base, base)
    title = f"{title} + {recipe}" if recipe else title
    return f"{title} at {float(dose):.0%}".replace("%", " %") if dose else title


def unit(name: str) -> str:
    """The unit of a predictor's values, "" where it is not known."""
    return _known(name).unit


def with_unit(name: str) -> str:
    """A predictor in words with its unit, as for an axis."""
    return f"{predictor(name)} ({unit(name)})" if unit(name) else predictor(name)


def meaning(name: str) -> str:
    """One sentence that defines a predictor, "" where it is not known."""
    return _known(name).meaning


def number(value, digits: int = 1, sign: bool = False) -> str:
    """A number for people: real minus sign, no sign of zero, an en dash where there is none."""
    if value is None or value != value:
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return (text if float(text) else text.lstrip("+-")).replace("-", "−")


def p_value(value) -> str:
    """A p value for people: never zero."""
    return "< 0.001" if value is not None and value < 0.0005 else number(value, 3)
