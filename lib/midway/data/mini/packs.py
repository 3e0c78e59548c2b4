"""Real translation pairs for retrieval and mining, read from the JupyterLab language packs.

The packs are ordinary packages (`jupyterlab-language-pack-<ll-CC>`) that volunteers of Project
Jupyter translated; licence as in their metadata: BSD-3-Clause, Copyright (c) Project Jupyter
Contributors. Nothing of them is copied here: the installed JSON catalogues are found through
`importlib.metadata` and read as text; no code of a pack is imported or run.

What to know when reading scores: these are short interface sentences, not Tatoeba's; the number
of candidates differs between languages (`counts`), so compare a language with itself. Both tasks
are evaluation only, and both draw on the same pool: bucc2018 items may occur in tatoeba.
Shared words ("Jupyter", "checkpoint") are a clue: retrieval by character n-grams alone finds
about 10 % of the pairs in he ja ko ru vi zh, 20-30 % in fi id tr, 40-60 % in de es fr it nl pt.
The data are fixed, as the real tasks' are: `seed` changes nothing.
"""

import json
import re
from functools import cache
from hashlib import sha256
from importlib import metadata
from itertools import count

from midway.study.errors import InputError, MissingData

#: XTREME language code -> locale of its pack. All are in XTREME's Tatoeba list.
PACKS = {
    "de": "de-DE",
    "es": "es-ES",
    "fi": "fi-FI",
    "fr": "fr-FR",
    "he": "he-IL",
    "id": "id-ID",
    "it": "it-IT",
    "ja": "ja-JP",
    "ko": "ko-KR",
    "nl": "nl-NL",
    "pt": "pt-BR",
    "ru": "ru-RU",
    "tr": "tr-TR",
    "vi": "vi-VN",
    "zh": "zh-CN",
}
LANGUAGES = {"tatoeba": tuple(PACKS), "bucc2018": ("de", "fr", "ru", "zh")}
SPLITS = ("dev", "test")
TEST_PAIRS = 250  # tatoeba: pairs in a language's test split; the rest is its dev split
MIN_PAIRS = 20  # fewer pairs are no split at all
NOT_LATIN = {"he": "\u0590-\u05ff", "ru": "\u0400-\u04ff", "zh": "\u4e00-\u9fff"} | {
    "ja": "\u3040-\u30ff\u4e00-\u9fff",
    "ko": "\uac00-\ud7af",
}

_PLACEHOLDER = re.compile(r"%(?:\d|[sdi](?![a-z])|\([a-z_]+\)s)|\{\w*\}|\$\{\w+\}")
_CODE = re.compile(r"[{}<>\\=|@#*^~$\[\]]|https?:|www\.|\w_\w|\w\(\)|[a-z][A-Z]\w|\w\.\w|--|`")
_LETTERS = re.compile(r"[^\W\d_]+")


def languages(task: str) -> tuple[str, ...]:
    """The languages of `task` ('tatoeba' or 'bucc2018')."""
    return LANGUAGES[task]


def package(lang: str) -> str:
    """The name of the package that holds `lang`'s translations."""
    return f"jupyterlab-language-pack-{PACKS[lang]}"


def version(lang: str) -> str:
    """The installed version of `lang`'s pack, '' when it is not installed."""
    try:
        return metadata.version(package(lang))
    except metadata.PackageNotFoundError:
        return ""


def make(task: str, split: str, lang: str, size: int | None = None, seed: int = 0) -> list[dict]:
    """Rows of `task` in the parallel (tatoeba) or mining (bucc2018) schema.

    `size` is the most rows to return. For bucc2018 it counts both sides, and gold pairs are chosen
    after it is applied, so every gold id is among the rows. Raises MissingData when the pack is
    not installed or has too few pairs, InputError for a split or language the task has not got.
    """
    if split not in SPLITS:
        raise InputError(f"split: {task} has no {split!r} split in mini; use dev or test")
    if lang not in LANGUAGES.get(task, ()):
        raise InputError(f"languages: mini {task} has no {lang!r}; choose from {LANGUAGES[task]}")
    try:
        pairs = pool(lang)
    except metadata.PackageNotFoundError as error:
        raise MissingData(
            task, lang, split, "its language pack is not installed", f"pip install {package(lang)}"
        ) from error
    rows = (_parallel if task == "tatoeba" else _mining)(pairs, split, lang, size)
    if not rows:
        found = f"{package(lang)} has only {len(pairs)} usable pairs, too few for this split"
        raise MissingData(task, lang, split, found)
    return rows


def _parallel(pairs, split, lang, size):
    chosen = pairs[:TEST_PAIRS] if split == "test" else pairs[TEST_PAIRS:]
    if len(chosen) < MIN_PAIRS:
        return []
    return [
        {"id": f"{lang}-{split}-{i}", "source": foreign, "target": english, "lang": lang}
        for i, (english, foreign) in enumerate(chosen[:size])
    ]


