"""Sentence frames: from `$p lives/V in/P $v .` to text, tags, entity spans and answer offsets.

A frame is a line of tokens between blanks:

- `word/T`: a word and its part of speech, one letter of `UPOS` (punctuation needs none);
- `m|f`: the form depends on the gender of person `$p`; `m||f`: on that of person `$q`;
- `word+/T`: the word is glued to the next one (`l'+/D homme/N`);
- `$slot` or `$slot.form`: a value, in its citation form or in another form of the lexicon.
"""

import re
from dataclasses import dataclass, replace
from functools import cache

UPOS = {
    **{"N": "NOUN", "V": "VERB", "A": "ADJ", "R": "ADV", "P": "ADP", "D": "DET", "X": "AUX"},
    **{"O": "PRON", "C": "CCONJ", "S": "SCONJ", "T": "PART", "U": "NUM", "E": "PROPN"},
    **{"I": "INTJ", "Y": "SYM", "Z": "X"},
}
CLOSING = set(".,?!;:)»”…。，？！；：、）।؟،؛")
OPENING = set("¿¡(«“（")


@dataclass(frozen=True)
class Token:
    """One word: surface text, UPOS tag, entity type (PER, LOC, ORG or '') and the slot it fills."""

    text: str
    upos: str
    entity: str = ""
    slot: str = ""
    female: str | None = None  # the other gender's text, and whose gender decides
    by: str = "p"
    glued: bool = False


@dataclass(frozen=True)
class Slot:
    name: str
    form: str


@dataclass(frozen=True)
class Text:
    """Detokenised text with its tokens, their character offsets and the offsets of slots."""

    text: str
    tokens: tuple[Token, ...]
    starts: tuple[int, ...]

    def span(self, slot: str) -> tuple[int, int]:
        """Character range [start, end) of the tokens that fill `slot`."""
        places = [
            (start, start + len(token.text))
            for token, start in zip(self.tokens, self.starts, strict=True)
            if token.slot == slot
        ]
        if not places:
            raise KeyError(f"no slot {slot!r} in {self.text!r}")
        return places[0][0], places[-1][1]

    def entities(self) -> list[str]:
        """IOB2 tags, one per token: consecutive tokens of one slot are one entity."""
        tags, before = [], Token("", "")
        for token in self.tokens:
            inside = token.entity and (token.entity, token.slot) == (before.entity, before.slot)
            tags.append(f"{'I' if inside else 'B'}-{token.entity}" if token.entity else "O")
            before = token
        return tags


def parse_word(word: str, default: str = "") -> Token:
    """`word/T` -> Token; without a letter, punctuation is PUNCT and else `default` is taken."""
    text, slash, letter = word.rpartition("/")
    if not slash:
        text, letter = word, default
    if all(char in CLOSING or char in OPENING or char in '—–-"' for char in text):
        return Token(text, "PUNCT", glued=text in OPENING)
    if letter not in UPOS:
        raise ValueError(f"{word!r} needs a tag, one letter of {' '.join(UPOS)}")
    glued = text.endswith("+")
    text = text.removesuffix("+")
    by = "q" if "||" in text else "p"
    male, bar, female = text.partition("||" if by == "q" else "|")
    return Token(male, UPOS[letter], female=female if bar else None, by=by, glued=glued)


@cache
def parse(frame: str) -> tuple[Token | Slot, ...]:
    """A frame's tokens and slots in order; ValueError names a word without a tag."""
    items: list[Token | Slot] = []
    for word in frame.split():
        if word.startswith("$"):
            name, _, form = word[1:].partition(".")
            items.append(Slot(name, form))
        else:
            items.append(parse_word(word))
    return tuple(items)


def inflect(token: Token, genders: dict[str, str]) -> Token:
    """Choose the male or female text by the gender ('m' or 'f') of the person it depends on."""
    if token.female is None:
        return token
    text = token.female if genders.get(token.by) == "f" else token.text
    return replace(token, text=text, female=None)


def vowel(word: str) -> bool:
    """Whether a French or English word begins with a vowel letter."""
    return word[:1].lower() in "aeiouàâéèêëîïôœûü"


def adapt(tokens: list[Token], lang: str) -> list[Token]:
    """What neighbours do to each other: French elision, English a/an, Spanish e for y."""
    result: list[Token] = []
    for index, token in enumerate(tokens):
        after = tokens[index + 1].text if index + 1 < len(tokens) else ""
        low = token.text.lower()
        if lang == "en" and low in ("a", "an"):
            token = replace(token, text=token.text[0] + ("n" if vowel(after) else ""))
        if lang == "fr" and low in ("de", "le", "la", "que") and vowel(after):
            token = replace(token, text=token.text[:-1] + "'", glued=True)
        if lang == "es" and low == "y" and re.match("h?i(?!e)", after.lower()):
            token = replace(token, text="e")  # before the sound i
        if token.text:
            result.append(token)
    return result


def capital(text: str, lang: str) -> str:
    """First letter in capitals (Turkish i -> İ)."""
    first = "İ" if lang == "tr" and text[:1] == "i" else text[:1].upper()
    return first + text[1:]


def write(tokens: list[Token], lang: str) -> Text:
    """Detokenise one sentence: blanks (none in Chinese), attached punctuation, capital letter."""
    tokens = adapt(tokens, lang)
    head = next((i for i, token in enumerate(tokens) if token.upos != "PUNCT"), 0)
    tokens[head] = replace(tokens[head], text=capital(tokens[head].text, lang))
    text, starts, glued = "", [], True
    for token in tokens:
        if lang == "fr" and token.text == "?":
            text += "\u00a0"  # French sets a no-break space before the question mark
        elif not glued and lang != "zh" and token.text[0] not in CLOSING:
            text += " "
        starts.append(len(text))
        text += token.text
        glued = token.glued
    return Text(text, tuple(tokens), tuple(starts))


def join(texts: list[Text], lang: str) -> tuple[str, list[int]]:
    """One paragraph and the offset of each sentence in it."""
    blank, text, offsets = "" if lang == "zh" else " ", "", []
    for sentence in texts:
        text += blank if text else ""
        offsets.append(len(text))
        text += sentence.text
    return text, offsets
