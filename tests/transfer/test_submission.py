"""`midway score` gives XTREME's numbers for a submission, or says which file stops it."""

import json

import pytest

from midway import kinds
from midway.study import tasks
from midway.study.errors import InputError
from midway.transfer import submission
from midway.transfer import submission as files


def squad(answers: dict[str, str]) -> str:
    """A label file with one gold answer a question."""
    qas = [{"id": i, "answers": [{"text": text}]} for i, text in answers.items()]
    return json.dumps({"data": [{"paragraphs": [{"qas": qas}]}]})


#: (task, file) -> predictions, labels; small enough to be scored by hand
FILES = {
    ("xnli", "test-en.tsv"): ("neutral\nneutral\n", "neutral\nentailment\n"),  # 50
    ("xnli", "test-de.tsv"): ("neutral\nneutral", "neutral\nneutral\n"),  # 100
    ("pawsx", "test-en.tsv"): ("1\n0\n1\n1\n", "1\n0\n1\n0\n"),  # 75
    # runs NN V | DET: of 3 gold and 3 predicted chunks 2 agree
    ("udpos", "test-en.tsv"): ("NOUN\nNOUN\nVERB\n\nX\n", "NOUN\nNOUN\nVERB\n\nDET\n"),
    # gold PER(0-1) LOC(3); predicted PER(0-1): p 1, r 1/2
    ("panx", "test-en.tsv"): ("B-PER\nI-PER\nO\nO\n\n", "B-PER\nI-PER\nO\nB-LOC\n"),
    ("xquad", "test-en.json"): (
        '{"a": "the cat", "b": "dog"}',
        squad({"a": "cat", "b": "a big dog"}),
    ),
    ("mlqa", "test-de.json"): ('{"a": "die Katze"}', squad({"a": "Katze", "b": "Hund"})),
    ("tydiqa", "test-fi.json"): ('{"a": "kissa", "z": "?"}', squad({"a": "kissa"})),
    # 1 of 2 predicted is right, 1 of 3 gold is found
    ("bucc2018", "test-de.tsv"): ("d1\te1\nd2\te9\n", "d1\te1\nd2\te2\nd3\te3\n"),
    ("tatoeba", "test-de.tsv"): ("2\n0\n1\n1\n", "2\n0\n1\n3\n"),  # 75
}
EXPECTED = {
    "xnli": 75.0,
    "pawsx": 75.0,
    "udpos": 100 * 2 / 3,
    "panx": 100 * 2 / 3,
    "xquad": (50 + (100 + 200 / 3) / 2) / 2,  # EM 50; F1 100 and p 1 r 1/2
    "mlqa": 50.0,
    "tydiqa": 100.0,
    "bucc2018": 40.0,
    "tatoeba": 75.0,
}


@pytest.fixture
def folders(tmp_path):
    """All nine tasks, small."""
    for (task, name), contents in FILES.items():
        for side, content in zip(("predictions", "labels"), contents, strict=True):
            path = tmp_path / side / task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return tmp_path / "predictions", tmp_path / "labels"


def test_all_nine_tasks_by_hand(folders):
    """The overall score is the plain mean of nine task scores; QA counts (EM + F1) / 2."""
    result = submission.score_folder(*folders)
    found = {task: one["score"] for task, one in result["tasks"].items()}
    # "big dog" (articles gone) against "dog": p 1, r 1/2
    assert found == pytest.approx(EXPECTED)
    assert result["overall"] == pytest.approx(sum(EXPECTED.values()) / 9)
    assert result["groups"] == pytest.approx(
        {
            "pair": 75,
            "structured": 100 * 2 / 3,
            "qa": (EXPECTED["xquad"] + 50 + 100) / 3,
            "retrieval": 57.5,
        }
    )
    assert result["tasks"]["xnli"]["languages"] == {
        "de": {"accuracy": 100.0},
        "en": {"accuracy": 50.0},
    }
    assert result["tasks"]["mlqa"]["average"]["unanswered"] == 50
    assert not result["complete"] and "fr" in result["tasks"]["xnli"]["absent"]


