"""Sentence retrieval (Tatoeba): find each sentence's translation among all candidates.

Rows: source (foreign), target (English). The encoder is used as it is.
Controls: random (1/n), char_ngrams (tf-idf of character n-grams, English looks for foreign).
"""

import numpy as np

from midway.evaluation.lexical import MOST, nearest_by_ngrams
from midway.kinds import raw as cells
from midway.kinds.kind import Kind, Scores
from midway.study.errors import InputError


class Parallel(Kind):
    trains = False
    features = {"source": "text", "target": "text"}

    def read(self, card, part: dict, row: dict) -> dict | None:
        named = part.get("columns", {})
        made = {key: cells.text(row, named.get(key, key)) for key in ("source", "target")}
        # The hub's rows keep the line end of the files they were made from.
        return {k: v.strip() for k, v in made.items()} | {"id": "", "labelled": True}

    def evaluate(self, run, card, lang: str, rivals):
        """Accuracy in the study's direction of search, for every layer; a ``ScoreRecord``."""
        from midway.evaluation import retrieval

        rows = run.rows(card, "test", lang)
        foreign, english = (run.vectors(rows[side][:]) for side in ("source", "target"))
        how = run.study.transfer.direction
        sweep = {k: retrieval.retrieval_accuracy(foreign[k], english[k]) for k in foreign}
        # As XTREME and jiant search: each English sentence looks for its translation.
        found = retrieval.nearest(english[run.layer], foreign[run.layer])
        metrics = sweep[run.layer] | {"accuracy": sweep[run.layer][how]}
        extra = run.about_vectors(direction=how, layers=sweep)
        return run.keep(card, lang, rows, metrics, found.tolist(), rivals, extra)

    def controls(self, card, rows: list, state: dict, lang: str, rng) -> Scores:
        scores = {"random": {"accuracy": 100.0 / len(rows)}}
        if len(rows) <= MOST:
            _, near = nearest_by_ngrams([r["source"] for r in rows], [r["target"] for r in rows])
            right = near == np.arange(len(rows))
            scores["char_ngrams"] = {"accuracy": 100.0 * float(right.mean())}
        return scores

    def score_parsed(self, card, told, gold, lang: str) -> tuple[dict[str, float], list[str]]:
        scores, said = super().score_parsed(card, told, gold, lang)
        shifted = sum(
            p == str(int(g) + 1) for p, g in zip(told, gold, strict=True) if g.isdecimal()
        )
        if not scores["accuracy"] and shifted > len(gold) / 4:
            raise InputError("counts lines from 1, the labels count from 0")
        return scores, said

    def gold(self, card, rows, lang: str) -> dict:
        """Items differ between languages; the answer is a place among all candidates."""
        return {f"{lang} {r['id']}": str(i) for i, r in enumerate(rows)}


KIND = Parallel()
