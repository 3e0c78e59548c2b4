"""What the network does is told as it is: not there, not now, or not what was listed."""

import email.utils
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import repositories
from huggingface_hub import _tree_cache, constants

from conftest import point
from midway.data import sources
from midway.study import hub_answers, params, repository, tasks
from midway.study.errors import InputError, MissingData, Unreachable

HUB = params.Data(source="hub")
GLUE = tasks.get("mnli").hub["revision"]
TRAIN = f"resolve/{GLUE}/mnli/train-00000"


def empty_cache():
    shutil.rmtree(constants.HF_HUB_CACHE)
    _tree_cache._IN_MEMORY_TREE_CACHE.clear()  # a new process has none


def load(split="train"):
    return sources.load("mnli", split, "en", HUB)


GATED = {"status": 403, "code": "GatedRepo", "message": "Access to this dataset is restricted"}
NOT_FOR_US = {
    "gated": (GATED, "gated: ask for access at .*datasets/nyu-mll/glue"),
    "gated, no token": (GATED | {"status": 401}, "gated: ask for access at .*HF_TOKEN"),
    "wrong token": (
        {"status": 401, "message": "Invalid credentials in Authorization header"},
        "the token is not valid",
    ),
    "another wrong token": ({"status": 401, "message": "Invalid user token."}, "is not valid"),
    "refused": ({"status": 403, "message": "no"}, r"access refused \(403\)"),
}
ABSENT = {
    "no such repository, or private": (
        {"status": 401, "code": "RepoNotFound", "message": "Repository not found"},
        r"no dataset nyu-mll/glue \(401\): check the name; if it is private",
    ),
    "no such repository, with a token": (
        {"status": 404, "code": "RepoNotFound", "message": "Repository not found"},
        r"no dataset nyu-mll/glue \(404\)",
    ),
    "gone": ({"status": 410, "message": "gone"}, "the hub answers 410"),
    "no such commit": (
        {"status": 404, "code": "RevisionNotFound", "message": "Invalid rev id"},
        f"no commit {GLUE}: check the digits",
    ),
}


@pytest.mark.parametrize("name", ABSENT | NOT_FOR_US)
def test_what_is_missing_and_what_the_user_can_change(hub, name):
    """A mistyped name and a wrong commit want different things of the user. Access may be granted
    tomorrow: a record that calls it missing would never be made again. Both are asked only once.
    """
    answer, told = (ABSENT | NOT_FOR_US)[name]
    hub.faults.append({"match": "/api/datasets/nyu-mll/glue"} | answer)
    with pytest.raises(MissingData if name in ABSENT else Unreachable, match=told) as error:
        load()
    asked = [line for line in hub.log if "nyu-mll" in line]
    assert "\n" not in str(error.value) and len(asked) == 1


@pytest.mark.parametrize("code", [{}, {"code": "RepoNotFound"}], ids=["bare", "not found"])
def test_a_file_refused_after_a_good_listing_is_no_unknown_dataset(hub, code):
    """The repository is there: "mistyped?" sends the user to the wrong place, and missing lasts."""
    hub.faults.append({"match": "/resolve/", "status": 401} | code)
    with pytest.raises(Unreachable, match=r"is listed, but a file is refused \(401\): log in"):
        load()
    hub.faults.clear()
    assert len(load()) == 12, "after a login it is read"


def test_what_is_mistyped_on_a_card_is_said(hub, monkeypatch):
    """A configuration or split that the commit has not got is named, with the nearest."""
    original = tasks.get("mnli").hub["train"][0]
    for field, value, told in (
        ("config", "mnil", "no configuration 'mnil'; did you mean 'mnli'"),
        ("split", "trian", "no split 'trian' in mnli"),
    ):
        monkeypatch.setitem(tasks.get("mnli").hub, "train", [original | {field: value}])
        with pytest.raises(MissingData, match=told):
            load()