def test_pos_has_both_f1_and_accuracy(folders):
    """The version of seqeval decides about POS F1, so both stand beside accuracy."""
    path = folders[0] / "udpos/test-en.tsv"
    path.write_text("NOUN\nNOUN\nVERB\n\nCCONJ\n", encoding="utf-8")
    (folders[1] / "udpos/test-en.tsv").write_text("NOUN\nNOUN\nVERB\n\nSCONJ\n", encoding="utf-8")
    average = submission.score_folder(*folders)["tasks"]["udpos"]["average"]
    assert average == pytest.approx({"f1": 200 / 3, "f1_seqeval1": 100, "accuracy": 75})


def test_some_tasks_have_no_overall(folders, tmp_path):
    """A partial submission gets its tasks and whole groups, never an overall score of fewer."""
    (folders[0] / "xnli").rename(tmp_path / "elsewhere")
    result = submission.score_folder(*folders)
    assert result["overall"] is None and result["groups"]["pair"] is None
    assert result["groups"]["retrieval"] == 57.5
    text = submission.main_score(*folders)
    assert "not all tasks" in text and "not comparable" in text


def test_output_is_text_or_json(folders):
    """--json is the whole result; the text has every task, group and the overall score."""
    assert json.loads(submission.main_score(*folders, as_json=True)) == submission.score_folder(
        *folders
    )
    text = submission.main_score(*folders)
    for name in [*tasks.TARGETS, "pair", "structured", "qa", "retrieval", "overall"]:
        assert any(line.startswith(name) for line in text.splitlines()), name


