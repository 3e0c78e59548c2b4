"""What becomes of the hub's rows: labels by name, thinning, refusals; and what needs no network."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import server
from datasets import ClassLabel, Dataset, Features, Value

from conftest import point
from midway.data import sources
from midway.study import params, tasks
from midway.study.errors import InputError, MissingData

HUB = params.Data(source="hub")
PIN = tasks.get("mnli").hub["revision"]


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Put rows of one's own at the place of MultiNLI's training file."""
    made = []

    def write(rows, features=None, change=lambda table: table):
        folder = tmp_path / "repos/datasets/nyu-mll/glue"
        for split in ("train", "validation_matched"):
            path = folder / PIN / "mnli" / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table = Dataset.from_list(rows, features=features).data.table
            pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)
        server.sha256.cache_clear()
        shutil.rmtree(tmp_path / "hf", ignore_errors=True)
        (folder / "refs.json").write_text(json.dumps({"main": PIN}))
        made.append(server.Server(tmp_path / "repos"))
        point(monkeypatch, made[-1].url, tmp_path / "hf")

    yield write
    for running in made:
        running.stop()


def test_anli_joins_three_repositories(hub):
    """ANLI+ is ANLI, MultiNLI and SNLI; a label means the same in all three."""
    rows = sources.load("anli", "train", "en", HUB)
    assert len(rows) == 5 * 12 and set(rows["label"]) == {0, 1, 2}
    named = {r["text_b"].split()[1]: r["label"] for r in rows}
    assert named["0"] == 0, "entailment: the generator repeats the number there"


def test_xnli_and_tydiqa_share_one_table_over_languages(hub):
    assert set(sources.load("xnli", "test", "sw", HUB)["lang"]) == {"sw"}
    assert sources.load("xnli", "train", "en", HUB)["text_a"][0].startswith("en")  # MultiNLI's
    assert sources.load("tydiqa", "test", "te", HUB)["id"][0].startswith("telugu-")
    assert len(sources.load("tydiqa", "train", "en", HUB)) == 10  # the last tenth is dev
    assert len(sources.load("tydiqa", "dev", "en", HUB)) == 2


def test_a_large_table_is_thinned_before_it_is_read(serve):
    """A laptop that wants 50 of a million rows must not wait for a million; the seed decides."""
    serve([{"premise": str(i), "hypothesis": "h", "label": i % 3} for i in range(1000)])
    from midway.data import hub

    card = tasks.get("mnli")
    first, again = (hub.load(card, "train", "en", 50, 1) for _ in range(2))
    assert 100 <= len(first) < 250 and first == again  # half may be for the targets
    assert first != hub.load(card, "train", "en", 50, 2)


def test_thinning_does_not_eat_a_language_that_is_a_small_part_of_a_table(hub):
    """TyDiQA's English is a thirteenth of its table; its last tenth is dev, never train."""
    whole, dev = (sources.load("tydiqa", split, "en", HUB)["id"] for split in ("train", "dev"))
    some = sources.load("tydiqa", "train", "en", HUB, size=4)["id"]
    assert len(some) == 4 and set(some) <= set(whole) and not set(whole) & set(dev)


BROKEN = {
    "column": ([{"premise": "p", "label": 0}], "no column 'hypothesis'"),
    "label": ([{"premise": "p", "hypothesis": "h", "label": 7}], "label 7 is not one of"),
    "stripped": ([{"premise": "p", "hypothesis": "h", "label": -1}], "rows without labels"),
    "empty": ([{"premise": "p", "hypothesis": " ", "label": 1}], "'hypothesis' is empty"),
    "number": ([{"premise": 3, "hypothesis": "h", "label": 1}], "int, not text"),
}


@pytest.mark.parametrize("rows, message", BROKEN.values(), ids=BROKEN)
def test_a_changed_table_is_refused(serve, rows, message):
    """Were the hub's columns to change, no row may slip through with another meaning."""
    serve(rows)
    with pytest.raises(MissingData, match=message) as error:
        sources.load("mnli", "dev", "en", HUB)
    assert "\n" not in str(error.value)


