"""The encoders that people use in 2026: each loads, runs as transformers runs it, and trains."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

import shapes
from midway import kinds
from midway.encoder import architectures, checkpoints, encoder, heads, predict, training
from midway.encoder.device import Inputs, setup
from midway.kinds import tokens
from midway.study import params
from midway.study.errors import InputError

MACHINE = setup(params.Compute(precision="fp32"))
PLAN = params.Training(steps=12, batch_size=4, lr=1e-2, max_length=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            made[name] = shapes.save(name, tmp_path_factory.mktemp("shapes") / name)
        return made[name]

    return get


def load(folder, **options):
    return encoder.load(params.Encoder(kind="path", path=str(folder), **options))


def inputs(encoded, texts=shapes.TEXT):
    return encoded.tokenizer(texts, padding=True, return_tensors="pt")


def states(encoded, batch, **options):
    with torch.no_grad():
        return shapes.states(encoded.model, **batch, **options)


@pytest.mark.parametrize("name", shapes.NAMES)
def test_states_are_those_of_transformers(folder, name):
    """The loop that trains must be the published architecture: padding, rotary, windows, norms."""
    encoded = load(folder(name))
    batch = inputs(encoded)
    with torch.no_grad():
        theirs = encoded.model(**batch, output_hidden_states=True).hidden_states
    ours = states(encoded, batch)
    assert len(ours) == len(theirs) == 5
    there = batch["attention_mask"].bool()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine[there], other[there], atol=2e-5)
    # padding must not be seen
    alone = inputs(encoded, shapes.TEXT[:1])
    n = alone["input_ids"].shape[1]
    assert torch.allclose(states(encoded, alone)[-1][0], ours[-1][0, :n], atol=2e-5)


@pytest.mark.parametrize("name", shapes.NAMES)
def test_layers_are_kept_and_continued(folder, name):
    """Fewer layers are the lowest ones, and a stored trunk goes on to the same states."""
    whole, half = load(folder(name)), load(folder(name), layers=2)
    batch = inputs(whole)
    every, low = states(whole, batch), states(half, batch)
    assert len(low) == 3 and torch.equal(low[1], every[1])
    norm = architectures.part(whole.model, architectures.SHAPES[whole.model.config.model_type].norm
                              or "none")  # fmt: skip
    assert torch.allclose(low[2], every[2] if norm is None else norm(every[2]), atol=1e-6)
    with torch.no_grad():
        rest = architectures.run(whole.model, every[2], batch["attention_mask"], first=2)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(rest, every[2:], strict=True))


def rows(kind):
    text = shapes.TEXT
    if kind == "pair":
        return {"text_a": text, "text_b": text[::-1], "label": [0, 1, 0, 1, 0, 1, 0]}
    if kind == "tags":
        return {"tokens": [t.split() for t in text], "tags": [["X"] * len(t.split()) for t in text]}
    context, answer = text[0], "Paris"
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"context": [context] * 4, "question": ["Who works?"] * 4, "answers": [answers] * 4}


@pytest.mark.parametrize("name", shapes.NAMES)
@pytest.mark.parametrize("kind", ["pair", "tags", "span"])
def test_trains_frozen_with_attention_over_layers(folder, name, kind):
    """Loss falls, the frozen trunk stays to the bit, and every part above it moves."""
    options = params.Encoder(
        kind="path", path=str(folder(name)), frozen_layers=1, frozen_embeddings=True,
        aggregation="attention", dropout=0.0,
    )  # fmt: skip
    encoded = encoder.load(options)
    size = {"pair": 2, "tags": 2, "span": 2}[kind]
    model = heads.Model(encoded, options, {"t": (kind, size)}, seed=1)
    made = kinds.encode(rows(kind), kind, ["X", "Y"], encoded.tokenizer, 64)
    before = {k: v.clone() for k, v in model.named_parameters()}
    source = training.Source("t", kind, Inputs(made, model, MACHINE, None))
    fit = training.fit(model, [source], PLAN, 12, 3, MACHINE)
    assert np.mean(fit.losses[-3:]) < np.mean(fit.losses[:3])
    after = dict(model.named_parameters())
    trained = {k for k in after if after[k].requires_grad}
    still = {k for k in after if torch.equal(before[k], after[k])}
    assert still >= set(after) - trained
    assert any(k.startswith("aggregate.") for k in trained - still)
    above = [p for layer in architectures.layers(model.encoder)[1:] for p in layer.parameters()]
    assert all(p.requires_grad for p in above)
    below = architectures.layers(model.encoder)[0].parameters()
    words = model.encoder.get_input_embeddings().parameters()
    assert not any(p.requires_grad for p in [*below, *words])


@pytest.mark.parametrize("name", ["xlm-r", "rembert", "mdeberta", "mmbert", "eurobert"])
def test_masked_words_and_recomputed_layers(folder, name):
    """Variants with +mlm, and large encoders on small cards: widths fit, gradients are the same."""
    options = params.Encoder(kind="path", path=str(folder(name)), dropout=0.0)
    ends = []
    for again in (False, True):
        encoded = encoder.load(options)
        machine = setup(params.Compute(precision="fp32", gradient_checkpointing=again))
        model = heads.Model(encoded, options, {"t": ("pair", 2), "mlm": ("mlm", 1)}, seed=1)
        made = kinds.encode(rows("pair"), "pair", [], encoded.tokenizer, 64)
        source = training.Source("t", "pair", Inputs(made, model, machine, None))
        ends.append(training.fit(model, [source], PLAN, 3, 3, machine).losses)
    assert np.allclose(*ends, rtol=1e-5)
    batch = inputs(encoded)
    masked = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    masked[:, 1] = True
    with torch.no_grad():
        logits = model({"ids": batch["input_ids"], "mask": batch["attention_mask"],
                        "masked": masked}, "mlm")  # fmt: skip
    assert logits.shape == (len(shapes.TEXT), encoded.model.config.vocab_size)


@pytest.mark.parametrize("name", shapes.NAMES)
def test_words_and_answers_are_found(folder, name):
    """A tag belongs to its word's first piece with text; an answer's pieces spell the answer."""
    tokenizer = load(folder(name)).tokenizer
    made = kinds.encode(rows("tags"), "tags", ["X"], tokenizer, 64)
    for words, ids, told in zip(made.words, made.sequences, rows("tags")["tokens"], strict=True):
        assert words[:, 1].tolist() == list(range(len(told)))
        firsts = tokenizer.convert_ids_to_tokens(ids[words[:, 0]].tolist())
        assert all(t.strip("▁Ġ#") for t in firsts)
    # a word inside a sentence is cut as it is in running text
    inside = tokenizer.tokenize("in Paris")[len(tokenizer.tokenize("in")) :]
    alone = kinds.encode({"tokens": [["in", "Paris"]], "tags": [["X", "X"]]}, "tags", ["X"],
                            tokenizer, 64)  # fmt: skip
    (_, _), (second, _) = alone.words[0]
    assert tokenizer.convert_ids_to_tokens(alone.sequences[0][second:-1].tolist()) == inside
    span = kinds.encode(rows("span"), "span", [], tokenizer, 64)
    (first, last), where = span.spans[0], span.offsets[0]
    context = rows("span")["context"][0]
    assert first > 0 and context[where[first, 0] : where[last, 1]].strip() == "Paris"


@pytest.mark.parametrize("name", shapes.NAMES)
def test_sentence_vectors_of_a_layer(folder, name):
    """Retrieval uses the mean over pieces of the layer asked for, whatever the architecture."""
    options = params.Encoder(kind="path", path=str(folder(name)), retrieval_layer=2)
    encoded = encoder.load(options)
    model = heads.Model(encoded, options, {}, seed=0).eval()
    made = tokens.texts(shapes.TEXT, encoded.tokenizer, 64)
    vectors = predict.vectors(model, Inputs(made, model, MACHINE, None), MACHINE, [2])[2]
    batch = inputs(encoded)
    mask = batch["attention_mask"][..., None]
    mean = (states(encoded, batch)[2] * mask).sum(1) / mask.sum(1)
    assert np.allclose(vectors, mean.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", shapes.NAMES)
def test_inspection_counts_what_is_loaded(folder, name):
    """Doctor's line comes from the files' heads: it must agree with the model in memory."""
    facts, encoded = checkpoints.inspect(folder(name), "encoder.path"), load(folder(name))
    assert facts["model_type"] == encoded.model.config.model_type
    assert (facts["layers"], facts["hidden_size"]) == (encoded.layers, encoded.hidden_size)
    words = encoded.model.get_input_embeddings().weight
    assert facts["vocabulary"] == len(words) and facts["embeddings"] == words.numel()
    assert facts["pieces"] == len(encoded.tokenizer) <= facts["vocabulary"]
    own = sum(p.numel() for p in encoded.model.parameters())
    assert own <= facts["weights"] < 3 * own  # a language-modelling head beside it


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", r"model.safetensors cannot be read \(.*\); download it again"),
        ("head", "model.safetensors cannot be read"),
        ("layers", "config.json has 9 layers, the weights have 4"),
        ("shard", "1 weight files are missing, such as model-00002-of-00002.safetensors"),
        ("tokenizer", "has piece 399, the model has 120 embeddings"),
    ],
)
def test_what_would_fail_in_training_is_found_before(folder, tmp_path, how, message):
    """A cut download, another model's tokenizer: seconds in doctor, not hours later."""
    x = shutil.copytree(folder("xlm-r"), tmp_path / "x")
    weights, config = x / "model.safetensors", x / "config.json"
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-64])
    elif how == "head":
        weights.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    elif how == "layers":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 9}))
    elif how == "shard":
        weights.rename(x / "model-00001-of-00002.safetensors")
        names = {f"t{i}": f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}
        (x / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    else:
        spec = json.loads((x / "tokenizer.json").read_text(encoding="utf-8"))
        new = {"id": 399, "content": "<new>", "single_word": False, "lstrip": False,
               "rstrip": False, "normalized": False, "special": True}  # fmt: skip
        pad = [[f"filler{i}", -9.0] for i in range(len(spec["model"]["vocab"]), 399)]
        spec["model"]["vocab"] += pad
        spec["added_tokens"].append(new)
        (x / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            load(x)
    with pytest.raises(InputError, match=message) as error:
        checkpoints.inspect(x, "encoder.path")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model_type": "new", "auto_map": {"AutoModel": "x.y"}}, "code from its own repository"),
        ({"model_type": "llama"}, "model_type 'llama' is not supported"),
        ({"model_type": "t5"}, "model_type 't5' is not supported"),
        ({"model_type": "xlm-roberta", "is_decoder": True}, "reads from left to right"),
    ],
)
def test_others_are_refused_with_the_reason(settings, reason):
    with pytest.raises(InputError, match=re.escape(reason)) as error:
        architectures.check(settings, "encoder.path")
    assert "\n" not in str(error.value) and "modernbert" in str(error.value)


def test_a_decoder_tokenizer_that_adds_no_end_is_refused(folder, tmp_path):
    """Llama's own post-processor adds no end token; heads count on one before and one after."""
    copy = shutil.copytree(folder("eurobert"), tmp_path / "x")
    spec = json.loads((copy / "tokenizer.json").read_text(encoding="utf-8"))
    spec["post_processor"]["single"] = spec["post_processor"]["single"][:2]
    (copy / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(InputError, match="must add one token before and one after"):
        load(copy)
