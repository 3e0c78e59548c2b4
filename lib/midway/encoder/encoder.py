"""Load a study's pretrained encoder: packaged, from the hub, or from a folder.

Which shapes are known says ``architectures``. Weights are read from safetensors only,
and never with code from the checkpoint.
"""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from midway.encoder import architectures, checkpoints, packaged
from midway.study import params
from midway.study.errors import InputError
from midway.study.files import cache_folder, digest, file_hashes

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

    A relative ``enc.path`` counts from the project's root, wherever a notebook runs. Weights
    are mapped from their file, not read: processes share its pages, and what a process writes to
    them stays its own. Raises InputError.
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
    model = checkpoints.load(folder, settings, changes, key)
    if enc.kind == "packaged":  # ours: without a second of checks
        tokenizer = packaged.tokenizer(folder)
    else:
        tokenizer = checkpoints.tokenizer(folder, settings, key)
    # XLM-R counts positions from pad + 1, BERT from 0
    offset = model.config.pad_token_id + 1 if settings["model_type"] == "xlm-roberta" else 0
    max_length = model.config.max_position_embeddings - offset
    tokenizer.model_max_length = max_length
    fingerprint, size = _fingerprint(folder, layers), model.config.hidden_size
    return Encoded(model.eval(), tokenizer, fingerprint, name, layers, size, max_length)


def _fingerprint(folder: Path, layers: int) -> str:
    weights = {p.name for p in folder.glob("model*.safetensors")}
    names = ["config.json", *sorted({*weights, *checkpoints.TOKENIZER_FILES})]
    files = {name: folder / name for name in names}
    return digest({"files": file_hashes(files, cache_folder() / DIGESTS), "layers": layers})
