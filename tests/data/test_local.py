"""Official files: real ones load whole, broken ones never give a row."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midway.data import canonical, local, readers, sources
from midway.study import params, tasks
from midway.study.errors import InputError, MissingData

# ---------------------------------------------------------------------------- small valid files


def squad(*questions, version="1.1"):
    """SQuAD's JSON with one paragraph; a question is (id, answer, start) or a dict."""
    qas = [
        q
        if isinstance(q, dict)
        else {"id": q[0], "question": "When?", "answers": [{"text": q[1], "answer_start": q[2]}]}
        for q in questions
    ]
    paragraph = {"context": "In 1911 the war began in 1911.", "qas": qas}
    return json.dumps({"version": version, "data": [{"title": "t", "paragraphs": [paragraph]}]})


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


GLUE = "index\tsentence1\tsentence2\tgold_label\n"
COSMOS = {"id": "1", "context": "c", "question": "q", "label": "2"} | {
    f"answer{i}": f"a{i}" for i in range(4)
}
CSQA = {
    "id": "1",
    "answerKey": "B",
    "question": {"stem": "s", "choices": [{"label": k, "text": k * 2} for k in "ABCDE"]},
}
HELLA = {"ind": 1, "ctx": "c", "endings": list("wxyz"), "label": 3}
SNLI = {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}
ANLI = {"context": "a", "hypothesis": "b", "label": "c"}

#: task -> (split, language, file that a case breaks, all files, rows of the split)
VALID = {
    "xnli": (
        "test",
        "de",
        "download/xnli/test-de.tsv",
        {
            "download/xnli/test-en.tsv": "a\tb\tneutral\n",
            "download/xnli/test-de.tsv": "a\tb\tneutral\nc\td\tentailment\n",
        },
        2,
    ),
    "pawsx": (
        "test",
        "de",
        "download/pawsx/test-de.tsv",
        {
            "download/pawsx/train-en.tsv": "a\tb\t0\n",
            "download/pawsx/test-en.tsv": "a\tb\t1\n",
            "download/pawsx/test-de.tsv": 'a\tb\t1\n"say ""hi"""\td\t0\n',
        },
        2,
    ),
    "udpos": (
        "test",
        "de",
        "download/udpos/test-de.tsv",
        {
            "download/udpos/train-en.tsv": "go\tVERB\n",
            "download/udpos/test-en.tsv": "go\tVERB\n",
            "download/udpos/test-de.tsv": "geh\tVERB\n!\tPUNCT\n\nund\tCCONJ\n\n",
        },
        2,
    ),
    "panx": (
        "test",
        "de",
        "download/panx/test-de.tsv",
        {
            "download/panx/train-en.tsv": "Rome\tB-LOC\n",
            "download/panx/test-en.tsv": "Rome\tB-LOC\n",
            "download/panx/test-de.tsv": "Rom\tB-LOC\nist\tO\n\nBonn\tB-LOC\n",
        },
        2,
    ),
    "ccg": (
        "train",
        "en",
        "intermediate/ccg/train.tsv",
        {"intermediate/ccg/train.tsv": "It\tNP\nruns\tS\\NP\n\nGo\tS\n"},
        2,
    ),
    "xquad": (
        "test",
        "de",
        "download/xquad/xquad.de.json",
        {"download/xquad/xquad.de.json": squad(("1", "1911", 3), ("2", "war", 12))},
        2,
    ),
    "squad2": (
        "train",
        "en",
        "intermediate/squad_v2.0/train-v2.0.json",
        {
            "intermediate/squad_v2.0/train-v2.0.json": squad(
                ("1", "1911", 25),
                {"id": "2", "question": "Why?", "answers": [], "is_impossible": True},
            )
        },
        2,
    ),
    "tatoeba": (
        "test",
        "de",
        "download/tatoeba-v1/tatoeba.deu-eng.deu",
        {
            "download/tatoeba-v1/tatoeba.deu-eng.deu": "Ja.\nNein.\n",
            "download/tatoeba-v1/tatoeba.deu-eng.eng": "Yes.\nNo.\n",
        },
        2,
    ),
    "bucc2018": (
        "test",
        "de",
        "download/bucc2018/de-en.test.de",
        {
            "download/bucc2018/de-en.test.de": "de-1\tJa.\nde-2\tNein.\n",
            "download/bucc2018/de-en.test.en": "en-1\tYes.\nen-2\tMaybe.\n",
            "download/bucc2018/de-en.test.gold": "de-1\ten-1\n",
        },
        4,
    ),
    "mnli": (
        "train",
        "en",
        "intermediate/mnli/train.tsv",
        {
            "intermediate/mnli/train.tsv": GLUE
            + "0\ta\tb\tneutral\n1\ta\tb\t-\n2\tc\td\tentailment\n"
        },
        2,
    ),
    "qqp": (
        "dev",
        "en",
        "intermediate/qqp/dev.tsv",
        {
            "intermediate/qqp/train.tsv": "id\tquestion1\tquestion2\tis_duplicate\n1\ta\tb\t0\n",
            "intermediate/qqp/dev.tsv": "id\tquestion1\tquestion2\tis_duplicate\n1\ta\tb\t0\n",
        },
        1,
    ),
    "anli": (
        "train",
        "en",
        "intermediate/anli/anli_v1.0/R1/train.jsonl",
        {
            **{f"intermediate/anli/anli_v1.0/R{i}/train.jsonl": jsonl(ANLI) for i in (1, 2, 3)},
            "intermediate/mnli/train.tsv": GLUE + "0\ta\tb\tneutral\n",
            "intermediate/snli/snli_1.0_train.jsonl": jsonl(SNLI, SNLI | {"gold_label": "-"}),
        },
        5,
    ),
    "hellaswag": (
        "train",
        "en",
        "intermediate/hellaswag/hellaswag_train.jsonl",
        {"intermediate/hellaswag/hellaswag_train.jsonl": jsonl(HELLA, HELLA)},
        2,
    ),
    "cosmosqa": (
        "train",
        "en",
        "intermediate/cosmosqa/train.jsonl",
        {"intermediate/cosmosqa/train.jsonl": jsonl(COSMOS)},
        1,
    ),
    "csqa": (
        "train",
        "en",
        "intermediate/commonsenseqa/train_rand_split.jsonl",
        {"intermediate/commonsenseqa/train_rand_split.jsonl": jsonl(CSQA)},
        1,
    ),
}


