"""Bitext mining (BUCC): find the translation pairs in two collections of sentences.

Rows: side ('source' foreign | 'target' English), text, gold (ids of translations). The encoder is
used as it is. Controls: random, char_ngrams (mutual nearest neighbours, no threshold).
"""

import numpy as np

from midway.evaluation.lexical import MOST, nearest_by_ngrams
from midway.kinds import raw as cells
from midway.kinds import submitted
from midway.kinds.kind import Kind, Scores, of_f1
from midway.study.errors import InputError


class Mining(Kind):
    trains = False
    features = {"side": "text", "text": "text", "gold": ["text"]}

    def read(self, card, part: dict, row: dict) -> dict | None:
        cells.text(row, "text")
        return row | {"labelled": True}

    def evaluate(self, run, card, lang: str, rivals):
        """The margin threshold is fitted on dev and applied to test; a ``ScoreRecord``."""
        from midway.evaluation import retrieval

        options: dict = {
            "k": run.study.transfer.mining_neighbours,
            "memory_mb": run.study.compute.mining_memory_mb,
            "device": run.machine.device,
        }
        mined: dict[str, dict[int, tuple]] = {}
        for split in ("dev", "test"):
            rows = run.rows(card, split, lang).to_list()
            x, y = ([r for r in rows if r["side"] == side] for side in ("source", "target"))
            gold = {(r["id"], g) for r in x for g in r["gold"]}
            left, right = (run.vectors([r["text"] for r in side]) for side in (x, y))
            left = {k: v for k, v in left.items() if k in right}
            mined[split] = {
                k: (*retrieval.mine_bucc(left[k], right[k], x, y, **options), gold) for k in left
            }
        cuts = {k: retrieval.best_threshold(*found) for k, found in mined["dev"].items()}
        tested = {k: found for k, found in mined["test"].items() if k in cuts}
        sweep = {k: retrieval.mining_scores(*found, cuts[k]) for k, found in tested.items()}
        pairs, values, _ = mined["test"][run.layer]
        kept = [p for p, v in zip(pairs, values, strict=True) if v >= cuts[run.layer]]
        extra = run.about_vectors(threshold=cuts[run.layer], fitted_on="dev", layers=sweep)
        return run.keep(card, lang, rows, sweep[run.layer], kept, rivals, extra)

    def controls(self, card, rows: list, state: dict, lang: str, rng) -> Scores:
        x, y = ([row for row in rows if row["side"] == side] for side in ("source", "target"))
        gold = {(row["id"], other) for row in x for other in row["gold"]}
        if not x or not y or not gold:
            raise InputError(f"controls: {card.name} {lang} needs both sides and gold pairs")
        # one random partner for each of x: expected number right is gold / y
        scores = {"random": {"f1": 200.0 * len(gold) / len(y) / (len(x) + len(gold))}}
        if max(len(x), len(y)) <= MOST:
            ahead, back = nearest_by_ngrams([row["text"] for row in x], [row["text"] for row in y])
            pairs = {(x[i]["id"], y[j]["id"]) for i, j in enumerate(ahead) if back[j] == i}
            scores["char_ngrams"] = {"f1": 200.0 * len(pairs & gold) / (len(pairs) + len(gold))}
        return scores

    def write(self, predictions) -> str:
        return "".join(f"{source}\t{target}\n" for source, target in predictions)

    def gold(self, card, rows, lang: str) -> dict:
        return {f"{lang} {r['id']}": set(r["gold"]) for r in rows if r["side"] == "source"}

    def parse(self, text: str) -> list[tuple[str, ...]]:
        return [tuple(line.split("\t")) for line in submitted.lines(text, columns=2) if line]

    def score_parsed(self, card, told, gold, lang: str) -> tuple[dict[str, float], list[str]]:
        said = [] if told else ["no pair is predicted"]
        for pairs, whose in ((told, "predictions"), (gold, "labels")):
            if [any(map(str.isdigit, "".join(pair))) for pair in pairs[:2]] == [False, True]:
                shown = " ".join(pairs[0])
                said.append(f"the first pair of the {whose}, {shown!r}, holds no number: a header?")
        told, gold = set(told), set(gold)
        right = len(told & gold)
        turned = sum((b, a) in gold for a, b in told - gold)
        said += [f"pairs that are gold with their columns swapped: {turned}"] if turned else []
        ours, theirs = ([set(ids) for ids in zip(*side, strict=True)] for side in (told, gold))
        strange = [i for i in (0, 1) if told and ours[i].isdisjoint(theirs[i])]
        if strange and (ours[0] & theirs[1] or ours[1] & theirs[0]):
            reason = "its columns or those of the labels are swapped"
            raise InputError(f"{reason}; the foreign id must come first")
        if strange:
            where = ("first", "second")[strange[0]]
            said.append(f"no id of the {where} column occurs in the labels; do the ids agree?")
            if len(told) >= 10:
                raise InputError(said[-1])
        scores = {
            "f1": 200.0 * right / (len(told) + len(gold)),
            "precision": 100.0 * right / len(told) if told else 0.0,
            "recall": 100.0 * right / len(gold),
        }
        return scores, said

    def shares(self, card, gold: dict, told, lang: str) -> np.ndarray | None:
        found: dict = {i: set() for i in gold}
        for a, b in told:
            found.setdefault(f"{lang} {a}", set()).add(b)
        return of_f1([(found[i], gold[i]) for i in gold])


KIND = Mining()