def _mining(pairs, split, lang, size):
    chosen = pairs[SPLITS.index(split) :: 2]  # every other pair: disjoint and alike
    if size is not None:
        chosen = chosen[: size * 2 // 3]
    quarter = len(chosen) // 4
    if len(chosen) < MIN_PAIRS:
        return []
    # A quarter of the pairs leaves only its English side, a quarter only its foreign side.
    sides = {"source": chosen[quarter:], "target": chosen[: len(chosen) - quarter]}
    ids = {}
    for side, kept in sides.items():
        own = lang if side == "source" else "en"
        shuffled = sorted(kept, key=lambda pair: _hash(side, *pair))
        ids[side] = {pair: f"{own}-{i:06d}" for i, pair in enumerate(shuffled)}
    rows = []
    for side, column in (("source", 1), ("target", 0)):
        for pair, name in ids[side].items():
            partner = ids["target"].get(pair) if side == "source" else None
            gold = [partner] if partner else []
            rows.append(
                {"id": name, "side": side, "text": pair[column], "gold": gold, "lang": lang}
            )
    return rows


@cache
def pool(lang: str) -> tuple[tuple[str, str], ...]:
    """All usable (english, foreign) pairs of a language, in an order fixed by the English text.

    Sentences and their order depend on nothing but the pack, and no English or foreign sentence
    occurs twice, so each query of a retrieval has one right answer.
    """
    best = {}
    for english, foreign in sorted(_catalogue(lang)):
        pair = tidy(english), tidy(foreign)
        if usable(*pair, lang):
            best.setdefault(_key(pair[0]), pair)
    seen, pairs = set(), []
    for _, pair in sorted(best.items(), key=lambda item: _hash(item[0])):
        if _key(pair[1]) not in seen:
            seen.add(_key(pair[1]))
            pairs.append(pair)
    return tuple(pairs)


def counts() -> dict[str, int]:
    """Usable pairs per language; 0 where the pack is not installed."""
    return {lang: len(pool(lang)) if version(lang) else 0 for lang in PACKS}


def _catalogue(lang):
    """Every (english, foreign) of every catalogue of the installed pack, untouched."""
    for file in metadata.distribution(package(lang)).files or ():
        if file.suffix == ".json" and "LC_MESSAGES" in file.parts:
            entries = json.loads(file.read_text(encoding="utf-8"))
            for key, forms in entries.items():
                if key and isinstance(forms, list) and forms and isinstance(forms[0], str):
                    yield key.rsplit("\x04", 1)[-1], forms[0]  # the part before \x04 is a context


def tidy(text: str) -> str:
    """A catalogue string as a sentence: no mnemonics, placeholders as X, Y, Z, single spaces."""
    text = re.sub(r"\s*\(&\w\)", "", text)  # 'ファイル(&F)'
    text = re.sub(r"&(?=\w)", "", text)  # '&File'
    order = count()

    def name(match):
        digits = match.group()[1:]
        return "XYZ"[(int(digits) - 1 if digits.isdigit() else next(order)) % 3]

    text = _PLACEHOLDER.sub(name, text)
    return re.sub(r"\s+", " ", text).strip()


def usable(english: str, foreign: str, lang: str) -> bool:
    """Whether a tidied pair is a translated sentence of 3 to 40 English words, free of code."""
    words = [w for w in _LETTERS.findall(english) if w not in ("X", "Y", "Z")]
    if not 3 <= len(words) <= 40 or _CODE.search(english) or _CODE.search(foreign):
        return False
    if sorted(_slots(english)) != sorted(_slots(foreign)):
        return False  # a lost placeholder usually means that another sentence was translated
    ratio = len(foreign) / len(english)
    if lang in NOT_LATIN:
        letters = "".join(_LETTERS.findall(foreign))
        own = len(re.findall(f"[{NOT_LATIN[lang]}]", letters))
        return own >= len(letters) / 2 and 0.15 <= ratio <= 2.5
    kept = {w.casefold() for w in words} & {w.casefold() for w in _LETTERS.findall(foreign)}
    return len(kept) <= len(set(words)) / 2 and 0.5 <= ratio <= 2.5


def _slots(text):
    return re.findall(r"(?<![A-Za-z])[XYZ](?![A-Za-z])", text)


def _key(text):
    """What two strings share when they differ only in case, punctuation or articles."""
    words = _LETTERS.findall(text.casefold())
    return " ".join(w for w in words if w not in ("the", "a", "an"))


def _hash(*parts):
    return sha256("\x1f".join(parts).encode()).hexdigest()
