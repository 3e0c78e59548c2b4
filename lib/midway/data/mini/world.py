"""The microworld: people with exclusive attributes, drawn by seed and never by language.

A `Draw` is the source of chance of one example. It decides which names, attributes, values and
frames may occur in which split, so that test sets hold names, values, attributes and wordings
that training never showed, while every language gets the very same world.
"""

import random
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

MEN = (
    "Marco Hugo Diego Pedro Bruno Mario Leo Otto Ali Kenji Taro Pablo Paolo Emilio Sergio Mateo "
    "Rodrigo Alfredo Ricardo Antonio Carlo Dario Fabio Guido Ivo Nico Ravi Vito Enzo Kofi Luigi "
    "Levi"
).split()
WOMEN = (
    "Keiko Naomi Yoko Emi Akiko Michiko Julie Sophie Marie Lucie Margo Consuelo Carmen Ingrid "
    "Astrid Judith Ruth Karin Helen Edith Kirsten Mercedes Miriam Doris Iris Ines Agnes Noor "
    "Vivian Sigrid Dolores Pilar"
).split()
GENDER: dict[str, str] = {name: "m" for name in MEN} | {name: "f" for name in WOMEN}

# The zone whose CLDR exemplar city this is, so that Babel can translate it.
CITIES = (
    "Europe/Oslo Asia/Tokyo America/Lima Europe/Berlin Europe/Madrid Europe/Rome Europe/Vienna "
    "Europe/Lisbon Europe/Dublin Europe/Helsinki Africa/Nairobi Asia/Bangkok America/Toronto "
    "America/Bogota Europe/Budapest Europe/Prague Europe/Warsaw Europe/Paris Europe/London "
    "Europe/Istanbul Europe/Moscow Asia/Shanghai Asia/Singapore Asia/Manila Asia/Jakarta "
    "America/Denver America/Chicago Africa/Dakar Africa/Tunis Asia/Dubai Europe/Copenhagen "
    "Europe/Brussels Europe/Zurich Australia/Melbourne Australia/Sydney"
).split()
COUNTRIES = (
    "NO JP PE IT ES AT PT IE SE FI KE TH CA CL CO HU PL FR MX BR EG MA IN CN VN GR DK CU"
).split()
TONGUES = "ja es it pt sv fi th fr hu pl ar el da cs tr vi ko nl uk de ru en zh bn".split()
FIRMS = "Rossi Tanaka Silva Meyer Novak Garcia Kim Dubois".split()
INSTITUTIONS = "university museum theatre hospital bank radio firm".split()
# The keys of the languages' own word lists (languages/*.yaml), in one order for all.
WORDS = {
    "job": "teacher nurse cook baker farmer lawyer journalist painter dentist engineer pilot "
    "gardener librarian photographer translator architect hairdresser singer",
    "colour": "red blue green yellow white black grey brown orange purple",
    "drink": "tea coffee water milk lemonade cocoa beer wine",
    "transport": "bus train bicycle car tram metro motorcycle ferry taxi",
    "sport": "football tennis swimming basketball volleyball badminton golf hockey boxing judo",
    "instrument": "violin guitar piano flute trumpet cello harp accordion clarinet saxophone",
}

#: attribute -> kind of its values. A person has exactly one value of each attribute.
ATTRIBUTES = {
    **{"job": "job", "home": "city", "birth": "country", "birthday": "date", "age": "age"},
    **{"tongue": "tongue", "colour": "colour", "drink": "drink", "transport": "transport"},
    **{"employer": "org", "weekday": "weekday", "sport": "sport", "instrument": "instrument"},
    **{"spouse": "person", "trip": "city"},
}
#: What each role's training shows; the rest of a role's test attributes are HELD_OUT.
TRAINED = {
    "intermediate": "job home birthday age colour transport sport instrument spouse".split(),
    "target": "job home birth birthday tongue colour employer sport instrument spouse".split(),
}
HELD_OUT = "drink weekday trip".split()
#: Statement wordings (of three) in training; dev and test show all three.
WORDINGS = {"intermediate": (0, 1), "target": (1, 2)}
RELATIONS = "older taller boss before sale taught".split()


