"""Encoders from every place: the right layers, the right states, safe loading, exact trimming."""

import json
import shutil

import numpy as np
import pytest
import torch

import shapes
from midway.encoder import architectures, encoder, packaged
from midway.study import params
from midway.study.errors import InputError, Unreachable
from midway.study.files import sha256

WORDS = ["a", "b", "c", "ab", "abc", "d", "e", "ed", "ing", "▁a", "▁b", "▁ab", "▁cd", "de", "f"]
TEXTS = ["abc cd", "deed ab", "a", "bed ab cd ing", "x?", "abed"]
SENTENCES = [
    "Where is the station?",
    "Wir fahren morgen mit dem Zug nach Norden, wenn es nicht regnet.",
    "我们明天去北京。",
    "इस सड़क पर बहुत गाड़ियाँ हैं।",
    "𒀀 x",
]


def batch(encoded, texts, **kw):
    return encoded.tokenizer(texts, padding=True, return_tensors="pt", **kw)


def states(encoded, texts):
    inputs = batch(encoded, texts)
    with torch.no_grad():
        return shapes.states(encoded.model, inputs.input_ids, inputs.attention_mask)


def largest_gap(ours, theirs):
    assert len(ours) == len(theirs)
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def whole():
    try:
        return encoder.load(params.Encoder())
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def lowest(whole):
    return encoder.load(params.Encoder(layers=6))


def save_unigram(folder, extra=None):
    """A tokenizer like XLM-R's with its specials at XLM-R's ids, and ``<mask>`` last."""
    vocabulary = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>"], 0.0) | {"▁": -4.0}
    vocabulary |= {word: -5 - i / 4 for i, word in enumerate(WORDS)} | (extra or {})
    vocabulary["<mask>"] = 0.0
    tokenizer = packaged.build_tokenizer(list(vocabulary.items()))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(packaged.TOKENIZER), encoding="utf-8")
    return len(vocabulary)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Small random checkpoints as other people leave them: XLM-R with an MLM head, and mBERT."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        PreTrainedTokenizerFast,
        XLMRobertaConfig,
        XLMRobertaForMaskedLM,
    )

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("checkpoints")
    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    small |= {"intermediate_size": 32, "max_position_embeddings": 34, "initializer_range": 0.5}
    folder = root / "xlmr"
    folder.mkdir()
    size = save_unigram(folder)
    config = XLMRobertaConfig(vocab_size=size, pad_token_id=1, type_vocab_size=1, **small)
    XLMRobertaForMaskedLM(config).save_pretrained(folder)

    folder = root / "mbert"
    folder.mkdir()
    pieces = ["[PAD]", "x", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "##c", "a", "##bc", "cd"]
    pieces += ["##ed", "de", "##e", "##d", "b"]
    wordpiece = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=False)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3))
    PreTrainedTokenizerFast(
        tokenizer_object=wordpiece,
        **{f"{k}_token": f"[{k.upper()}]" for k in ("pad", "unk", "cls", "sep", "mask")},
    ).save_pretrained(folder)
    config = BertConfig(vocab_size=len(pieces), pad_token_id=0, **small)
    BertModel(config).save_pretrained(folder)
    return root


def load_path(folder, **kw):
    return encoder.load(params.Encoder(kind="path", path=str(folder), **kw))


def test_lowest_layers_are_those_of_the_whole_model(whole, lowest):
    """Keeping the wrong six layers would change every result of the default study."""
    assert (whole.layers, lowest.layers, lowest.hidden_size, lowest.max_length) == (12, 6, 384, 512)
    assert len(lowest.model.encoder.layer) == 6 and lowest.model.pooler is None
    assert not lowest.model.training and lowest.model.config._attn_implementation == "sdpa"
    assert {p.dtype for p in lowest.model.parameters()} == {torch.float32}
    assert largest_gap(states(lowest, SENTENCES), states(whole, SENTENCES)[:7]) == 0


def test_hidden_states_are_the_models_own(whole):
    """The loop that training runs must be the published architecture, padding included."""
    inputs = batch(whole, SENTENCES)
    with torch.no_grad():
        theirs = whole.model(**inputs, output_hidden_states=True).hidden_states
    assert largest_gap(states(whole, SENTENCES), theirs) < 1e-5


