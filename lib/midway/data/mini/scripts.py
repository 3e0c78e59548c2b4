"""Miniatures of the three multiple-choice tasks, in English, from hand-written everyday content.

- hellaswag: two events of setting and what happens -> what follows from it (4 options)
- cosmosqa: a short story with a gap and a question, why or what next (4 options)
- csqa: a question about a thing -> its place, use, kind, material, ... (5 options)

The options are made in sets: four stories have four endings, each right for one story and wrong
for three; five answers of one relation do the same for csqa. So neither an option's words, length
or frequency nor its position tells anything about being right. Half of the sets ("topics" in
`kind`) are of four scripts; half ("twins") are of two scripts and both their ways on, so that the
topic leaves two options. Knowing what belongs to the topic and nothing else gives 75 %.

Scripts, people, things asked about and one form of each question differ between the splits. Only
English: these tasks train encoders, they are not tested across languages (`languages`).
"""

import re
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import yaml

from midway.study.errors import InputError, MissingData

TASKS = ("hellaswag", "cosmosqa", "csqa")
SPLITS = ("train", "dev", "test")
SIZES = {"train": 800, "dev": 240, "test": 240}  # rows made when no size is given

# First names by split, men's and women's, so that pronouns agree.
PEOPLE = {
    "train": (
        "Adam Carl Derek Frank Henry Jack Leo Martin Oscar Victor",
        "Alice Carol Diana Fiona Helen Janet Laura Martha Olive Vera",
    ),
    "dev": ("Bruno Edgar Simon Trevor", "Brenda Edith Sandra Teresa"),
    "test": ("Colin Gerald Kevin Norman Ralph Stanley", "Cora Gloria Karen Nancy Rosa Stella"),
}
PRONOUNS = ({"HE": "he", "HIS": "his", "HIM": "him"}, {"HE": "she", "HIS": "her", "HIM": "her"})

# The last form of each question is kept for the test split.
QUESTIONS = {
    "why": (
        "What may be the reason?",
        "Why did the story end like this?",
        "What must have happened in between?",
    ),
    "next": (
        "What will probably happen next?",
        "What happened afterwards?",
        "How does the story go on?",
    ),
}


def languages(task: str) -> tuple[str, ...]:
    """('en',): no translations of the choice tasks are made."""
    return ("en",)


def make(task: str, split: str, lang: str, size: int | None = None, seed: int = 0) -> list[dict]:
    """`size` rows of `task` in the choice schema: id, context, choices, label, lang and kind.

    The gold positions are balanced in every run of 4 (csqa: 5) rows. Same arguments, same rows; a
    smaller size gives the first rows of a larger one. Raises MissingData for other languages.
    """
    if split not in SPLITS:
        raise InputError(f"split: mini {task} has no {split!r} split; choose from {SPLITS}")
    if lang != "en":
        raise MissingData(task, lang, split, "mini makes the choice tasks in English only")
    rng = Random(f"{task}/{split}/{seed}")
    sets = _fact_sets(split, rng) if task == "csqa" else _story_sets(task, split, rng)
    examples = (example for one in sets for example in _with_options(one, rng))
    rows = islice(examples, SIZES[split] if size is None else size)
    return [{"id": f"{task}-{split}-{i}", **row, "lang": lang} for i, row in enumerate(rows)]


def _with_options(one, rng):
    """The examples of a set of (kind, context, answers); the k-th answer is right for the k-th."""
    positions = rng.sample(range(len(one)), len(one))
    for k, (kind, context, answers) in enumerate(one):
        choices = rng.sample(answers, len(answers))
        label = positions[k]
        at = choices.index(answers[k])
        choices[at], choices[label] = choices[label], choices[at]
        yield {"context": context, "choices": choices, "label": label, "kind": kind}


