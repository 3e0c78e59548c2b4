"""Raw rows of any source become rows of a canonical schema, or a reason why they cannot.

How a raw row is read is data in the card, the same for official files and for the hub:

columns  canonical column -> raw column; ``a.b`` goes into a mapping, ``a[].b`` into each item of a
         list; a list of names is joined by a space (``choices``: gathered)
values   raw label -> label of the card (or index of the right choice)
drop     raw labels whose rows the task's own protocol leaves out, such as SNLI's ``-``
where    raw column -> pattern (of fnmatch) that a row's value must have; ``{lang}`` and ``{code}``
         are filled in
rows     [first, end) of the rows that result; numbers, or percentages such as 50%
ids      'number': the raw ids are not unique; count instead
broken   how many broken rows the official file is known to have; they are left out, more is an
         error
impossible  True: a question without an answer is an answerless question (SQuAD 2.0), not a fault
realign  True: the hub stripped contexts, so answers may start up to 32 characters off
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from midway.study.tasks import Card

REACH = 32  # characters; longest run of stripped spaces for which an answer is looked for


class Broken(Exception):
    """One file or row cannot be used: what and where, in one line whatever the file holds."""

    def __init__(self, reason: str):
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in reason[:500]))


def rows(card: Card, part: dict, raw: Iterable[tuple[str, dict]], lang: str) -> Iterator[dict]:
    """Canonical rows of (place, raw row) pairs; Broken names the place of the first fault.

    A row whose label was stripped has label -1, tags [] or no answers and ``labelled`` False.
    """
    read = {"pair": _pair, "choice": _choice, "span": _span, "tags": _tags}.get(card.kind, _as_is)
    wanted = part.get("where", {})
    left = part.get("broken", 0)
    for place, row in raw:
        try:
            if not all(matches(get(row, key), value) for key, value in wanted.items()):
                continue
            made = read(card, part, row)
        except Broken as error:
            if left <= 0:
                raise Broken(f"{place}: {error}") from None
            left -= 1
            continue
        if made is not None:
            yield made | {"lang": lang}


def spellings(raw) -> tuple[str, ...]:
    """How a card may write a raw value: as text, and a boolean or null as JSON and YAML do."""
    special = {"None": ("None", "null", "~"), "True": ("true", "True"), "False": ("false", "False")}
    return special.get(repr(raw), (str(raw),))


def matches(raw, pattern: str) -> bool:
    """Whether a raw value has the pattern of a card's ``where``."""
    return any(fnmatchcase(text, pattern) for text in spellings(raw))


def get(row, path):
    """The value at a dotted path; Broken names a column that is not there."""
    if isinstance(path, int) and isinstance(row, dict) and path in row:
        return row[path]  # a file without a header
    value = row
    for step in str(path).split("."):
        name, each = (step[:-2], True) if step.endswith("[]") else (step, False)
        try:
            if isinstance(value, list):
                value = [item[name] for item in value]
            else:
                value = value[name]
        except (KeyError, TypeError, IndexError):
            have = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
            raise Broken(f"no column {path!r} (found: {have[:120]})") from None
        if each and not isinstance(value, list):
            raise Broken(f"column {path!r} is not a list")
    return value


def text(row, path, empty: bool = False) -> str:
    """A column as text, several columns joined; Broken when it is empty or not text."""
    found = " ".join(text(row, p) for p in path) if isinstance(path, list) else get(row, path)
    if not isinstance(found, str):
        raise Broken(f"column {path!r} is {type(found).__name__}, not text")
    if not found.strip() and not empty:
        raise Broken(f"column {path!r} is empty")
    return found


def _label(part: dict, raw, names) -> int | None:
    """Index of a raw label; -1 when it was stripped; None when the row is to be dropped."""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    known, written = part.get("values", {}), spellings(raw)
    if any(text in part.get("drop", ()) for text in written):
        return None
    value = next((known[text] for text in written if text in known), None)
    if value is None and (raw is None or raw == "" or (raw == -1 and not isinstance(raw, bool))):
        return -1
    index = raw if value is None else int(value) if re.fullmatch("0|[1-9][0-9]*", value) else None
    value = str(raw) if value is None else value
    if value in names:
        return names.index(value)
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(names):
        return index
    raise Broken(f"label {_short(raw)} is not one of {', '.join([*known, *names])}")


def _pair(card: Card, part: dict, row: dict) -> dict | None:
    columns = part["columns"]
    raw = None
    if "label" in columns:
        raw = row.get(columns["label"]) if columns["label"] in row else None
        if raw is None and not part.get("unlabelled"):
            raw = get(row, columns["label"])
    label = _label(part, raw, list(card.labels))
    if label is None:
        return None
    made = {name: text(row, columns[name]) for name in ("text_a", "text_b")}
    return made | {"id": "", "label": label, "labelled": label >= 0}


def _choice(card: Card, part: dict, row: dict) -> dict | None:
    columns = part["columns"]
    source = columns["choices"]
    choices = [get(row, c) for c in source] if isinstance(source, list) else get(row, source)
    if not isinstance(choices, list) or len(choices) < 2:
        raise Broken("fewer than two choices")
    if not all(isinstance(c, str) and c.strip() for c in choices):
        raise Broken("a choice is empty or not text")
    names = [str(i) for i in range(len(choices))]
    if "keys" in columns:
        names = [str(k) for k in get(row, columns["keys"])]
        if len(names) != len(choices) or len(set(names)) < len(names):
            raise Broken("choices and their letters do not match")
    label = _label(part, get(row, columns["label"]), names)
    if label is None:
        return None
    made = {"context": text(row, columns["context"]), "choices": choices, "label": label}
    return made | {"id": _id(row, columns), "labelled": label >= 0}


