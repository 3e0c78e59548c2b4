"""A small random XLM-R-shaped checkpoint on disk, for tests of everything above the encoder."""

import json
import string

import torch

from midway.encoder import packaged


def checkpoint(folder, layers: int = 3, hidden: int = 16, positions: int = 66):
    """Write config.json, model.safetensors and a character-level tokenizer; returns the folder."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>"], 0.0) | {"▁": -3.0}
    letters = string.ascii_letters + string.digits + string.punctuation + "äöüß是大的人住在巴黎。，"
    vocabulary |= {c: -4.0 - i / 50 for i, c in enumerate(dict.fromkeys(letters))}
    vocabulary |= {"▁" + c: -4.5 - i / 50 for i, c in enumerate(string.ascii_lowercase)}
    vocabulary["<mask>"] = 0.0
    packaged.build_tokenizer(list(vocabulary.items())).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(packaged.TOKENIZER), encoding="utf-8")
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=positions,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        initializer_range=0.2,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder
