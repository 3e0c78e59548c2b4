"""Readers of official file formats: files in, (place, raw row) pairs out.

Text is UTF-8; a byte-order mark and CRLF line ends are accepted, lines end at LF only (not at the
other line ends of Unicode, which occur inside sentences). Every fault raises
:class:`raw.Broken`, which names the file and the line.
"""

import csv
import io
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from midway.kinds.raw import Broken, blank

Rows = Iterator[tuple[str, dict]]  # place and raw row
MAX_LINE = 1_000_000  # characters; longer lines are another format, not a sentence


def read(part: dict, paths: list[Path], root: Path) -> Rows:
    """Rows of a part's files by its ``read``; FileNotFoundError when a file is not there."""
    name, files = part["read"], [(path, path.relative_to(root).as_posix()) for path in paths]
    if name in TOGETHER:
        yield from TOGETHER[name](part, files)
        return
    if name not in READERS:
        raise Broken(f"card: unknown reader {name!r}; known: {', '.join([*READERS, *TOGETHER])}")
    for path, shown in files:
        yield from READERS[name](part, path, shown)


def content(path: Path, shown: str) -> str:
    """A file's text; Broken when it is empty, not UTF-8, or too large a line."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Broken(f"{shown}: line 1: encoded in UTF-16, not UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Broken(f"{shown}: line {line}: not UTF-8 (byte {data[error.start]:#04x})") from None
    if not text.strip():
        raise Broken(f"{shown}: the file is empty")
    if text.startswith("version https://git-lfs"):
        raise Broken(f"{shown}: line 1: a Git LFS pointer, not the file itself")
    return text


def lines(path: Path, shown: str) -> list[str]:
    """Lines without their ends; one line end at the end of the file is no line."""
    found = content(path, shown).split("\n")
    if found[-1] in ("", "\r"):
        found.pop()
    for number, line in enumerate(found, 1):
        if len(line) > MAX_LINE:
            raise Broken(f"{shown}: line {number}: {len(line)} characters; is this the right file?")
    return [line.removesuffix("\r") for line in found]


def _check(fields: list, widths: Collection[int], place: str) -> None:
    if len(fields) not in widths:
        expected = " or ".join(map(str, sorted(widths)))
        raise Broken(f"{place}: {len(fields)} columns, expected {expected}")


def _tsv(part: dict, path: Path, shown: str) -> Rows:
    """Tab-separated lines, with or without a header.

    header   True: columns go by name; else by position, 0 first
    width    numbers of columns allowed (default: the header's, or the first line's)
    quoted   True: fields were written by a csv writer: quoted as a whole, quotes inside doubled
    """
    found = lines(path, shown)
    names = found[0].split("\t") if part.get("header") else None
    width = set(part.get("width", ())) or {len(names or found[0].split("\t"))}
    if names:
        wanted = [*part.get("columns", {}).values(), *part.get("where", {})]
        _header(names, [] if part.get("unlabelled") else wanted, shown)
    elif len(first := found[0].split("\t")) in width:
        width = {len(first)}  # as wide as the first line, so an incomplete last line is seen
    left = part.get("broken", 0)
    for number, line in enumerate(found[1:] if names else found, 2 if names else 1):
        fields, place = line.split("\t"), f"{shown}: line {number}"
        if len(fields) not in width and left > 0:
            left -= 1
            continue
        _check(fields, width, place)
        if part.get("quoted"):
            fields = [_unquote(field) for field in fields]
        yield place, dict(zip(names or range(len(fields)), fields, strict=True))


def _header(names: list[str], wanted, shown: str) -> None:
    for column in wanted:
        if column not in names:
            have = ", ".join(names)[:120]
            raise Broken(f"{shown}: line 1: no column {column!r} (found: {have})")


def _unquote(field: str) -> str:
    """Undo csv's quoting of one field. A writer quotes a field because it holds a quote, which is
    then doubled; without one, quotes around a field are the sentence's own."""
    inner = field[1:-1]
    quoted = len(field) > 2 and field[0] == field[-1] == '"' and '""' in inner
    return inner.replace('""', '"') if quoted and '"' not in inner.replace('""', "") else field


def _csv(part: dict, path: Path, shown: str) -> Rows:
    reader = csv.reader(io.StringIO(content(path, shown), newline=""), strict=True)
    try:
        names = next(reader)
        _header(names, part.get("columns", {}).values(), shown)
        for fields in reader:
            place = f"{shown}: line {reader.line_num}"
            _check(fields, [len(names)], place)
            yield place, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise Broken(f"{shown}: line {reader.line_num}: {error}") from None


def _jsonl(part: dict, path: Path, shown: str) -> Rows:
    for number, line in enumerate(lines(path, shown), 1):
        place = f"{shown}: line {number}"
        row = _json(line, place)
        if not isinstance(row, dict):
            raise Broken(f"{place}: {type(row).__name__}, not an object")
        yield place, row


def _json(text: str, place: str):
    try:
        found = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # half a character: no text can hold it
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        return found
    except UnicodeEncodeError:
        raise Broken(f"{place}: holds half of a character (a lone surrogate)") from None
    except json.JSONDecodeError as error:
        where = f", line {error.lineno} column {error.colno}" if "line" not in place else ""
        raise Broken(f"{place}{where}: broken JSON ({error.msg}); is the file whole?") from None
    except (RecursionError, ValueError):
        raise Broken(f"{place}: broken JSON (nested too deep or a number too long)") from None


