"""What is read back to make a number is what was written, or it is made anew."""

import json
import os

import numpy as np
import pytest
import torch
from test_packaged import tiny  # noqa: F401  (a fixture)
from test_training import MACHINE, PLAN, folder, make, same, weights  # noqa: F401

from midway.encoder import device, packaged, training
from midway.encoder import weights as snapshots
from midway.study.errors import InputError
from midway.study.files import digest, file_hashes
from midway.transfer import targets

FROZEN = {"frozen_layers": 2, "frozen_embeddings": True, "dropout": 0.0}


def torn(data):
    return data[: len(data) * 2 // 3]


def zeroed(data):
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


def flipped(data, at=0.6):
    at = int(at * len(data))
    return data[:at] + bytes([data[at] ^ 64]) + data[at + 1 :]


def flipped_header(data):
    """In an array's shape, or in a tensor's metadata."""
    at = max(data.find(b"(", 10), data.find(b'"shape":[') + 9)
    at = next(i for i in range(at, len(data)) if chr(data[i]).isdigit())
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES = [torn, zeroed, flipped, flipped_header, lambda data: b"", lambda data: b"\0" * len(data)]
damages = pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)


@damages
def test_damaged_trunk_is_computed_anew(folder, tmp_path, damage):  # noqa: F811
    """Half a file of zeros would go into training and evaluation as other scores, exit 0."""
    inputs = make(folder, tmp_path, **FROZEN)[1][0].inputs
    right = np.array(inputs.trunk), np.array(inputs.pooled)
    [file] = tmp_path.glob("*.trunk")
    before = file.read_bytes()
    file.write_bytes(damage(before))
    inputs = make(folder, tmp_path, **FROZEN)[1][0].inputs
    assert np.array_equal(inputs.trunk, right[0]) and np.array_equal(inputs.pooled, right[1])
    assert file.read_bytes() == before and not list(tmp_path.glob("*.part"))


def test_trunk_of_other_texts_is_not_taken_under_this_name(folder, tmp_path):  # noqa: F811
    """A copied or restored file may be whole and yet another's."""
    inputs = make(folder, tmp_path, **FROZEN)[1][0].inputs
    right = np.array(inputs.trunk)
    [file] = tmp_path.glob("*.trunk")
    other = {n: torch.zeros_like(t) for n, t in snapshots.read_weights(file)[0].items()}
    snapshots.save_weights(other, file, {"of": "other texts"})
    assert np.array_equal(make(folder, tmp_path, **FROZEN)[1][0].inputs.trunk, right)


def test_whole_trunk_is_not_computed_again(folder, tmp_path, monkeypatch):  # noqa: F811
    """The cache is there to save the time."""
    make(folder, tmp_path, **FROZEN)
    monkeypatch.setattr(device.Inputs, "_run_trunk", None)
    assert make(folder, tmp_path, **FROZEN)[1][0].inputs.trunk is not None


@damages
def test_damaged_weights_of_a_variant_are_refused(folder, tmp_path, damage):  # noqa: F811
    """Transfer from torn weights would be another variant's scores."""
    model, _ = make(folder)
    file = tmp_path / "encoder.safetensors"
    snapshots.save_weights(snapshots.trained(model.encoder), file, {"variant": "x"})
    snapshots.restore(model.encoder, snapshots.read_weights(file)[0])
    file.write_bytes(damage(file.read_bytes()))
    before = weights(model)
    with pytest.raises(InputError, match="encoder.safetensors: (damaged|unreadable)") as error:
        snapshots.read_weights(file)
    assert "\n" not in str(error.value) and same(before, weights(model))


def test_weights_of_another_variant_are_refused(folder, tmp_path):  # noqa: F811
    """A file that was copied over another's is whole, and yet other scores come from it."""
    model, _ = make(folder)
    made_as, file = {"encoder": "e", "variant": "mnli"}, tmp_path / "encoder.safetensors"
    snapshots.save_weights(snapshots.trained(model.encoder), file, made_as)
    snapshots.read_weights(file, made_as)
    for other in ({"variant": "qqp"}, {"encoder": "f"}):
        with pytest.raises(InputError, match="encoder.safetensors: weights of .*'mnli'"):
            snapshots.read_weights(file, made_as | other)


def test_damaged_facts_of_a_training_are_not_taken_back(tmp_path):
    """A digit of a loss that a disk has changed is valid JSON under the right key."""
    path, kept = tmp_path / "xnli.training.json", {"key": "k", "facts": {"losses": [0.25]}}
    path.write_text(json.dumps(kept | {"sha256": digest(kept)}))
    assert targets._facts(path, "k") == {"losses": [0.25]} and targets._facts(path, "o") is None
    whole = path.read_text()
    for text in (whole.replace("0.25", "0.35"), json.dumps(kept), "[]", whole[:9]):
        path.write_text(text)
        assert targets._facts(path, "k") is None


@damages
def test_damaged_state_is_passed_over(folder, tmp_path, damage):  # noqa: F811
    """A resumed run ends with the weights of an undisturbed one, whatever its states went through.

    The best weights may be needed only at the end, when the run could not go back any more.
    """

    def run(states, stop=None):
        model, sources = make(folder, dropout=0.1)
        best = snapshots.Best(model)

        def look(step, value):
            best.look(step, value)
            if step == stop:
                raise InterruptedError

        at = {s: lambda s=s, v=v: look(s, v) for s, v in {2: 50.0, 5: 70.0, 8: 60.0}.items()}
        options = {"states": states and snapshots.States(states, 3, best=best), "at": at}
        training.fit(model, sources, PLAN, 9, 5, MACHINE, **options)
        return best.restore(), weights(model)

    step, straight = run(None)
    with pytest.raises(InterruptedError):
        run(tmp_path, stop=8)
    newest = sorted(tmp_path.glob("step*"))[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    assert run(tmp_path)[0] == step == 5
    assert same(run(tmp_path)[1], straight)


@pytest.mark.parametrize("damage", DAMAGES[:3] + DAMAGES[4:], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", packaged.FILES)
def test_damaged_decoded_encoder_is_decoded_anew(tiny, name, damage):  # noqa: F811
    """Also when the disk, not a program, changed it: sizes and times are then as they were."""
    made = packaged.model_folder()
    file, before = made / name, (made / name).read_bytes()
    file.write_bytes(damage(before))
    assert packaged.model_folder() == made and file.read_bytes() == before


def test_rotten_encoder_is_seen_though_its_digest_is_remembered(tiny, tmp_path):  # noqa: F811
    made = packaged.model_folder()
    file = made / "model.safetensors"
    stat = file.stat()
    file_hashes({"": file}, tmp_path / "index")
    file.write_bytes(flipped(file.read_bytes()))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not packaged.intact(made)


def test_checksum_covers_names_kinds_and_metadata(folder, tmp_path):  # noqa: F811
    """Tensors of equal bytes under other names, or a state's step, are other states."""
    tensors = {
        "a": torch.ones(2, dtype=torch.bfloat16),
        "b": torch.zeros(2),
        "c": torch.tensor(1.0),
    }
    snapshots.save_weights(tensors, tmp_path / "w", {"step": 1})
    back, meta = snapshots.read_weights(tmp_path / "w")
    assert all(torch.equal(tensors[n], back[n]) for n in tensors) and "checksum" not in meta
    whole = (tmp_path / "w").read_bytes()
    for old, new in ((b'"a"', b'"z"'), (b"step", b"stop"), (b'"BF16"', b'"F16" ')):
        assert old in whole
        (tmp_path / "w").write_bytes(whole.replace(old, new, 1))
        with pytest.raises(InputError):
            snapshots.read_weights(tmp_path / "w")
