"""Every split of every card through the real client libraries, from a hub of our own."""

import re

import pytest
import repositories

from midway.data import sources
from midway.study import params, tasks

HUB = params.Data(source="hub")
EVERY = [
    (card.name, split, lang)
    for card in tasks._ALL.values()
    if card.hub
    for split in ("train", "dev", "test")
    if card.hub.get(split)
    for lang in (("en",) if split == "train" else card.languages)
]


ONE = [(n, s, lang) for n, s, lang in EVERY if lang in ("en", "de")]


@pytest.mark.parametrize(
    "loads", [ONE, pytest.param(EVERY, marks=pytest.mark.slow)], ids=["two", "all"]
)
def test_every_split_of_every_card_and_language(hub, loads):
    """A wrong pin, spelling or column leaves a study without data; all of them are read here."""
    for name, split, lang in loads:
        rows = sources.load(name, split, lang, HUB)
        card = tasks.get(name)
        assert len(rows) and set(rows["lang"]) == {lang} and len(set(rows["id"])) == len(rows)
        row = rows[0]
        if card.kind == "pair":
            assert set(rows["label"]) == set(range(len(card.labels))), (name, split)
            assert row["text_a"].startswith(lang)
        elif card.kind == "choice":
            gold = [r["choices"][r["label"]] for r in rows]
            assert all(g.endswith(f" {r['label']}") for g, r in zip(gold, rows, strict=True))
        elif card.kind == "span" and row["answers"]["text"]:
            start, text = row["answers"]["answer_start"][0], row["answers"]["text"][0]
            assert row["context"][start : start + len(text)] == text
            assert row["context"].startswith(lang)
        elif card.kind == "tags":
            labels = card.labels
            first = labels.index(row["tags"][0])  # integers became names in the card's order
            assert row["tags"] == [
                labels[(first + i) % len(labels)] for i in range(len(row["tags"]))
            ]
    commits = {commit for _, commit in repositories.parts()}
    asked = {m for line in hub.log for m in re.findall(r"[0-9a-f]{40}", line.split("/lfs/")[0])}
    assert asked <= commits and len(asked) > 5
