"""The hub without a network: local files with the hub's exact columns, read by load_dataset."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value, load_dataset

from midway.data import hub, sources
from midway.study import params, tasks
from midway.study.errors import MissingData

HUB = params.Data(source="hub")
TEXT = Value("string")
NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
ANSWERS = {"text": List(TEXT), "answer_start": List(Value("int32"))}
UPOS = ClassLabel(names=list(tasks.get("udpos").labels))
NER = ClassLabel(names=list(tasks.get("panx").labels))


def _nli(**more):
    return {"premise": TEXT, "hypothesis": TEXT, "label": NLI} | more


def _qa(**more):
    return {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": ANSWERS} | more


def _q(key, context="  In 1911 it fell.", text="1911", start=5):
    """A question; the offset counts spaces in front that the hub's conversion has stripped."""
    found = {"text": [text], "answer_start": [start]} if text else {"text": [], "answer_start": []}
    context = context.strip() if start == 5 else context
    return {"id": key, "title": "t", "context": context, "question": "When?", "answers": found}


#: (id, configuration) -> columns and rows as the dataset cards of the hub document them
TABLES = {
    ("facebook/anli", "plain_text"): (
        {"uid": TEXT, "premise": TEXT, "hypothesis": TEXT, "label": NLI, "reason": TEXT},
        [{"uid": "u", "premise": "p", "hypothesis": "h", "label": 2, "reason": ""}],
    ),
    ("nyu-mll/glue", "mnli"): (
        _nli(idx=Value("int32")),
        [{"premise": "p", "hypothesis": "h", "label": i, "idx": i} for i in range(3)],
    ),
    ("nyu-mll/glue", "qqp"): (
        {
            "question1": TEXT,
            "question2": TEXT,
            "label": ClassLabel(names=["not_duplicate", "duplicate"]),
            "idx": Value("int32"),
        },
        [{"question1": "a", "question2": "b", "label": 1, "idx": 0}],
    ),
    ("stanfordnlp/snli", "plain_text"): (
        _nli(),
        [{"premise": "p", "hypothesis": "h", "label": i} for i in (0, -1, 1)],
    ),
    ("rajpurkar/squad", "plain_text"): (_qa(), [_q("1", "In 1911", start=3)]),
    ("rajpurkar/squad_v2", "squad_v2"): (_qa(), [_q("1", "In 1911", start=3), _q("2", text="")]),
    ("Rowan/hellaswag", None): (
        dict.fromkeys(["activity_label", "ctx_a", "ctx_b", "ctx", "source_id", "split"], TEXT)
        | {"ind": Value("int32"), "endings": List(TEXT), "split_type": TEXT, "label": TEXT},
        [
            dict.fromkeys(["activity_label", "ctx_a", "ctx_b", "source_id", "split"], "x")
            | {"ind": 7, "ctx": "c", "endings": list("wxyz"), "split_type": "x", "label": "3"}
        ],
    ),
    ("allenai/cosmos_qa", None): (
        dict.fromkeys(["id", "context", "question", *(f"answer{i}" for i in range(4))], TEXT)
        | {"label": Value("int32")},
        [
            {"id": "1", "context": "c", "question": "q", "label": 2}
            | {f"answer{i}": str(i) for i in range(4)}
        ],
    ),
    ("tau/commonsense_qa", None): (
        {"id": TEXT, "question": TEXT, "question_concept": TEXT, "answerKey": TEXT}
        | {"choices": {"label": List(TEXT), "text": List(TEXT)}},
        [
            {"id": "1", "question": "q", "question_concept": "c", "answerKey": "B"}
            | {"choices": {"label": ["A", "B"], "text": ["no", "yes"]}}
        ],
    ),
    ("google/xtreme", "XNLI"): (
        dict.fromkeys(["language", "sentence1", "sentence2", "gold_label"], TEXT),
        [
            {"language": lang, "sentence1": lang, "sentence2": "b", "gold_label": "neutral"}
            for lang in tasks.get("xnli").languages
        ],
    ),
    ("google/xtreme", "PAWS-X"): (
        dict.fromkeys(["sentence1", "sentence2", "label"], TEXT),
        [{"sentence1": "a", "sentence2": "b", "label": "1"}],
    ),
    ("google/xtreme", "udpos"): (
        {"tokens": List(TEXT), "pos_tags": List(UPOS)},
        [{"tokens": ["and", "go"], "pos_tags": [4, 15]}],
    ),
    ("google/xtreme", "PAN-X"): (
        {"tokens": List(TEXT), "ner_tags": List(NER), "langs": List(TEXT)},
        [{"tokens": ["Rome", "is"], "ner_tags": [5, 0], "langs": ["en", "en"]}],
    ),
    ("google/xtreme", "XQuAD"): (_qa(), [_q("1")]),
    ("google/xtreme", "MLQA"): (_qa(), [_q("1")]),
    ("google/xtreme", "tydiqa"): (
        _qa(),
        [
            _q(f"{name}-{i}-0")
            for name in tasks.get("tydiqa").hub["codes"].values()
            for i in range(10)
        ],
    ),
    ("google/xtreme", "bucc18"): (
        dict.fromkeys(["source_sentence", "target_sentence", "source_lang", "target_lang"], TEXT),
        [
            {"source_sentence": "eins", "target_sentence": "one", "source_lang": "de-1"}
            | {"target_lang": "en-9"}
        ],
    ),
    ("google/xtreme", "tatoeba"): (
        dict.fromkeys(["source_sentence", "target_sentence", "source_lang", "target_lang"], TEXT),
        [
            {"source_sentence": "Hallo.\n", "target_sentence": "Hello.\n", "source_lang": "deu"}
            | {"target_lang": "eng"}
        ],
    ),
}