def _id(row: dict, columns: dict) -> str:
    if "id" not in columns:
        return ""
    found = str(get(row, columns["id"]))
    if not found.strip():
        raise Broken("the id is empty")
    return found


def _span(card: Card, part: dict, row: dict) -> dict | None:
    columns = part.get("columns", {})
    name = {key: columns.get(key, key) for key in ("context", "question", "answers")}
    context, question = text(row, name["context"]), text(row, name["question"])
    found = get(row, name["answers"])
    if isinstance(found, dict):  # the hub's mapping of lists
        found = [
            {"text": t, "answer_start": s}
            for t, s in zip(get(found, "text"), get(found, "answer_start"), strict=False)
        ]
    if not isinstance(found, list):
        raise Broken("'answers' is not a list")
    texts, starts = [], []
    for answer in found:
        answer_text, start = text(answer, "text", empty=True), get(answer, "answer_start")
        if not isinstance(start, int) or isinstance(start, bool):
            raise Broken(f"answer_start is {_short(start)}, not a number")
        if answer_text:
            texts.append(answer_text)
            starts.append(_start(context, answer_text, start, part.get("realign", False)))
    made = {"id": _id(row, {"id": columns.get("id", "id")}), "context": context}
    made |= {"question": question, "answers": {"text": texts, "answer_start": starts}}
    impossible = not found or (isinstance(row, dict) and row.get("is_impossible") is True)
    if impossible and part.get("impossible"):
        if texts:
            raise Broken("the question is marked impossible but has an answer")
        return None if part.get("answerable") else made | {"labelled": True}
    if not found:
        raise Broken("the question has no answers")
    return made | {"labelled": bool(texts)}


def _start(context: str, answer: str, start: int, realign: bool) -> int:
    """Where the answer stands; Broken when the file's offset points to something else."""
    if start >= 0 and context.startswith(answer, start):
        return start
    if realign:
        near = [
            s
            for s in range(max(0, start - REACH), start + REACH + 1)
            if context.startswith(answer, s)
        ]
        if near:
            return min(near, key=lambda s: (abs(s - start), s))
    there = context[max(0, start) : max(0, start) + len(answer)]
    raise Broken(f"answer_start {start} points to {_short(there)}, not to {_short(answer)}")


def _tags(card: Card, part: dict, row: dict) -> dict:
    columns = part.get("columns", {"tokens": "tokens", "tags": "tags"})
    tokens = get(row, columns["tokens"])
    tags = get(row, columns["tags"]) if columns["tags"] in row else None
    if not isinstance(tokens, list) or not tokens:
        raise Broken("a sentence without words")
    for token in tokens:
        if not isinstance(token, str) or not token.strip():
            raise Broken("a word is empty or not text")
    if not tags:
        return {"id": "", "tokens": tokens, "tags": [], "labelled": False}
    if len(tags) != len(tokens):
        raise Broken(f"{len(tokens)} words but {len(tags)} tags")
    known = part.get("values", {})
    tags = [known.get(str(t), t) for t in tags]
    if any(isinstance(t, int) for t in tags) and card.labels:  # indices, as Parquet may hold them
        tags = [
            card.labels[t] if isinstance(t, int) and 0 <= t < len(card.labels) else t for t in tags
        ]
    for tag in tags:
        if not isinstance(tag, str) or not tag or (card.labels and tag not in card.labels):
            raise Broken(f"tag {_short(tag)} is not one of {' '.join(card.labels) or 'any text'}")
    return {"id": "", "tokens": tokens, "tags": list(tags), "labelled": True}


def _as_is(card: Card, part: dict, row: dict) -> dict:
    """Sentence pairs and mining rows: readers make them in the canonical form."""
    columns = part.get("columns", {})
    if card.kind == "parallel":
        made = {key: text(row, columns.get(key, key)) for key in ("source", "target")}
        # The hub's rows keep the line end of the files they were made from.
        return {k: v.strip() for k, v in made.items()} | {"id": "", "labelled": True}
    text(row, "text")
    return row | {"labelled": True}


def _short(value) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def take(part: dict, made: list[dict]) -> list[dict]:
    """The ``rows`` of a part: those between its two limits."""
    if "rows" not in part:
        return made
    first, end = (
        len(made) * int(limit.rstrip("%")) // 100 if isinstance(limit, str) else limit
        for limit in part["rows"]
    )
    return made[first:end]


def fill(part: dict, names: dict[str, str]) -> dict:
    """The part with ``{lang}`` and ``{code}`` replaced in what names or selects something."""
    whole = dict(part)
    for key in ("config", "split", "files"):
        if whole.get(key):
            whole[key] = whole[key].format(**names)
    if "where" in whole:
        whole["where"] = {k: str(v).format(**names) for k, v in whole["where"].items()}
    return whole


def finish(card: Card, made: list[dict], numbered: bool, place: str) -> list[dict]:
    """Ids for rows that have none; Broken for double ids and half-stripped labels."""
    if card.kind == "mining":
        return made
    if numbered or not all(row["id"] for row in made):
        for number, row in enumerate(made):
            row["id"] = str(number)
    seen: set[str] = set()
    for row in made:
        if row["id"] in seen:
            raise Broken(f"{place}: id {_short(row['id'])} stands twice")
        seen.add(row["id"])
    return made
