"""The pretrained encoder of a study (model, tokenizer, fingerprint) from one of three places.

Which shapes are known says :mod:`midway.architectures`. Weights are read from safetensors only,
and never with code from the checkpoint.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from midway import architectures, checkpoints, packaged
from midway.errors import InputError
from midway.provenance import root

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from midway import params

WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class Encoded:
    """An encoder ready to use.

    model: of transformers, float32, eval mode, the lowest ``layers`` layers, no pooler;
    fingerprint: sha256 of weights, configuration, tokenizer and options; max_length: pieces of a
    sequence, specials included; pieces: after :func:`trim`, the original id of each id (int64),
    else None.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    fingerprint: str
    name: str
    layers: int
    hidden_size: int
    max_length: int
    pieces: np.ndarray | None = None


def load(enc: "params.Encoder") -> Encoded:
    """The encoder that the parameters ask for, with its whole vocabulary.

    A relative ``enc.path`` counts from the project's root, wherever a notebook runs. The packaged
    model's word embeddings are mapped from the cache, not read: processes share their pages, and
    what a process writes to them stays its own. Raises InputError.
    """
    if enc.kind == "packaged":
        folder, name = packaged.model_folder(), packaged.NAME
    elif enc.kind == "hub":
        folder, name = checkpoints.hub_folder(enc.name, enc.revision), enc.name
    else:
        folder, name = root() / Path(enc.path).expanduser(), enc.path
    key = {"packaged": "encoder.kind: packaged", "hub": f"encoder.name: {name}"}.get(
        enc.kind, f"encoder.path: {name}"
    )
    settings = checkpoints.check_folder(folder, key)
    total = settings["num_hidden_layers"]
    layers = enc.layers or total
    for option in ("layers", "frozen_layers", "retrieval_layer"):
        found, most = getattr(enc, option) or 0, total if option == "layers" else layers
        if found > most:
            raise InputError(
                f"encoder.{option}: {found}, but only {most} layers of {name} are kept"
            )
    shape, changes = architectures.SHAPES[settings["model_type"]], {"num_hidden_layers": layers}
    if settings.get("layer_types"):
        changes["layer_types"] = settings["layer_types"][:layers]
    if enc.dropout is not None:
        changes |= dict.fromkeys(shape.dropout, enc.dropout)
    if enc.kind == "packaged":
        model, tokenizer = _load_mapped(folder, settings | changes)
    else:
        model, tokenizer = checkpoints.load(folder, settings, changes, key)
    # XLM-R counts positions from pad + 1, BERT from 0
    offset = model.config.pad_token_id + 1 if settings["model_type"] == "xlm-roberta" else 0
    max_length = model.config.max_position_embeddings - offset
    tokenizer.model_max_length = max_length
    return Encoded(
        model=model.eval(),
        tokenizer=tokenizer,
        fingerprint=_fingerprint(folder, layers),
        name=name,
        layers=layers,
        hidden_size=model.config.hidden_size,
        max_length=max_length,
    )


