"""The mini tagging tasks: tags of the right inventory, parallel sentences, nothing leaked."""

import re
from collections import Counter, defaultdict
from functools import cache

import pytest

from midway.data.mini import tagging
from midway.data.mini.world import MEN, WOMEN
from midway.study.errors import MissingData

LANGUAGES = tagging.LANGUAGES
TARGETS = ("udpos", "panx")


@cache
def rows(task, split, lang, size=200, seed=0):
    return tuple(tagging.make(task, split, lang, size, seed))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_frame_of_every_language_can_be_written(lang):
    """One misspelt tag or slot would break a study halfway through."""
    shared, own = tagging.sentences(lang)
    assert list(shared) == list(tagging.sentences("en")[0])
    assert len(shared) >= 25 and len(own) == len(tagging.sentences("en")[1])
    for people in (("Otto", "Ingrid"), ("Keiko", "Hugo")):
        slots = dict(zip("pq", [("person", name) for name in people], strict=True)) | {
            **{"s": ("firmname", "Rossi"), "f": ("firmname", "Silva")},
            **{"c": ("city", "Europe/Oslo"), "d": ("city", "Africa/Dakar")},
            **{"n": ("country", "NO"), "m": ("country", "JP")},
        }
        for line in [*shared.values(), *own]:
            for k in range(3):
                text = tagging.render(line, lang, slots, [k] * 4)
                assert not re.search(r"[{}\[\]$|+/]", text.text), text.text
                assert {token.upos for token in text.tokens} <= set(tagging.UPOS)
                starts = zip(text.tokens, text.starts, strict=True)
                assert all(text.text.startswith(t.text, at) for t, at in starts)
                assert set(text.entities()) <= set(tagging.IOB2)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_choices_are_as_many_in_all_languages(lang):
    """Otherwise the same draw would say 'late' in one language and 'early' in another."""
    for key, line in tagging.sentences(lang)[0].items():
        sizes = [
            [g.count(",") for g in re.findall(r"\{([^{}]*)\}", x)]
            for x in (line, tagging.sentences("en")[0][key])
        ]
        assert Counter(sizes[0]) == Counter(sizes[1]), key


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("task", TARGETS)
def test_rows_have_valid_tags(task, lang):
    """As many tags as tokens; no I- without its B-; no tag outside the inventory."""
    known = set(tagging.UPOS if task == "udpos" else tagging.IOB2)
    for row in rows(task, "test", lang):
        assert len(row["tokens"]) == len(row["tags"]) > 2
        assert all(token and not re.search(r"\s", token) for token in row["tokens"])
        assert set(row["tags"]) <= known
        before = "O"
        for tag in row["tags"]:
            if tag.startswith("I-"):
                assert before[2:] == tag[2:], row
            before = tag


@pytest.mark.parametrize("lang", LANGUAGES)
def test_all_tags_occur(lang):
    """A test set without, say, organisations could not tell how well they are found."""
    entities = Counter(t for row in rows("panx", "test", lang) for t in row["tags"])
    assert min(entities[f"B-{kind}"] for kind in ("PER", "ORG", "LOC")) >= 40
    assert min(entities[f"I-{kind}"] for kind in ("PER", "ORG")) >= 15
    upos = Counter(t for row in rows("udpos", "test", lang) for t in row["tags"])
    common = {"NOUN", "VERB", "ADJ", "ADV", "PRON", "PROPN", "NUM", "PUNCT", "CCONJ", "DET"}
    assert min(upos[tag] for tag in common) >= 5, upos
    assert len(upos) >= 12


@pytest.mark.parametrize("lang", LANGUAGES)
def test_words_are_ambiguous(lang):
    """A lexicon of one tag per word would solve the task; some words must have two."""
    shared, own = tagging.sentences(lang)
    tags = defaultdict(set)
    for line in [*shared.values(), *own]:
        for word, tag in re.findall(r"([^\s{},|]+)/([A-Z])", line):
            tags[word.lower().strip("+")].add(tag)
    assert sum(len(t) > 1 for t in tags.values()) >= 4


def test_names_outside_entities_and_places_inside_organisations():
    """The traps: a place as part of an organisation, and the same place on its own."""
    seen = Counter()
    for row in rows("panx", "test", "en", 300):
        text = " ".join(f"{w}/{t}" for w, t in zip(row["tokens"], row["tags"], strict=True))
        seen["inside"] += bool(re.search(r"University/B-ORG of/I-ORG \w+/I-ORG", text))
        seen["firm"] += "&/I-ORG" in text
        seen["outside"] += bool(
            re.search(r"(university|bank|school|theatre|museum)/O in/O \w+/B-LOC", text)
        )
        seen["two"] += bool(re.search(r"B-PER \w+/I-PER", text))
    assert min(seen.values()) >= 3, seen


@pytest.mark.parametrize("task", TARGETS)
def test_languages_are_parallel(task):
    """Row i names as many people in every language: scores can be compared item by item."""

    def people(row):
        if task == "udpos":
            return row["id"]
        return row["id"], sum(t == "B-PER" for t in row["tags"])

    english = [people(row) for row in rows(task, "test", "en")]
    for lang in LANGUAGES[1:]:
        other = [people(row) for row in rows(task, "test", lang)]
        same = sum(a == b for a, b in zip(english, other, strict=True))
        assert same >= 0.9 * len(english), lang  # a twentieth is of frames of its own