@pytest.mark.parametrize(
    ("task", "name", "content", "said"),
    [
        ("xnli", "test-de.tsv", None, "predictions/xnli/test-de.tsv: missing"),
        ("xnli", "test-fr.tsv", "neutral\n", "labels/xnli/test-fr.tsv: missing"),
        ("xnli", "test-de.tsv", "neutral\n", "test-de.tsv: 1 lines, the labels have 2"),
        ("xnli", "test-de.tsv", "0\n1\n", "no line is one of the labels neutral"),
        ("xnli", "test-de.tsv", "a\tneutral\nb\tneutral\n", "line 1 has 2 columns, 1 expected"),
        ("xnli", "test-de.tsv", b"\xff\xfe0", "not UTF-8"),
        ("xnli", "test-de.tsv", "neutral\nneut\0ral\n", "test-de.tsv: line 2 holds a zero byte"),
        ("udpos", "test-en.tsv", "NOUN\n", "test-en.tsv: 1 sentences, the labels have 2"),
        ("udpos", "test-en.tsv", "X\n\nX\n", "test-en.tsv: tags: sentence 1 has 1 tags, gold 3"),
        ("xquad", "test-en.json", "{", "test-en.json: broken JSON at line 1"),
        ("xquad", "test-en.json", "[1]", "one JSON object"),
        ("xquad", "test-en.json", '{"a": 1}', "one JSON object"),
        ("xquad", "test-en.json", '{"other": "x"}', "answers none of 2 questions"),
        ("bucc2018", "test-de.tsv", "d1 e1\n", "line 1 has 1 columns, 2 expected"),
        ("tatoeba", "test-de.tsv", "", "0 lines, the labels have 4"),
    ],
)
def test_bad_predictions_are_named(folders, task, name, content, said):
    """One clear line with the file, for everything that would make a number wrong."""
    path = folders[0] / task / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        submission.score_folder(*folders)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "name", "content", "said"),
    [
        ("tydiqa", "test-fi.json", squad({"a": ""}), "no gold answers"),  # as XTREME strips them
        ("tydiqa", "test-fi.json", '{"a": "kissa"}', "SQuAD's schema"),
        ("bucc2018", "test-de.tsv", "", "test-de.tsv: holds no labels"),
        ("xnli", "test-de.tsv", "", "labels/xnli/test-de.tsv: holds no labels"),
    ],
)
def test_bad_labels_are_named(folders, task, name, content, said):
    """Labels that XTREME's own preparation removed do not become a score of 0."""
    (folders[1] / task / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        submission.score_folder(*folders)


def test_folders_that_are_none_are_named(tmp_path):
    """A wrong path is said at once."""
    with pytest.raises(InputError, match="no such folder of predictions"):
        submission.score_folder(tmp_path / "x", tmp_path)
    with pytest.raises(InputError, match="no folder named after a task"):
        submission.score_folder(tmp_path, tmp_path)
    (tmp_path / "xnli").mkdir()
    with pytest.raises(InputError, match="has no test-<lang>.tsv"):
        submission.score_folder(tmp_path, tmp_path)


def test_mining_nothing_is_a_score(folders):
    """An empty BUCC file means that no pair was found: F1 0, not an error."""
    (folders[0] / "bucc2018/test-de.tsv").write_text("")
    assert submission.score_folder(*folders)["tasks"]["bucc2018"]["score"] == 0


def test_written_predictions_are_read_back(tmp_path):
    """What the study writes is what the scorer reads, for every kind and any script."""
    given = {
        "xnli": ["neutral", "entailment"],
        "panx": [["B-PER", "O"], ["O"]],
        "xquad": {"q1": "Zürich\n", "q2": "北京 “x”"},
        "bucc2018": [("de-1", "en-2"), ("de-3", "en-4")],
        "tatoeba": [1, 0],
    }
    for task, predictions in given.items():
        path = files.write_predictions(tmp_path, task, "zh", predictions)
        assert path == files.path_of(tmp_path, task, "zh")
        if task != "tatoeba":
            assert kinds.get(tasks.get(task).kind).parse(path.read_text()) == predictions
    assert (tmp_path / "bucc2018/test-zh.tsv").read_text() == "de-1\ten-2\nde-3\ten-4\n"
    assert (tmp_path / "tatoeba/test-zh.tsv").read_text() == "1\n0\n"


# -- real files -----------------------------------------------------------------------------------

REAL = {
    "xnli": ("de", "zh"),
    "pawsx": ("de", "zh"),
    "udpos": ("de", "zh"),
    "panx": ("de", "zh"),
    "xquad": ("de", "zh"),
    "mlqa": ("de", "zh"),
    "tydiqa": ("en", "ko"),
    "bucc2018": ("de", "zh"),
    "tatoeba": ("de", "zh"),
}
SIZE, WRONG = 120, {0: 12, 1: 30}  # rows a language; errors planted in the first and the second


def chunk_count(sentences) -> int:
    """Chunks that seqeval 0.0.12 sees in part-of-speech tags: runs, broken before S tags."""
    return sum(
        tag != before or tag[0] == "S"
        for tags in sentences
        for before, tag in zip(["", *tags], tags, strict=False)
    )


def entity_count(sentences) -> int:
    """Entities in PAN-X's tags, some of which begin with I-."""
    return sum(
        tag[0] == "B" or (tag[0] == "I" and before[1:] != tag[1:])
        for tags in sentences
        for before, tag in zip(["O", *tags], tags, strict=False)
    )


def plant_pos(sentences, errors):
    """Retag `errors` lone words with a tag of neither neighbour: one chunk wrong for each."""
    for tags in sentences:
        for i in range(1, len(tags) - 1, 2):
            near = tags[i - 1], tags[i + 1]
            if errors and tags[i] not in near and "NUM" not in (*near, tags[i]):
                tags[i] = "NUM"
                errors -= 1
    assert not errors
    return sentences


def plant_ner(sentences, errors):
    """Give `errors` whole entities another type: each is one wrong chunk for one right one."""
    for tags in sentences:
        for i, tag in enumerate(tags):
            if errors and tag[0] == "B":
                other = "LOC" if tag != "B-LOC" else "PER"
                end = i + 1
                while end < len(tags) and tags[end][0] == "I":
                    end += 1
                tags[i:end] = [f"B-{other}"] + [f"I-{other}"] * (end - i - 1)
                errors -= 1
    assert not errors
    return sentences


def write_labels(folder, task, lang, rows):
    """The gold of canonical rows as one label file."""
    card = tasks.get(task)
    if card.kind == "span":
        qas = [
            {
                "id": r["id"],
                "question": r["question"],
                "answers": [
                    {"text": t, "answer_start": s}
                    for t, s in zip(r["answers"]["text"], r["answers"]["answer_start"], strict=True)
                ],
            }
            for r in rows
        ]
        data = [
            {"paragraphs": [{"context": r["context"], "qas": [q]}]}
            for r, q in zip(rows, qas, strict=True)
        ]
        path = files.path_of(folder, task, lang)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")
        return
    gold = {
        "tags": lambda: [r["tags"] for r in rows],
        "mining": lambda: [(r["id"], g) for r in rows if r["side"] == "source" for g in r["gold"]],
        "parallel": lambda: range(len(rows)),
        "pair": lambda: [card.labels[r["label"]] for r in rows],
    }[card.kind]()
    files.write_predictions(folder, task, lang, gold)


@pytest.mark.slow
def test_real_gold_with_planted_errors(shared, tmp_path):
    """Gold of all nine tasks with counted errors scores what the counts say."""
    from midway.data import sources
    from midway.study import params

    data = params.Data(source="local", root=str(shared / "data"))
    predictions, labels = tmp_path / "predictions", tmp_path / "labels"
    expected = {}
    for task, languages in REAL.items():
        card, scores = tasks.get(task), []
        for number, lang in enumerate(languages):
            rows = sources.load(task, "test", lang, data, SIZE).to_list()
            wrong, n = WRONG[number], len(rows)
            write_labels(labels, task, lang, rows)
            if card.kind == "pair":
                k = len(card.labels)
                given = [card.labels[(r["label"] + (i < wrong)) % k] for i, r in enumerate(rows)]
                scores.append(100 * (n - wrong) / n)
            elif task == "udpos":
                given = [row["tags"] for row in rows]
                total = chunk_count(given)
                given = plant_pos(given, wrong)
                scores.append(100 * (total - wrong) / total)
            elif task == "panx":
                given = [row["tags"] for row in rows]
                total = entity_count(given)
                given = plant_ner(given, wrong)
                scores.append(100 * (total - wrong) / total)
            elif card.kind == "span":
                given = {r["id"]: r["answers"]["text"][0] for r in rows[wrong:]}
                scores.append(100 * (n - wrong) / n)  # EM and F1 alike
            elif card.kind == "mining":
                gold = [(r["id"], g) for r in rows if r["side"] == "source" for g in r["gold"]]
                lost = len(gold) // 4
                given = gold[lost:] + [("none", str(i)) for i in range(wrong)]
                right = len(gold) - lost
                scores.append(200 * right / (right + wrong + len(gold)))
            else:
                given = [(i + (i < wrong)) % n for i in range(n)]
                scores.append(100 * (n - wrong) / n)
            files.write_predictions(predictions, task, lang, given)
        expected[task] = sum(scores) / len(scores)
    result = submission.score_folder(predictions, labels)
    found = {task: one["score"] for task, one in result["tasks"].items()}
    assert found == pytest.approx(expected, abs=1e-9)
    assert result["overall"] == pytest.approx(sum(expected.values()) / 9, abs=1e-9)


def write(folders, side, task, name, content):
    path = folders[side] / task / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def test_languages_that_are_not_xtremes_are_in_no_average(folders):
    """With XTREME-R's languages in the folder the average was another one, and called complete."""
    before = submission.score_folder(*folders)
    for side in (0, 1):
        for task in ("xnli", "mlqa"):
            suffix = "json" if task == "mlqa" else "tsv"
            content = (
                ('{"a": "x"}', squad({"a": "Katze"})) if task == "mlqa" else ("x\nneutral\n",) * 2
            )
            write(folders, side, task, f"test-ta.{suffix}", content[side])
    after = submission.score_folder(*folders)
    for key in ("overall", "groups", "complete"):
        assert after[key] == before[key]
    one = after["tasks"]["mlqa"]
    assert one["score"] == 50 and one["average"] == before["tasks"]["mlqa"]["average"]
    assert one["others"] == ["ta"] and one["languages"]["ta"]["exact_match"] == 0
    text = submission.main_score(*folders)
    assert "not among XTREME's languages, in no average: ta 0.0" in text


def test_a_task_in_other_languages_only_has_no_score(folders):
    for side in (0, 1):
        (folders[side] / "xnli/test-en.tsv").unlink()
        (folders[side] / "xnli/test-de.tsv").rename(folders[side] / "xnli/test-ta.tsv")
    with pytest.raises(InputError, match="xnli: has no language of XTREME's"):
        submission.score_folder(*folders)


def test_complete_means_all_tasks_in_all_languages(tmp_path):
    """One language less, or one task less, is not comparable."""
    for name, card in tasks.TARGETS.items():
        kind = {"span": "xquad", "tags": "panx", "mining": "bucc2018"}.get(card.kind, "pawsx")
        [(_, pair)] = [(k, v) for k, v in FILES.items() if k[0] == kind]
        for side in (0, 1):
            for lang in card.languages:
                path = files.path_of(tmp_path / "pl"[side], name, lang)
                write([tmp_path / "pl"[side]] * 2, side, name, path.name, pair[side])
    folders = tmp_path / "p", tmp_path / "l"
    assert submission.score_folder(*folders)["complete"]
    for side in (0, 1):
        (folders[side] / "tatoeba/test-vi.tsv").unlink()
    assert not submission.score_folder(*folders)["complete"]


CANNOT = {
    "swapped": ("bucc2018", "test-de.tsv", "e1\td1\ne2\td2\n", "are swapped"),
    "other first ids": (
        "bucc2018", "test-de.tsv", "".join(f"x{i}\te1\n" for i in range(10)), "first column"
    ),
    "other second ids": (
        "bucc2018", "test-de.tsv", "".join(f"d1\tx{i}\n" for i in range(10)), "second column"
    ),
    "lines from 1": ("tatoeba", "test-de.tsv", "3\n1\n2\n4\n", "counts lines from 1"),
    "lines out of range": ("tatoeba", "test-de.tsv", "7\n8\n9\n7\n", "no line is one of"),
    "no label": ("xnli", "test-en.tsv", "yes\nno\n", "no line is one of the labels neutral"),
    "empty lines": ("xnli", "test-en.tsv", "\n\n", "found ''"),
    "no tag": ("panx", "test-en.tsv", "1\n1\n1\n1\n", "no tag is one of the labels"),
    "no question": ("xquad", "test-en.json", '{"x": "y"}', "answers none of 2 questions"),
}  # fmt: skip


@pytest.mark.parametrize("name", CANNOT)
def test_what_cannot_be_right_is_refused(folders, name):
    """Swapped columns, or ids of another file, scored 0.00 in silence."""
    task, file, content, message = CANNOT[name]
    write(folders, 0, task, file, content)
    with pytest.raises(InputError, match=message) as error:
        submission.score_folder(*folders)
    assert file in str(error.value) and "\n" not in str(error.value)


def test_few_wrong_pairs_or_classes_are_a_score(folders):
    """A label that only this file's gold lacks, or two wrong pairs, are no other file."""
    write(folders, 0, "bucc2018", "test-de.tsv", "d8\te8\nd9\te9\n")
    write(folders, 0, "xnli", "test-de.tsv", "entailment\nentailment\n")
    write(folders, 0, "panx", "test-en.tsv", "O\nO\nB-ORG\nO\n")
    found = submission.score_folder(*folders)["tasks"]
    assert found["bucc2018"]["score"] == 0 and "no id of the first" in found["bucc2018"]["notes"][0]
    assert found["xnli"]["languages"]["de"] == {"accuracy": 0}


def test_predictions_all_alike_are_said(folders):
    """A majority class is a fair submission, and a broken writer's most common one."""
    many = {str(i): f"answer {i}" for i in range(12)}
    write(folders, 1, "xquad", "test-en.json", squad(many))
    write(folders, 0, "xquad", "test-en.json", json.dumps(dict.fromkeys(many, " ")))
    write(folders, 1, "xnli", "test-en.tsv", "neutral\nentailment\n" * 6)
    write(folders, 0, "xnli", "test-en.tsv", "neutral\n" * 12)
    write(folders, 0, "bucc2018", "test-de.tsv", "")
    found = submission.score_folder(*folders)["tasks"]
    assert found["xquad"]["notes"] == ["en: all answers are empty"]
    assert found["xnli"]["notes"] == ["en: all lines are 'neutral'"]
    assert found["bucc2018"]["notes"] == ["de: no pair is predicted"]
    text = submission.main_score(*folders)
    assert text.count("note: ") == 3 and "note: en: all answers are empty" in text


@pytest.mark.parametrize(
    "task, name, side, content, said",
    [
        ("xnli", "test-en.tsv", 1, "\n\n", "line 1 is empty; XTREME's script removes"),
        ("xnli", "test-en.tsv", 1, "neutral\n\n", "line 2 is empty"),
        ("mlqa", "test-de.json", 0, '{"a": "x", "a": "die Katze"}', "'a' occurs twice"),
        ("mlqa", "test-de.json", 1, squad({"a": "Katze"})[:-1] + ', "data": []}', "'data' occurs"),
        ("mlqa", "test-de.json", 1, squad({"a": "Katze", "b": None}), "a gold answer is not text"),
        ("mlqa", "test-de.json", 1, squad({"a": "x"}).replace('{"text": "x"}', ""), "test-de.json"),
        ("tatoeba", "test-de.tsv", 0, "3\n1\n9\n9\n", "counts lines from 1"),
    ],
)
def test_labels_that_are_none_and_names_that_stand_twice(folders, task, name, side, content, said):
    """Stripped labels gave 0.00, a header above both files was scored, null was the word None."""
    path = folders[side] / task / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as error:
        submission.score_folder(*folders)
    assert said in str(error.value) and str(path.parent) in str(error.value)


@pytest.mark.parametrize(
    "task, name, content, said",
    [
        ("xnli", "test-en.tsv", "Neutral\nneutral\n", "lines that are no label: 1, e.g. 'Neutral'"),
        (
            "panx",
            "test-en.tsv",
            "B-PER\nI-PER\nO\nB-XY\n",
            "tags that are no label: 1, e.g. 'B-XY'",
        ),
        ("tatoeba", "test-de.tsv", "2\n0\n1\n99\n", "lines that are no label: 1, e.g. '99'"),
        ("bucc2018", "test-de.tsv", "d1\te1\ne2\td2\n", "gold with their columns swapped: 1"),
    ],
)
def test_predictions_that_are_partly_none_are_said(folders, task, name, content, said):
    (folders[0] / task / name).write_text(content, encoding="utf-8")
    found = submission.score_folder(*folders)["tasks"][task]["notes"]
    assert len(found) == 1 and said in found[0]


def test_a_header_above_both_files_is_said(folders):
    for folder in folders:
        (folder / "xnli" / "test-en.tsv").write_text("label\nneutral\nneutral\n")
    (note,) = submission.score_folder(*folders)["tasks"]["xnli"]["notes"]
    assert "the first of the labels, 'label', is none: a header?" in note


@pytest.mark.parametrize("side, whose", [(0, "predictions"), (1, "labels")])
def test_a_header_above_pairs_is_said(folders, side, whose):
    """One more pair, silently wrong."""
    path = folders[side] / "bucc2018" / "test-de.tsv"
    path.write_text("source\ttarget\n" + path.read_text())
    (note,) = submission.score_folder(*folders)["tasks"]["bucc2018"]["notes"]
    assert f"first pair of the {whose}, 'source target', holds no number: a header?" in note


def test_files_that_no_task_reads_are_said(folders):
    """A folder called bucc, or a file called test-fr.txt, was passed over in silence."""
    (folders[0] / "xnli" / "test-fr.txt").write_text("neutral\n")
    (folders[0] / "bucc").mkdir()
    (folders[0] / "bucc" / "test-de.tsv").write_text("d1\te1\n")
    assert submission.score_folder(*folders)["not_read"] == ["bucc/test-de.tsv", "xnli/test-fr.txt"]
    assert "Not read, by their names: bucc/test-de.tsv" in submission.main_score(*folders)
