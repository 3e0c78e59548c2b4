"""Hashes of a study's encoder and data: by content, but files are read only when they changed."""

import sys
from pathlib import Path

from midway.study import tasks
from midway.study.errors import InputError
from midway.study.files import digest, file_hashes
from midway.study.params import Study


def _packs() -> list[str]:
    """Installed language packs, which mini's retrieval tasks are made of."""
    here = (Path(p).glob("jupyterlab_language_pack_*.dist-info") for p in sys.path if p)
    return sorted({p.name for found in here for p in found})


def encoder_hash(study: Study, index: Path | None = None) -> str:
    """Which weights and tokenizer: pinned revision, or the hashes of a local folder's files."""
    enc = study.encoder
    if enc.kind == "path":
        if not enc.folder.is_dir():
            raise InputError(f"encoder.path: {enc.folder} is not a folder")
        kinds = (".json", ".safetensors", ".txt", ".model")  # the last two: vocabularies
        files = {p.name: p for p in enc.folder.iterdir() if p.suffix in kinds}
        return digest(file_hashes(files, index))
    return digest({"kind": enc.kind, "name": enc.name, "revision": enc.revision})


def data_hashes(study: Study, names: list[str], index: Path | None = None) -> dict[str, str]:
    """Task -> hash of what its rows are made from; 'absent' when there is nothing to read."""
    from midway.data import local, sources

    base, hashes = study.data.folder, {}
    for name in names:
        where = study.data.source
        if name != "mlm":
            where = sources.source(tasks.get(name), study.data)
        if where == "mini":
            packs = _packs() if name in ("tatoeba", "bucc2018") else None
            hashes[name] = digest(["mini", study.data.seed, packs])
            continue
        if where == "hub" and name != "mlm":
            facts = {k: v for k, v in (tasks.get(name).hub or {}).items() if k != "note"}
            hashes[name] = digest(facts)
            continue
        own = (
            (base / "download" / "mlm").glob("*.txt") if name == "mlm" else local.files(name, base)
        )
        found = file_hashes({p.relative_to(base).as_posix(): p for p in own}, index)
        hashes[name] = digest(found) if found else "absent"
    return hashes