def test_classes_are_taken_by_name_and_a_number_without_one_is_refused(serve):
    """Another order of names must not become other labels; a class of no name no traceback."""
    names = ClassLabel(names=["contradiction", "neutral", "entailment"])
    rows = [{"premise": f"p{i}", "hypothesis": "h", "label": 0} for i in range(4)]
    kinds = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": names})
    serve(rows, kinds)
    assert set(sources.load("mnli", "dev", "en", HUB)["label"]) == {2}
    serve(rows, kinds, lambda table: table.set_column(2, "label", [[0, 1, 2, 3]]))
    with pytest.raises(MissingData, match="label 3 is not one of entailment"):
        sources.load("mnli", "dev", "en", HUB)


def test_classes_without_names_are_numbers_in_the_cards_order(serve):
    serve([{"premise": f"p{i}", "hypothesis": "h", "label": i} for i in range(3)])
    assert sources.load("mnli", "dev", "en", HUB)["label"] == [0, 1, 2]


ODD = {"huggingface": '{"info": {"features": 3}}'}
TORN = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "Parquet"),
    "empty": (lambda path: path.write_bytes(b""), "file size"),
    "no rows": (lambda path: pq.write_table(pq.read_table(path)[:0], path), "no rows for en"),
    "unknown features": (
        lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(ODD), path),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("tear, told", TORN.values(), ids=TORN)
def test_a_table_that_is_torn_on_the_hub_is_missing_data(serve, tmp_path, tear, told):
    """Its hash agrees, so no download mends it; it is told, and no traceback."""
    serve([{"premise": "p", "hypothesis": "h", "label": 0}])
    for path in (tmp_path / "repos").rglob("*.parquet"):
        tear(path)
    server.sha256.cache_clear()
    with pytest.raises(MissingData, match=told) as error:
        sources.load("mnli", "dev", "en", HUB)
    assert "\n" not in str(error.value)


def test_a_short_revision_is_refused(hub, monkeypatch):
    """main or a short commit may become another table tomorrow."""
    monkeypatch.setitem(tasks.get("mnli").hub["train"][0], "revision", "main")
    with pytest.raises(MissingData, match="no full commit"):
        sources.load("mnli", "train", "en", HUB)
    assert not hub.log


def test_a_description_needs_no_network(hub):
    """`doctor` and `fetch` ask for it before they ask the hub."""
    told = sources.on_hub("panx", "test", "de", HUB)[0]
    assert told["config"] == "PAN-X.de" and told["revision"] == tasks.get("panx").hub["revision"]
    assert not hub.log


def study(root=None, **intermediate):
    variants = intermediate.pop("variants", ["none", "ccg"])
    return params.Study.model_validate(
        {
            "study": "x",
            "data": {"source": "hub"} | ({"root": str(root)} if root else {}),
            "intermediate": {"steps": 2, "variants": variants},
            "transfer": {"steps": 2, "targets": ["tatoeba"]},
        }
    )


def test_what_no_hub_has_is_refused_before_anything_starts(tmp_path):
    """CCGbank may not be redistributed: 54 steps that cannot run must not be called new."""
    with pytest.raises(InputError, match="intermediate.variants: ccg is not on the hub"):
        sources.refuse(study())
    sources.refuse(study(variants=["none", "multi"]))  # goes on without it
    with pytest.raises(InputError, match="data.root"):
        sources.refuse(study(tmp_path / "absent"))


def test_official_files_come_before_the_hub(hub, tmp_path):
    """With data.root, CCG and XTREME's own UD, BUCC and PAWS-X can be had beside the hub."""
    folder = tmp_path / "intermediate/ccg"
    folder.mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("a\tNP\nb\tN\n\n")
    data = study(tmp_path).data
    sources.refuse(study(tmp_path))
    assert sources.load("ccg", "train", "en", data)["tags"] == [["NP", "N"]]
    assert sources.on_hub("ccg", "train", "en", data) == []
    assert len(sources.load("mnli", "dev", "en", data)) == 12  # no files: from the hub
    assert sources.note(tasks.get("bucc2018"), data) and not sources.note(tasks.get("ccg"), data)


def test_a_card_may_say_where_its_files_are(hub, monkeypatch):
    """Not every repository has the layout of the hub's own conversion."""
    part = tasks.get("panx").hub["test"][0] | {"files": "PAN-X.{lang}/test-00000*.parquet"}
    monkeypatch.setitem(tasks.get("panx").hub, "test", [part | {"config": None}])
    assert sources.load("panx", "test", "de", HUB)["tokens"][0][0] == "de"