NOT_NOW = {
    "out of order": ({"status": 503}, r"error of its own \(503\)"),
    "too many requests": ({"status": 429, "headers": {"Retry-After": "0"}}, r"too many requests"),
    "connection dropped": ({"drop": True}, "no connection to http://127.0.0.1"),
    "cut off": ({"truncate": 200}, "nyu-mll/glue at"),
    "damaged": ({"corrupt": True}, "is not what the hub lists"),
}


@pytest.mark.parametrize("answer, told", NOT_NOW.values(), ids=NOT_NOW)
@pytest.mark.parametrize(
    "where", ["/api/datasets/nyu-mll/glue/tree", "GET /lfs/"], ids=["list", "file"]
)
def test_what_does_not_work_now_is_tried_again_then_fails(hub, answer, told, where, monkeypatch):
    """One 503 must not make a language missing for ever: the step fails, the next run goes on."""
    if "corrupt" in answer and "tree" in where:
        pytest.skip("a listing has no hash")
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults.append({"match": where, "times": 1} | answer)
    assert len(load()) == 12, "once: the second attempt has it"
    empty_cache()
    hub.faults[:] = [{"match": where} | answer]
    with pytest.raises(Unreachable, match=told) as error:
        load()
    assert "\n" not in str(error.value)
    hub.faults.clear()
    assert len(load()) == 12, "later: nothing of the failure is left in the cache"


def test_retry_after_is_obeyed(hub, monkeypatch):
    """The hub counts requests in five minutes: asking again at once only prolongs the refusal."""
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    hub.faults.append({"match": "tree", "status": 429, "times": 1, "headers": {"Retry-After": "7"}})
    assert len(load()) == 12 and max(slept) >= 7
    hub.faults[:] = [{"match": "tree", "status": 429, "headers": {"Retry-After": "3"}}]
    empty_cache()
    with pytest.raises(Unreachable, match="asks to wait 3 s"):
        load()