@pytest.mark.parametrize("name", ["xlmr", "mbert"])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1]], ids=["padded", "unpadded"])
def test_hidden_states_of_path_encoders(checkpoints, name, texts):
    """XLM-R and BERT count positions differently; both must come out as transformers has them."""
    encoded = load_path(checkpoints / name)
    inputs = batch(encoded, texts)
    with torch.no_grad():
        theirs = encoded.model(**inputs, output_hidden_states=True).hidden_states
    assert largest_gap(states(encoded, texts), theirs) < 1e-5


@pytest.mark.parametrize("first", [1, 2, 3])
def test_layers_continue_from_a_stored_state(checkpoints, first):
    """A frozen trunk computed once must give what the whole encoder gives."""
    encoded = load_path(checkpoints / "xlmr")
    every = states(encoded, TEXTS)
    mask = batch(encoded, TEXTS).attention_mask
    with torch.no_grad():
        rest = architectures.run(encoded.model, every[first], mask, first=first)
        one = architectures.run(encoded.model, every[1], mask, first=1, last=2)
    assert largest_gap(rest, every[first:]) == 0
    assert largest_gap(one, every[1:3]) == 0


def test_gradients_reach_the_layers_that_run(checkpoints):
    """Training through the loop must update the layers above the frozen trunk."""
    encoded = load_path(checkpoints / "xlmr")
    start = states(encoded, TEXTS)[1]
    mask = batch(encoded, TEXTS).attention_mask
    last = architectures.run(encoded.model, start, mask, first=1)[-1]
    last.sum().backward()
    layers = encoded.model.encoder.layer
    assert layers[0].output.dense.weight.grad is None
    assert all(p.grad is not None for p in layers[1].parameters())


@pytest.mark.slow
def test_writing_to_weights_leaves_the_cache_alone(whole):
    """Weights are mapped from the cache: training one study must not change the next."""
    before = sha256(packaged.model_folder() / "model.safetensors")
    with torch.no_grad():
        changed = encoder.load(params.Encoder(layers=1)).model
        changed.embeddings.word_embeddings.weight[5] += 1
        changed.encoder.layer[0].output.dense.weight += 1
    again = encoder.load(params.Encoder(layers=1)).model.embeddings.word_embeddings.weight
    assert torch.equal(again[5], whole.model.embeddings.word_embeddings.weight[5])
    assert sha256(packaged.model_folder() / "model.safetensors") == before


def test_path_keeps_the_lowest_layers(checkpoints):
    """A local checkpoint with a head, fewer layers and other dropout loads without its head."""
    three, two = load_path(checkpoints / "xlmr"), load_path(checkpoints / "xlmr", layers=2)
    assert (three.layers, two.layers, two.max_length) == (3, 2, 32)
    assert largest_gap(states(two, TEXTS), states(three, TEXTS)[:3]) == 0
    other = load_path(checkpoints / "xlmr", dropout=0.25).model.config
    assert other.hidden_dropout_prob == other.attention_probs_dropout_prob == 0.25


def test_a_tokenizer_that_adds_no_start_is_refused(checkpoints, tmp_path):
    """Every word's tag would be read one piece too far, in silence."""
    folder = tmp_path / "x"
    shutil.copytree(checkpoints / "mbert", folder)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": None}))
    with pytest.raises(InputError, match="must add one token before and one after"):
        load_path(folder)


def test_tokenizer_is_the_published_file(checkpoints, tmp_path):
    """Transformers' XLM-R class would drop the file's normaliser and change the pieces."""
    from tokenizers import Tokenizer

    folder = tmp_path / "x"
    shutil.copytree(checkpoints / "xlmr", folder)
    settings = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    encoded = load_path(folder)
    published = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("a\u200db", "ab  cd ", "deed"):
        assert encoded.tokenizer(text).input_ids == published.encode(text).ids
    tokenizer = encoded.tokenizer
    assert (tokenizer.pad_token_id, tokenizer.cls_token, tokenizer.sep_token) == (1, "<s>", "</s>")
    assert "token_type_ids" not in tokenizer("a", "b")
    assert "token_type_ids" in load_path(checkpoints / "mbert").tokenizer("a", "b")


