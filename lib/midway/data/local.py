"""Official files in the layouts that the download scripts of XTREME and the tasks write.

``card.local['layouts']`` lists ways in which a task's files may lie under ``data.root``, the
official one first. The first whose ``needs`` all exist (and whose ``gold`` split has its labels)
is used for all splits, so that no row plays two of them:

layouts:
- name: what it is, for people
  needs: [path, ...]        # ``*`` allowed
  gold: test                # optional: this split's English file must still carry labels
  train: [alternative, ...] # the first alternative whose files exist and carry labels is read;
  dev: ...                  # an alternative is a part, or a list of parts read one after another
  test: ...

A part is ``{read: <reader below>, path: ...}`` plus how its rows are understood (see
:mod:`midway.data.canonical`), and:

exclude    {path, column}: leave out rows whose column also occurs in that file (test contexts)
languages  the only languages for which this part exists
half       0 or 1: one half of a mining file, by gold pair
"""

import itertools
from pathlib import Path

from midway.data import canonical, readers
from midway.kinds.raw import Broken
from midway.study import tasks
from midway.study.errors import InputError, MissingData
from midway.study.tasks import Card


class Unlabelled(Broken):
    """The file is complete, but its labels were removed."""


def load(card: Card, split: str, lang: str, root: str | Path) -> list[dict]:
    """Canonical rows, checked one by one. MissingData names file, line and reason."""
    root = folder(root)
    lay = _layout(card, split, lang, root)
    absent, stripped = [], []
    for parts in _alternatives(card, lay, split, lang):
        try:
            read = [_read(card, part, lang, root) for part in parts]
            rows, shown = [row for _, rows in read for row in rows], ", ".join(f for f, _ in read)
            return canonical.finish(card, rows, parts, shown)
        except FileNotFoundError as error:
            absent.append(str(error))
        except Unlabelled as error:
            stripped.append(str(error))
        except (Broken, OSError) as error:
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
            raise MissingData(card.name, lang, split, str(why), card.get) from None
    if stripped:
        reason = "; ".join(stripped)
    elif absent:
        reason = f"no file {' or '.join(dict.fromkeys(absent))} under {root}"
    else:
        reason = f"the files under {root} ({lay['name']}) have no {split} rows in this language"
    raise MissingData(card.name, lang, split, reason, card.get)


def folder(root: str | Path) -> Path:
    """``data.root`` as a folder that holds ``download/`` and ``intermediate/``."""
    path = Path(root).expanduser()
    if not path.is_dir():
        raise InputError(
            f"data.root: {path} is not a folder; name the one that holds download/ and "
            "intermediate/, as in --set data.root=/path/to/data"
        )
    return path


def files(task: str, root: str | Path) -> list[Path]:
    """Every file under root that this task's rows may come from, in any language (for hashes)."""
    card, found = tasks.get(task), set()
    for lay in card.local.get("layouts", ()):
        for split, lang in itertools.product(("train", "dev", "test"), card.languages):
            for part in itertools.chain(*_alternatives(card, lay, split, lang)):
                more = [part["exclude"]["path"]] if "exclude" in part else []
                found.update(f for name in part["path"] + more for f in _glob(Path(root), name))
    return sorted(found)


def present(card: Card, root: Path) -> bool:
    """Whether a task's official files are there; a layout with a ``note`` is only a stand-in."""
    try:
        lay = _layout(card, "test", "en", root)
    except MissingData:
        return False
    return "note" not in lay and bool(lay.get("needs") or files(card.name, root))


def _alternatives(card: Card, lay: dict, split: str, lang: str) -> list[list[dict]]:
    """The lists of parts that a split may be read from in a language, with its names filled in."""
    names = _names(card, lang)
    whole = (a if isinstance(a, list) else [a] for a in lay.get(split, ()))
    found = [
        [canonical.fill(p, names) for p in parts if lang in p.get("languages", card.languages)]
        for parts in whole
    ]
    return [parts for parts in found if parts]


def _names(card: Card, lang: str) -> dict[str, str]:
    return {"lang": lang, "code": card.local.get("codes", {}).get(lang, lang)}


def _glob(root: Path, name: str) -> list[Path]:
    if "*" in name:
        return sorted(p for p in root.glob(name) if p.is_file())
    return [root / name] if (root / name).is_file() else []


def _layout(card: Card, split: str, lang: str, root: Path) -> dict:
    layouts = card.local.get("layouts", [])
    for lay in layouts:
        if all(_glob(root, n.format(**_names(card, "en"))) for n in lay.get("needs", ())):
            if "gold" not in lay or _has_gold(card, lay, root):
                return lay
    wanted = " or ".join(" + ".join(lay.get("needs", ["?"])) for lay in layouts) or "a local layout"
    reason = f"no files under {root} (looked for {wanted})"
    raise MissingData(card.name, lang, split, reason, card.get)


def _has_gold(card: Card, lay: dict, root: Path) -> bool:
    """Whether the first row of the layout's gold split still has its label (English, or any)."""
    for lang in sorted(card.languages, key=lambda lang: lang != "en"):
        for part in itertools.chain(*_alternatives(card, lay, lay["gold"], lang)):
            try:
                raw = readers.read(part, _paths(part, root), root)
                row = next(iter(canonical.rows(card, part, raw, lang)), None)
            except FileNotFoundError:
                continue
            except Broken:
                return True  # let the load that follows say what is wrong
            return row is None or row["labelled"]
    return False


def _paths(part: dict, root: Path) -> list[Path]:
    """The files that a part names; FileNotFoundError names the one that is missing."""
    found = {name: _glob(root, name) for name in part["path"]}
    for name, paths in found.items():
        if not paths:
            raise FileNotFoundError(name)
    return [path for paths in found.values() for path in paths]


def _read(card: Card, part: dict, lang: str, root: Path) -> tuple[str, list[dict]]:
    """A part's files, for messages, and its rows."""
    paths = _paths(part, root)
    shown = ", ".join(path.relative_to(root).as_posix() for path in paths)
    made = list(canonical.rows(card, part, readers.read(part, paths, root), lang))
    total = len(made)
    made = canonical.take(part, made)
    if "exclude" in part:
        made = _exclude(part["exclude"], made, root)
    if not made:
        took = f" in rows {part['rows']} of {total}" if "rows" in part else ""
        raise Broken(f"{shown}: no usable rows{took}")
    gold = [row["labelled"] for row in made]
    if not any(gold):
        raise Unlabelled(f"{shown}: the labels were stripped (XTREME's scripts do so for test)")
    if not all(gold) and card.kind != "mining":
        raise Broken(f"{shown}: row {gold.index(False) + 1} has no label, others have")
    return shown, made


def _exclude(rule: dict, made: list[dict], root: Path) -> list[dict]:
    """Rows whose column does not occur in the rule's file; all rows if there is no file."""
    if not (root / rule["path"]).is_file():
        return made
    other = readers.read({"read": "squad"}, [root / rule["path"]], root)
    seen = {row[rule["column"]] for _, row in other if isinstance(row, dict)}
    return [row for row in made if row[rule["column"]] not in seen]
