"""Extractive question answering: the answer is a span of the context, or there is none.

Rows: context, question, answers {text, answer_start} (empty lists: no answer).
Controls: random_span, usual_place (no question: where answers usually stand), sliding_window
(words of the question nearby, Richardson et al. 2013), no_answer where train has such.
"""

import json
from html import escape

import numpy as np

from midway.evaluation import metrics
from midway.evaluation.lexical import places_of, window, words
from midway.kinds import raw as cells
from midway.kinds import submitted
from midway.kinds.edges import edges, excerpt, locate, reachable, visible
from midway.kinds.kind import Answers, Kind, Scores, of_mean
from midway.kinds.raw import REACH, Broken
from midway.kinds.tokens import Features, backend_of, columns, plain
from midway.study.errors import InputError

LONGEST = 30  # pieces of an answer; the SQuAD scripts' max_answer_length


class Span(Kind):
    pooled = False
    blind = ("question", "question_blind")
    suffix = "json"
    features = {
        "context": "text",
        "question": "text",
        "answers": {"text": ["text"], "answer_start": ["number"]},
    }

    def read(self, card, part: dict, row: dict) -> dict | None:
        named = part.get("columns", {})
        name = {key: named.get(key, key) for key in ("context", "question", "answers")}
        context, question = (cells.text(row, name[key]) for key in ("context", "question"))
        found = cells.get(row, name["answers"])
        if isinstance(found, dict):  # the hub's mapping of lists
            pairs = zip(cells.get(found, "text"), cells.get(found, "answer_start"), strict=False)
            found = [{"text": t, "answer_start": s} for t, s in pairs]
        if not isinstance(found, list):
            raise Broken("'answers' is not a list")
        texts, starts = [], []
        for answer in found:
            answer_text = cells.text(answer, "text", empty=True)
            start = cells.get(answer, "answer_start")
            if not isinstance(start, int) or isinstance(start, bool):
                raise Broken(f"answer_start is {cells.short(start)}, not a number")
            if answer_text:
                texts.append(answer_text)
                starts.append(_start(context, answer_text, start, part.get("realign", False)))
        made: dict = {"id": cells.id_of(row, {"id": named.get("id", "id")}), "context": context}
        made |= {"question": question, "answers": {"text": texts, "answer_start": starts}}
        impossible = not found or (isinstance(row, dict) and row.get("is_impossible") is True)
        if impossible and part.get("impossible"):
            if texts:
                raise Broken("the question is marked impossible but has an answer")
            return None if part.get("answerable") else made | {"labelled": True}
        if not found:
            raise Broken("the question has no answers")
        return made | {"labelled": bool(texts)}

    def shuffled(self, table: dict, rng) -> dict:
        """Answers replaced by a random span of as many words (or characters) of the context."""
        both = zip(table["context"], table["answers"], strict=True)
        return table | {"answers": [_random_span(c, a, rng) for c, a in both]}

    def encode(self, rows, labels, tokenizer, max_length, stride) -> Features:
        backend = backend_of(tokenizer, None)
        texts, answers = rows["context"], rows["answers"]
        questions = backend.encode_batch(rows["question"], add_special_tokens=False)
        contexts = backend.encode_batch(texts, add_special_tokens=False)
        special = backend.num_special_tokens_to_add(True)
        encodings, owner, spans, offsets = [], [], [], []
        for i, (question, context) in enumerate(zip(questions, contexts, strict=True)):
            # A question may take at most half of the room, so that every context gets its turn.
            question.truncate((max_length - special) // 2)
            room = max_length - special - len(question.ids)
            context.truncate(room, stride=min(stride, room // 2))
            marks = edges(texts[i])
            for piece in [context, *context.overflowing]:
                both = backend.post_process(question, piece, True)
                inside = np.array([s == 1 for s in both.sequence_ids])
                where = np.array(both.offsets, np.int32).reshape(-1, 2)
                where[inside] = visible(where[inside], *marks)
                where[~inside] = -1
                encodings.append(both)
                owner.append(i)
                offsets.append(where)
                spans.append(locate(where, answers[i], texts[i]))
        features = plain("span", encodings, len(questions), owner)
        features.spans, features.offsets = np.array(spans, np.int64).reshape(-1, 2), offsets
        return features

    def head_size(self, labels) -> int:
        return 2

    def groups(self, features, examples) -> list[list[int]]:
        """One window per example and step: the one with the answer, else the first."""
        groups = features.of(examples)
        return [[next((s for s in g if features.spans[s].any()), g[0])] for g in groups]

    def targets(self, features, examples, sequences, width: int) -> dict:
        allowed = np.zeros((len(sequences), width), bool)
        allowed[:, 0] = True  # the first token means no answer
        for row, s in enumerate(sequences):
            where = features.offsets[s]
            allowed[row, : len(where)] |= where[:, 0] >= 0
        return {"spans": features.spans[sequences], "allowed": allowed}

    def loss(self, logits, batch: dict):
        from torch.nn.functional import cross_entropy

        logits = logits.masked_fill(~batch["allowed"].unsqueeze(-1), -1e4)
        first, last = batch["spans"].unbind(1)
        return (cross_entropy(logits[..., 0], first) + cross_entropy(logits[..., 1], last)) / 2

    def probed(self, features, sequence: int):
        """Pieces of the context and whether they belong to the answer."""
        at = np.flatnonzero(features.offsets[sequence][:, 0] >= 0)
        begin, end = features.spans[sequence]
        return at, ((at >= begin) & (at <= end) & (end > 0)).astype(int)

    def answer(self, values, features, rows, labels, null: bool) -> Answers:
        """Best span over all windows of each question, and the gold span's log-odds."""
        n = features.examples
        best = [(-np.inf, "")] * n
        empty = np.full(n, np.inf)
        margin, losses, confidence = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
        silence = np.zeros(n)  # no-answer probability, the minimum over windows
        contexts = rows["context"]
        for s, value in enumerate(values):
            e, where = features.owner[s], features.offsets[s]
            inside = np.flatnonzero((where[:, 0] >= 0) & (where[:, 1] > where[:, 0]))
            # Raw logits are compared across windows, as the reference scripts do.
            start, end = value[inside, 0], value[inside, 1]
            none = value[0, 0] + value[0, 1]
            norm = sum(
                np.logaddexp.reduce(np.append(value[inside, k], value[0, k])) for k in (0, 1)
            )
            if none < empty[e]:
                empty[e], silence[e] = none, np.exp(none - norm)
            if not len(inside):
                continue
            gap = np.arange(len(inside)) - np.arange(len(inside))[:, None]
            total = np.where((gap >= 0) & (gap < LONGEST), start[:, None] + end, -np.inf)
            i, j = np.unravel_index(total.argmax(), total.shape)
            if total[i, j] > best[e][0]:
                text = contexts[e][where[inside[i], 0] : where[inside[j], 1]]
                best[e] = float(total[i, j]), text
                confidence[e] = float(np.exp(total[i, j] - norm))
            first, last = features.spans[s]
            if first or last:
                a, b = np.searchsorted(inside, [first, last])
                gold, total[a, b] = start[a] + end[b], -np.inf
                rival = max(total.max(), none if null else -np.inf)
                losses[e], margin[e] = (norm - gold) / 2, gold - rival
        if null:
            for e, answers in enumerate(rows["answers"]):
                if not answers["text"]:
                    margin[e] = empty[e] - best[e][0]
        silent = [null and empty[e] > score for e, (score, _) in enumerate(best)]
        texts = ["" if quiet else text for quiet, (_, text) in zip(silent, best, strict=True)]
        confidence = np.where(silent, silence, confidence)
        return Answers(texts, losses, margin, confidence=confidence)

    def score(self, card, predictions, rows, lang: str) -> dict[str, float]:
        rows = columns(rows)
        references = {i: a["text"] for i, a in zip(rows["id"], rows["answers"], strict=True)}
        return _scores(card, dict(zip(rows["id"], predictions, strict=True)), references, lang)

    def about(self, card, features, rows, lang: str) -> dict:
        return {"reachable": reachable(features, columns(rows), card, lang, LONGEST)}

    def measure(self, card, answers: Answers, rows) -> dict[str, float]:
        rows = columns(rows)
        gold = [a["text"] for a in rows["answers"]]
        each = zip(answers.predictions, gold, strict=True)
        exact = (_scores(card, {"": p}, {"": g}, "en")["em"] for p, g in each)
        answers.right = np.array([em > 0 for em in exact])
        found = self.score(card, answers.predictions, rows, "en")
        return {"em": found["em"], "f1": found["f1"]}

    def main(self, card, scores: dict[str, float]) -> float:
        return (scores["em"] + scores["f1"]) / 2

    def shown(self, row: dict, labels) -> dict[str, str]:
        context = excerpt(row["context"], row["answers"])
        return {"context": context, "question": escape(row["question"])}

    def asked(self, row: dict, labels) -> tuple[str, str]:
        return row["question"], "; ".join(row["answers"]["text"])

    def fit_controls(self, card, rows: list, state: dict) -> None:
        starts, lengths = [], []
        for row in rows:
            total = max(1, len(words(row["context"])))
            for text, start in zip(*map(row["answers"].get, ("text", "answer_start")), strict=True):
                starts.append(len(words(row["context"][:start])) / total)
                lengths.append(max(1, len(words(text))))
        state["start"] = float(np.median(starts)) if starts else 0.0
        state["length"] = float(np.median(lengths)) if lengths else 1.0
        state["unanswerable"] = any(not row["answers"]["text"] for row in rows)

    def controls(self, card, rows: list, state: dict, lang: str, rng) -> Scores:
        answers = {"random_span": [], "usual_place": [], "sliding_window": []}
        if state["unanswerable"]:
            answers["no_answer"] = [""] * len(rows)
        for row in rows:
            context, (places, factor) = row["context"], places_of(row["context"])
            tokens = [context[a:b].lower() for a, b in places]
            length = min(len(places), round(factor * state["length"]))
            most = len(places) - length
            starts = {
                "random_span": int(rng.integers(0, most + 1)),
                "usual_place": min(most, int(state["start"] * len(places))),
                "sliding_window": window(tokens, set(words(row["question"])), length),
            }
            for name, first in starts.items():
                answers[name].append(context[places[first][0] : places[first + length - 1][1]])
        gold = {str(i): row["answers"]["text"] for i, row in enumerate(rows)}
        numbered = {k: {str(i): t for i, t in enumerate(given)} for k, given in answers.items()}
        return {name: _scores(card, given, gold, lang) for name, given in numbered.items()}

    def submission(self, card, predictions, rows):
        return dict(zip(columns(rows)["id"], predictions, strict=True))

    def write(self, predictions) -> str:
        return json.dumps(dict(predictions), ensure_ascii=False, indent=0) + "\n"

    def gold(self, card, rows, lang: str) -> dict:
        return {r["id"]: r["answers"]["text"] for r in rows}

    def parse(self, text: str) -> dict[str, str]:
        found = submitted.tree(text)
        if not isinstance(found, dict) or not all(isinstance(t, str) for t in found.values()):
            raise InputError("expected one JSON object {question id: answer text}")
        return found

    def parse_gold(self, text: str) -> list[tuple[str, list[str]]]:
        return submitted.questions(text)

    def score_parsed(self, card, told, gold, lang: str) -> tuple[dict[str, float], list[str]]:
        given = [told[key].strip() for key, _ in gold if key in told]
        if not given:
            raise InputError(f"answers none of {len(gold)} questions; do the ids agree?")
        scores = metrics.qa_scores(told, gold, lang, card.name)
        unanswered = 100.0 * (len(gold) - len(given)) / len(gold)
        return scores | {"unanswered": unanswered}, submitted.alike(given, "answers")

    def shares(self, card, gold: dict, told, lang: str) -> np.ndarray | None:
        return of_mean([_scores(card, told, {i: gold[i]}, lang)["em_f1"] for i in gold])

    def summary(self, card, average: dict[str, float]) -> float:
        return (average["exact_match"] + average["f1"]) / 2


def _scores(card, given: dict, references: dict, lang: str) -> dict[str, float]:
    found = metrics.qa_scores(given, references, lang, card.name)
    em, f1 = found["exact_match"], found["f1"]
    return {"em": em, "f1": f1, "em_f1": (em + f1) / 2}


def _start(context: str, answer: str, start: int, realign: bool) -> int:
    """Where the answer stands; Broken when the file's offset points to something else."""
    if start >= 0 and context.startswith(answer, start):
        return start
    if realign:
        around = range(max(0, start - REACH), start + REACH + 1)
        near = [s for s in around if context.startswith(answer, s)]
        if near:
            return min(near, key=lambda s: (abs(s - start), s))
    there = cells.short(context[max(0, start) : max(0, start) + len(answer)])
    raise Broken(f"answer_start {start} points to {there}, not to {cells.short(answer)}")


def _random_span(context: str, answers: dict, rng) -> dict:
    if not answers["text"]:
        return answers
    if " " not in context:  # written without spaces: characters instead of words
        length = min(len(answers["text"][0]), len(context))
        at = int(rng.integers(len(context) - length + 1))
        return {"text": [context[at : at + length]], "answer_start": [at]}
    starts = [0] + [i + 1 for i, c in enumerate(context) if c == " "]
    words = len(answers["text"][0].split()) or 1
    at = int(rng.integers(max(1, len(starts) - words + 1)))
    end = starts[at + words] - 1 if at + words < len(starts) else len(context)
    return {"text": [context[starts[at] : end]], "answer_start": [starts[at]]}


KIND = Span()
