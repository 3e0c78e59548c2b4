"""midway doctor: what is missing is named before a long run finds it out."""

import json
import subprocess
import sys

import pytest

import shapes
from midway.encoder import checkpoints
from midway.run import doctor
from midway.study import params, tasks
from midway.study.errors import InputError


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
    assert found["qqp"]["ok"] is None and "only a probe needs it" in found["qqp"]["detail"]


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
    with pytest.raises(InputError) as refused:  # the doctor and run have one rule
        checkpoints.check_folder(tmp_path, "encoder.path")
    assert found["ok"] is False and found["detail"] == str(refused.value)


@pytest.mark.parametrize("name", ["mbert", "mdeberta", "modernbert"])
def test_an_encoder_folder_that_a_run_takes_is_well(tmp_path, name):
    """mDeBERTa's folder has no tokenizer.json, older ones of BERT only vocab.txt."""
    folder = shapes.save(name, tmp_path / "x")
    if name == "mbert":
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
        (folder / "tokenizer.json").unlink()
    found = rows(doctor.checks(study(encoder={"kind": "path", "path": str(folder)})))
    assert found["encoder"]["ok"] is True and found["memory"]["ok"] is not False
    assert "4 layers" in found["encoder"]["detail"] and "pieces" in found["encoder"]["detail"]


def test_another_models_tokenizer_is_seen_before_training(tmp_path):
    """An index beyond the embeddings is an abort deep in torch, hours into a queue."""
    folder = shapes.save("xlm-r", tmp_path / "x")
    other = shapes.save("modernbert", tmp_path / "y") / "tokenizer.json"
    (folder / "tokenizer.json").write_bytes(other.read_bytes())
    found = rows(doctor.checks(study(encoder={"kind": "path", "path": str(folder)})))["encoder"]
    assert found["ok"] is False and found["detail"].startswith("encoder.path: ")


def test_a_torch_that_cannot_be_imported_is_one_row(tmp_path, root):
    """A wheel for another CUDA or machine: the verb that should say so ended in a traceback."""
    (tmp_path / "torch").mkdir()
    fault = "raise OSError('libcudart.so.12: cannot open shared object file')"
    (tmp_path / "torch" / "__init__.py").write_text(fault)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from midway import cli; "
        f"sys.exit(cli.main(['doctor', {str(root / 'params/smoke.yaml')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    said = [line for line in done.stdout.splitlines() if "libcudart" in line]
    assert len(said) == 1 and said[0].startswith("MISSING") and "torch cannot be" in said[0]
    assert "tatoeba" in done.stdout  # the other checks go on


def test_what_the_hub_cannot_give_is_missing():
    """CCG is on no hub: a study that needs it must not find that out in a failed step."""
    hub = {"data": {"source": "hub"}}
    found = rows(
        doctor.checks(study(intermediate={"variants": ["none", "ccg"], "steps": 2}, **hub))
    )
    assert found["ccg"]["ok"] is False and "LDC2005T13" in found["ccg"]["detail"]
    wanted = {"variants": ["none", "multi"], "steps": 2}
    found = rows(doctor.checks(study(intermediate=wanted, **hub)))
    assert found["ccg"]["ok"] is None and "`multi` is trained without it" in found["ccg"]["detail"]


def test_too_little_memory_and_disk_are_seen_before(monkeypatch):
    big = {"variants": ["none", "csqa"], "steps": 2, "batch_size": 4096, "max_length": 512}
    memory = rows(doctor.checks(study(intermediate=big)))["memory"]
    assert memory["ok"] is None and "gradient_checkpointing" in memory["detail"]
    full = type("Usage", (), {"free": 2**20})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: full)
    assert rows(doctor.checks(study()))["disk"]["ok"] is False


@pytest.mark.parametrize("name", ["outputs", "outputs/sick"])
def test_a_file_in_the_place_of_outputs_is_seen_before(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    [row] = doctor._disk(study())
    assert row["ok"] is False and f"{tmp_path / name} is a file" in row["detail"]
