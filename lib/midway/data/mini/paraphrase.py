"""Paraphrase: qqp (questions) and pawsx (statements); label 1 means the same, 0 different.

Half of pawsx changes a word that matters (substitution); the other half keeps all words and
changes who has what (owner) or who does it to whom (roles), balanced so that neither the order
of names nor a changed frame gives the label away.
"""

from midway.data.mini.frames import join
from midway.data.mini.lexicon import say
from midway.data.mini.world import (
    RELATIONS,
    Clause,
    Draw,
    balanced,
    person,
)


def other_wording(draw: Draw, number: int) -> int:
    """One of the three wordings, but not this one."""
    return draw.rng.choice([n for n in range(3) if n != number])


def plan_question(draw: Draw, same: bool) -> tuple[list[Clause], list[Clause], str]:
    """Two questions on one fact in different words, or on another person, attribute or value."""
    topic = draw.attribute()
    p, number = draw.name(topic), draw.rng.randrange(3)
    value = draw.value(topic)
    first = Clause(topic, "q", number, draw.clause(topic, "q", p, value).slots)
    if same:
        second = Clause(topic, "q", other_wording(draw, number), first.slots)
        return [first], [second], "wording"
    number = number if draw.chance(0.4) else other_wording(draw, number)
    if draw.chance(0.85):
        second = Clause(topic, "q", number, first.slots).put(p=person(draw.name(topic)))
        return [first], [second], "person"
    second = Clause(draw.attribute(topic), "q", number, first.slots)
    return [first], [second], "attribute"


def plan_asker(draw: Draw, same: bool) -> tuple[list[Clause], list[Clause], str]:
    """A fact about one person and a question about another; or with the two exchanged."""
    topic = draw.attribute()
    about = draw.attribute(topic, "spouse")
    p, q = draw.name(topic), draw.name(topic)
    question = draw.clause(topic, "q", p, draw.value(topic), draw.rng.randrange(3))
    first = [draw.clause(about, "s", q, draw.value(about)), question]
    change = draw.rng.choice(((0,), (1,), (0, 1)) if same else ((), (0,), (1,), (0, 1)))
    second = [
        Clause(
            c.topic, c.form, other_wording(draw, c.wording) if i in change else c.wording, c.slots
        )
        for i, c in enumerate(first)
    ]
    if not same:
        second = [second[0].put(p=person(p)), second[1].put(p=person(q))]
    return first, second, "asker"


def plan_substitution(draw: Draw, same: bool) -> tuple[list[Clause], list[Clause], str]:
    """A statement reworded, or with another person or value."""
    topic = draw.attribute()
    first = draw.clause(topic, "s", draw.name(topic), draw.value(topic))
    number = other_wording(draw, first.wording)
    if same:
        return [first], [Clause(topic, "s", number, first.slots)], "wording"
    number = first.wording if draw.chance(0.3) else number
    second = Clause(topic, "s", number, first.slots)
    if draw.chance(0.5):
        return [first], [second.put(p=person(draw.name(topic)))], "person"
    return [first], [second.put(v=draw.value(topic, dict(first.slots)["v"]))], "value"


def plan_owner(draw: Draw, same: bool) -> tuple[list[Clause], list[Clause], str]:
    """Two people with a value each; in the other text the owners are changed, or not."""
    topic = draw.attribute()
    v = draw.value(topic)
    pairs = [(draw.name(topic), v), (draw.name(topic), draw.value(topic, v))]
    wording = draw.wording("s")
    first = [draw.clause(topic, "s", name, value, wording) for name, value in pairs]
    if not same:
        pairs = [(pairs[0][0], pairs[1][1]), (pairs[1][0], pairs[0][1])]
    if draw.chance(0.5):
        wording = other_wording(draw, wording)
    second = [draw.clause(topic, "s", name, value, wording) for name, value in pairs]
    if draw.chance(0.5) or (same and wording == first[0].wording):
        second.reverse()
    return first, second, "owner"


def plan_roles(draw: Draw, same: bool) -> tuple[list[Clause], list[Clause], str]:
    """A relation told from either end: the label is frame change XOR change of roles."""
    topic = draw.rng.choice(RELATIONS[:4] if draw.split == "train" else RELATIONS)
    p, q = person(draw.name()), person(draw.name())
    form, reverse = draw.rng.sample(("fwd", "inv"), 2)
    first = Clause(topic, form, 0, (("p", p), ("q", q)))
    if same:
        return [first], [Clause(topic, reverse, 0, first.slots)], "roles"
    swapped = first.put(p=q, q=p)
    return (
        [first],
        [swapped if draw.chance(0.5) else Clause(topic, reverse, 0, swapped.slots)],
        ("roles"),
    )


def make(task: str, split: str, lang: str, size: int, seed: int) -> list[dict]:
    """`size` rows in one language; labels balanced within each kind of plan."""
    plans = {
        "qqp": [plan_question, plan_asker],
        "pawsx": [plan_substitution, plan_owner, plan_substitution, plan_roles],
    }[task]
    rows = []
    for index in range(size):
        draw = Draw(task, split, seed, index, "target" if task == "pawsx" else "intermediate")
        plan = plans[index // 2 % len(plans)]
        label = balanced(2, f"{task}/{split}/{seed}", index)
        first, second, kind = plan(draw, label == 1)
        if draw.chance(0.5):
            first, second = second, first
        rows.append(
            {
                "id": f"{task}-{split}-{index}",
                "text_a": join([say(clause, lang) for clause in first], lang)[0],
                "text_b": join([say(clause, lang) for clause in second], lang)[0],
                "label": label,
                "kind": kind,
            }
        )
    return rows
