"""Third-party checkpoints, from the hub or a local folder: checks and loading."""

import contextlib
import json
import math
import re
from pathlib import Path

from midway.encoder import architectures
from midway.study import repository
from midway.study.errors import InputError, one_line

TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
TOKENIZER_FILES = (
    *("tokenizer.json", *TOKENIZER_SETTINGS, "vocab.txt"),
    "sentencepiece.bpe.model",  # XLM-R
    "sentencepiece.model",  # RemBERT
    "spm.model",  # DeBERTa
)
ROLES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
SPECIAL = {  # where a checkpoint's tokenizer files do not say
    "bert": dict(zip(ROLES, ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"), strict=True)),
    "xlm-roberta": dict(zip(ROLES, ("<unk>", "</s>", "<pad>", "<s>", "<mask>"), strict=True)),
    "rembert": dict(zip(ROLES, ("<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"), strict=True)),
}
SPECIAL["deberta-v2"] = SPECIAL["bert"]


@contextlib.contextmanager
def _quiet():
    """No progress bars and no report of the heads that a checkpoint also has."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def check_folder(folder: Path, key: str) -> dict:
    """The configuration (config.json) of a checkpoint that can be loaded safely, or InputError."""
    if not folder.is_dir():
        raise InputError(f"{key}: {folder} is not a folder")
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architectures.check(settings, key)
    except FileNotFoundError:
        reason = f"{folder} has no config.json; save_pretrained() writes it"
        raise InputError(f"{key}: {reason}") from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{key}: config.json cannot be read ({error})") from None
    if not isinstance(settings.get("num_hidden_layers"), int):
        raise InputError(f"{key}: config.json has no num_hidden_layers")
    if not list(folder.glob("model*.safetensors")):
        raise InputError(
            f"{key}: {folder} holds {_instead(p.name for p in folder.iterdir())}; provide "
            "model.safetensors (save_pretrained() of current transformers writes it)"
        )
    if not any((folder / n).exists() for n in TOKENIZER_FILES if n not in TOKENIZER_SETTINGS):
        raise InputError(f"{key}: {folder} holds no tokenizer; provide tokenizer.json")
    _weights(folder, settings["num_hidden_layers"], key)
    return settings


def _instead(names) -> str:
    """What there is where model.safetensors is not."""
    pickled = [n for n in sorted(names) if "/" not in n and n.endswith((".bin", ".pt", ".ckpt"))]
    return f"only {pickled[0]}, which can run code when opened" if pickled else "no weights"


def hub_folder(name: str, revision: str) -> Path:
    """The local snapshot of a hub model at a commit, downloaded when it is not there yet.

    Raises InputError for what the hub has not got or what could not be loaded safely, and
    Unreachable where it cannot be asked now.
    """
    try:
        repository.files(name, revision, wanted, "model")
    except repository.Absent as error:
        raise InputError(f"encoder.name: {error}") from None
    return repository.snapshot(name, revision, "model")


def check_cached(name: str, revision: str) -> None:
    """InputError for a hub model whose files, where they are here, could not be loaded."""
    try:
        if repository.here(name, revision, wanted, "model"):
            check_folder(repository.snapshot(name, revision, "model"), "encoder.name")
    except repository.Absent as error:
        raise InputError(f"encoder.name: {error}") from None


def wanted(names: list[str]) -> list[str]:
    """The files of a model repository that are loaded; Absent where something needed is not."""
    weights = [n for n in names if n == "model.safetensors"] or [
        n for n in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", n)
    ]
    if not weights:
        found = _instead(names)
        raise repository.Absent(f"this commit holds {found}; choose one with model.safetensors")
    if "config.json" not in names:
        raise repository.Absent("this commit has no config.json: not a model of transformers")
    index = "model.safetensors.index.json"
    return [n for n in names if n in ("config.json", index, *TOKENIZER_FILES)] + weights


def load(folder: Path, settings: dict, changes: dict, key: str):
    """The model (float32) of a checked folder; every weight must be there."""
    import torch

    kind = settings["model_type"]
    shape, cls = architectures.SHAPES[kind], architectures.model_class(kind)
    options: dict = {"use_safetensors": True, "trust_remote_code": False}
    options["output_loading_info"] = True
    options |= {"attn_implementation": "sdpa" if shape.fused else "eager", "dtype": torch.float32}
    options |= {"add_pooling_layer": False} if shape.pooler else {}
    try:
        with _quiet():
            config = cls.config_class.from_pretrained(folder, **changes)
            model, report = cls.from_pretrained(folder, config=config, **options)
    except Exception as error:  # of transformers and safetensors: they share no base
        raise _unloadable(error, key) from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{key}: the weights lack {len(missing)} tensors, such as {missing[0]}; "
            "is it a complete checkpoint of this architecture?"
        )
    return model


def _unloadable(error, key: str) -> InputError:
    first = str(error).strip().split("\n")[0][:200]
    return InputError(f"{key}: cannot be loaded ({type(error).__name__}: {first})")


def inspect(folder: Path, key: str) -> dict:
    """Describe a checkpoint from its config, tokenizer and weight headers, without its weights.

    Raises InputError where training would fail: unknown architecture, cut or missing files, fewer
    layers or embeddings than config.json or the tokenizer says. Returns model_type, layers,
    hidden_size, pieces (of the tokenizer), vocabulary (rows of the embedding), embeddings and
    weights (numbers in it and in all files).
    """
    settings = check_folder(folder, key)
    shapes = _weights(folder, settings["num_hidden_layers"], key)
    names = r"(word_embeddings|tok_embeddings|embed_tokens)\.weight$"
    words = [v for name, v in shapes.items() if re.search(names, name)]
    rows, width = words[0] if words else (0, 0)
    pieces = len(tokenizer(folder, settings | {"vocab_size": rows}, key))
    return {
        "model_type": settings["model_type"], "layers": settings["num_hidden_layers"],
        "hidden_size": settings.get("hidden_size"), "pieces": pieces, "vocabulary": rows,
        "embeddings": rows * width, "weights": sum(math.prod(v) for v in shapes.values()),
    }  # fmt: skip


def _weights(folder: Path, layers: int, key: str) -> dict[str, list[int]]:
    """Shapes of all tensors in a folder's weight files, which must be whole and of all layers."""
    from safetensors import safe_open

    shapes: dict[str, list[int]] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(path, "np") as file:
                shapes |= {name: file.get_slice(name).get_shape() for name in [*file.keys()]}
        except Exception as error:  # of safetensors, whose error is no OSError
            reason = f"{path.name} cannot be read ({one_line(error)}); download it again"
            raise InputError(f"{key}: {reason}") from None
    index = folder / "model.safetensors.index.json"
    if index.exists() and not (folder / "model.safetensors").exists():
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if lost := sorted(n for n in named if not (folder / n).exists()):
            raise InputError(f"{key}: {len(lost)} weight files are missing, such as {lost[0]}")
    numbers = [int(m[1]) for name in shapes if (m := re.search(r"\blayers?\.(\d+)\.", name))]
    if (there := max(numbers, default=-1) + 1) < layers:
        raise InputError(f"{key}: config.json has {layers} layers, the weights have {there}")
    return shapes


def tokenizer(folder: Path, settings: dict, key: str):
    """The tokenizer of a checked folder, or InputError where heads could not count on it."""
    try:
        with _quiet():
            made = _tokenizer(folder, settings["model_type"])
    except Exception as error:  # of transformers and tokenizers: they share no base
        raise _unloadable(error, key) from error
    if not made.is_fast or made.pad_token_id is None:
        raise InputError(f"{key}: needs a fast tokenizer with a padding token (tokenizer.json)")
    ids, bare = made.encode("a"), made.encode("a", add_special_tokens=False)
    if len(ids) < 3 or ids[1:-1] != bare:  # positions of words and answers count on it
        raise InputError(
            f"{key}: its tokenizer makes {made.convert_ids_to_tokens(ids)} of 'a'; it must "
            "add one token before and one after (the post_processor of tokenizer.json)"
        )
    rows, most = settings.get("vocab_size", 0), max(made.get_vocab().values())
    if most >= rows:
        raise InputError(
            f"{key}: its tokenizer has piece {most}, the model has {rows} embeddings; "
            "tokenizer and weights are of different models"
        )
    return made


def _tokenizer(folder: Path, model_type: str):
    """The tokenizer as tokenizer.json has it.

    Transformers 5's class for XLM-R rebuilds it from the vocabulary and loses rules of its
    normaliser, so it is asked only where there is no tokenizer.json.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").exists():
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    typed = any(tokenizer.backend_tokenizer.encode("a", "a").type_ids)  # BERT's, not XLM-R's
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.model_input_names = names if typed else [names[0], names[2]]
    known = tokenizer.get_vocab()
    for role, piece in SPECIAL.get(model_type, {}).items():
        if getattr(tokenizer, role) is None and piece in known:
            setattr(tokenizer, role, piece)
    return tokenizer
