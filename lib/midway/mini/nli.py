"""Natural language inference: anli, mnli, xnli.

The hypothesis and its polarity are drawn before the label, so that the hypothesis alone says
nothing; the premise then settles it, beside a sentence on somebody else with the same or a
competing value (a trap), so that shared words say little.
"""

from midway.mini.frames import join
from midway.mini.lexicon import say
from midway.mini.world import Clause, Draw, balanced, person

ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
TRAPS = {"mnli": 0.7, "xnli": 0.7, "anli": 1.0}
TWO_STEP = 0.15  # share of anli items that need a comparison of two ages


def plan(draw: Draw, label: int, traps: float) -> tuple[list[Clause], Clause, str]:
    """Premise clauses, hypothesis and kind for a label."""
    topic = draw.attribute()
    p, q = draw.name(topic), draw.name(topic)
    asked = draw.value(topic)
    other = draw.value(topic, asked)
    negated = draw.chance(0.5)
    hypothesis = draw.clause(topic, "n" if negated else "s", p, asked)
    trapped = draw.chance(traps)
    side = draw.clause(
        draw.attribute(topic) if label != NEUTRAL and not trapped else topic, "s", q, asked
    )
    if label == NEUTRAL:
        about = draw.attribute(topic)
        premise = [statement(draw, about, p, draw.chance(0.25))]
        side = rival(draw, topic, q, asked, other)
        if draw.chance(traps):  # as many sentences on the topic as the other labels have
            third = draw.name(topic)
            premise.append(rival(draw, topic, third, other, asked))
        kind = "neutral"
    else:
        same = (label == ENTAILMENT) != negated  # does the person have the asked value?
        explicit = draw.chance(0.5)
        if same:
            premise = [draw.clause(topic, "s", p, asked, reworded(draw, hypothesis))]
            kind = "negation" if negated else "wording"
            value = other
        elif explicit:
            premise = [draw.clause(topic, "n", p, asked)]
            kind, value = "negation", draw.rng.choice((asked, other))
        else:
            premise = [draw.clause(topic, "s", p, other)]
            kind, value = "exclusion", asked
        if trapped:
            side = rival(draw, topic, q, value, other if value == asked else asked)
        else:
            side = statement(draw, draw.attribute(topic), q, draw.chance(0.25))
        if draw.chance(0.5):
            premise.append(statement(draw, draw.attribute(topic), p, draw.chance(0.25)))
    premise.append(side)
    draw.rng.shuffle(premise)
    return premise, hypothesis, kind


def reworded(draw: Draw, clause: Clause) -> int:
    """A statement's wording other than the given clause's."""
    numbers = [draw.wording("s") for _ in range(8)]
    return next((n for n in numbers if clause.form != "s" or n != clause.wording), numbers[0])


def rival(draw: Draw, topic: str, q: str, value, second) -> Clause:
    """Somebody else's value: mostly the tempting one; now and then negated."""
    tempting = value if draw.chance(0.7) else second
    return draw.clause(topic, "n" if draw.chance(0.25) else "s", q, tempting)


def statement(draw: Draw, topic: str, p: str, negated: bool) -> Clause:
    """Some fact about a person, or that it is not so."""
    if topic == "spouse":  # keeps the couples of one example apart
        topic = "job"
    return draw.clause(topic, "n" if negated else "s", p, draw.value(topic))


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
        premise.append(statement(draw, "home", q, False))
    else:
        premise.append(statement(draw, "home", other, False))
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
        if task == "anli" and draw.chance(TWO_STEP):
            premise, hypothesis, kind = plan_ages(draw, label)
        else:
            premise, hypothesis, kind = plan(draw, label, TRAPS[task])
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