def lay_out(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def load(root, task, split, lang, **more):
    return sources.load(task, split, lang, params.Data(source="local", root=str(root)), **more)


@pytest.mark.parametrize("task", VALID)
def test_small_official_files_load(tmp_path, task):
    """The base of all broken files below is itself in order."""
    split, lang, _, files, count = VALID[task]
    lay_out(tmp_path, files)
    rows = load(tmp_path, task, split, lang)
    assert len(rows) == count and set(rows["lang"]) == {lang} and len(set(rows["id"])) == count


@pytest.mark.parametrize("task", VALID)
@pytest.mark.parametrize("change", ["bom", "crlf", "no end"])
def test_harmless_differences_do_not_change_rows(tmp_path, task, change):
    """A byte-order mark, Windows line ends or a missing last line end come from copying."""
    split, lang, name, files, _ = VALID[task]
    lay_out(tmp_path / "a", files)
    changed = {
        "bom": lambda text: "\ufeff" + text,
        "crlf": lambda text: text.replace("\n", "\r\n"),
        "no end": lambda text: text.rstrip("\n"),
    }[change](files[name])
    lay_out(tmp_path / "b", files | {name: changed})
    first, second = (load(tmp_path / r, task, split, lang).to_list() for r in "ab")
    assert first == second


#: what is broken: (task, new content of its file, what the message must say)
BROKEN = {
    "xnli empty": ("xnli", "", "test-de.tsv: the file is empty"),
    "xnli only blanks": ("xnli", " \n\n", "test-de.tsv: the file is empty"),
    "xnli utf-16": ("xnli", "a\tb\tneutral\n".encode("utf-16"), "line 1: encoded in UTF-16"),
    "xnli latin-1": ("xnli", b"a\tb\tneutral\n\xe9\tb\tneutral\n", "line 2: not UTF-8"),
    "xnli cut off": ("xnli", "a\tb\tneutral\nc\td", "line 2: 2 columns, expected 3"),
    "xnli cut inside a character": ("xnli", b"a\tb\tneutral\nc\t\xd0", "line 2: not UTF-8"),
    "xnli too many columns": ("xnli", "a\tb\tneutral\tx\n", "line 1: 4 columns, expected 2 or 3"),
    "xnli one column": ("xnli", "a b neutral\n", "line 1: 1 columns, expected 2 or 3"),
    "xnli empty line": ("xnli", "a\tb\tneutral\n\nc\td\tneutral\n", "line 2: 1 columns"),
    "xnli unknown label": ("xnli", "a\tb\tneural\n", "line 1: label 'neural' is not one of"),
    "xnli capital label": ("xnli", "a\tb\tNeutral\n", "line 1: label 'Neutral'"),
    "xnli empty text": ("xnli", "a\t\tneutral\n", "line 1: column 1 is empty"),
    "xnli stripped": ("xnli", "a\tb\nc\td\n", "the labels were stripped"),
    "xnli half stripped": ("xnli", "a\tb\tneutral\nc\td\t\n", "row 2 has no label"),
    "xnli long line": ("xnli", "a" * 1_000_001 + "\tb\tneutral\n", "line 1: 1000011 characters"),
    "xnli lfs pointer": (
        "xnli",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "line 1: a Git LFS pointer",
    ),
    "xnli web page": ("xnli", "<!DOCTYPE html>\n<html></html>\n", "line 1: 1 columns"),
    "pawsx label 2": ("pawsx", "a\tb\t1\na\tb\t2\n", "line 2: label '2' is not one of 0, 1"),
    "pawsx labels stripped": ("pawsx", "a\tb\n", "the labels were stripped"),
    "udpos unknown tag": ("udpos", "geh\tVERBE\n", "line 1: tag 'VERBE' is not one of"),
    "udpos cut off": ("udpos", "geh\tVERB\n!", "line 2: 1 columns, expected 2"),
    "udpos no words": (
        "udpos",
        "geh\tVERB\n\n\tVERB\n\tPUNCT\n",
        "line 3: a sentence without words",
    ),
    "udpos stripped": ("udpos", "geh\n!\n\n", "the labels were stripped"),
    "udpos spaces for tabs": ("udpos", "geh VERB\n! PUNCT\n", "the labels were stripped"),
    "udpos conllu": ("udpos", "1\tgeh\tgehen\tVERB\t_\t_\t0\troot\t_\t_\n", "line 1: 10 columns"),
    "udpos second sentence": ("udpos", "geh\tVERB\n\nja\tYES\n", "line 3: tag 'YES'"),
    "udpos empty": ("udpos", "\n\n\n", "the file is empty"),
    "panx other scheme": ("panx", "Rom\tS-LOC\n", "line 1: tag 'S-LOC' is not one of"),
    "panx empty tag": ("panx", "Rom\t\n", "line 1: tag '' is not one of"),
    "ccg three columns": ("ccg", "It\tPRP\tNP\n", "line 1: 3 columns, expected 2"),
    "ccg no tag": ("ccg", "It\tNP\nruns\t\n", "line 1: tag ''"),
    "xquad truncated": ("xquad", squad(("1", "1911", 3))[:-40], "broken JSON"),
    "xquad not json": ("xquad", "404: Not Found", "line 1 column 4: broken JSON"),
    "xquad a list": ("xquad", "[]", "'data' is missing or not a list"),
    "xquad no paragraphs": ("xquad", '{"data": [{"title": "t"}]}', "article 1: not in SQuAD's"),
    "xquad null context": (
        "xquad",
        squad(("1", "1911", 3)).replace('"In 1911 the war began in 1911."', "null"),
        "'context' is NoneType",
    ),
    "xquad offset off by one": (
        "xquad",
        squad(("1", "1911", 3), ("2", "war", 13)),
        "question '2': answer_start 13 points to 'ar ', not to 'war'",
    ),
    "xquad negative offset": ("xquad", squad(("1", "1911", -5)), "answer_start -5 points to"),
    "xquad offset is text": ("xquad", squad(("1", "1911", "3")), "'3', not a number"),
    "xquad offset past the end": ("xquad", squad(("1", "1911", 300)), "answer_start 300"),
    "xquad double id": ("xquad", squad(("1", "1911", 3), ("1", "war", 12)), "'1' occurs twice"),
    "xquad no answers": (
        "xquad",
        squad({"id": "1", "question": "Why?", "answers": []}),
        "the question has no answers",
    ),
    "xquad no id": (
        "xquad",
        squad({"question": "Why?", "answers": [{"text": "war", "answer_start": 12}]}),
        "no column 'id'",
    ),
    "xquad stripped": ("xquad", squad(("1", "", 0), ("2", "", 0)), "the labels were stripped"),
    "xquad partly stripped": ("xquad", squad(("1", "1911", 3), ("2", "", 0)), "row 2 has no label"),
    "xquad no questions": ("xquad", '{"data": []}', "no usable rows"),
    "xquad deep": ("xquad", "[" * 100_000, "broken JSON"),
    "squad2 impossible with answer": (
        "squad2",
        squad(
            {
                "id": "1",
                "question": "Why?",
                "is_impossible": True,
                "answers": [{"text": "war", "answer_start": 12}],
            }
        ),
        "marked impossible but has an answer",
    ),
    "tatoeba one line less": ("tatoeba", "Ja.\n", "has 1 lines, .*has 2: not translations"),
    "tatoeba empty line": ("tatoeba", "Ja.\n\n", "line 2: empty"),
    "bucc no id": ("bucc2018", "Ja.\n", "line 1: expected id<TAB>sentence"),
    "bucc double id": ("bucc2018", "de-1\tJa.\nde-1\tNein.\n", "line 2: id 'de-1' occurs twice"),
    "bucc gold without sentence": (
        "bucc2018",
        "de-2\tNein.\n",
        "gold: line 1: id 'de-1' is not in",
    ),
    "mnli header": ("mnli", "sentence1\tsentence2\n", "line 1: no column 'gold_label'"),
    "mnli short row": ("mnli", GLUE + "0\ta\tb\n", "line 2: 3 columns, expected 4"),
    "mnli only header": ("mnli", GLUE, "no usable rows"),
    "qqp many broken lines": (
        "qqp",
        "id\tquestion1\tquestion2\tis_duplicate\n" + "1\ta\tb\n" * 9,
        "line 5: 3 columns, expected 4",
    ),
    "anli truncated": ("anli", json.dumps(ANLI)[:-9], "train.jsonl: line 1: broken JSON"),
    "anli label": ("anli", jsonl(ANLI | {"label": "x"}), "line 1: label 'x' is not one of"),
    "anli not an object": ("anli", "3\n", "line 1: int, not an object"),
    "hellaswag three lines": ("hellaswag", jsonl(HELLA) + "\n" + jsonl(HELLA), "line 2: broken"),
    "hellaswag label 4": ("hellaswag", jsonl(HELLA | {"label": 4}), "line 1: label 4 is not one"),
    "hellaswag one ending": (
        "hellaswag",
        jsonl(HELLA | {"endings": ["w"]}),
        "line 1: fewer than two choices",
    ),
    "hellaswag test file": ("hellaswag", jsonl(HELLA | {"label": ""}), "the labels were stripped"),
    "hellaswag true": ("hellaswag", jsonl(HELLA | {"label": True}), "label True is not one of"),
    "cosmosqa empty answer": ("cosmosqa", jsonl(COSMOS | {"answer1": " "}), "a choice is empty"),
    "cosmosqa no context": ("cosmosqa", jsonl(COSMOS | {"context": None}), "NoneType, not text"),
    "cosmosqa double id": ("cosmosqa", jsonl(COSMOS, COSMOS), "id '1' occurs twice"),
    "csqa letter": ("csqa", jsonl(CSQA | {"answerKey": "F"}), "label 'F' is not one of A, B"),
    "csqa no stem": ("csqa", jsonl(CSQA | {"question": {}}), "no column 'question.choices"),
    "csqa double letters": (
        "csqa",
        jsonl(CSQA | {"question": {"stem": "s", "choices": [{"label": "A", "text": "x"}] * 2}}),
        "choices and their letters do not match",
    ),
}


@pytest.mark.parametrize("task, content, message", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_gives_one_line_and_no_rows(tmp_path, task, content, message):
    """Never a silent 0.0 from a file that was cut, mixed up or stripped; never a traceback."""
    split, lang, name, files, _ = VALID[task]
    lay_out(tmp_path, files | {name: content})
    with pytest.raises(MissingData, match=message) as error:
        load(tmp_path, task, split, lang)
    said = str(error.value)
    assert "\n" not in said and len(said) < 600 and f"{task} {split} {lang}: " in said
    assert name.rsplit("/", 1)[1].rsplit(".", 1)[0] in said  # it names the file, or its sibling


@settings(max_examples=300, deadline=None)
@given(
    task=st.sampled_from(sorted(VALID)),
    where=st.floats(0, 1),
    length=st.integers(0, 30),
    patch=st.binary(max_size=12) | st.sampled_from([b"\t", b"\n", b'"', b"null", b"[]", b"-1"]),
)
def test_any_damage_gives_valid_rows_or_one_line(task, where, length, patch):
    """Bytes lost, changed or added anywhere: the rows are in order or the file is refused."""
    split, lang, name, files, _ = VALID[task]
    whole = files[name].encode("utf-8")
    start = int(where * len(whole))
    with TemporaryDirectory() as folder:
        damaged = whole[:start] + patch + whole[start + length :]
        lay_out(Path(folder), files | {name: damaged})
        try:
            rows = load(folder, task, split, lang).to_list()
        except MissingData as error:
            assert "\n" not in str(error)
        else:
            assert rows
            check(tasks.get(task), rows)


def test_a_broken_language_leaves_the_others_alone(tmp_path):
    split, lang, name, files, _ = VALID["xnli"]
    lay_out(tmp_path, files | {name: "a\n"})
    assert len(load(tmp_path, "xnli", "test", "en")) == 1


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "a\u2028b", "a\u0085b", "a\x0bb", "<b>&amp;"])
def test_strange_characters_are_text(tmp_path, text):
    """Sentences hold line ends of Unicode and control characters; rows must not break there."""
    _, _, _, files, _ = VALID["xnli"]
    lay_out(tmp_path, files | {"download/xnli/test-de.tsv": f"{text}\tb\tneutral\n"})
    rows = load(tmp_path, "xnli", "test", "de")
    assert rows["text_a"] == [text] and rows["text_b"] == ["b"]


