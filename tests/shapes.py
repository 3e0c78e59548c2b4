"""Small random checkpoints of the encoders in docs/adding-an-encoder.md, as hubs lay them out.

Each has the published one's architecture, kind of tokenizer, special tokens and files.
"""

import json

import torch

TEXT = [
    "Anna works in Paris. Who works in Paris?", "Ben lives in Rome and reads a book.",
    "The baker sold bread in the old town.", "Eine Frau wohnt in Bonn.", "我们明天去北京。",
    "Wo wohnt Anna? Sie wohnt nicht in Rom.", "A man reads the paper in the park.",
]  # fmt: skip
SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
         "intermediate_size": 32, "initializer_range": 0.3}  # fmt: skip
NAMES = ("xlm-r", "xlm-v", "bge-m3", "mbert", "rembert", "mdeberta", "modernbert", "mmbert",
         "eurobert")  # fmt: skip


def save(name: str, folder):
    """Write the checkpoint ``name`` (one of NAMES) to ``folder``, without a network."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    model = globals()["_" + name.replace("-", "_")](folder)
    model.save_pretrained(folder)
    return folder


def states(model, input_ids, attention_mask=None, token_type_ids=None, **options):
    """Hidden states of an encoder as training computes them, from the embeddings on."""
    from midway.encoder import architectures

    start = architectures.embed(model, input_ids, token_type_ids, attention_mask)
    return architectures.run(model, start, attention_mask, **options)


def _settings(folder, **more):
    (folder / "tokenizer_config.json").write_text(json.dumps(more), encoding="utf-8")


def _template(tokenizer, start, end, middle=None):
    from tokenizers import processors

    ids = [(t, tokenizer.token_to_id(t)) for t in dict.fromkeys((start, end))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {middle or end} $B {end}", special_tokens=ids
    )


def _unigram(folder, specials, start, end, middle=None, types=False):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=specials, unk_token="<unk>")
    tokenizer.train_from_iterator(TEXT, trainer)
    _template(tokenizer, start, end, middle)
    if types:
        spec = json.loads(tokenizer.to_str())
        for place in spec["post_processor"]["pair"][3:]:
            next(iter(place.values()))["type_id"] = 1
        tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer.get_vocab_size()


def _xlm_r(folder, size=120, positions=514):
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    used = _unigram(folder, specials, "<s>", "</s>", "</s> </s>")
    _settings(folder, tokenizer_class="XLMRobertaTokenizer", model_max_length=512)
    return XLMRobertaForMaskedLM(XLMRobertaConfig(
        vocab_size=max(size, used), pad_token_id=1, type_vocab_size=1,
        max_position_embeddings=positions, **SMALL,
    ))  # fmt: skip


def _xlm_v(folder):
    return _xlm_r(folder, size=902)  # 901,629 pieces: more embeddings than the tokenizer names


def _bge_m3(folder):
    return _xlm_r(folder, positions=8194)


def _mbert(folder):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(vocab_size=150, special_tokens=specials)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    _settings(folder, tokenizer_class="BertTokenizer", do_lower_case=False)
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, **SMALL)
    return BertForMaskedLM(config)


def _rembert(folder):
    from transformers import RemBertConfig, RemBertForMaskedLM

    specials = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    used = _unigram(folder, specials, "[CLS]", "[SEP]", types=True)
    _settings(folder, tokenizer_class="RemBertTokenizer")
    return RemBertForMaskedLM(RemBertConfig(
        vocab_size=used, input_embedding_size=8, output_embedding_size=24, pad_token_id=0,
        bos_token_id=2, eos_token_id=3, max_position_embeddings=512, **SMALL,
    ))  # fmt: skip


def _mdeberta(folder):
    """Only a SentencePiece file, no tokenizer.json, as microsoft/mdeberta-v3-base."""
    import sentencepiece
    from transformers import DebertaV2Config, DebertaV2ForMaskedLM

    with (folder / "spm.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXT), model_writer=file, vocab_size=90, pad_id=0, bos_id=1,
            eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]",
            unk_piece="[UNK]", hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    _settings(folder, do_lower_case=False, vocab_type="spm")
    return DebertaV2ForMaskedLM(DebertaV2Config(
        vocab_size=96, relative_attention=True, position_buckets=16, norm_rel_ebd="layer_norm",
        share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
        type_vocab_size=0, max_position_embeddings=512, **SMALL,
    ))  # fmt: skip


def _bytes(folder, specials, start, end):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=specials, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    _template(tokenizer, start, end)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer.get_vocab_size()


def _modern(used, **ids):
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    small = {k: v for k, v in SMALL.items()}
    return ModernBertForMaskedLM(ModernBertConfig(
        vocab_size=used, max_position_embeddings=512, local_attention=8, **small, **ids,
    ))  # fmt: skip


def _modernbert(folder):
    """Byte-level BPE and [CLS], [SEP], as answerdotai/ModernBERT-base (English)."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    used = _bytes(folder, specials, "[CLS]", "[SEP]")
    roles = {f"{s[1:-1].lower()}_token": s for s in specials}
    _settings(folder, tokenizer_class="PreTrainedTokenizerFast", **roles)
    return _modern(used, pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2,
                   eos_token_id=3)  # fmt: skip


def _mmbert(folder):
    """BPE over whole texts with spaces as ▁ and bytes for the rest: Gemma 2's tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # for training alone
        [pre_tokenizers.Split("▁", "merged_with_next"), pre_tokenizers.Punctuation()]
    )
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    _template(tokenizer, "<bos>", "<eos>")
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if not t["content"].startswith("<0x")]
    (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    _settings(
        folder, tokenizer_class="GemmaTokenizer", bos_token="<bos>", eos_token="<eos>",
        cls_token="<bos>", sep_token="<eos>", pad_token="<pad>", unk_token="<unk>",
        mask_token="<mask>",
    )  # fmt: skip
    return _modern(tokenizer.get_vocab_size(), pad_token_id=0, bos_token_id=2, eos_token_id=1,
                   cls_token_id=2, sep_token_id=1)  # fmt: skip


def _eurobert(folder):
    """Byte-level BPE of Llama 3; grouped keys; config.json names code that must not be run."""
    from transformers import EuroBertConfig, EuroBertForMaskedLM

    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|mask|>", "<|pad|>"]
    used = _bytes(folder, names, names[0], names[1])
    roles = dict(zip(("bos_token", "eos_token", "mask_token", "pad_token"), names, strict=True))
    _settings(folder, tokenizer_class="PreTrainedTokenizerFast", **roles)
    config = EuroBertConfig(
        vocab_size=used, num_key_value_heads=1, pad_token_id=1, bos_token_id=0, eos_token_id=1,
        mask_token_id=2, max_position_embeddings=512, **SMALL,
    )  # fmt: skip
    config.auto_map = {"AutoModel": "modeling_eurobert.EuroBertModel"}
    return EuroBertForMaskedLM(config)
