"""The packaged encoder: decoded exactly, tokenised as published, cached safely."""

import json
import os
import struct
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

from midway.encoder import packaged
from midway.study.errors import InputError

HIDDEN, INNER = 32, 64
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁a", "b", "<mask>"]
SCORES = [0.0, 0.0, 0.0, 0.0, -3.5, -2.0, -9.25, 0.0]

# (text, ids) from a tokenizer that equals the published one on 53,019 sentences
GOLDEN = [
    ("", [0, 2]),
    ("Hello, world!", [0, 35378, 4, 8999, 38, 2]),
    ("  runs   of\tspace \n", [0, 127877, 111, 32628, 6, 2]),
    ("Straßenbahn fährt über die Brücke.", [0, 93240, 64658, 213272, 1659, 68, 217009, 5, 2]),
    ("我们明天去北京。", [0, 57818, 72938, 1677, 8732, 30, 2]),
    ("सड़क पर गाड़ी है।", [0, 84717, 968, 17049, 33956, 460, 125, 2]),
    ("العربية لغة جميلة", [0, 15073, 180966, 160289, 2]),
    ("क\u200dष", [0, 5181, 6, 9750, 2]),  # a zero-width joiner becomes a space
    ("ﬁne ＡＢＣ ½", [0, 5885, 47457, 78660, 2]),  # compatibility forms
    ("x\u00a0y 🙂", [0, 1022, 113, 3143, 2]),
    ("𒀀", [0, 6, 3, 2]),  # unknown
]


def tiny_file(path, rng):
    """A 4-bit file of one layer in the layout of the data file, and the weights it must give."""
    expected, directory, body = {}, [], b""
    shapes = {"emb.word": (9, HIDDEN), "emb.pos": (4, HIDDEN), "emb.type": (2, HIDDEN)}
    shapes |= {f"l0.{x}.w": (HIDDEN, HIDDEN) for x in ("q", "k", "v", "ao")}
    shapes |= {"l0.fi.w": (INNER, HIDDEN), "l0.fo.w": (HIDDEN, INNER), "l0.fi.b": (INNER,)}
    shapes |= {f"l0.{x}.b": (HIDDEN,) for x in ("q", "k", "v", "ao", "fo")}
    norms = ["emb.ln", "l0.aln", "l0.oln"]
    shapes |= {f"{x}.{y}": (HIDDEN,) for x in norms for y in "wb"}
    for name, shape in shapes.items():
        quantised = len(shape) == 2 and name not in ("emb.pos", "emb.type")
        if quantised:
            scale = rng.uniform(0.01, 0.1, np.prod(shape) // 32).astype("<f2")
            level = rng.integers(0, 16, (len(scale), 32))
            halves = (level[:, :16] | level[:, 16:] << 4).astype("u1")
            content = b"".join(
                s.tobytes() + h.tobytes() for s, h in zip(scale, halves, strict=True)
            )
            weights = (level - 8) * scale.astype(float)[:, None]
        else:
            weights = rng.normal(size=shape).astype("<f4")
            content = weights.tobytes()
        expected[name] = weights.reshape(shape)
        directory.append((name.encode(), int(quantised), np.prod(shape), len(body), len(content)))
        body += content
    text = "".join(PIECES).encode()
    ends = np.cumsum([0] + [len(p.encode()) for p in PIECES])
    head = struct.pack("<4s8ifi", b"E5S1", 1, HIDDEN, 1, 2, INNER, 9, 4, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(text))
    head += ends.astype("<u4").tobytes() + np.array(SCORES, "<f4").tobytes() + text
    head += struct.pack("<iI", 1, 9) + b"x" * 9 + struct.pack("<i", len(directory))
    size = len(head) + sum(2 + len(name) + 21 for name, *_ in directory)
    for name, kind, elements, offset, length in directory:
        head += struct.pack("<H", len(name)) + name
        head += struct.pack("<BIQQ", kind, elements, size + offset, length)
    path.write_bytes(head + body)
    return expected


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """An empty cache and, in place of the package's file, a tiny one."""
    expected = tiny_file(tmp_path / "tiny.bin", np.random.default_rng(0))
    monkeypatch.setattr(packaged, "data_file", lambda: tmp_path / "tiny.bin")
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    return tmp_path, expected


@pytest.fixture(scope="module")
def folder():
    try:
        return packaged.model_folder()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tokenizer(folder):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_every_weight_is_decoded_to_its_place(tiny):
    """A wrong half-byte order or transposed matrix would make every result quietly worse."""
    config, tensors, vocabulary = packaged.decode(tiny[0] / "tiny.bin")
    assert config["layer_norm_eps"] == 1e-12 and config["intermediate_size"] == INNER
    assert vocabulary == list(zip(PIECES, SCORES, strict=True))
    names = {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.type": "embeddings.token_type_embeddings.weight",
        "l0.q.w": "encoder.layer.0.attention.self.query.weight",
        "l0.ao.b": "encoder.layer.0.attention.output.dense.bias",
        "l0.fi.w": "encoder.layer.0.intermediate.dense.weight",
        "l0.fo.w": "encoder.layer.0.output.dense.weight",
        "l0.oln.w": "encoder.layer.0.output.LayerNorm.weight",
    }
    assert len(tensors) == len(tiny[1])
    for short, name in names.items():
        assert tensors[name].dtype == np.float32
        np.testing.assert_allclose(tensors[name], tiny[1][short], rtol=1e-6)


def test_decoded_tensors_are_those_of_a_bert_model(tiny):
    """A misnamed tensor would leave a layer at random weights."""
    from transformers import BertConfig, BertModel

    config, tensors, _ = packaged.decode(tiny[0] / "tiny.bin")
    model = BertModel(BertConfig(**config), add_pooling_layer=False)
    state = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    assert state == {name: t.shape for name, t in tensors.items()}


@pytest.mark.parametrize("damage", ["truncated", "altered", "hash", "record", "missing"])
def test_damaged_cache_is_made_again(tiny, damage):
    """A file cut by a full disk would stop every later run, or give other numbers."""
    folder = packaged.model_folder()
    weights, before = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if damage == "truncated":
        os.truncate(weights, len(before) // 2)
    elif damage == "altered":
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    elif damage == "hash":
        record["files"]["model.safetensors"] = "0" * 64
        (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    elif damage == "record":
        (folder / "record.json").write_text("{", encoding="utf-8")
    else:
        (folder / "tokenizer.json").unlink()
    assert not packaged.intact(folder)
    assert packaged.model_folder() == folder and packaged.intact(folder)
    assert weights.read_bytes() == before
    assert sorted(p.name for p in folder.parent.iterdir() if ".tmp-" in p.name) == []


def test_intact_cache_is_not_made_again(tiny, monkeypatch):
    """Decoding at each start would cost seconds in each of dozens of steps."""
    packaged.model_folder()
    monkeypatch.setattr(packaged, "write_model", None)
    assert packaged.model_folder().is_dir()


def test_leftovers_of_a_killed_process_are_removed(tiny):
    """Each killed start would otherwise leave half a gigabyte."""
    left = packaged.cache_folder() / f"e5-small-{packaged.SHA256[:12]}-v{packaged.FORMAT}.tmp-x"
    left.mkdir(parents=True)
    packaged.model_folder()
    assert not left.exists()


def test_unwritable_cache_is_one_line(tiny, monkeypatch):
    """A cluster's read-only home must say which variable to set."""
    (tiny[0] / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("MIDWAY_CACHE", str(tiny[0] / "file"))
    with pytest.raises(InputError, match="set MIDWAY_CACHE") as error:
        packaged.model_folder()
    assert "\n" not in str(error.value)


def test_other_content_of_the_package_is_refused(tmp_path, monkeypatch):
    """Another release of the package must not change results under the same name."""

    class Other:
        def locate_file(self, _):
            (tmp_path / "x.bin").write_bytes(b"E5S1 something else")
            return tmp_path / "x.bin"

    monkeypatch.setattr(metadata, "distribution", lambda _: Other())
    with pytest.raises(InputError, match="sha256"):
        packaged.data_file()


def test_absent_package_points_to_the_hub(monkeypatch):
    """On a Mac the package cannot be installed; the same model is on the hub."""

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(InputError, match="kind: hub, name: intfloat/multilingual-e5-small"):
        packaged.data_file()


@pytest.mark.parametrize(("text", "ids"), GOLDEN)
def test_golden_token_ids(tokenizer, text, ids):
    """Other pieces than the model was trained on would make it worse without a word."""
    assert tokenizer.encode(text).ids == ids


def test_pair_template_and_mask(tokenizer):
    """XLM-R separates the two texts of a pair by two marks; <mask> takes the space before it."""
    assert tokenizer.encode("a", "b").ids == [0, 10, 2, 2, 876, 2]
    assert tokenizer.encode("a <mask>").ids == [0, 10, 250001, 2]
    assert tokenizer.get_vocab_size() == 250002


def test_token_ids_equal_the_published_tokenizer(tokenizer, shared):
    """568 sentences of many languages, encoded by the model's own tokenizer.json."""
    vectors = json.loads((shared / "facts/tokenizer_vectors.json").read_text(encoding="utf-8"))
    assert len(vectors) == 568
    wrong = [v["text"] for v in vectors if tokenizer.encode(v["text"]).ids != v["ids"]]
    assert wrong == []


@pytest.mark.slow
def test_two_processes_on_an_empty_cache_get_the_same_model(tmp_path, folder):
    """A run starts several steps at once on a fresh machine."""
    code = "from midway.encoder import packaged as p; f = p.model_folder(); print(f, p.intact(f))"
    env = os.environ | {"MIDWAY_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    jobs = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lines = [job.communicate(timeout=300)[0].strip() for job in jobs]
    assert lines[0] == lines[1] and lines[0].endswith("True")
    first, second = (
        json.loads((f / "record.json").read_text(encoding="utf-8"))["files"]
        for f in (folder, tmp_path / folder.name)
    )
    assert first == second
    assert sorted(p.name for p in tmp_path.iterdir()) == [folder.name, "packaged.lock"]
