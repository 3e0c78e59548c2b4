"""Load a study's pretrained encoder: packaged, from the hub, or from a folder.

Which shapes are known says ``architectures``. Weights are read from safetensors only,
and never with code from the checkpoint.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from midway.encoder import architectures, checkpoints, packaged
from midway.study import params
from midway.study.errors import InputError
from midway.study.files import cache_folder, digest, file_hashes

WORDS = "embeddings.word_embeddings.weight"
DIGESTS = "digests.json"  # in the cache: large files are hashed once, not at each start


@dataclass(frozen=True)
class Encoded:
    """An encoder ready to use.

    model: of transformers, float32, eval mode, the lowest ``layers`` layers, no pooler;
    fingerprint: sha256 of weights, configuration, tokenizer and options; max_length: pieces of a
    sequence, specials included.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    fingerprint: str
    name: str
    layers: int
    hidden_size: int
    max_length: int


def load(enc: params.Encoder) -> Encoded:
    """Load the encoder that the settings name, with its whole vocabulary.

    A relative ``enc.path`` counts from the project's root, wherever a notebook runs. The packaged
    model's word embeddings are mapped from the cache, not read: processes share their pages, and
    what a process writes to them stays its own. Raises InputError.
    """
    if enc.kind == "packaged":
        folder, name, key = packaged.model_folder(), packaged.NAME, "encoder.kind: packaged"
    elif enc.kind == "hub":
        folder, name = checkpoints.hub_folder(*enc.place), enc.place[0]
        key = f"encoder.name: {name}"
    else:
        folder, name, key = enc.folder, str(enc.path), f"encoder.path: {enc.path}"
    settings = checkpoints.check_folder(folder, key)
    total = settings["num_hidden_layers"]
    layers = enc.layers or total
    for option in ("layers", "frozen_layers", "retrieval_layer"):
        found, most = getattr(enc, option) or 0, total if option == "layers" else layers
        if found > most:
            reason = f"{found}, but only {most} layers of {name} are kept"
            raise InputError(f"encoder.{option}: {reason}")
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
    fingerprint, size = _fingerprint(folder, layers), model.config.hidden_size
    return Encoded(model.eval(), tokenizer, fingerprint, name, layers, size, max_length)


def hidden_states(
    model: PreTrainedModel,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    start: torch.Tensor | None = None,
    first: int = 0,
    last: int | None = None,
    token_type_ids: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """Run a part of the encoder; the states equal ``model(..., output_hidden_states=True)``'s.

    input_ids, (batch, pieces) int64, run the embeddings, then layers up to ``last``, counted from 1
    (None: all); ``start``, (batch, pieces, hidden), continues instead from the output of layer
    ``first``. attention_mask: 1 at pieces, 0 at padding; None: no padding. Returns
    ``(state[first], ..., state[last])``, each (batch, pieces, hidden); the first is ``start`` or
    the embeddings.
    """
    if (input_ids is None) == (start is None) or (input_ids is not None and first):
        raise ValueError("give input_ids, or start and the layer first that it comes from")
    if start is None:
        start = architectures.embed(model, input_ids, token_type_ids, attention_mask)
    return architectures.run(model, start, attention_mask, first, last)


def _load_mapped(folder: Path, settings: dict):
    """Model and tokenizer of a folder that Midway wrote; only the layers' weights are copied."""
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
    """Build a model from given tensors without initialising or copying weights."""
    cls = architectures.model_class(settings["model_type"])
    config = cls.config_class.from_dict(settings, attn_implementation="sdpa")
    with torch.device("meta"):
        model = cls(config, add_pooling_layer=False)
    model.load_state_dict(state, assign=True)
    positions = torch.arange(config.max_position_embeddings)[None]
    model.embeddings.position_ids = positions  # buffers that a state dict leaves out
    model.embeddings.token_type_ids = torch.zeros_like(positions)
    return model


def _fingerprint(folder: Path, layers: int) -> str:
    weights = {p.name for p in folder.glob("model*.safetensors")}
    names = ["config.json", *sorted({*weights, *checkpoints.TOKENIZER_FILES})]
    files = {name: folder / name for name in names}
    return digest({"files": file_hashes(files, cache_folder() / DIGESTS), "layers": layers})
