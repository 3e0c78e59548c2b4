"""Checkpoints of other people: found on the hub or in a folder, checked, loaded by transformers."""

import contextlib
import json
import re
from pathlib import Path

from midway.errors import InputError
from midway.sources import repository

CLASSES = {"bert": "BertModel", "xlm-roberta": "XLMRobertaModel"}  # model_type -> class
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "vocab.txt",
)
ROLES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
SPECIAL = {  # where a checkpoint's tokenizer files do not say
    "bert": dict(zip(ROLES, ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"), strict=True)),
    "xlm-roberta": dict(zip(ROLES, ("<unk>", "</s>", "<pad>", "<s>", "<mask>"), strict=True)),
}


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
        raise InputError(f"{key}: {folder} is no folder")
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        known = settings.get("model_type") in CLASSES
    except FileNotFoundError:
        raise InputError(
            f"{key}: {folder} has no config.json; save_pretrained() writes it"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{key}: config.json cannot be read ({error})") from None
    if not known:
        raise InputError(
            f"{key}: model_type {settings.get('model_type')!r} is not supported; "
            f"use one of {', '.join(CLASSES)}"
        )
    if not isinstance(settings.get("num_hidden_layers"), int):
        raise InputError(f"{key}: config.json has no num_hidden_layers")
    if not list(folder.glob("model*.safetensors")):
        pickled = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt")]
        found = (
            f"only {pickled[0].name}, which can run code when opened" if pickled else "no weights"
        )
        raise InputError(
            f"{key}: {folder} holds {found}; provide model.safetensors "
            "(save_pretrained() of current transformers writes it)"
        )
    vocabularies = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt")
    if not any((folder / name).exists() for name in vocabularies):
        raise InputError(f"{key}: {folder} holds no tokenizer; provide tokenizer.json")
    return settings


def hub_folder(name: str, revision: str, bars: bool = False) -> Path:
    """The local snapshot of a hub model at a commit, downloaded when it is not there yet.

    Raises InputError for what the hub has not got or what could not be loaded safely, and
    Unreachable where it cannot be asked now.
    """
    try:
        repository.files(name, revision, wanted, "model", bars)
    except repository.Absent as error:
        raise InputError(f"encoder.name: {error}") from None
    return repository.snapshot(name, revision, "model")


def wanted(names: list[str]) -> list[str]:
    """The files of a model repository that are loaded; Absent where something needed is not."""
    weights = [n for n in names if n == "model.safetensors"] or [
        n for n in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", n)
    ]
    if not weights:
        pickled = [n for n in names if "/" not in n and n.endswith((".bin", ".pt", ".ckpt"))]
        found = f"only {pickled[0]}, which can run code when opened" if pickled else "no weights"
        raise repository.Absent(f"this commit holds {found}; choose one with model.safetensors")
    if "config.json" not in names:
        raise repository.Absent("this commit has no config.json: not a model of transformers")
    index = "model.safetensors.index.json"
    return [n for n in names if n in ("config.json", index, *TOKENIZER_FILES)] + weights


def load(folder: Path, cls: type, changes: dict, key: str):
    """Model (a ``cls``, float32) and tokenizer of a checked folder; every weight must be there."""
    import torch

    try:
        with _quiet():
            config = cls.config_class.from_pretrained(folder, **changes)
            model, report = cls.from_pretrained(
                folder,
                config=config,
                add_pooling_layer=False,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
            tokenizer = _tokenizer(folder, config.model_type)
    except Exception as error:  # of transformers, tokenizers, safetensors: they share no base
        first = str(error).strip().split("\n")[0][:200]
        raise InputError(f"{key}: cannot be loaded ({type(error).__name__}: {first})") from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{key}: the weights lack {len(missing)} tensors, such as {missing[0]}; "
            "is it a complete checkpoint of this architecture?"
        )
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise InputError(f"{key}: needs a fast tokenizer with a padding token (tokenizer.json)")
    ids, bare = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
    if len(ids) < 3 or ids[1:-1] != bare:  # positions of words and answers count on it
        raise InputError(
            f"{key}: its tokenizer makes {tokenizer.convert_ids_to_tokens(ids)} of 'a'; it must "
            "add one token before and one after (the post_processor of tokenizer.json)"
        )
    return model, tokenizer


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
    for role, piece in SPECIAL[model_type].items():
        if getattr(tokenizer, role) is None and piece in known:
            setattr(tokenizer, role, piece)
    return tokenizer