@pytest.fixture
def fake_hub(tmp_path, monkeypatch):
    """load_dataset that finds the tables above in Parquet files; asked names are remembered."""
    asked = []

    def builder(name, config, *, split, revision):
        asked.append((name, config, split, revision))
        family = config.split(".")[0] if name == "google/xtreme" else config
        columns, rows = TABLES[name, family]
        path = tmp_path / f"{len(asked)}.parquet"
        Dataset.from_list(rows, features=Features(columns)).to_parquet(path)
        return load_dataset(
            "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
        )

    real = hub.load
    monkeypatch.setattr(hub, "load", lambda *a: real(*a, builder=builder))
    return asked


def _revised(monkeypatch, name):
    """A card whose missing revision is known, to try its columns."""
    card = tasks.get(name)
    if card.hub["revision"] is None:
        monkeypatch.setitem(card.hub, "revision", "f" * 40)
    return card


EVERY = [
    (card.name, split, lang)
    for card in tasks._ALL.values()
    if card.hub
    for split in ("train", "dev", "test")
    if card.hub.get(split)
    for lang in ([card.languages[0], "en"] if "en" in card.languages[1:] else [card.languages[0]])
]


@pytest.mark.parametrize("name, split, lang", EVERY)
def test_every_card_reads_the_hubs_columns(name, split, lang, fake_hub, monkeypatch):
    """A renamed column or class would leave a study without data, or with wrong labels."""
    card = _revised(monkeypatch, name)
    rows = sources.load(name, split, lang, HUB)
    assert len(rows) and set(rows["lang"]) == {lang} and len(set(rows["id"])) == len(rows)
    for asked_name, config, _, revision in fake_hub:
        assert len(revision) == 40 and asked_name and "{" not in str(config)
    row = rows[0]
    if card.kind == "pair":
        assert set(rows["label"]) <= set(range(len(card.labels)))
    if card.kind == "choice":
        expected = {"hellaswag": "z", "cosmosqa": "2", "csqa": "yes"}[name]
        assert row["choices"][row["label"]] == expected
    if card.kind == "span" and row["answers"]["text"]:
        start, text = row["answers"]["answer_start"][0], row["answers"]["text"][0]
        assert row["context"][start : start + len(text)] == text
    if card.kind == "tags":
        assert row["tags"] == {"udpos": ["CCONJ", "VERB"], "panx": ["B-LOC", "O"]}[name]
    if card.kind == "parallel":
        assert (row["source"], row["target"]) == ("Hallo.", "Hello.")
    if card.kind == "mining":
        assert [r["side"] for r in rows] == ["source", "target"] and rows[0]["gold"] == ["en-9"]


