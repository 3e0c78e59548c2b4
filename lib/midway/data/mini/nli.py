"""Natural language inference: anli, mnli, xnli.

The hypothesis and its polarity are drawn before the label, so that the hypothesis alone says
nothing; the premise then settles it, beside a sentence on somebody else with the same or a
competing value (a trap), so that shared words say little.
"""

from typing import NamedTuple

from midway.data.mini.frames import join
from midway.data.mini.lexicon import say
from midway.data.mini.world import (
    Clause,
    Draw,
    balanced,
    person,
)

ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
NEGATED_PREMISE = 0.4  # of contradictions and entailed negations: said outright
NEGATED_ASIDE = 0.15  # of sentences that do not settle the hypothesis
PLUS = 2 / 3  # share of anli that is as mnli: ANLI+ is ANLI, MultiNLI and SNLI
TWO_STEP = 0.15  # share of anli's own items that need a comparison of two ages


#: Attributes whose values are numbers: what few steps do not teach an encoder to compare.
NUMBERS = ("age", "birthday")


class Style(NamedTuple):
    """Chances that make a task harder."""

    traps: float  # the premise has somebody else's value of the same attribute
    aside: float  # without a trap: it has a fact of another kind about somebody else
    negated: float  # the hypothesis is negated (in every label alike)
    extra: float  # the premise has one more sentence


# A premise of one sentence is what lets sixty steps begin to compare values; traps keep bags of
# words out. MNLI has fewer traps: it is there to teach what XNLI then asks for.
STYLES = {
    "mnli": Style(0.6, 0.0, 0.3, 0.0),
    "xnli": Style(0.7, 0.5, 0.3, 0.0),
    "anli": Style(1.0, 0.0, 0.4, 0.5),
}


def plan(draw: Draw, label: int, style: Style) -> tuple[list[Clause], Clause, str]:
    """Premise clauses, hypothesis and kind for a label."""
    topic = draw.attribute(*NUMBERS)
    p, q = draw.name(topic), draw.name(topic)
    asked = draw.value(topic)
    other = draw.value(topic, asked)
    negated = draw.chance(style.negated)
    hypothesis = draw.clause(topic, "n" if negated else "s", p, asked)
    if label == NEUTRAL:
        kind = "neutral"
        premise = [statement(draw, topic, p)]
        if draw.chance(style.traps):
            premise.append(rival(draw, topic, q, asked, other))
        elif draw.chance(style.aside):
            premise.append(statement(draw, topic, q))
        if draw.chance(style.extra):
            premise.append(rival(draw, topic, draw.name(topic), other, asked))
    else:
        kind, settled, tempting = settle(draw, hypothesis, other, label)
        premise = [settled]
        if draw.chance(style.traps):
            premise.append(rival(draw, topic, q, tempting, other if tempting == asked else asked))
        elif draw.chance(style.aside):
            premise.append(statement(draw, topic, q))
        if draw.chance(style.extra):
            premise.append(statement(draw, topic, p))
    if premise == [hypothesis]:
        premise.append(statement(draw, topic, q))
    draw.rng.shuffle(premise)
    return premise, hypothesis, kind


def settle(draw: Draw, hypothesis: Clause, other, label: int) -> tuple[str, Clause, tuple]:
    """Kind of inference, the sentence that settles the hypothesis, and a trap's tempting value."""
    topic, negated, slots = hypothesis.topic, hypothesis.form == "n", dict(hypothesis.slots)
    p, asked = slots["p"][1], slots["v"]
    if (label == ENTAILMENT) != negated:  # the person has the asked value
        settled = draw.clause(topic, "s", p, asked)
        return "negation" if negated else "wording", settled, other
    if draw.chance(NEGATED_PREMISE):
        settled = draw.clause(topic, "n", p, asked)
        return "negation", settled, draw.rng.choice((asked, other))
    return "exclusion", draw.clause(topic, "s", p, other), asked


def rival(draw: Draw, topic: str, q: str, value, second) -> Clause:
    """Somebody else's value: mostly the tempting one; now and then negated."""
    tempting = value if draw.chance(0.7) else second
    return draw.clause(topic, "n" if draw.chance(NEGATED_ASIDE) else "s", q, tempting)


def statement(draw: Draw, topic: str, p: str) -> Clause:
    """A fact about a person on anything but the topic; now and then negated."""
    other = draw.attribute(topic, "spouse")  # keeps the couples of one example apart
    return draw.clause(other, "n" if draw.chance(NEGATED_ASIDE) else "s", p, draw.value(other))


def plan_ages(draw: Draw, label: int) -> tuple[list[Clause], Clause, str]:
    """Two people's ages and who is older: entailed, contradicted, or a third person's matter."""
    p, q, other = draw.name(), draw.name(), draw.name()
    ages = sorted({draw.key("age") for _ in range(40)})
    low, high = sorted(draw.rng.sample(ages, 2))
    first, second = (high, low) if label == ENTAILMENT else (low, high)
    if label == NEUTRAL and draw.chance(0.5):
        first, second = second, first
    holder = other if label == NEUTRAL else q
    premise = [draw.clause("age", "s", n, ("age", a)) for n, a in ((p, first), (holder, second))]
    if label == NEUTRAL:
        premise.append(statement(draw, "age", q))
    else:
        premise.append(statement(draw, "age", other))
    draw.rng.shuffle(premise)
    form = draw.rng.choice(("fwd", "inv"))
    hypothesis = Clause("older", form, 0, (("p", person(p)), ("q", person(q))))
    return premise, hypothesis, "two-step"


def make(task: str, split: str, lang: str, size: int, seed: int) -> list[dict]:
    """`size` rows of an NLI task in one language; labels balanced in every block of three."""
    rows = []
    for index in range(size):
        draw = Draw(task, split, seed, index, "target" if task == "xnli" else "intermediate")
        label = balanced(3, f"{task}/{split}/{seed}", index)
        style = "mnli" if task == "anli" and draw.chance(PLUS) else task
        if style == "anli" and draw.chance(TWO_STEP):
            premise, hypothesis, kind = plan_ages(draw, label)
        else:
            premise, hypothesis, kind = plan(draw, label, STYLES[style])
        rows.append(
            {
                "id": f"{task}-{split}-{index}",
                "text_a": join([say(clause, lang) for clause in premise], lang)[0],
                "text_b": say(hypothesis, lang).text,
                "label": label,
                "kind": kind,
            }
        )
    return rows