def test_retry_after_may_be_a_date(hub, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    after = {"Retry-After": email.utils.formatdate(time.time() + 40, usegmt=True)}
    hub.faults.append({"match": "tree", "status": 503, "times": 1, "headers": after})
    assert len(load()) == 12 and 30 < max(slept) <= 40


def test_the_hubs_own_limit_is_obeyed(hub, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    limit = {"RateLimit": '"api";r=0;t=55'}
    hub.faults.append({"match": "tree", "status": 429, "times": 1, "headers": limit})
    assert len(load()) == 12 and max(slept) == 55


@pytest.mark.parametrize("where", ["tree", "HEAD /datasets", "GET /lfs/"])
def test_a_day_is_not_waited_for(hub, monkeypatch, where):
    """A job that sleeps for as long as any server says holds its GPU all that time."""
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    hub.faults.append({"match": where, "status": 429, "headers": {"Retry-After": "86400"}})
    with pytest.raises(Unreachable, match="asks to wait 86400 s, but Midway waits at most 330 s"):
        load()


def test_an_answer_that_does_not_come_is_not_waited_for_without_end(hub, monkeypatch):
    """The client sets no limit of its own for listings: a run would stand still for ever."""
    monkeypatch.setattr(hub_answers, "TIMEOUT", 0.3)
    hub.faults.append({"match": "tree", "delay": 20})
    with pytest.raises(Unreachable, match="no connection to .*timed out"):
        load()


def test_a_name_that_nobody_knows(hub, monkeypatch):
    point(monkeypatch, "http://no-such-host.invalid", Path(constants.HF_HUB_CACHE).parent)
    with pytest.raises(Unreachable, match="no connection to http://no-such-host.invalid"):
        load()


@pytest.mark.parametrize("where", ["/api/datasets/nyu-mll/glue/tree", "HEAD /datasets"])
def test_a_repository_that_was_moved_is_followed(hub, where):
    """The hub answers with a redirect after a rename, on the same host."""
    hub.faults.append({"match": where, "times": 1, "status": 307, "moved": True})
    assert len(load()) == 12


def test_a_cache_that_cannot_be_written(hub, monkeypatch, tmp_path):
    """A full or read-only disk is no missing data: the message names the cache."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="file: cannot be written") as error:
        load()
    assert not isinstance(error.value, MissingData)


def test_a_full_disk(hub, monkeypatch):
    """Provoked by a limit on the size of files, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(InputError, match="cannot be written .*set HF_HOME"):
            load()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(load()) == 12


def test_a_read_only_cache_is_read(hub, monkeypatch):
    """A cache that the administrator filled for all."""
    load()
    monkeypatch.setattr(repository, "_download", lambda *_: pytest.fail("asked"))
    before = {p: p.stat().st_mtime_ns for p in Path(constants.HF_HUB_CACHE).rglob("*")}
    assert len(load()) == 12
    assert before == {p: p.stat().st_mtime_ns for p in Path(constants.HF_HUB_CACHE).rglob("*")}


def test_no_network(hub, monkeypatch):
    """Nobody answers: not missing data, and the address that was asked is named."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.stop()
    with pytest.raises(Unreachable, match=f"no connection to {hub.url}"):
        load()


def test_offline_with_an_empty_cache(hub, monkeypatch):
    """HF_HUB_OFFLINE: no request, no waiting, and what to do."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(Unreachable, match="run `midway fetch` with a network"):
        load()
    assert not hub.log


def test_offline_with_a_filled_cache(hub, monkeypatch):
    """What is here is read without a request, and the record says which files it was."""
    load()
    asked = len(hub.log)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(load()) == 12 and len(hub.log) == asked
    read = {k: v for k, v in repository.READ.items() if "/mnli/train-" in k}
    assert len(read) == 2 and all(f"@{GLUE}/" in key and len(v) == 64 for key, v in read.items())
    with pytest.raises(Unreachable):  # another split was never downloaded
        load("dev")


def test_a_cache_of_another_commit_is_not_read(hub, monkeypatch):
    """datasets falls back on the newest cached revision; rows of it would bear the pin's name."""
    from huggingface_hub import snapshot_download

    snapshot_download("nyu-mll/glue", repo_type="dataset", revision=repositories.OTHER)
    other = Path(constants.HF_HUB_CACHE) / "datasets--nyu-mll--glue/snapshots" / repositories.OTHER
    assert list(other.glob("mnli/train-*.parquet"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unreachable, match=GLUE[:12]):
        load()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert load()[0]["text_a"] == repositories.sentence(0, "en"), "the other commit lacks row 0"


def test_a_cache_that_another_program_filled(hub, monkeypatch):
    """load_dataset leaves no listing: its files are read if by their names none is missing."""
    load()
    folder = Path(constants.HF_HUB_CACHE) / "datasets--nyu-mll--glue"
    shutil.rmtree(folder / "trees")
    _tree_cache._IN_MEMORY_TREE_CACHE.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(load()) == 12
    next(folder.glob("snapshots/*/mnli/train-00001-of-00002.parquet")).unlink()
    with pytest.raises(Unreachable):
        load()


def test_a_file_that_changed_in_the_cache_is_downloaded_again(hub, monkeypatch):
    """A torn or edited file must not become other rows under the same pin."""
    load()
    blob = next(Path(constants.HF_HUB_CACHE).glob("**/mnli/train-00000*.parquet")).resolve()
    blob.write_bytes(blob.read_bytes()[:-9] + b"otherbyte")
    assert len(load()) == 12
    blob.write_bytes(blob.read_bytes()[:-9] + b"otherbyte")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unreachable, match="HF_HUB_OFFLINE is set"):
        load()


def test_forty_languages_cost_few_requests(hub):
    """The hub allows 500 API requests in five minutes; a README parsed at every load took 163."""
    for lang in tasks.get("panx").languages:
        sources.load("panx", "test", lang, HUB)
    api = [line for line in hub.log if "/api/datasets" in line]
    files = [line for line in hub.log if "/resolve/" in line]
    assert len(api) == 1 and len(files) <= 41
