"""Small repositories in the hub's layout for every part of every card, with invented rows.

README with YAML, Parquet files whose metadata name the classes (labels are integers), several files
for one split, the layout of the hub's own Parquet conversion, and a newer commit beside the pinned.
"""

import json
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from datasets import ClassLabel, Dataset, Features, List, Value

from midway.study import tasks

TEXT = Value("string")
NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
SAME = ClassLabel(names=["not_duplicate", "duplicate"])
WORDS = "house tree river stone light road bird cloud wind fire".split()
OTHER = "f" * 40  # a commit after the pinned one: same names, other rows
CONVERTED = "allenai/cosmos_qa"  # <config>/<split>/0000.parquet and no README


def sentence(number: int, lang: str, length: int = 6) -> str:
    picked = [WORDS[(number * 7 + i * i + number // 10) % 10] for i in range(length)]
    return f"{lang} {number} {' '.join(picked)}"


def _pair(names: list[str], label: Value | ClassLabel, **more):
    def make(number, lang):
        value = number % (2 if label is SAME else 3)
        second = sentence(number + value, lang)
        return dict(zip(names, (sentence(number, lang), second, value), strict=True)) | {
            key: number for key in more
        }

    return {names[0]: TEXT, names[1]: TEXT, names[2]: label} | more, make


def _qa(answerless: bool = False, prefix: str = "q"):
    answers = {"text": List(TEXT), "answer_start": List(Value("int32"))}
    columns = dict.fromkeys(["id", "title", "context", "question"], TEXT) | {"answers": answers}

    def make(number, lang):
        context = sentence(number, lang, 20)
        answer = context.split()[3 + number % 9]
        found = {"text": [answer], "answer_start": [context.index(f" {answer}") + 1]}
        if answerless and number % 3 == 2:
            found = {"text": [], "answer_start": []}
        row = {"id": f"{prefix}-{number}-{lang}", "title": "t", "context": context}
        return row | {"question": f"{lang} what {number}?", "answers": found}

    return columns, make


def _tags(column: str, names, **more):
    def make(number, lang):
        tokens = sentence(number, lang).split()
        tags = [(number + i) % len(names) for i, _ in enumerate(tokens)]
        return {"tokens": tokens, column: tags} | {key: [lang] * len(tokens) for key in more}

    return {"tokens": List(TEXT), column: List(ClassLabel(names=list(names)))} | more, make


def _parallel():
    names = ["source_sentence", "target_sentence", "source_lang", "target_lang"]

    def make(number, lang):
        pair = (sentence(number, lang), sentence(number, "en"))
        return dict(zip(names, (*pair, f"{lang}-{number}", f"en-{number}"), strict=True))

    return dict.fromkeys(names, TEXT), make


def _choices(names: list[str], key: str):
    """HellaSwag, Cosmos QA and CommonsenseQA each write choices in another way."""

    def make(number, lang):
        ends = [f"{WORDS[(number + i) % 10]} {i}" for i in range(5)]
        row = dict.fromkeys(names, sentence(number, lang)) | {"id": f"c{number}"}
        if key == "endings":
            return row | {"endings": ends[:4], "label": str(number % 4), "ind": number}
        if key == "answer":
            return row | {f"answer{i}": ends[i] for i in range(4)} | {"label": number % 4}
        return row | {
            "choices": {"label": list("ABCDE"), "text": ends},
            "answerKey": "ABCDE"[number % 5],
        }

    columns = dict.fromkeys([*names, "id"], TEXT)
    if key == "endings":
        columns |= {"endings": List(TEXT), "label": TEXT, "ind": Value("int32")}
    elif key == "answer":
        columns |= {f"answer{i}": TEXT for i in range(4)} | {"label": Value("int32")}
    else:
        columns |= {"choices": {"label": List(TEXT), "text": List(TEXT)}, "answerKey": TEXT}
    return columns, make


#: repository and the head of a configuration -> (columns, row of a number and a language)
TABLES = {
    "facebook/anli plain_text": _pair(["premise", "hypothesis", "label"], NLI, uid=TEXT),
    "nyu-mll/glue mnli": _pair(["premise", "hypothesis", "label"], NLI, idx=Value("int32")),
    "nyu-mll/glue qqp": _pair(["question1", "question2", "label"], SAME, idx=Value("int32")),
    "stanfordnlp/snli plain_text": _pair(["premise", "hypothesis", "label"], NLI),
    "rajpurkar/squad plain_text": _qa(),
    "rajpurkar/squad_v2 squad_v2": _qa(answerless=True),
    "Rowan/hellaswag default": _choices(["ctx", "activity_label"], "endings"),
    "allenai/cosmos_qa default": _choices(["context", "question"], "answer"),
    "tau/commonsense_qa default": _choices(["question", "question_concept"], "choices"),
    "google/xtreme XNLI": _pair(["sentence1", "sentence2", "gold_label"], TEXT, language=TEXT),
    "google/xtreme PAWS-X": _pair(["sentence1", "sentence2", "label"], TEXT),
    "google/xtreme udpos": _tags("pos_tags", tasks.get("udpos").labels),
    "google/xtreme PAN-X": _tags("ner_tags", tasks.get("panx").labels, langs=List(TEXT)),
    "google/xtreme XQuAD": _qa(),
    "google/xtreme MLQA": _qa(),
    "google/xtreme tydiqa": _qa(),
    "google/xtreme bucc18": _parallel(),
    "google/xtreme tatoeba": _parallel(),
}


def parts(names=None) -> dict[tuple[str, str], dict]:
    """(repository, commit) -> {(configuration, split): languages} of all cards, or of some."""
    found: dict = {}
    for card in [tasks.get(n) for n in names or (*tasks.INTERMEDIATE, *tasks.TARGETS)]:
        for split in ("train", "dev", "test"):
            for part in (card.hub or {}).get(split, []):
                key = part.get("id", card.hub["id"]), part.get("revision", card.hub["revision"])
                for lang in card.languages:
                    code = card.hub.get("codes", {}).get(lang, lang)
                    config = (part.get("config") or "default").format(lang=lang, code=code)
                    place = found.setdefault(key, {}).setdefault((config, part["split"]), [])
                    if (lang, code) not in place:
                        place.append((lang, code))
    return found


def rows(name: str, config: str, split: str, langs, size: int) -> tuple[dict, list[dict]]:
    columns, make = TABLES[f"{name} {config.split('.')[0]}"]
    made, first = [], {"train": 0}.get(split, 100_000 if "test" in split else 50_000)
    for lang, code in langs:
        fewer = config == "tydiqa" and lang != "en"
        for number in range(first, first + (min(size, 8) if fewer else size)):
            row = make(number, lang)
            if config == "XNLI":
                names = ["entailment", "neutral", "contradiction"]
                row |= {"gold_label": names[row["gold_label"]], "language": lang}
            elif config.startswith("PAWS-X"):
                row["label"] = str(row["label"] % 2)
            elif config == "tydiqa":
                row["id"] = f"{code}-{number}-0"
            elif name == "facebook/anli":
                row["uid"] = f"u{number}"
            made.append(row)
    return columns, made


def write(root: Path, names=None, size: int = 12) -> Path:
    """All repositories below ``root``; size: rows of a split (of English in a shared table)."""
    for (name, commit), wanted in parts(names).items():
        repo = Path(root) / "datasets" / name
        for revision, shift in ((commit, 0), (OTHER, 1)):
            if shift and name != "nyu-mll/glue":
                continue
            folder, configs = repo / revision, []
            for (config, split), langs in wanted.items():
                columns, made = rows(name, config, split, langs, size)
                table = Dataset.from_list(made[shift:], features=Features(columns))
                home = "data" if config == "default" else config
                if name == CONVERTED:
                    paths = [folder / config / split / "0000.parquet"]
                else:
                    files = 2 if (config, split) == ("mnli", "train") else 1
                    paths = [
                        folder / home / f"{split}-{i:05}-of-{files:05}.parquet"
                        for i in range(files)
                    ]
                for i, path in enumerate(paths):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    part = table.shard(len(paths), i, contiguous=True)
                    pq.write_table(part.data.table, path)  # metadata with the features included
                configs.append(
                    {
                        "config_name": config,
                        "data_files": [{"split": split, "path": f"{home}/{split}-*"}],
                    }
                )
            if name != CONVERTED:
                text = yaml.safe_dump({"configs": configs}, sort_keys=False)
                (folder / "README.md").write_text(f"---\n{text}---\n", encoding="utf-8")
        (repo / "refs.json").write_text(json.dumps({"main": commit}), encoding="utf-8")
    return Path(root)


def model(root: Path, name: str, commit: str, layers: int = 2) -> Path:
    """An XLM-R-shaped checkpoint: random weights, a small tokenizer, files that nobody needs."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import XLMRobertaConfig, XLMRobertaModel

    folder = Path(root) / "models" / name / commit
    folder.mkdir(parents=True, exist_ok=True)
    words = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, *map(chr, range(33, 127)), "<mask>"]
    tokenizer = Tokenizer(models.Unigram([(w, -float(i)) for i, w in enumerate(words)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=514, type_vocab_size=1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 512}))
    (folder / "pytorch_model.bin").write_bytes(b"not to be downloaded")
    (folder / "onnx").mkdir(exist_ok=True)
    (folder / "onnx" / "model.onnx").write_bytes(b"not to be downloaded")
    (folder.parent / "refs.json").write_text(json.dumps({"main": commit}))
    return folder