def test_quotes_of_xtremes_csv_writer_are_undone(tmp_path):
    """XTREME writes tab-separated files by a csv writer: quotes inside are doubled."""
    files = VALID["pawsx"][3] | {
        "download/pawsx/test-de.tsv": '"say ""hi"""\t"a" b "c"\t1\r\n"open\tb "" c\t0\r\n'
        '"Quoted as a whole."\td\t1\r\n'
    }
    lay_out(tmp_path, files)
    rows = load(tmp_path, "pawsx", "test", "de").to_list()
    assert (rows[0]["text_a"], rows[0]["text_b"]) == ('say "hi"', '"a" b "c"')
    assert (rows[1]["text_a"], rows[1]["text_b"]) == ('"open', 'b "" c')
    assert rows[2]["text_a"] == '"Quoted as a whole."'


def test_context_is_kept_verbatim(tmp_path):
    """A stripped space in front would move every answer."""
    text = squad(("1", "1911", 5)).replace("In 1911 the", "  In 1911 the")
    lay_out(tmp_path, {"download/xquad/xquad.de.json": text})
    assert load(tmp_path, "xquad", "test", "de")[0]["context"].startswith("  In 1911")


def test_sorted_english_sentences_are_refused(tmp_path):
    """XTREME sorts the English side of Tatoeba; taken as it is, accuracy would be chance."""
    files = {
        "download/tatoeba/de-en.de": "Ja.\nNein.\nVielleicht.\n",
        "download/tatoeba/de-en.en": "Maybe.\nNo.\nYes.\n",
    }
    lay_out(tmp_path, files)
    with pytest.raises(MissingData, match="sorted by XTREME's script.*tatoeba-v1"):
        load(tmp_path, "tatoeba", "test", "de")
    lay_out(tmp_path, {"download/tatoeba/de-en.en": "Yes.\nNo.\nMaybe.\n"})
    assert load(tmp_path, "tatoeba", "test", "de")["target"] == ["Yes.", "No.", "Maybe."]


