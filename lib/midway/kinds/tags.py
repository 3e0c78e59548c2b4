"""Tagging of words: part of speech, named entities, CCG supertags.

Rows: tokens, tags (none: stripped).
Controls: majority, random, lexicon (each word's most frequent tag, rare words' tag for unknown).
"""

from collections import Counter
from html import escape

import numpy as np

from midway.evaluation import metrics
from midway.kinds import raw as cells
from midway.kinds import submitted
from midway.kinds.kind import Answers, Kind, Scores, decided, log_softmax, of_f1
from midway.kinds.raw import Broken
from midway.kinds.tokens import BLANK, UNKNOWN, Features, backend_of, columns, plain, space_of


class Tags(Kind):
    pooled = False
    features = {"tokens": ["text"], "tags": ["text"]}

    def read(self, card, part: dict, row: dict) -> dict:
        named = part.get("columns", {"tokens": "tokens", "tags": "tags"})
        tokens = cells.get(row, named["tokens"])
        tags = cells.get(row, named["tags"]) if named["tags"] in row else None
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise Broken("its words are no list of texts")
        if not any(tokens):  # a single empty word has a tag that scorers count
            raise Broken("a sentence without words")
        if not tags:
            return {"id": "", "tokens": tokens, "tags": [], "labelled": False}
        if len(tags) != len(tokens):
            raise Broken(f"{len(tokens)} words but {len(tags)} tags")
        known, indices = part.get("values", {}), dict(enumerate(card.labels))
        tags = [known.get(str(t), t) for t in tags]
        tags = [indices.get(t, t) if isinstance(t, int) else t for t in tags]  # as in Parquet
        for tag in tags:
            if not isinstance(tag, str) or not tag or (card.labels and tag not in card.labels):
                allowed = " ".join(card.labels) or "any text"
                raise Broken(f"tag {cells.short(tag)} is not one of {allowed}")
        return {"id": "", "tokens": tokens, "tags": tags, "labelled": True}

    def inventory(self, card, rows) -> tuple[str, ...]:
        """The card's tags or, for tag sets that no card lists (CCG), those of the rows."""
        return card.labels or tuple(sorted({tag for tags in rows["tags"] for tag in tags}))

    def shuffled(self, table: dict, rng) -> dict:
        """Tags permuted over all words."""
        flat = iter(rng.permutation([t for tags in table["tags"] for t in tags]).tolist())
        return table | {"tags": [[next(flat) for _ in tags] for tags in table["tags"]]}

    def encode(self, rows, labels, tokenizer, max_length, stride) -> Features:
        from tokenizers import Encoding

        index = {label: i for i, label in enumerate(labels)}
        backend = backend_of(tokenizer, None)
        room, space = max_length - backend.num_special_tokens_to_add(False), space_of(backend)
        encodings, owner, words, tags = [], [], [], []
        for i, (tokens, gold) in enumerate(zip(rows["tokens"], rows["tags"], strict=True)):
            # Words are encoded one by one, as the reference scripts do; a sentence too long for the
            # encoder becomes several sequences, cut between words.
            spaced = [space + token for token in tokens]
            pieces = backend.encode_batch(spaced, add_special_tokens=False)
            start = 0
            while start < len(tokens):
                end, used = start, 0
                while end < len(tokens) and (end == start or used + len(pieces[end].ids) <= room):
                    used += len(pieces[end].ids)
                    end += 1
                merged = Encoding.merge(pieces[start:end], growing_offsets=False)
                merged.truncate(room)
                encodings.append(backend.post_process(merged, None, True))
                owner.append(i)
                places = _first_pieces(pieces[start:end], start, room)
                words.append(places)
                own = [index.get(gold[w], UNKNOWN) if gold else UNKNOWN for _, w in places]
                tags.append(np.array(own, np.int64))
                start = end
        features = plain("tags", encodings, len(rows["tokens"]), owner)
        features.words, features.tags = words, tags
        return features

    def targets(self, features, examples, sequences, width: int) -> dict:
        rows = np.repeat(np.arange(len(sequences)), [len(features.words[s]) for s in sequences])
        places = np.concatenate([features.words[s][:, 0] for s in sequences])
        tags = np.concatenate([features.tags[s] for s in sequences])
        return {"rows": rows, "places": places, "tags": tags}

    def loss(self, logits, batch: dict):
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits[batch["rows"], batch["places"]], batch["tags"])

    def probed(self, features, sequence: int):
        """First pieces of words and their tags."""
        return features.words[sequence][:, 0], features.tags[sequence]

    def answer(self, values, features, rows, labels, null=False) -> Answers:
        scores = [log_softmax(v[w[:, 0]]) for v, w in zip(values, features.words, strict=True)]
        found = decided(
            np.concatenate([*scores, np.zeros((0, len(labels)))]),
            np.concatenate([*features.tags, np.zeros(0, np.int64)]),
        )
        # A word without any piece (control characters only) still gets a tag.
        fallback = "O" if "O" in labels else labels[-1]
        out = [[fallback] * len(tokens) for tokens in rows["tokens"]]
        for s, words in enumerate(features.words):
            for (_, word), row in zip(words, scores[s], strict=True):
                out[features.owner[s]][word] = labels[int(row.argmax())]
        found.predictions = out
        found.owner = np.repeat(features.owner, [len(words) for words in features.words])
        return found

    def score(self, card, predictions, rows, lang: str) -> dict[str, float]:
        found = metrics.tag_scores(predictions, columns(rows)["tags"])
        return found | {"f1": found["f1_xtreme"]}

    def measure(self, card, answers: Answers, rows) -> dict[str, float]:
        scores = self.score(card, answers.predictions, rows, "en")
        return {"accuracy": scores["accuracy"], "tag_f1": scores["f1"]}

    def main(self, card, scores: dict[str, float]) -> float:
        return scores["tag_f1"] if card.metric == "f1" else scores["accuracy"]

    def shown(self, row: dict, labels) -> dict[str, str]:
        words = zip(row["tokens"], row["tags"], strict=True)
        return {"words": " ".join(f"{escape(w)}<sub>{escape(str(t))}</sub>" for w, t in words)}

    def asked(self, row: dict, labels) -> tuple[str, str]:
        return " ".join(row["tokens"]), " ".join(map(str, row["tags"]))

    def fit_controls(self, card, rows: list, state: dict) -> None:
        counts: dict[str, Counter] = {}
        for row in rows:
            for word, tag in zip(row["tokens"], row["tags"], strict=True):
                counts.setdefault(word.lower(), Counter())[tag] += 1
        total, rare = Counter(), Counter()
        for of_word in counts.values():
            total += of_word
            if of_word.total() == 1:
                rare += of_word
        state["lexicon"] = {word: c.most_common(1)[0][0] for word, c in counts.items()}
        state["total"] = total
        state["unknown"] = (rare or total).most_common(1)[0][0]

    def controls(self, card, rows: list, state: dict, lang: str, rng) -> Scores:
        lexicon, unknown, total = state["lexicon"], state["unknown"], state["total"]
        names, usual = sorted(total), total.most_common(1)[0][0]
        shares = np.array([total[name] for name in names]) / total.total()
        answers = {
            "majority": [[usual] * len(row["tokens"]) for row in rows],
            "random": [rng.choice(names, len(row["tokens"]), p=shares).tolist() for row in rows],
            "lexicon": [[lexicon.get(w.lower(), unknown) for w in row["tokens"]] for row in rows],
        }
        gold = {"tags": [list(row["tags"]) for row in rows]}
        scores = {name: self.score(card, given, gold, lang) for name, given in answers.items()}
        return {name: {k: s[k] for k in ("f1", "accuracy")} for name, s in scores.items()}

    def write(self, predictions) -> str:
        return "\n".join("".join(f"{tag}\n" for tag in tags) for tags in predictions)

    def gold(self, card, rows, lang: str) -> dict:
        return {r["id"]: r["tags"] for r in rows}

    def parse(self, text: str) -> list[list[str]]:
        blocks = "\n".join(submitted.lines(text)).strip("\n").split("\n\n")
        return [block.split("\n") for block in blocks if block]

    def score_parsed(self, card, told, gold, lang: str) -> tuple[dict[str, float], list[str]]:
        submitted.same_length(told, gold, "sentences")
        scores = self.score(card, told, {"tags": gold}, lang)
        ours, theirs = ([tag for tags in side for tag in tags] for side in (told, gold))
        said = submitted.alike(ours, "tags") if len(set(theirs)) > 1 else []
        said += submitted.known(ours, [*theirs, *card.labels], "tag")
        return {"f1": scores.pop("f1_xtreme")} | scores, said

    def shares(self, card, gold: dict, told, lang: str) -> np.ndarray | None:
        if len(told) != len(gold):
            return None
        both = zip(told, gold.values(), strict=True)
        return of_f1([[metrics.chunks([tags]) for tags in pair] for pair in both])


def _first_pieces(pieces, start: int, room: int) -> np.ndarray:
    """(position, word) of each word's first piece that has text; +1 for the start token."""
    places, at = [], 1
    for w, word in enumerate(pieces, start):
        filled = next((k for k, t in enumerate(word.tokens) if t.strip(BLANK)), None)
        if filled is None and word.ids:
            filled = 0
        if filled is not None and at - 1 + filled < room:
            places.append((at + filled, w))
        at += len(word.ids)
    return np.array(places, np.int64).reshape(-1, 2)


KIND = Tags()
