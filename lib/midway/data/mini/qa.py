"""Extractive question answering: squad1, squad2, xquad, mlqa, tydiqa.

A context states one fact that answers the question, zero to two facts of the same attribute
about other people, and other facts; answers are character spans of the context.
"""

from midway.data.mini.frames import join
from midway.data.mini.lexicon import language, plain, say
from midway.data.mini.world import Clause, Draw

#: per task: sentences with facts, same-attribute distractors to draw from, question wordings in
#: training and in dev/test, sentences about nobody, share of unanswerable questions
STYLES = {
    "squad1": (4, (0, 0, 1, 2), (0, 1), (0, 1), 0, 0.0),
    "squad2": (4, (1, 1, 2), (0, 1), (0, 1), 0, 0.4),
    "xquad": (4, (0, 0, 1, 2), (0, 1), (0, 1, 2), 0, 0.0),
    "mlqa": (6, (0, 1, 1, 2), (0, 1), (0, 1, 2), 2, 0.0),
    "tydiqa": (5, (0, 0, 0, 1), (1, 2), (1, 2), 0, 0.0),
}
WHO = 0.3  # share of questions that ask for the person


def plan(draw: Draw, task: str) -> tuple[list, Clause, int | None, str, str]:
    """Context (clauses, or numbers of filler sentences), question, place of the answer, slot."""
    number, distractors, in_training, in_test, fillers, unanswerable = STYLES[task]
    topic = draw.attribute()
    who = draw.chance(WHO)
    p = draw.name(topic)
    answer = draw.clause(topic, "s", p, draw.value(topic))
    answered = not draw.chance(unanswerable)
    same = draw.rng.choice(distractors)
    wording = draw.rng.choice(in_training if draw.split == "train" else in_test)
    question = answer.put()
    question = Clause(topic, "w" if who else "q", 0 if who else wording, answer.slots)
    context: list = [answer] if answered else []
    people, used = [p], [dict(answer.slots)["v"]]
    for _ in range(same):
        other = draw.name(topic)
        value = draw.value(topic, *used)
        context.append(draw.clause(topic, "s", other, value))
        people.append(other)
        used.append(value)
    about = [topic, "spouse"]  # one topic once, apart from the distractors
    while len(context) < number:
        if (len(people) < 2 or draw.chance(0.3)) and task != "tydiqa":
            people.append(draw.name())
        another = draw.attribute(*about)
        about.append(another)
        context.append(draw.clause(another, "s", draw.rng.choice(people), draw.value(another)))
    context += draw.rng.sample(range(6), fillers)
    draw.rng.shuffle(context)
    place = context.index(answer) if answered else None
    return context, question, place, "p" if who else "v", f"{'who' if who else 'value'}-{same}"


def make(task: str, split: str, lang: str, size: int, seed: int) -> list[dict]:
    """`size` rows in one language; answer offsets count characters, as in SQuAD."""
    role = "intermediate" if task.startswith("squad") else "target"
    rows = []
    for index in range(size):
        draw = Draw(task, split, seed, index, role)
        context, question, place, slot, kind = plan(draw, task)
        filler = language(lang)["filler"]
        texts = [
            say(item, lang) if isinstance(item, Clause) else plain(filler[item], lang)
            for item in context
        ]
        text, offsets = join(texts, lang)
        answers: dict[str, list] = {"text": [], "answer_start": []}
        if place is None:
            kind = "unanswerable"
        else:
            start, end = texts[place].span(slot)
            answers["text"].append(texts[place].text[start:end])
            answers["answer_start"].append(offsets[place] + start)
        rows.append(
            {
                "id": f"{task}-{split}-{index}",
                "context": text,
                "question": say(question, lang).text,
                "answers": answers,
                "kind": kind,
            }
        )
    return rows