def test_deleted_gold_makes_dev_serve_for_both(tmp_path):
    """XTREME deletes BUCC's test gold: dev and test are then disjoint halves of dev."""
    foreign = "".join(f"de-{i}\tSatz {i}\n" for i in range(12))
    english = "".join(f"en-{i}\tsentence {i}\n" for i in range(12))
    gold = "".join(f"de-{i}\ten-{11 - i}\n" for i in range(8))
    folder = "download/bucc2018/de-en.dev"
    lay_out(tmp_path, {f"{folder}.de": foreign, f"{folder}.en": english, f"{folder}.gold": gold})
    dev, test = (load(tmp_path, "bucc2018", split, "de").to_list() for split in ("dev", "test"))
    assert not {row["id"] for row in dev} & {row["id"] for row in test}
    for half in (dev, test):
        targets = {row["id"] for row in half if row["side"] == "target"}
        links = [link for row in half for link in row["gold"]]
        assert len(links) == 4 and set(links) <= targets and len(half) == 12


def test_a_smaller_mining_set_keeps_its_pairs(tmp_path):
    split, lang, _, files, _ = VALID["bucc2018"]
    foreign = "".join(f"de-{i}\tSatz {i}\n" for i in range(50))
    english = "".join(f"en-{i}\tsentence {i}\n" for i in range(50))
    gold = "".join(f"de-{i}\ten-{49 - i}\n" for i in range(25))
    folder = "download/bucc2018/de-en.test"
    lay_out(tmp_path, {f"{folder}.de": foreign, f"{folder}.en": english, f"{folder}.gold": gold})
    rows = load(tmp_path, "bucc2018", "test", "de", size=10).to_list()
    targets = {row["id"] for row in rows if row["side"] == "target"}
    assert len(rows) == 20 and len(targets) == 10
    assert all(set(row["gold"]) <= targets for row in rows) and rows[0]["gold"] == ["en-49"]


