"""The project's root; whole files: written atomically, hashed once, remembered by size and time."""

import contextlib
import functools
import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

INDEX = ".hashes.json"  # sizes and times of hashed data files, so that plan need not read them


def root() -> Path:
    """The project: the folder of notebooks/, params/ and outputs/ (or ``MIDWAY_ROOT``)."""
    return Path(os.environ.get("MIDWAY_ROOT") or Path(__file__).resolve().parents[3]).resolve()


def cache_folder() -> Path:
    """Where Midway keeps what it can make again: $MIDWAY_CACHE, $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("MIDWAY_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "midway"


def plain(value: Any) -> Any:
    """Plain JSON values: NumPy and torch scalars unpacked, NaN and infinities None (undefined)."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Write a file that readers see whole or not at all, also after a power cut.

    Missing folders are made. Raises OSError (disk full, read-only); the old file then stays.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temp = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fchmod(f.fileno(), 0o644)  # mkstemp's 600 would lock out a shared outputs folder
            os.fsync(f.fileno())
        os.replace(temp, path)
    except BaseException:
        Path(temp).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)
    return path


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