def hidden_states(
    model: "PreTrainedModel",
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    start: torch.Tensor | None = None,
    first: int = 0,
    last: int | None = None,
    token_type_ids: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """Run a part of the encoder; the states equal ``model(..., output_hidden_states=True)``'s.

    Parameters
    ----------
    input_ids: (batch, pieces) int64. Runs the embeddings, then layers up to ``last``.
    start: (batch, pieces, hidden) instead of ``input_ids``: the state to continue from, which is
        ``hidden_states[first]`` of the model (the output of layer ``first``, counted from 1).
    attention_mask: (batch, pieces), 1 at pieces and 0 at padding; None: no padding.
    last: highest layer to run, counted from 1; None: all that the model has.

    Returns
    -------
    ``(state[first], ..., state[last])``, each (batch, pieces, hidden): last - first + 1 tensors,
    the first of which is ``start`` or the embeddings.
    """
    if (input_ids is None) == (start is None) or (input_ids is not None and first):
        raise ValueError("give input_ids, or start and the layer first that it comes from")
    if start is None:
        start = architectures.embed(model, input_ids, token_type_ids, attention_mask)
    return architectures.run(model, start, attention_mask, first, last)


def trim(encoded: Encoded, texts) -> Encoded:
    """Keep only the pieces that occur in ``texts`` and the special ones.

    ``texts`` is an iterable of strings and of lists of words (encoded as already split). These
    texts are tokenised as before, up to the renumbering given in ``Encoded.pieces``, and get the
    same embeddings; anything else may meet ``<unk>``. The result takes over the layers of
    ``encoded`` (the same tensors): go on with one of the two.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    old = encoded.tokenizer
    spec = json.loads(old.backend_tokenizer.to_str())
    kind = spec["model"].get("type")
    shape = encoded.model.config.model_type
    if kind not in ("Unigram", "WordPiece") or shape not in ("bert", "xlm-roberta"):
        raise InputError(
            f"{encoded.name}: {shape} with a {kind} tokenizer cannot be trimmed (bert and "
            "xlm-roberta with Unigram or WordPiece can)"
        )
    # XLM-R derives positions from the padding id, so the ids up to it stay where they are.
    kept = _occurring(old, texts) | set(old.added_tokens_decoder) | set(range(old.pad_token_id + 1))
    kept.add(old.unk_token_id)
    vocabulary = spec["model"]["vocab"]
    if kind == "Unigram":
        # The cost of an unknown character is set by the lowest score of the vocabulary.
        kept.add(min(range(len(vocabulary)), key=lambda i: vocabulary[i][1]))
    rows = encoded.model.config.vocab_size
    pieces = np.array(sorted(i for i in kept if i < rows), np.int64)
    new_id = {int(i): k for k, i in enumerate(pieces)}
    if kind == "Unigram":
        spec["model"]["vocab"] = [vocabulary[i] for i in pieces if i < len(vocabulary)]
        spec["model"]["unk_id"] = new_id[spec["model"]["unk_id"]]
    else:
        spec["model"]["vocab"] = {p: new_id[i] for p, i in vocabulary.items() if i in new_id}
    for token in spec["added_tokens"]:
        token["id"] = new_id[token["id"]]
    _renumber(spec["post_processor"], new_id)
    spec["truncation"] = spec["padding"] = None
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spec)),
        model_max_length=encoded.max_length,
        model_input_names=old.model_input_names,
        padding_side=old.padding_side,
        clean_up_tokenization_spaces=False,
        **old.special_tokens_map,
    )
    config = json.loads(encoded.model.config.to_json_string(use_diff=False))
    config["vocab_size"] = len(pieces)
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
        config[key] = new_id.get(config.get(key))
    state = encoded.model.state_dict()
    state[WORDS] = state[WORDS][torch.from_numpy(pieces)]
    digest = hashlib.sha256(encoded.fingerprint.encode() + pieces.tobytes()).hexdigest()
    if encoded.pieces is not None:
        pieces = encoded.pieces[pieces]
    model = _assemble(config, state).train(encoded.model.training)
    return replace(encoded, model=model, tokenizer=tokenizer, fingerprint=digest, pieces=pieces)


def _occurring(tokenizer, texts) -> set[int]:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    strings, words = {}, {}
    for text in texts:
        (strings if isinstance(text, str) else words)[
            text if isinstance(text, str) else tuple(text)
        ] = 1
    found: set[int] = set()
    for unique, split in ((list(strings), False), (list(words), True)):
        for at in range(0, len(unique), 4096):
            batch = unique[at : at + 4096]
            encodings = backend.encode_batch_fast(
                batch, is_pretokenized=split, add_special_tokens=False
            )
            for encoding in encodings:
                found.update(encoding.ids)
    return found


def _renumber(node, new_id: dict[int, int]) -> None:
    """Renumber ids inside a post-processor of tokenizer.json, in place."""
    if isinstance(node, list):
        for item in node:
            _renumber(item, new_id)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "ids":
                node[key] = [new_id[i] for i in value]
            elif key in ("sep", "cls"):  # BertProcessing, RobertaProcessing: [piece, id]
                node[key] = [value[0], new_id[value[1]]]
            else:
                _renumber(value, new_id)


def _load_mapped(folder: Path, settings: dict):
    """Model and tokenizer of a folder that Midway wrote; only the layers' weights are copied."""
    from safetensors import safe_open
    from transformers import PreTrainedTokenizerFast

    layers = settings["num_hidden_layers"]
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        state = {
            name: file.get_tensor(name) if name == WORDS else file.get_tensor(name).clone()
            for name in file.keys()  # noqa: SIM118  (not a dict)
            if not (m := re.match(r"encoder\.layer\.(\d+)\.", name)) or int(m[1]) < layers
        }
    options = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    options.pop("tokenizer_class")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **options)
    return _assemble(settings, state), tokenizer


def _assemble(settings: dict, state: dict[str, torch.Tensor]):
    """A model around these very tensors: no weights are initialised, none copied."""
    cls = architectures.model_class(settings["model_type"])
    config = cls.config_class.from_dict(settings, attn_implementation="sdpa")
    with torch.device("meta"):
        model = cls(config, add_pooling_layer=False)
    model.load_state_dict(state, assign=True)
    embeddings = model.embeddings  # buffers that a state dict leaves out
    positions = torch.arange(config.max_position_embeddings)[None]
    embeddings.position_ids = positions
    embeddings.token_type_ids = torch.zeros_like(positions)
    return model


def _fingerprint(folder: Path, layers: int) -> str:
    names = sorted(
        {p.name for p in folder.glob("model*.safetensors")} | set(checkpoints.TOKENIZER_FILES)
    )
    files = {
        name: packaged.file_digest(folder / name)
        for name in ["config.json", *names]
        if (folder / name).exists()
    }
    content = json.dumps({"files": files, "layers": layers}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
