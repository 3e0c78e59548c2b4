"""Datasets on the hub at pinned commits: Parquet files only, no loading scripts.

``card.hub`` is data: ``id`` and ``revision`` (a full commit), ``codes`` (language -> the hub's name
of it), ``note`` (in what the copy differs from the official data), and for each of train, dev and
test a list of parts ``{config, split}``, which may name another ``id`` and ``revision``. ``{lang}``
and ``{code}`` are filled in. A split's files are ``<config>/<split>-*.parquet`` or
``<config>/<split>/*.parquet`` (without a configuration ``data`` or ``default`` stands for it), or
what a part's ``files`` pattern says. Columns and labels are described as for local files
(``canonical``).
"""

import random
import re
from fnmatch import filter as matching

from midway.data import canonical
from midway.kinds import raw as cells
from midway.kinds.raw import Broken
from midway.study import repository
from midway.study.errors import MissingData, meant
from midway.study.repository import Absent
from midway.study.tasks import Card


def load(card: Card, split: str, lang: str, size: int | None = None, seed: int = 0) -> list[dict]:
    """Canonical rows of a split.

    size, seed: a large training set is sampled before it is read; at least ``size`` rows come back
    if there are as many. Raises MissingData if the hub does not have the rows, and Unreachable if
    it does not answer now.
    """
    chosen = parts(card, split, lang)
    try:
        tables = [_table(part) for part in chosen]
        if size is not None and split == "train":  # 4: rows without labels, another role's half
            share = 4 * size / max(1, sum(map(len, tables)))
            draw = random.Random(f"hub {seed}")
            for i, t in enumerate(tables):
                if share < 0.5 and "rows" not in chosen[i]:
                    some = draw.sample(range(len(t)), int(len(t) * share) + 1) if len(t) else []
                    tables[i] = t.select(sorted(some))
        made = []
        for part, table in zip(chosen, tables, strict=True):
            rules = {k: v for k, v in part.items() if k != "where"}  # _table has applied it
            rows = canonical.rows(card, rules, _rows(card, part, table), lang)
            made += canonical.take(part, list(rows))
        if not made:
            raise Broken(f"{_name(chosen[0])}: no rows for {lang}")
        if not all(row["labelled"] for row in made):
            raise Broken(f"{_name(chosen[0])}: rows without labels")
        return canonical.finish(card, made, chosen, _name(chosen[0]))
    except (Absent, Broken) as error:
        raise MissingData(card.name, lang, split, str(error), card.get) from None


def parts(card: Card, split: str, lang: str) -> list[dict]:
    """The card's parts that a split is read from: repository, commit, configuration and so on."""
    hub = card.hub
    if not hub:
        raise MissingData(card.name, lang, split, "not on the hub; use local files", card.get)
    names = {"lang": lang, "code": hub.get("codes", {}).get(lang, lang)}
    found = []
    for part in hub.get(split, []):
        if lang in part.get("languages", card.languages):
            whole = {"id": hub["id"], "revision": hub.get("revision"), "config": None} | part
            found.append(canonical.fill(whole, names))
    if not found:
        raise MissingData(card.name, lang, split, f"{hub['id']} has no such split", card.get)
    for part in found:
        if not re.fullmatch("[0-9a-f]{40}", str(part["revision"])):
            reason = f"{part['id']}: revision {part['revision']!r} is no full commit (40 digits)"
            raise MissingData(card.name, lang, split, reason, card.get)
    return found


def _name(part: dict) -> str:
    return f"{part['id']} {part['config'] or ''} {part['split']}".replace("  ", " ")


def chooser(part: dict) -> repository.Choose:
    """Choose a part's files from a repository's listing; Absent names what does not exist."""
    config, split = part["config"], part["split"]
    homes = [config] if config else ["data", "default"]
    patterns = [f"{home}/{split}{rest}" for home in homes for rest in ("-*.parquet", "/*.parquet")]
    if part.get("files"):
        patterns = [part["files"]]

    def choose(names: list[str]) -> list[str]:
        for pattern in patterns:
            if chosen := matching(names, pattern):
                return sorted(chosen)
        tables = [name for name in names if name.endswith(".parquet")]
        where = f"{part['id']} at {part['revision'][:12]}"
        if not tables:
            raise Absent(f"{where} has no Parquet files")
        known = sorted({name.rpartition("/")[0] or "." for name in tables})
        if config and not any(name.startswith(f"{config}/") for name in tables):
            raise Absent(f"{where} has no configuration {config!r}; {meant(config, known[:20])}")
        raise Absent(f"{where} has no split {split!r}{f' in {config}' if config else ''}")

    return choose


def _table(part: dict):
    """The rows of a part that its ``where`` selects, as a ``datasets.Dataset``."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    paths = repository.files(part["id"], part["revision"], chooser(part))
    try:
        table = Dataset(InMemoryTable(pa.concat_tables([pq.read_table(path) for path in paths])))
    except Exception as error:  # of pyarrow and datasets: a torn file, other columns or features
        files = ", ".join(path.name for path in paths)
        reason = f"cannot be read ({type(error).__name__}: {error})"
        raise Broken(f"{_name(part)}: {files}: {reason}") from None
    for column, value in part.get("where", {}).items():  # by column: far faster than by row
        if column not in table.column_names:
            have = ", ".join(table.column_names)
            raise Broken(f"{_name(part)}: no column {column!r} (found: {have})")
        found = [cells.matches(v, value) for v in table[column]]
        table = table.select([i for i, keep in enumerate(found) if keep])
    return table


def _rows(card: Card, part: dict, table):
    """(place, raw row) pairs, with class numbers as their names."""
    name = _name(part)
    names = {c: _names(f) for c, f in table.features.items()}
    names = {c: n for c, n in names.items() if n}
    if card.kind == "mining":
        yield from _pairs(part, table, name)
        return
    for number, row in enumerate(table):
        for column, known in names.items():
            row[column] = _named(row[column], known)
        yield f"{name}: row {number}", row


def _names(feature) -> list[str] | None:
    feature = getattr(feature, "feature", feature)  # of a list
    return getattr(feature, "names", None)


def _named(value, names: list[str]):
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    if value is None or value < 0:
        return None
    return names[value] if value < len(names) else value  # no class: it will be refused


def _pairs(part: dict, table, name: str):
    """Mining rows from a table of translation pairs (there are no sentences without partners)."""
    columns, sides = part["columns"], {"source": {}, "target": {}}
    links: dict[str, list[str]] = {}
    for number, row in enumerate(table):
        keys = [str(cells.get(row, columns[f"{side}_id"])) for side in sides]
        links.setdefault(keys[0], []).append(keys[1])
        for side, key in zip(sides, keys, strict=True):
            sides[side].setdefault(key, (number, cells.get(row, columns[side])))
    for side, found in sides.items():
        for key, (number, sentence) in sorted(found.items()):
            gold = links.get(key, []) if side == "source" else []
            yield f"{name}: row {number}", {"id": key, "side": side, "text": sentence, "gold": gold}