def test_fingerprint_is_of_content_and_options(checkpoints, tmp_path):
    """Records name the encoder by it: a copy is the same, other weights or layers are not."""
    first = load_path(checkpoints / "xlmr").fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints / "xlmr", copy)
    assert load_path(copy).fingerprint == first
    assert load_path(copy, layers=2).fingerprint != first
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load_path(copy).fingerprint != first


def spoil(folder, how):
    if how == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif how == "empty":
        (folder / "model.safetensors").unlink()
    elif how == "truncated":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif how == "layers":
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        settings["num_hidden_layers"] = 4
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    elif how == "type":
        (folder / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    elif how == "json":
        (folder / "config.json").write_text("{", encoding="utf-8")
    elif how == "config":
        (folder / "config.json").unlink()
    elif how == "tokenizer":
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    elif how == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif how == "folder":
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("pickle", "pytorch_model.bin, which can run code"),
        ("empty", "no weights"),
        ("truncated", "; download it again"),
        ("layers", "config.json has 4 layers, the weights have 3"),
        ("type", "model_type 'gpt2' is not supported; use one of bert, xlm-roberta"),
        ("json", "config.json cannot be read"),
        ("config", "has no config.json"),
        ("tokenizer", "cannot be loaded"),
        ("folder", "is not a folder"),
        ("no tokenizer", "holds no tokenizer; provide tokenizer.json"),
    ],
)
def test_unusable_folder_is_refused_in_one_line(checkpoints, tmp_path, how, message):
    """Random weights, code in pickles or a traceback are what this keeps from the user."""
    shutil.copytree(checkpoints / "xlmr", tmp_path / "x")
    spoil(tmp_path / "x", how)
    with pytest.raises(InputError) as error:
        load_path(tmp_path / "x")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith("encoder.path: ")


def test_more_layers_than_the_model_has(checkpoints):
    """Asking for layer 9 of 3 must not be met with what there is."""
    for options in ({"layers": 9}, {"retrieval_layer": 9}):
        with pytest.raises(InputError, match=f"encoder.{list(options)[0]}: 9, but only 3 layers"):
            load_path(checkpoints / "xlmr", **options)


@pytest.mark.parametrize("revision", [None, "main", "abc123"])
def test_hub_model_must_be_pinned(revision):
    """'main' may be another model tomorrow; said by every verb, not by a step a minute later."""
    with pytest.raises(ValueError, match="encoder.revision is .*, not a commit"):
        params.Encoder(kind="hub", name="a/b", revision=revision)


def test_hub_model_without_network(tmp_path, monkeypatch):
    """Offline, the message says what to run where there is a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unreachable, match="a/b at 0000.*run `midway fetch`") as error:
        encoder.load(params.Encoder(kind="hub", name="a/b", revision="0" * 40))
    assert "\n" not in str(error.value)


def test_hub_model_from_the_local_cache(checkpoints, tmp_path, monkeypatch):
    """A model downloaded before is used without a network, and is the same as the folder."""
    revision = "1" * 40
    snapshot = tmp_path / "models--a--b" / "snapshots" / revision
    shutil.copytree(checkpoints / "xlmr", snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoded = encoder.load(params.Encoder(kind="hub", name="a/b", revision=revision))
    assert encoded.name == "a/b"
    assert encoded.fingerprint == load_path(checkpoints / "xlmr").fingerprint


@pytest.mark.slow
def test_translations_are_neighbours(whole, shared):
    """The decoded model retrieves German translations as the original does (Tatoeba, XTREME)."""
    sides = []
    for side in ("deu", "eng"):
        path = shared / f"data/download/tatoeba-v1/tatoeba.deu-eng.{side}"
        lines = path.read_text(encoding="utf-8").splitlines()[:100]
        inputs = batch(whole, lines)
        with torch.no_grad():
            last = shapes.states(whole.model, inputs.input_ids, inputs.attention_mask)[-1]
        mask = inputs.attention_mask[..., None]
        vectors = ((last * mask).sum(1) / mask.sum(1)).numpy()
        sides.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    similarity = sides[0] @ sides[1].T
    right = np.arange(100)
    accuracy = [(similarity.argmax(axis) == right).mean() * 100 for axis in (0, 1)]
    assert np.mean(accuracy) >= 95