@pytest.mark.parametrize("task", (*TARGETS, "ccg"))
def test_people_of_the_splits_are_different(task):
    """A name seen in training as a person would be found from memory."""
    seen = {
        split: {t for row in rows(task, split, "en") for t in row["tokens"]} & {*MEN, *WOMEN}
        for split in ("train", "dev", "test")
    }
    assert all(len(names) >= 8 for names in seen.values())
    assert not seen["train"] & seen["test"] and not seen["train"] & seen["dev"]
    assert not seen["dev"] & seen["test"]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_some_frames_are_kept_from_training(lang):
    """Half-memorised sentences would hide that a model cannot tag new ones."""
    shared, own = tagging.sentences(lang)
    for items in (list(shared.values()), own, tagging.supertagged()):
        steps = [i / 1000 for i in range(1000)]
        trained = {tagging._pick(items, step, "train") for step in steps}
        tested = {tagging._pick(items, step, "test") for step in steps}
        assert trained < tested == set(items)
        assert len(trained) == len(items) - len(items) // tagging.HELD_OUT


@pytest.mark.parametrize(("task", "lang"), [("udpos", "ru"), ("panx", "zh"), ("ccg", "en")])
def test_same_seed_same_rows_and_smaller_is_a_beginning(task, lang):
    """Records would not be reproducible, and a smaller test set not comparable."""
    assert tagging.make(task, "test", lang, 30, 5) == tagging.make(task, "test", lang, 60, 5)[:30]
    assert tagging.make(task, "test", lang, 30, 5) != tagging.make(task, "test", lang, 30, 6)


def test_no_sentence_is_in_two_splits_of_any_tagging_task():
    """Supertagging would have shown the very test sentences of POS and NER."""
    size = {"train": 800, "dev": 200, "test": 300}
    texts = {
        split: {
            " ".join(row["tokens"])
            for task in ("ccg", *TARGETS)
            for seed in ((1, 2) if split == "train" else (0,))
            for row in rows(task, split, "en", n, seed)
        }
        for split, n in size.items()
    }
    assert not texts["train"] & texts["dev"] and not texts["train"] & texts["test"]
    assert not texts["dev"] & texts["test"] and len(texts["test"]) > 500


def test_ccg_is_english_only():
    """Asking for a translation must say that there is none, not return English."""
    assert tagging.languages("ccg") == ("en",)
    with pytest.raises(MissingData, match="ccg train de"):
        tagging.make("ccg", "train", "de", 10, 0)


# A chart parser for the categories: application, composition, type raising, coordination.


@cache
def category(text):
    """'(S\\NP)/NP' -> ('/', ('\\', 'S', 'NP'), 'NP')."""
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[i], 0)
        if depth == 0 and text[i] in "/\\":
            return text[i], category(text[:i]), category(text[i + 1 :])
    if text.startswith("("):
        return category(text[1:-1])
    assert text in ("S", "NP", "N", "PP", "conj", ".", ","), text
    return text


def raised(cats):
    """With an N also the NP, with an NP also the subject looking for its verb."""
    if "N" in cats:
        cats = cats | {"NP"}
    if "NP" in cats:
        cats = cats | {("/", "S", ("\\", "S", "NP"))}
    return cats


def combine(x, y):
    """What two neighbours make."""
    if y in (".", ","):
        yield x
    if x == "conj":
        yield ("&", y, y)
    if isinstance(y, tuple) and y[0] == "&" and y[1] == x:
        yield x
    if isinstance(x, tuple) and x[0] == "/":
        if x[2] == y:
            yield x[1]
        if isinstance(y, tuple) and y[0] == "/" and y[1] == x[2]:
            yield ("/", x[1], y[2])
    if isinstance(y, tuple) and y[0] == "\\":
        if y[2] == x:
            yield y[1]
        if isinstance(x, tuple) and x[0] in "/\\" and x[1] == y[2]:
            yield (x[0], y[1], x[2])


def parses(tags):
    """Whether a sequence of categories makes an S."""
    n = len(tags)
    chart = {(i, i + 1): raised({category(tag)}) for i, tag in enumerate(tags)}
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            pairs = [(chart[i, k], chart[k, i + width]) for k in range(i + 1, i + width)]
            made = {z for xs, ys in pairs for x in xs for y in ys for z in combine(x, y)}
            chart[i, i + width] = raised(made)
    return "S" in chart[0, n]


def test_every_ccg_sentence_has_a_derivation():
    """A wrong category is a label no model could learn: each sentence must parse to S."""
    lines = set(tagging.supertagged())
    assert len(lines) >= 40
    for line in lines:
        for k in range(3):
            words = tagging.choose(line, [k] * 4).split()
            tags = [word.rpartition(":")[2] for word in words]
            assert parses(tags), words


def test_ccg_words_are_ambiguous_and_inventory_is_rich():
    """Supertagging must need the sentence, not only the word."""
    tags = defaultdict(set)
    for row in rows("ccg", "train", "en", 800):
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            tags[token.lower()].add(tag)
    inventory = set().union(*tags.values())
    assert len(inventory) >= 25
    assert sum(len(t) > 1 for t in tags.values()) >= 12
    assert set(tagging.supertags()) == inventory  # none is only in test