def test_size_and_seed(tmp_path):
    """Train: a seeded draw; test: the first rows, whatever the seed."""
    lines = "".join(f"a{i}\tb\tneutral\n" for i in range(100))
    lay_out(tmp_path, {"download/pawsx/train-en.tsv": lines.replace("neutral", "1")})
    lay_out(tmp_path, {"download/xnli/test-en.tsv": lines})
    one, same, other = (load(tmp_path, "pawsx", "train", "en", size=9, seed=s) for s in (1, 1, 2))
    assert one["text_a"] == same["text_a"] != other["text_a"] and len(one) == 9
    rows = load(tmp_path, "xnli", "test", "en", size=3, seed=5)
    assert rows["text_a"] == ["a0", "a1", "a2"]


@pytest.mark.parametrize("seed", [1, 2])
def test_an_intermediate_task_and_its_target_draw_apart(tmp_path, seed):
    """XNLI was fine-tuned on the very rows that MNLI and ANLI+ had been trained on."""
    head = "index\tsentence1\tsentence2\tgold_label\n"
    mnli = head + "".join(f"{i}\tpremise {i // 2}\thyp {i}\tneutral\n" for i in range(400))
    anli = '{{"context": "c{0}", "hypothesis": "h", "label": "n"}}\n'
    snli = '{{"sentence1": "s{0}", "sentence2": "h", "gold_label": "neutral"}}\n'
    files = {f"anli/anli_v1.0/R{r}/train.jsonl": (anli, 30) for r in (1, 2, 3)}
    files |= {"snli/snli_1.0_train.jsonl": (snli, 60)}
    made = {f"intermediate/{p}": "".join(map(t.format, range(n))) for p, (t, n) in files.items()}
    lay_out(tmp_path, made | {"intermediate/mnli/train.tsv": mnli})
    drawn = {
        task: {row["text_a"] for row in load(tmp_path, task, "train", "en", size=150, seed=seed)}
        for task in ("mnli", "anli", "xnli")
    }
    assert not drawn["xnli"] & drawn["mnli"] and not drawn["xnli"] & drawn["anli"]
    assert any(text[0] == "p" for text in drawn["anli"])  # MultiNLI's rows among them
    more = load(tmp_path, "xnli", "train", "en", size=390, seed=seed)
    assert len(more) == 390  # half of them do not suffice


