"""midway fetch and midway doctor against the stand-in: ahead of a run, and what is missing."""

from pathlib import Path

import pytest
import repositories
import server
from huggingface_hub import constants

from conftest import point
from midway.data import sources
from midway.run import doctor, fetch, schedule
from midway.study import params, tasks
from midway.study.errors import InputError

ROOT = Path(__file__).parents[2]
LARGE = ("FacebookAI/xlm-roberta-large", "c23d21b0620b635a76227c604d44e43a9f0ee389")
FILES = [p.stem for p in sorted((ROOT / "params").glob("*.yaml")) if "source: hub" in p.read_text()]


def tiny(name="x", **changes):
    tree = {
        "study": name,
        "data": {"source": "hub"},
        "encoder": {"kind": "hub", "name": LARGE[0], "revision": LARGE[1]},
        "intermediate": {"variants": ["none", "csqa"], "steps": 2, "probe_languages": ["de"]},
        "transfer": {"targets": ["tatoeba"], "languages": {"tatoeba": ["de", "fr"]}, "steps": 2},
    }
    return params.Study.model_validate(tree | changes)


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """A stand-in with the encoder and all repositories, which a test may change."""
    root = repositories.write(tmp_path / "repos")
    repositories.model(root, *LARGE)
    running = server.Server(root)
    point(monkeypatch, running.url, tmp_path / "hf")
    yield running
    running.stop()


def rows(study) -> dict:
    return {row["what"]: row for row in doctor.checks(study)}


def test_fetch_then_no_request(whole, monkeypatch, capsys):
    """What was fetched on one machine is all that another without a network asks for."""
    study = tiny()
    before = rows(study)
    assert (
        before["encoder"]["ok"] is None
        and "to download: midway fetch" in before["encoder"]["detail"]
    )
    assert before["tatoeba"]["ok"] is None and "2 files" in before["tatoeba"]["detail"]
    assert not [p for p in Path(constants.HF_HUB_CACHE).glob("**/*.parquet")], (
        "doctor loads nothing"
    )
    assert fetch.fetch(study) == 0
    told = capsys.readouterr().out
    assert "loads: 2 layers" in told and "HF_HUB_OFFLINE=1" in told
    assert not any("pytorch_model" in line or "onnx" in line for line in whole.log)
    asked = len(whole.log)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name, wanted in fetch.reads(study).items():
        for split, lang in wanted:
            assert len(sources.load(name, split, lang, study.data))
    assert fetch.fetch(study) == 0 and len(whole.log) == asked
    after = rows(study)
    assert after["encoder"]["ok"] and after["tatoeba"]["ok"] and len(whole.log) == asked


@pytest.mark.parametrize("name", FILES)
def test_shipped_hub_studies_are_all_there(name, hub):
    """A shipped params file whose variants or targets no hub has cannot run."""
    study = params.load(ROOT / f"params/{name}.yaml")
    found = {row["what"]: row for row in doctor._data(study, True)}
    assert not [row for row in found.values() if row["ok"] is False]
    assert all("to download" in found[t]["detail"] for t in study.transfer.targets)
    assert "of data in all" in found["download"]["detail"]
    assert len([line for line in hub.log if "/api/datasets" in line]) <= 9  # one a repository


def test_what_differs_from_xtreme_is_said(whole):
    found = rows(tiny(transfer={"targets": ["udpos", "bucc2018", "pawsx", "xnli"], "steps": 2}))
    for name in ("udpos", "bucc2018", "pawsx"):
        assert "not XTREME's own data" in found[name]["detail"]
    assert "not XTREME's" not in found["xnli"]["detail"]


def test_fetch_lists_what_is_missing_and_goes_on(whole, capsys):
    """One gated repository must not hide what else lacks, nor keep the rest from being fetched."""
    gated = {"status": 403, "code": "GatedRepo", "message": "restricted"}
    whole.faults += [
        {"match": "/api/datasets/tau/commonsense_qa"} | gated,
        {"match": "/api/models"} | gated,
        {"match": "/api/datasets/nyu-mll/glue/tree", "status": 404, "code": "RevisionNotFound"},
    ]
    study = tiny()
    assert fetch.fetch(study) == 1
    told = capsys.readouterr().out
    assert "encoder: FacebookAI/xlm-roberta-large at c23d21b0620b is gated" in told
    assert "csqa: tau/commonsense_qa at 94630fe30dad is gated" in told
    assert "not available now: 2; run `midway fetch` again" in told and "missing" not in told
    assert (
        "not available, only for `multi` or a probe: mnli dev en: nyu-mll/glue has no commit"
        in told
    )
    found = rows(study)
    assert found["csqa"]["away"] and "gated" in found["csqa"]["detail"]
    assert "\nnot available now: 2 (encoder, csqa)" in doctor.show(list(found.values()))
    assert found["mnli"]["ok"] is None and "no commit" in found["mnli"]["detail"]
    assert found["tatoeba"]["ok"] is True, "fetched all the same"


def test_fetch_without_a_network(whole, capsys, monkeypatch):
    """Not reachable is not the same as not there; and the next fetch goes on."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    whole.faults.append({"match": ".", "status": 503})
    assert fetch.fetch(tiny()) == 1
    told = capsys.readouterr().out
    assert "error of its own (503)" in told and "gated" not in told
    whole.faults.clear()
    assert fetch.fetch(tiny()) == 0
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    found = rows(tiny())
    assert "no connection" in found["hub"]["detail"]
    assert found["tatoeba"]["ok"] is True, "what is in the cache needs no network"


def test_an_encoder_with_pickled_weights_only_is_refused_before_its_download(whole, capsys):
    folder = whole.root / "models" / LARGE[0] / LARGE[1]
    (folder / "model.safetensors").unlink()
    assert fetch.fetch(tiny()) == 1
    assert "only pytorch_model.bin, which can run code" in capsys.readouterr().out
    assert not any("resolve" in line and "roberta" in line for line in whole.log)


def test_a_cached_encoder_that_cannot_be_loaded_is_refused_before_a_run(whole):
    """Not after a queue, in every step of a cluster."""
    assert fetch.fetch(tiny()) == 0
    schedule.check(tiny())
    config = Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*/config.json")
    next(config).resolve().write_text('{"model_type": "gpt2", "num_hidden_layers": 2}')
    with pytest.raises(InputError, match="encoder.name: model_type 'gpt2'"):
        schedule.check(tiny())


def test_reads_is_what_the_steps_load(monkeypatch):
    """A split that fetch forgets is a request, or a failed step, on a node without a network."""
    study = tiny(
        intermediate={"variants": ["none", "multi", "csqa+translated"], "steps": 2},
        transfer={"targets": ["xnli", "bucc2018"], "steps": 2, "selections": 2},
    )
    found = fetch.reads(study)
    assert set(found) == {*tasks.INTERMEDIATE, "xnli", "bucc2018"}
    assert {("train", "en"), ("dev", "en"), ("test", "sw"), ("dev", "sw")} <= set(found["xnli"])
    assert {("dev", "de"), ("test", "de")} <= set(found["bucc2018"])


def test_fetch_refuses_what_no_hub_has(whole):
    with pytest.raises(InputError, match="ccg is not on the hub"):
        fetch.fetch(tiny(intermediate={"variants": ["none", "ccg"], "steps": 2}))
