"""The languages: their frames and words (languages/*.yaml), and places and dates from the CLDR."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from babel import Locale

from midway.data.mini import frames
from midway.data.mini.frames import Slot, Text, Token
from midway.data.mini.world import GENDER, Clause

FOLDER = Path(__file__).parent / "languages"
ENTITY = {"person": "PER", "city": "LOC", "country": "LOC", "org": "ORG"}


@cache
def language(lang: str) -> dict:
    """The language's file; keys: names, firms, words, org, date, facts, relations, filler."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((FOLDER / f"{lang}.yaml").read_text(encoding="utf-8"), loader)


@cache
def locale(lang: str) -> Locale:
    return Locale.parse(lang)


@cache
def entry(lang: str, kind: str, key) -> dict[str, tuple]:
    """A word's forms from `citation ; form other words`: form name ('' citation) -> frame items."""
    line = str(language(lang)["words"][kind][key])
    citation, *others = line.split(" ; ")
    forms = {"": citation}
    for other in others:
        name, _, words = other.strip().partition(" ")
        forms[name] = words
    tag = "E" if kind in ("city", "country", "tongue") and "/" not in citation else "N"
    return {
        name: tuple(frames.parse_word(word, tag) for word in words.split())
        for name, words in forms.items()
    }


@cache
def citation(lang: str, kind: str, key) -> tuple[Token | Slot, ...]:
    """The citation form of a value: a tuple of tokens."""
    data = language(lang)
    if kind == "person":
        names = data.get("names") or {}
        return (Token(names.get(key, key), "PROPN"),)
    if kind == "firmname":
        return (Token((data.get("firms") or {}).get(key, key), "PROPN"),)
    if kind == "city":
        name = locale(lang).time_zones.get(key, {}).get("city") or key.split("/")[-1]
        return tuple(Token(word, "PROPN") for word in name.split())
    if kind == "country":
        return tuple(Token(word, "PROPN") for word in locale(lang).territories[key].split())
    if kind == "tongue":
        tag = frames.UPOS[data.get("tongue_tag", "N")]
        return tuple(Token(word, tag) for word in locale(lang).languages[key].split())
    if kind == "weekday":
        tag = frames.UPOS[data.get("weekday_tag", "N")]
        name = locale(lang).days["format"]["wide"][key]
        if lang == "tr":
            name = name.lower()  # capitals, as in the CLDR, only stand beside a date
        return tuple(Token(word, tag) for word in name.split())
    if kind == "age":
        return (Token(str(key), "NUM"),)
    if kind == "date":
        month, day = key
        name = locale(lang).months["format"]["wide"][month]
        values = {"d": Token(data.get("day", "{}").format(day), "NUM"), "m": Token(name, "NOUN")}
        values["n"] = Token(str(month), "NUM")
        if lang == "en":
            values["m"] = Token(name, "PROPN")
        return tuple(
            values[item.name] if isinstance(item, Slot) else item
            for item in frames.parse(data["date"])
        )
    return entry(lang, kind, key)[""]


VOWELS = {"a": "ı", "ı": "ı", "e": "i", "i": "i", "o": "u", "u": "u", "ö": "ü", "ü": "ü"}


def turkish(word: str, form: str) -> str:
    """A proper name with its case after an apostrophe: Oslo + loc -> Oslo'da (vowel harmony)."""
    low = word.replace("I", "ı").replace("İ", "i").lower().replace("á", "a")
    low = low.replace("é", "e").replace("ó", "o")
    high = VOWELS[next(char for char in reversed(low) if char in VOWELS)]
    low_vowel = "a" if high in "ıu" else "e"
    open_end = low[-1] in VOWELS
    hard = "t" if low[-1] in "fstkçşhp" else "d"
    ending = {
        "gen": ("n" if open_end else "") + high + "n",
        "acc": ("y" if open_end else "") + high,
        "dat": ("y" if open_end else "") + low_vowel,
        "loc": hard + low_vowel,
        "abl": hard + low_vowel + "n",
    }[form]
    return f"{word}'{ending}"


def value(lang: str, kind: str, key, form: str = "") -> list:
    """The tokens of a value in a form; KeyError names language, kind, key and form if unknown."""
    listed = language(lang)["words"].get(kind) or {}
    tokens: Any = None
    if kind == "org":
        what, place = key
        frame = language(lang)["org"][what].split(" ; ")
        forms = {"": frame[0]}
        for other in frame[1:]:
            name, _, words = other.strip().partition(" ")
            forms[name] = words
        if form in forms:
            inner = citation(lang, "firmname" if what == "firm" else "city", place)
            tokens = []
            for item in frames.parse(forms[form]):
                tokens += inner if isinstance(item, Slot) else [item]
    elif form == "":
        tokens = list(citation(lang, kind, key))
    elif key in listed and form in entry(lang, kind, key):
        tokens = list(entry(lang, kind, key)[form])
    elif form in (language(lang).get("forms") or {}).get(kind, {}):
        tokens = [frames.parse_word(language(lang)["forms"][kind][form])]
    elif lang == "tr":
        tokens = list(citation(lang, kind, key))
        last: Any = tokens[-1]
        tokens[-1] = Token(turkish(last.text, form), last.upos)
    if tokens is None:
        raise KeyError(f"{lang}: {kind} {key!r} has no form {form!r}")
    return tokens


#: Forms that stand before a value (articles, prepositions, verbs), not the value itself.
PREFIXES = {"art", "in", "de", "with", "verb", "prep"}


def say(clause: Clause, lang: str) -> Text:
    """A clause in a language; slots keep their names, so that answers can be found."""
    data = language(lang)
    group = data["relations"] if clause.form in ("fwd", "inv") else data["facts"]
    lines = group[clause.topic][clause.form]
    line = lines if isinstance(lines, str) else lines[clause.wording]
    slots = dict(clause.slots)
    genders = {name: GENDER[key] for name, (kind, key) in slots.items() if kind == "person"}
    tokens: list[Token] = []
    for item in frames.parse(line):
        if isinstance(item, Token):
            tokens.append(frames.inflect(item, genders))
            continue
        kind, key = slots[item.name]
        prefix = item.form in PREFIXES
        for token in value(lang, kind, key, item.form):
            token = frames.inflect(token, genders)
            if not prefix:
                entity = ENTITY.get(kind, "")
                token = Token(token.text, token.upos, entity, item.name, glued=token.glued)
            tokens.append(token)
    return frames.write(tokens, lang)


def plain(line: str, lang: str) -> Text:
    """A frame without slots (filler sentences)."""
    return frames.write([item for item in frames.parse(line) if isinstance(item, Token)], lang)