def test_labels_mean_the_same_as_locally(fake_hub):
    """ANLI+ joins three repositories; SNLI's rows without a verdict are left out."""
    rows = sources.load("anli", "train", "en", HUB)
    assert list(rows["label"]) == [2, 2, 2, 0, 1, 2, 0, 1]
    assert [name for name, *_ in fake_hub] == ["facebook/anli"] * 3 + [
        "nyu-mll/glue",
        "stanfordnlp/snli",
    ]


def test_xnli_and_tydiqa_share_one_table_over_languages(fake_hub):
    assert sources.load("xnli", "test", "sw", HUB)["text_a"] == ["sw"]
    assert sources.load("xnli", "train", "en", HUB)[0]["text_a"] == "p"  # MultiNLI's
    assert sources.load("tydiqa", "test", "te", HUB)["id"][0].startswith("telugu-")
    assert len(sources.load("tydiqa", "train", "en", HUB)) == 9  # the tenth is dev
    assert len(sources.load("tydiqa", "dev", "en", HUB)) == 1


def test_udpos_asks_for_the_hubs_own_spelling(fake_hub):
    """The configuration is called udpos.Afrikans; the right spelling does not exist."""
    sources.load("udpos", "test", "af", HUB)
    assert fake_hub[0][1] == "udpos.Afrikans"


def test_json_works_as_parquet_does(tmp_path, monkeypatch):
    """JSON has no class names: labels are numbers there."""
    path = tmp_path / "rows.jsonl"
    lines = [{"premise": "p", "hypothesis": "h", "label": i, "idx": i} for i in (2, 0)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    def builder(name, config, *, split, revision):
        return load_dataset(
            "json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
        )

    rows = hub.load(tasks.get("mnli"), "train", "en", builder=builder)
    assert [row["label"] for row in rows] == [2, 0]


def test_a_large_table_is_thinned_before_it_is_read(monkeypatch):
    """A laptop that wants 50 of a million rows must not wait for a million."""
    table = Dataset.from_list(
        [{"premise": str(i), "hypothesis": "h", "label": i % 3, "idx": i} for i in range(1000)]
    )
    built = []

    def builder(*_, **__):
        built.append(table)
        return table

    first = hub.load(tasks.get("mnli"), "train", "en", 50, 1, builder)
    again = hub.load(tasks.get("mnli"), "train", "en", 50, 1, builder)
    other = hub.load(tasks.get("mnli"), "train", "en", 50, 2, builder)
    assert 50 <= len(first) < 200 and first == again and first != other


BROKEN = {
    "column": ([{"premise": "p", "label": 0}], "no column 'hypothesis'"),
    "label": ([{"premise": "p", "hypothesis": "h", "label": 7}], "label 7 is not one of"),
    "stripped": ([{"premise": "p", "hypothesis": "h", "label": -1}], "rows without labels"),
    "empty": ([{"premise": "p", "hypothesis": " ", "label": 1}], "'hypothesis' is empty"),
    "number": ([{"premise": 3, "hypothesis": "h", "label": 1}], "int, not text"),
}


@pytest.mark.parametrize("rows, message", BROKEN.values(), ids=BROKEN)
def test_a_changed_table_is_refused(rows, message):
    """Were the hub's columns to change, no row may slip through with another meaning."""
    with pytest.raises(MissingData, match=message) as error:
        hub.load(tasks.get("mnli"), "dev", "en", builder=lambda *_, **__: Dataset.from_list(rows))
    assert "\n" not in str(error.value)


def test_no_network_says_how_to_get_it():
    """Offline, each language is reported missing with the place to get it; no traceback."""
    with pytest.raises(MissingData, match="nyu-mll/glue mnli train at bcdcba79d07b") as error:
        sources.load("mnli", "train", "en", HUB)
    assert "run once with a network" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, reason", [("cosmosqa", "no pinned revision"), ("ccg", "LDC2005T13")]
)
def test_what_the_hub_cannot_give_is_said(name, reason):
    with pytest.raises(MissingData, match=reason):
        sources.load(name, "train", "en", HUB)
