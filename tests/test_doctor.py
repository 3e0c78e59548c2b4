"""midway doctor: what is missing is named before a long run finds it out."""

import json

import pytest

from midway import doctor, params, tasks


def study(**changes):
    tree = {
        "study": "sick",
        "data": {"source": "mini"},
        "intermediate": {"variants": ["none", "csqa"], "steps": 2, "train_size": 20},
        "transfer": {"targets": ["xnli", "tatoeba"], "steps": 2, "train_size": 20},
    }
    return params.Study.model_validate(tree | changes)


def rows(found) -> dict:
    return {row["what"]: row for row in found}


def test_a_study_on_mini_lacks_nothing():
    found = rows(doctor.checks(study()))
    assert not [r for r in found.values() if r["ok"] is False], doctor.show(found.values())
    assert {"versions", "encoder", "device", "memory", "disk", "csqa", "xnli"} <= set(found)


def test_a_missing_encoder_is_told_once(tmp_path):
    """Memory and disk cannot be counted without it: three lines would read as three faults."""
    encoder = {"kind": "path", "path": str(tmp_path / "absent")}
    wrong = [r["what"] for r in doctor.checks(study(encoder=encoder)) if r["ok"] is False]
    assert wrong == ["encoder"]


def test_missing_files_are_named_with_where_to_get_them(tmp_path):
    found = rows(doctor.checks(study(data={"source": "local", "root": str(tmp_path)})))
    for name in ("csqa", "xnli", "tatoeba"):
        assert found[name]["ok"] is False and "get it" in found[name]["detail"]
    # without them the study goes on: they only feed probes
    assert found["qqp"]["ok"] is None and "only for a probe" in found["qqp"]["detail"]


def test_local_files_are_counted_and_hashed(tmp_path):
    folder = tmp_path / "intermediate" / "commonsenseqa"
    folder.mkdir(parents=True)
    line = {
        "answerKey": "A",
        "question": {
            "stem": "Where is tea kept?",
            "choices": [{"label": x, "text": f"place {x}"} for x in "ABCDE"],
        },
    }
    for split in ("train", "dev"):
        path = folder / f"{split}_rand_split.jsonl"
        lines = [json.dumps(line | {"id": f"{split}{i}"}) for i in range(3)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    one = {"source": "local", "root": str(tmp_path)}
    detail = rows(doctor.checks(study(data=one)))["csqa"]["detail"]
    official = f"{tasks.get('csqa').train_size:,}"
    assert "6 rows" in detail and f"3 training rows, officially {official}" in detail
    path.write_text(path.read_text().replace("tea", "ink"))
    assert rows(doctor.checks(study(data=one)))["csqa"]["detail"] != detail


@pytest.mark.parametrize("files", [(), ("config.json",), ("pytorch_model.bin", "config.json")])
def test_an_incomplete_encoder_folder_is_named(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("{}")
    found = rows(doctor.checks(study(encoder={"kind": "path", "path": str(tmp_path)})))["encoder"]
    assert found["ok"] is False and "model.safetensors" in found["detail"]


def test_too_little_memory_and_disk_are_seen_before(monkeypatch):
    big = {"variants": ["none", "csqa"], "steps": 2, "batch_size": 4096, "max_length": 512}
    memory = rows(doctor.checks(study(intermediate=big)))["memory"]
    assert memory["ok"] is None and "gradient_checkpointing" in memory["detail"]
    full = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: full)
    assert rows(doctor.checks(study()))["disk"]["ok"] is False
