"""Convert raw rows of any source to the canonical schema, or say why they cannot be used.

How a raw row is read is data in the card, the same for official files and for the hub:

columns  canonical column -> raw column; ``a.b`` goes into a mapping, ``a[].b`` into each item of a
         list; a list of names is joined by a space (``choices``: gathered)
values   raw label -> label of the card (or index of the right choice)
drop     raw labels whose rows the task's own protocol excludes, such as SNLI's ``-``
where    raw column -> pattern (of fnmatch) that a row's value must have; ``{lang}`` and ``{code}``
         are filled in
rows     [first, end) of the rows that result; numbers, or percentages such as 50%
ids      'number': the raw ids are not unique; count instead
broken   how many broken rows the official file is known to have; they are left out, more is an
         error
impossible  True: a question without an answer is an answerless question (SQuAD 2.0), not a fault
realign  True: the hub stripped contexts, so answers may start up to 32 characters off
"""

from collections.abc import Iterable, Iterator

from midway import kinds
from midway.kinds.raw import Broken, get, matches, short
from midway.study.tasks import Card


def rows(card: Card, part: dict, raw: Iterable[tuple[str, dict]], lang: str) -> Iterator[dict]:
    """Canonical rows of (place, raw row) pairs; Broken names the place of the first fault.

    A row whose label was stripped has label -1, tags [] or no answers and ``labelled`` False.
    """
    read = kinds.get(card.kind).read
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
    """The part with ``{lang}`` and ``{code}`` replaced in what names or selects something.

    A ``path`` becomes a list.
    """
    whole = dict(part)
    for key in ("config", "split", "files"):
        if whole.get(key):
            whole[key] = whole[key].format(**names)
    if "path" in whole:
        paths = whole["path"] if isinstance(whole["path"], list) else [whole["path"]]
        whole["path"] = [path.format(**names) for path in paths]
    if "where" in whole:
        whole["where"] = {k: str(v).format(**names) for k, v in whole["where"].items()}
    return whole


def finish(card: Card, made: list[dict], parts: list[dict], place: str) -> list[dict]:
    """Ids for rows that have none, or of several parts; Broken for an id that occurs twice."""
    for row in made:
        del row["labelled"]
    numbered = len(parts) > 1 or any("ids" in part for part in parts)
    if card.kind == "mining":
        return made
    if numbered or not all(row["id"] for row in made):
        for number, row in enumerate(made):
            row["id"] = str(number)
    seen: set[str] = set()
    for row in made:
        if row["id"] in seen:
            raise Broken(f"{place}: id {short(row['id'])} occurs twice")
        seen.add(row["id"])
    return made