def _squad(part: dict, path: Path, shown: str) -> Rows:
    """SQuAD's JSON of versions 1.1 and 2.0; MLQA, XQuAD and TyDiQA-GoldP use it, too."""
    tree = _json(content(path, shown), shown)
    for i, article in enumerate(_list(tree, "data", shown)):
        for j, paragraph in enumerate(_list(article, "paragraphs", f"{shown}: article {i + 1}")):
            place = f"{shown}: article {i + 1} paragraph {j + 1}"
            for question in _list(paragraph, "qas", place):
                if not isinstance(question, dict) or "context" not in paragraph:
                    raise Broken(f"{place}: not in SQuAD's format")
                where = f"{place} question {str(question.get('id'))[:60]!r}"
                yield where, {**question, "context": paragraph["context"]}


def _list(tree, key: str, place: str) -> list:
    if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
        raise Broken(f"{place}: not in SQuAD's format ({key!r} is missing or not a list)")
    return tree[key]


def _conll(part: dict, path: Path, shown: str) -> Rows:
    """A word a line, sentences apart by empty lines.

    word, tag  positions of the two columns (0 and 1)
    width      number of columns of a labelled file (2); 1 column alone is a stripped file
    comments   True: lines that begin with ``#`` are no words, nor are multiword ranges (``1-2``)
               and empty nodes (``8.1``) of CoNLL-U
    prefix     True: words carry their language in front (``en:word``), as in Rahimi et al.'s files
    """
    word, tag, width = part.get("word", 0), part.get("tag", 1), part.get("width", 2)
    tokens: list[str] = []
    tags: list[str] = []
    begun, columns = 0, None
    for number, line in enumerate([*lines(path, shown), ""], 1):
        if not line.strip(" \t"):
            if tokens:
                row = {"tokens": tokens, "tags": tags}
                yield f"{shown}: line {begun}", row if tags else {"tokens": tokens}
            tokens, tags = [], []
            continue
        if part.get("comments") and line.startswith("#"):
            continue
        fields = line.split("\t")
        columns = columns or len(fields)
        _check(fields, [columns if columns in (1, width) else width], f"{shown}: line {number}")
        if part.get("comments") and not fields[0].isdecimal():
            continue
        begun = begun if tokens else number
        form = fields[word if columns > 1 else 0]
        tokens.append(form.partition(":")[2] if part.get("prefix") else form)
        if columns > 1:
            tags.append(fields[tag])


def _lines(part: dict, files: list[tuple[Path, str]]) -> Rows:
    """Two files whose lines translate each other: foreign, English.

    refuse_sorted  True: the English side may have been sorted (XTREME does so), which loses the
                   alignment: then nothing is read
    """
    names = [name for _, name in files]
    source, target = (lines(*file) for file in files)
    if len(source) != len(target):
        reason = f"{names[0]} has {len(source)} lines, {names[1]} has {len(target)}"
        raise Broken(f"{reason}: not translations of each other")
    if part.get("refuse_sorted") and len(target) > 1 and target == sorted(target):
        raise Broken(
            f"{names[1]}: sorted by XTREME's script, so line i no longer translates line i of "
            f"{names[0]}; put LASER's tatoeba v1 files into download/tatoeba-v1/"
        )
    for number, (a, b) in enumerate(zip(source, target, strict=True), 1):
        place = f"{names[0]}: line {number}"
        for text, name in ((a, names[0]), (b, names[1])):
            if blank(text):
                raise Broken(f"{name}: line {number}: empty")
        yield place, {"source": a, "target": b}


def _bucc(part: dict, files: list[tuple[Path, str]]) -> Rows:
    """BUCC's three files: foreign and English ``id<TAB>sentence``, gold ``id<TAB>id``."""
    names = [name for _, name in files]
    sides = [_identified(*file) for file in files[:2]]
    gold: dict[str, list[str]] = {}
    for number, line in enumerate(lines(*files[2]), 1):
        pair, place = line.split("\t"), f"{names[2]}: line {number}"
        _check(pair, [2], place)
        for name, side, key in zip(names, sides, pair, strict=False):
            if key not in side:
                raise Broken(f"{place}: id {key[:40]!r} is not in {name}")
        gold.setdefault(pair[0], []).append(pair[1])
    keep = _half(part["half"], *sides, gold) if "half" in part else None
    for name, side, kind in zip(names, sides, ("source", "target"), strict=False):
        for key, sentence in side.items():
            if keep is None or key in keep:
                links = gold.get(key, []) if kind == "source" else []
                links = [link for link in links if keep is None or link in keep]
                row = {"id": key, "side": kind, "text": sentence, "gold": links}
                yield f"{name}: id {key}", row


def _identified(path: Path, shown: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(lines(path, shown), 1):
        key, tab, sentence = line.partition("\t")
        if not tab or not key or blank(sentence):
            raise Broken(f"{shown}: line {number}: expected id<TAB>sentence")
        if key in found:
            raise Broken(f"{shown}: line {number}: id {key[:40]!r} occurs twice")
        found[key] = sentence
    return found


def _half(which: int, source: dict, target: dict, gold: dict) -> set[str]:
    """Ids of every second gold pair and every second sentence without a partner."""
    pairs = [(a, b) for a in gold for b in gold[a]]
    paired = {b for _, b in pairs}
    group: dict[str, int] = {}
    for number, (a, b) in enumerate(pairs):  # a sentence in two pairs keeps them together
        group[a] = group[b] = group.get(a, group.get(b, number % 2))
    for side, partnered in ((source, gold), (target, paired)):
        alone = [key for key in side if key not in partnered]
        group.update({key: number % 2 for number, key in enumerate(alone)})
    return {key for key, number in group.items() if number == which}


READERS = {"tsv": _tsv, "csv": _csv, "jsonl": _jsonl, "squad": _squad, "conll": _conll}
TOGETHER = {"lines": _lines, "bucc": _bucc}  # formats of several files
