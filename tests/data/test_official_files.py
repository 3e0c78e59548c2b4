"""The commands of docs/official-files.md, on archives laid out as the originals, without a network.

``wget`` is a stand-in that takes files from a folder by their address's last part; archives hold
invented rows. That the addresses still answer cannot be shown here.
"""

import io
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from test_local import ANLI, COSMOS, CSQA, HELLA, SNLI, jsonl, squad

from midway.data import sources
from midway.run import doctor
from midway.study import params, tasks

PAGE = Path(__file__).parents[2] / "docs/official-files.md"
GLUE = "index\tsentence1\tsentence2\tgold_label\n0\ta\tb\tneutral\n"
QQP = "id\tquestion1\tquestion2\tis_duplicate\n1\ta\tb\t0\n"
PAWS = "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\n"
XNLI = "language\tgold_label\tsentence1\tsentence2\n" + "".join(
    f"{lang}\tneutral\t{lang} a\tb\n" for lang in tasks.get("xnli").languages
)
QA = squad(("english-1", "1911", 3), ("english-2", "war", 12))
HERE = {name: tasks.get(name).languages for name in ("pawsx", "mlqa", "xquad", "bucc2018")}
CODES = tasks.get("tydiqa").local["codes"]
#: an address's last part -> members of an archive, or a file
WEB = {
    "MNLI.zip": {f"MNLI/{n}.tsv": GLUE for n in ("train", "dev_matched", "dev_mismatched")},
    "QQP-clean.zip": {f"QQP/{n}.tsv": QQP for n in ("train", "dev", "test")},
    "anli_v1.0.zip": {
        f"anli_v1.0/R{r}/{s}.jsonl": jsonl(ANLI) for r in (1, 2, 3) for s in ("train", "dev")
    },
    "snli_1.0.zip": {
        f"snli_1.0/snli_1.0_{s}.{end}": jsonl(SNLI)
        for s in ("train", "dev") for end in ("jsonl", "txt")
    },
    "XNLI-1.0.zip": {f"XNLI-1.0/xnli.{s}.tsv": XNLI for s in ("dev", "test")},
    "x-final.tar.gz": {"x-final/en/train.tsv": PAWS}
    | {f"x-final/{lang}/{s}_2k.tsv": PAWS for lang in HERE["pawsx"] for s in ("dev", "test")},
    "MLQA_V1.zip": {
        f"MLQA_V1/{s}/{s}-context-{lang}-question-{lang}.json": QA
        for lang in HERE["mlqa"] for s in ("dev", "test")
    },
    "tydiqa-goldp-v1.1-train.json": squad(
        *((f"{code}-{i}", "1911", 3) for code in CODES.values() for i in range(10))
    ),
    "tydiqa-goldp-v1.1-dev.tgz": {
        f"tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{code}.json": QA for code in CODES.values()
    },
    "main.zip": {
        f"LASER-main/data/tatoeba/v1/tatoeba.{code}-eng.{side}": "Ja.\nNein.\nA.\n"
        for code in tasks.get("tatoeba").local["codes"].values() for side in (code, "eng")
    },
    **{f"xquad.{lang}.json": QA for lang in HERE["xquad"]},
    **{f"{s}-v{v}.json": QA for s in ("train", "dev") for v in ("1.1", "2.0")},
    **{f"hellaswag_{s}.jsonl": jsonl(HELLA) for s in ("train", "val")},
    **{f"{s}.jsonl": jsonl(COSMOS) for s in ("train", "valid")},
    **{f"{s}_rand_split.jsonl": jsonl(CSQA) for s in ("train", "dev")},
}  # fmt: skip
for _lang in HERE["bucc2018"]:
    for _part in ("training", "sample"):
        _stem = f"bucc2018/{_lang}-en/{_lang}-en.{_part}"
        WEB[f"bucc2018-{_lang}-en.{_part}-gold.tar.bz2"] = {
            f"{_stem}.{_lang}": f"{_lang}-1\tJa.\n", f"{_stem}.en": "en-1\tYes.\n",
            f"{_stem}.gold": f"{_lang}-1\ten-1\n",
        }  # fmt: skip
WGET = """#!/bin/sh
[ "$1" = -P ] && { to="$2"; shift 2; } || to=.
for address in "$@"; do cp "$WEB/${address##*/}" "$to/" || exit 8; done
"""
UNTRIED = {"ccg", "udpos", "panx"}  # a licence, a script of XTREME's, a dead link


def archive(path: Path, content) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, text in content.items():
                file.writestr(name, text)
    else:
        with tarfile.open(path, "w:" + {".bz2": "bz2"}.get(path.suffix, "gz")) as file:
            for name, text in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                file.addfile(member, io.BytesIO(text.encode()))


def commands() -> list[str]:
    """The page's commands in its order: one block, then the table's second column."""
    text = PAGE.read_text(encoding="utf-8")
    made = re.findall(r"^\$ (mkdir .*)$", text, re.M)
    for row in re.findall(r"^\| [^|]+ \|(.*)\|[^|]*\|$", text, re.M):
        made += [words for words in re.findall("`([^`]*)`", row) if "wget" in words]
    return made


@pytest.mark.slow
def test_the_commands_leave_what_is_read(tmp_path, monkeypatch):
    """A path that differs by a folder costs a day: the archives are gigabytes."""
    web, root, programs = (tmp_path / name for name in ("web", "data", "bin"))
    for folder in (web, root, programs):
        folder.mkdir()
    for name, content in WEB.items():
        archive(web / name, content)
    (programs / "wget").write_text(WGET)
    (programs / "wget").chmod(0o755)
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "WEB": str(web)}
    found = commands()
    assert len(found) == 16, found
    for words in found:
        done = subprocess.run(
            ["bash", "-ec", words], cwd=root, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stderr)
    data = params.Data(source="local", root=str(root))
    for card in [*tasks.INTERMEDIATE.values(), *tasks.TARGETS.values()]:
        if card.name in UNTRIED:
            continue
        for lang in card.languages:
            split = "test" if card.role == "target" else "dev"
            assert len(sources.load(card.name, split, lang, data)), (card.name, lang)
        if card.trains:
            assert len(sources.load(card.name, "train", "en", data))
    study = params.Study.model_validate(
        {
            "study": "x",
            "data": {"source": "local", "root": str(root)},
            "intermediate": {"variants": ["none", "csqa"], "steps": 2},
            "transfer": {"targets": ["xquad", "tatoeba"], "steps": 2},
        }  # fmt: skip
    )
    rows = {row["what"]: row for row in doctor._data(study, False)}
    assert "24 rows in 12 splits and languages" in rows["xquad"]["detail"], rows["xquad"]