@cache
def stories(split: str) -> dict[str, dict]:
    """Script name -> X (list), setup, a and b (three events each)."""
    text = Path(__file__).with_name("scripts.yaml").read_text(encoding="utf-8")
    return {
        name: {
            "X": script["X"].split(" | "),
            "setup": script["setup"],
            "a": script["a"].split(" > "),
            "b": script["b"].split(" > "),
        }
        for name, script in yaml.safe_load(text)[split].items()
    }


def _story_sets(task, split, rng):
    """Endless sets of four stories; half of the sets are two scripts gone on with both ways."""
    scripts = stories(split)
    while True:
        names = rng.sample(list(scripts), len(scripts))
        for four in zip(*(names[i::4] for i in range(4)), strict=True):
            if rng.random() < 2 / 3:
                yield _set(task, split, rng, "topics", [(name, rng.choice("ab")) for name in four])
            else:
                for pair in (four[:2], four[2:]):
                    ways = [(name, way) for name in pair for way in "ab"]
                    yield _set(task, split, rng, "twins", ways)


def _set(task, split, rng, sort, ways):
    """Four (kind, context, answers), told of the same people and things."""
    scripts, say = stories(split), _speaker(split, rng)
    asked = "effect" if task == "hellaswag" else rng.choice(("why", "next"))
    gap = {"why": 0, "effect": 1, "next": 2}[asked]  # the event that is the answer
    things = {name: rng.choice(scripts[name]["X"]) for name, _ in ways}
    answers = [say(scripts[name][way][gap], things[name]) for name, way in ways]
    one = []
    for name, way in ways:
        told = [event for i, event in enumerate(scripts[name][way]) if i != gap]
        if asked == "effect":
            told = told[:1]
        elif split == "test":
            told.append(QUESTIONS[asked][-1])
        else:
            told.append(rng.choice(QUESTIONS[asked][:-1]))
        context = say(" ".join([scripts[name]["setup"], *told]), things[name])
        one.append((f"{asked} {sort}", context, answers))
    return one


def _speaker(split, rng):
    """A function that puts two people (P with pronouns, Q) and a thing X into a text."""
    gender = rng.randrange(2)
    p = rng.choice(PEOPLE[split][gender].split())
    q = rng.choice([n for group in PEOPLE[split] for n in group.split() if n != p])

    def say(text, thing):
        words = {"P": p, "Q": q, "X": thing, **PRONOUNS[gender]}
        text = re.sub(r"\b(?:HE|HIS|P|Q|X)\b|\bHIM(?=\b|self)", lambda m: words[m.group()], text)
        text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
        return re.sub(r"(?:^|(?<=[.?] ))[a-z]", lambda m: m.group().upper(), text)

    return say


@cache
def facts(split: str) -> dict[str, tuple[list[str], dict[str, list[str]]]]:
    """Relation -> (its question forms, answer -> the split's things with their article)."""
    text = Path(__file__).with_name("csqa.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    bare = table.pop("bare").split(", ")
    start = 2 * SPLITS.index(split)
    return {
        relation: (
            entry["ask"][-1:] if split == "test" else entry["ask"][:-1],
            {
                answer: [
                    t if relation == "opposite" or t in bare else _article(t)
                    for t in things.split(", ")[start : start + 2]
                ]
                for answer, things in entry["facts"].items()
            },
        )
        for relation, entry in table.items()
    }


def _article(noun):
    return f"{'an' if noun[0] in 'aeiouX' and not noun.startswith('uni') else 'a'} {noun}"


def _fact_sets(split, rng):
    """Endless sets of five questions of one relation: five answers, one thing of each."""
    table = facts(split)
    while True:
        rounds = []
        for relation, (forms, answers) in table.items():
            order = rng.sample(list(answers), len(answers))
            rounds += [(relation, forms, order[i : i + 5]) for i in range(0, len(order) - 4, 5)]
        rng.shuffle(rounds)
        for relation, forms, options in rounds:
            one = []
            for answer in options:
                thing = rng.choice(table[relation][1][answer])
                question = re.sub(r"\bT\b", thing, rng.choice(forms))
                one.append((relation, question[0].upper() + question[1:], options))
            yield one
