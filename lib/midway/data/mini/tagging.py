"""Miniatures of the tagging tasks: udpos and panx in all languages, ccg in English.

- udpos: universal parts of speech (UPOS)
- panx: people, organisations and places in IOB2
- ccg: supertags; our own categories in CCG notation for our own sentences, not CCGbank's

Sentences come from two sources: the frames of this module (tagging_frames/*.yaml), which are rich
in words of two classes (`the watch`, `to watch`), organisations that contain places or people
(`University of Oslo`, `Rossi & Co`, next to `the university in Oslo`) and full names; and the
statements and questions of the microworld (languages/*.yaml). Sentence number i of a split says the
same in all languages, except where a frame of the language's own ambiguous words is due.
Test people, places and a quarter of the frames do not occur in training. No English sentence is in
two splits, be it of one task or of two: each belongs to one of them, by a hash of its words.
"""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from zlib import crc32

import yaml

from midway.data.mini import frames, lexicon
from midway.data.mini.frames import Token
from midway.data.mini.world import (
    CITIES,
    COUNTRIES,
    FIRMS,
    GENDER,
    Draw,
)
from midway.study.errors import MissingData

FOLDER = Path(__file__).parent / "tagging_frames"
LANGUAGES = ("en", "de", "es", "fr", "ru", "zh", "ar", "hi", "tr")
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART"),
    *("PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
IOB2 = ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")
SIZES = {"train": 800, "dev": 200, "test": 300}
HELD_OUT = 4  # every fourth frame does not occur in training
SPLIT = ("train", "train", "dev", "test")  # by the last two bits of a sentence's hash

#: How often a sentence comes from the shared frames, from the language's own, from the microworld.
MIXTURE = {"udpos": (0.5, 0.7), "panx": (0.7, 0.75)}
KINDS = {"p": "person", "q": "person", "s": "firmname", "f": "firmname"} | {
    **{"c": "city", "d": "city", "n": "country", "m": "country"},
}
ENTITY = {"person": "PER", "city": "LOC", "country": "LOC"}


def languages(task: str) -> tuple[str, ...]:
    """All mini languages for the targets, English for ccg."""
    return ("en",) if task == "ccg" else LANGUAGES


def make(task: str, split: str, lang: str, size: int | None = None, seed: int = 0) -> list[dict]:
    """`size` rows of `task` in the tags schema: id, tokens, tags, lang.

    Same arguments, same rows; a smaller size gives the first rows of a larger one; row i is the
    same in all languages. Raises MissingData for a language that the task has not got.
    """
    if lang not in languages(task):
        raise MissingData(task, lang, split, "mini does not have this language")
    rows = []
    for i in range(SIZES[split] if size is None else size):
        pairs = _pairs(task, _draw(task, split, seed, _place(task, split, seed, i)), lang)
        tokens, tags = (list(column) for column in zip(*pairs, strict=True))
        name = f"{task}-{split}-{i}"
        rows.append({"id": name, "tokens": tokens, "tags": tags, "lang": lang})
    return rows


def _draw(task, split, seed, place):
    return Draw(task, split, seed, place, "intermediate" if task == "ccg" else "target")


def _pairs(task, draw, lang):
    return _supertags(draw) if task == "ccg" else _sentence(task, draw, lang)


@cache
def _place(task: str, split: str, seed: int, i: int) -> str:
    """Which chance row i has: the first whose English sentence belongs to the split."""
    for place in (f"{i}.{again}" for again in range(1000)):
        words = [word for word, _ in _pairs(task, _draw(task, split, seed, place), "en")]
        if SPLIT[crc32(" ".join(words).encode()) % 4] == split:
            return place
    raise RuntimeError(f"{task}: no sentence for {split}")


@cache
def sentences(lang: str) -> tuple[dict[str, str], list[str]]:
    """A language's shared frames, in English's order, and its own."""
    data = yaml.safe_load((FOLDER / f"{lang}.yaml").read_text(encoding="utf-8"))
    order = data["shared"] if lang == "en" else sentences("en")[0]
    return {key: data["shared"][key] for key in order}, data["own"]


@cache
def supertagged() -> list[str]:
    """The frames of ccg."""
    return yaml.safe_load((FOLDER / "ccg.yaml").read_text(encoding="utf-8"))


@cache
def supertags() -> tuple[str, ...]:
    """The categories that occur in ccg, sorted."""
    words = re.split(r"[\s{}]+|,(?=\w)", " ".join(supertagged()))
    return tuple(sorted({word.rpartition(":")[2] for word in words if ":" in word}))


def _sentence(task, draw, lang):
    """(token, tag) pairs of one sentence; what is drawn does not depend on the language."""
    where, number, slots = draw.rng.random(), draw.rng.random(), _slots(draw)
    choices = [draw.rng.randrange(60) for _ in range(4)]
    shared, own = sentences(lang)
    if where < MIXTURE[task][0]:
        line = _pick(list(shared.values()), number, draw.split)
    elif where < MIXTURE[task][1]:
        line = _pick(own, number, draw.split)
    else:
        topic = draw.attribute()
        form = draw.rng.choice("sssnq")
        clause = draw.clause(topic, form, draw.name(topic), draw.value(topic))
        if form == "q" and draw.split != "train":
            clause = replace(clause, wording=draw.rng.randrange(3))
        text = lexicon.say(clause, lang)
        return _tagged(task, text)
    return _tagged(task, render(line, lang, slots, choices))


def _tagged(task, text):
    tags = [t.upos for t in text.tokens] if task == "udpos" else text.entities()
    return [(token.text, tag) for token, tag in zip(text.tokens, tags, strict=True)]


def _pick(items, number, split):
    """The item at `number` (0 to 1); in training not one of those held out."""
    if split == "train":
        items = [item for i, item in enumerate(items) if i % HELD_OUT != HELD_OUT - 1]
    return items[int(number * len(items))]


def _slots(draw):
    """Letter -> (kind, key), all different where they are of a kind."""
    city, country, firm = (draw.some(x) for x in (CITIES, COUNTRIES, FIRMS))
    return {
        "p": ("person", draw.name()),
        "q": ("person", draw.name()),
        "s": ("firmname", firm),
        "f": ("firmname", draw.some([f for f in FIRMS if f != firm])),
        "c": ("city", city),
        "d": ("city", draw.some([c for c in CITIES if c != city])),
        "n": ("country", country),
        "m": ("country", draw.some([n for n in COUNTRIES if n != country])),
    }


def choose(line: str, choices: list[int]) -> str:
    """The frame with each {a,b,c} replaced by one of its options, the k-th by choices[k]."""
    numbers = iter(choices)

    def one(match):
        options = match.group(1).split(",")
        return options[next(numbers) % len(options)]

    return re.sub(r"\{([^{}]*)\}", one, line)


def render(line: str, lang: str, slots: dict, choices: list[int]) -> frames.Text:
    """A frame as text: words as in `frames`, `[ORG ... ]` one entity, choices made."""
    genders = {name: GENDER[slots[name][1]] for name in "pq"}
    tokens, entity, opened = [], "", 0
    for word in choose(line, choices).split():
        if word in ("[ORG", "[PER", "[LOC"):
            entity, opened = word[1:], opened + 1
        elif word == "]":
            entity = ""
        elif word.startswith("$"):
            name, _, form = word[1:].partition(".")
            kind, key = slots[name]
            inside = (entity, f"span{opened}") if entity else (ENTITY[kind], name)
            for token in lexicon.value(lang, kind, key, form):
                tokens.append(replace(token, entity=inside[0], slot=inside[1]))
        else:
            token = Token("·", "PUNCT") if word == "·" else frames.parse_word(word)
            token = frames.inflect(token, genders)
            inside = (entity, f"span{opened}") if entity else ("", "")
            tokens.append(replace(token, entity=inside[0], slot=inside[1]))
    return frames.write(tokens, lang)


def _supertags(draw):
    """(token, category) pairs of one sentence of ccg."""
    line, slots = _pick(supertagged(), draw.rng.random(), draw.split), _slots(draw)
    pairs = []
    for word in choose(line, [draw.rng.randrange(60) for _ in range(4)]).split():
        text, _, category = word.rpartition(":")
        if text.startswith("$"):
            names = [token.text for token in lexicon.value("en", *slots[text[1:]])]
            pairs += [(name, "N/N") for name in names[:-1]]
            text = names[-1]
        pairs.append((text, category))
    return pairs