def test_nothing_there_says_where_to_get_it(tmp_path):
    with pytest.raises(MissingData, match=r"looked for intermediate/qqp/train.tsv.*QQP-clean.zip"):
        load(tmp_path, "qqp", "train", "en")
    with pytest.raises(InputError, match="is not a folder"):
        load(tmp_path / "gone", "qqp", "train", "en")
    with pytest.raises(MissingData, match="xnli has no such language; it has ar, bg"):
        load(tmp_path, "xnli", "test", "xx")
    with pytest.raises(InputError, match="did you mean 'pawsx'"):
        load(tmp_path, "pawsz", "test", "de")
    with pytest.raises(InputError, match="no split 'valid'"):
        load(tmp_path, "pawsx", "valid", "de")


# ---------------------------------------------------------------------------- real files

#: task -> {split: {language: rows}} of the sample that stands beside a checkout
SAMPLE = {
    "anli": {"train": {"en": 4400}, "dev": {"en": 200}},
    "mnli": {"train": {"en": 4000}, "dev": {"en": 500}},
    "squad1": {"train": {"en": 2113}, "dev": {"en": 462}},
    "squad2": {"train": {"en": 4405}, "dev": {"en": 944}},
    "hellaswag": {"train": {"en": 490}, "dev": {"en": 210}},
    "cosmosqa": {"train": {"en": 900}, "dev": {"en": 300}},
    "csqa": {"train": {"en": 2000}, "dev": {"en": 800}},
    "xnli": {
        "train": {"en": 4000},
        "dev": {"en": 300},
        "test": dict.fromkeys("ar bg de en es hi ru tr zh".split(), 699),
    },
    "pawsx": {
        "train": {"en": 600},
        "dev": {"en": 100},
        "test": dict.fromkeys("de en es ko zh".split(), 300),
    },
    "udpos": {
        "train": {"en": 3000},
        "dev": {"en": 300},
        "test": dict.fromkeys("ar fi hi it ko pt ru tr".split(), 85)
        | dict(af=425, de=600, en=300, es=600, fa=600, id=559, kk=600, mr=47, te=146, yo=318)
        | {"zh": 600},
    },
    "panx": {
        "train": {"en": 5000},
        "dev": {"en": 500},
        "test": dict.fromkeys(
            "ar he id ms te af nl de bn hi mr fa it pt es bg ru ko zh kk tr et fi hu".split(), 800
        )
        | dict(en=500, jv=100, yo=100, my=100),
    },
    "xquad": {
        "train": {"en": 2113},
        "dev": {"en": 462},
        "test": dict.fromkeys("de en es tr zh".split(), 804) | dict(ar=533, hi=533, ru=533),
    },
    "mlqa": {
        "train": {"en": 2113},
        "dev": dict(ar=35, de=153, en=179, es=150, hi=27, zh=151),
        "test": dict(ar=84, de=359, en=418, es=350, hi=63, zh=353),
    },
    "tydiqa": {"train": {"en": 520}, "dev": {"en": 80}, "test": dict(en=200, ko=500)},
    "bucc2018": {"dev": dict(de=450, ru=450, zh=450), "test": dict(de=450, ru=450, zh=450)},
    "tatoeba": {
        "test": dict.fromkeys(
            "ar he id af nl de bn hi mr fa it pt es bg ru ko zh tr et fi hu".split(), 1000
        )
        | dict(jv=205, te=234, kk=575),
    },
}