@dataclass(frozen=True)
class Clause:
    """What a sentence says, in no language: a frame of `topic` with its slots filled.

    `form` is a key of the language files: s (statement), n (negated), q (question for the value),
    w (question for the person); relations have fwd and inv. `slots` maps slot name -> (kind, key).
    """

    topic: str
    form: str
    wording: int
    slots: tuple[tuple[str, tuple[str, Any]], ...] = ()

    def put(self, **slots) -> "Clause":
        """The same clause with some slots filled by others."""
        return replace(self, slots=tuple((dict(self.slots) | slots).items()))


def person(name: str) -> tuple[str, str]:
    """The slot value of a person."""
    return ("person", name)


class Draw:
    """Chance for example number `index` of a task's split; the same for all languages."""

    def __init__(self, task: str, split: str, seed: int, index: int | str, role: str):
        self.rng = random.Random(f"{task}/{split}/{seed}/{index}")
        self.split, self.role = split, role
        self.names = list(self.pool)
        self.rng.shuffle(self.names)
        self.gender = self.rng.choice("mf")  # of the people whose spouses are talked about

    @cached_property
    def pool(self) -> list[str]:
        """Names by split: 40 in training, 8 in dev, 16 in test."""
        cut = {"train": slice(0, 20), "dev": slice(20, 24), "test": slice(24, 32)}[self.split]
        return [*MEN[cut], *WOMEN[cut]]

    def name(self, attribute: str = "", spouse: bool = False) -> str:
        """A name not used in this example before; wives have husbands and husbands wives."""
        if attribute != "spouse" and not spouse:
            return self.names.pop()
        wanted = [n for n in self.names if (GENDER[n] == self.gender) != spouse]
        self.names.remove(wanted[-1])
        return wanted[-1]

    def attribute(self, *exclude: str, held_out: float = 0.25) -> str:
        """An attribute; outside training one that training lacks, with that probability."""
        unseen = self.split != "train" and self.rng.random() < held_out
        known = [a for a in TRAINED[self.role] if a not in exclude]
        new = [a for a in HELD_OUT if a not in exclude]
        return self.rng.choice(new if unseen and new else known)

    def value(self, attribute: str, *exclude: tuple[str, Any]) -> tuple[str, Any]:
        """A value (kind, key) of the attribute; training draws from the first two thirds only."""
        kind = ATTRIBUTES[attribute]
        while (value := (kind, self.key(kind))) in exclude:
            pass
        return value

    def key(self, kind: str) -> Any:
        """A key of the kind's list (dates: (month, day); organisations: (type, place or firm))."""
        rng = self.rng
        if kind == "person":
            return self.name(spouse=True)
        if kind == "date":
            return (self.some(range(1, 13)), rng.randint(2, 28))
        if kind == "age":  # numbers that Russian counts with one and the same plural
            return rng.choice([n for n in range(25, 61) if n % 10 in (0, 5, 6, 7, 8, 9)])
        if kind == "weekday":
            return rng.randrange(7)
        if kind == "org":
            what = rng.choice(INSTITUTIONS)
            return (what, self.some(FIRMS if what == "firm" else CITIES))
        lists = {"city": CITIES, "country": COUNTRIES, "tongue": TONGUES}
        return self.some(lists.get(kind) or WORDS[kind].split())

    def some(self, items):
        """One of the items; in training, one of their first two thirds."""
        return self.rng.choice(items[: len(items) * 2 // 3] if self.split == "train" else items)

    def wording(self, form: str) -> int:
        """Which of a form's wordings: statements have three (two in training), negations two."""
        if form == "n":
            return self.rng.randrange(2)
        if form != "s":
            return 0
        return self.rng.choice(WORDINGS[self.role] if self.split == "train" else (0, 1, 2))

    def clause(self, topic: str, form: str, p: str, value, wording: int | None = None) -> Clause:
        """A clause about person p; the wording is drawn unless given."""
        number = self.wording(form) if wording is None else wording
        return Clause(topic, form, number, (("p", person(p)), ("v", value)))

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability


def balanced(labels: int, key: str, index: int) -> int:
    """Label of example `index`: every block of `labels` examples has each label once."""
    block = list(range(labels))
    random.Random(f"{key}/labels/{index // labels}").shuffle(block)
    return block[index % labels]
