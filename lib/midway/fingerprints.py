"""Hashes of a study's encoder and data: by content, but files are read only when they changed."""

import contextlib
import functools
import json
import sys
from pathlib import Path

from midway import root, tasks
from midway.errors import InputError
from midway.params import Study
from midway.records import digest, sha256, write_atomic

INDEX = ".hashes.json"  # sizes and times of hashed data files, so that plan need not read them


def file_hashes(files: dict[str, Path], index: Path | None) -> dict[str, str]:
    """Name -> sha256 of the files that exist; ``index`` remembers them while size and time stay."""
    known, hashes, new = _index(index), {}, False
    for name, path in files.items():
        if not path.is_file():
            continue
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        if known.get(str(path), [None])[0] != stamp:
            known[str(path)], new = [stamp, sha256(path)], True
        hashes[name] = known[str(path)][1]
    if new and index is not None:
        with contextlib.suppress(OSError):  # an unwritable folder only makes the next plan slower
            write_atomic(index, json.dumps(known))
    return hashes


@functools.cache
def _index(path: Path | None) -> dict:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        return {}


def _packs() -> list[str]:
    """Installed language packs, which mini's retrieval tasks are made of."""
    here = (Path(p).glob("jupyterlab_language_pack_*.dist-info") for p in sys.path if p)
    return sorted({p.name for found in here for p in found})


def encoder_hash(study: Study, index: Path | None = None) -> str:
    """Which weights and tokenizer: pinned revision, or the hashes of a local folder's files."""
    enc = study.encoder
    if enc.kind == "path":
        folder = root() / Path(enc.path).expanduser()  # an absolute path stays as it is
        if not folder.is_dir():
            raise InputError(f"encoder.path: {folder} is not a folder")
        kinds = (".json", ".safetensors", ".txt", ".model")  # the last two: vocabularies
        files = {p.name: p for p in folder.iterdir() if p.suffix in kinds}
        return digest(file_hashes(files, index))
    return digest({"kind": enc.kind, "name": enc.name, "revision": enc.revision})


def data_hashes(study: Study, names: list[str], index: Path | None = None) -> dict[str, str]:
    """Task -> hash of what its rows are made from; 'absent' when there is nothing to read."""
    if study.data.source == "mini":
        packs = {"tatoeba": _packs(), "bucc2018": _packs()}
        return {name: digest(["mini", study.data.seed, packs.get(name)]) for name in names}
    from midway.sources import local, source

    base, hashes = root() / Path(study.data.root or "").expanduser(), {}
    for name in names:
        if name != "mlm" and source(tasks.get(name), study.data) == "hub":
            facts = {k: v for k, v in (tasks.get(name).hub or {}).items() if k != "note"}
            hashes[name] = digest(facts)
            continue
        own = (
            (base / "download" / "mlm").glob("*.txt") if name == "mlm" else local.files(name, base)
        )
        found = file_hashes({p.relative_to(base).as_posix(): p for p in own}, index)
        hashes[name] = digest(found) if found else "absent"
    return hashes