@pytest.mark.parametrize("task", SAMPLE)
def test_real_files_load(shared, task):
    """Counts of every language of the real sample; a language not named has no usable file."""
    root, card = shared / "data", tasks.get(task)
    for split, expected in SAMPLE[task].items():
        found = {}
        for lang in card.languages:
            try:
                rows = load(root, task, split, lang)
            except MissingData as error:
                assert lang not in expected, error
                continue
            found[lang] = len(rows)
            check(card, rows.to_list())
        assert found == expected or (split == "dev" and found | expected == found)


def check(card, rows):
    """A canonical row holds what its kind promises."""
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        if card.kind == "pair":
            assert row["text_a"].strip() and row["text_b"].strip()
            assert 0 <= row["label"] < len(card.labels)
        elif card.kind == "choice":
            assert 0 <= row["label"] < len(row["choices"]) and row["context"]
        elif card.kind == "span":
            answers = row["answers"]
            for text, start in zip(answers["text"], answers["answer_start"], strict=True):
                assert row["context"][start : start + len(text)] == text
        elif card.kind == "tags":
            assert len(row["tokens"]) == len(row["tags"]) > 0
            assert set(row["tags"]) <= set(card.labels or row["tags"])
        elif card.kind == "parallel":
            assert row["source"] and row["target"]


def test_no_row_plays_two_splits(shared):
    """Rows that serve for a missing file are disjoint; test paragraphs of XQuAD never train."""
    root = shared / "data"

    def texts(task, split, *columns):
        rows = load(root, task, split, "en")
        return set(zip(*(rows[column] for column in columns), strict=True))

    for task, columns in [
        ("xnli", ("text_a", "text_b")),
        ("pawsx", ("text_a", "text_b")),
        ("tydiqa", ("question", "context")),
        ("mlqa", ("question", "context")),
    ]:
        held = texts(task, "test", *columns)
        assert not held & (texts(task, "train", *columns) | texts(task, "dev", *columns)), task
    xquad = texts("xquad", "test", "context")
    for task in ("squad1", "squad2"):
        train, dev = texts(task, "train", "context"), texts(task, "dev", "context")
        assert not train & dev and not (train | dev) & xquad


def test_stripped_answers_are_reported(shared):
    """TyDiQA's dev files as XTREME leaves them have no answers: that is not an F1 of zero."""
    with pytest.raises(MissingData, match="tydiqa.goldp.te.dev.json: the labels were stripped"):
        load(shared / "data", "tydiqa", "test", "te")


def test_the_same_rows_in_both_layouts(shared):
    """PAWS-X as published and as XTREME rewrites it (quotes!) are the same text and labels."""
    from midway.data import canonical, readers

    root = shared / "data"
    card = tasks.get("pawsx")
    layouts = {lay["name"]: lay for lay in card.local["layouts"]}
    pairs = []
    for name, path in (
        ("PAWS-X as published", "download/x-final/zh/dev_2k.tsv"),
        ("XTREME's folder", "download/pawsx/dev-zh.tsv"),
    ):
        part = layouts[name]["dev"][0]
        raw = readers.read(part, [root / path], root)
        rows = canonical.rows(card, part, raw, "zh")
        pairs.append([(row["text_a"], row["text_b"], row["label"]) for row in rows])
    assert pairs[0] == pairs[1] and len(pairs[0]) == 1000


def test_all_english_treebanks_and_fixtures_load(shared):
    """Readers take whole CoNLL-U, iob2 and GLUE files that no card names."""
    from midway.data import canonical, readers

    root = shared / "data"
    ud = {"read": "conll", "comments": True, "word": 1, "tag": 3, "width": 10}
    counts = {
        "download/ud/UD_English-EWT/en_ewt-ud-dev.conllu": 500,
        "download/ud/UD_English-ParTUT/en_partut-ud-train.conllu": 700,
    }
    for path, count in counts.items():
        raw = readers.read(ud, [root / path], root)
        assert len(list(canonical.rows(tasks.get("udpos"), ud, raw, "en"))) == count
    uner = ud | {"tag": 2, "width": 5}
    for path in sorted(root.glob("download/uner/*.iob2")):
        raw = readers.read(uner, [path], root)
        assert len(list(canonical.rows(tasks.get("panx"), uner, raw, "en"))) in (300, 800)
    glue = tasks.get("mnli").local["layouts"][0]["train"][0]
    for name, count in [("train", 6), ("dev_matched", 5), ("dev_mismatched", 5)]:
        path = root / f"intermediate/mnli/glue_fixture/{name}.tsv"
        raw = readers.read(glue, [path], root)
        assert len(list(canonical.rows(tasks.get("mnli"), glue, raw, "en"))) == count


def test_a_word_of_white_space_is_a_word(tmp_path):
    """U+3000 or U+0085 in one line cost a whole language, which the reference scorer counts."""
    folder = tmp_path / "download/panx"
    folder.mkdir(parents=True)
    for name in ("train-en", "test-en"):
        (folder / f"{name}.tsv").write_text("a\tO\n")
    odd = ["\u3000", "\xa0", "\x85", " ", "\u200b", "\u2028", "\x0b"]
    words = "".join(f"{w}\tO\n" for w in odd)
    text = f"a\tB-LOC\n{words}b\tO\n\n\u3000\tO\n"
    (folder / "test-ja.tsv").write_text(text, encoding="utf-8", newline="")
    first, second = local.load(tasks.get("panx"), "test", "ja", tmp_path)
    assert first["tokens"] == ["a", *odd, "b"] and second["tokens"] == ["\u3000"]


def test_an_empty_word_is_kept(tmp_path):
    """CoNLL files have lines that begin with a tab: their tags count, and cost no language."""
    (tmp_path / "t.tsv").write_text("a\tO\n\tO\nb\tO\n\n\tO\n\nc\tO\n", encoding="utf-8")
    raw = list(readers.read({"read": "conll"}, [tmp_path / "t.tsv"], tmp_path))
    rows = list(canonical.rows(tasks.get("panx"), {"broken": 1}, raw, "en"))
    assert [row["tokens"] for row in rows] == [["a", "", "b"], ["c"]]
    with pytest.raises(canonical.Broken, match="t.tsv: line 5: a sentence without words"):
        list(canonical.rows(tasks.get("panx"), {}, raw, "en"))
