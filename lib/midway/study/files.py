"""The project's root; files: written atomically; hashes are kept while size and time are equal."""

import contextlib
import functools
import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from stat import S_ISREG
from typing import Any

from midway.study.errors import InputError

INDEX = ".hashes.json"  # sizes and times of hashed files, so that plan need not read them
UMASK = os.umask(0)
os.umask(UMASK)  # can only be asked by being set; here, before there are threads


def root() -> Path:
    """The project: the folder of notebooks/, params/ and outputs/ (or ``MIDWAY_ROOT``).

    Examples
    --------
    >>> from midway import root
    >>> (root() / "params" / "mini.yaml").is_file()
    True
    """
    return Path(os.environ.get("MIDWAY_ROOT") or Path(__file__).resolve().parents[3]).resolve()


def cache_folder() -> Path:
    """Folder of files that Midway can compute again: $MIDWAY_CACHE, $XDG_CACHE_HOME or ~/.cache."""
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


def once(pairs: list) -> dict:
    """Object of a person's JSON (``object_pairs_hook``); InputError where a name occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise InputError(f"{next(n for n in names if names.count(n) > 1)!r} occurs twice")
    return found


def read_json(path: str | Path) -> dict:
    """The object in a JSON file; {} where the file is absent, torn or something else."""
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def sha256(path: str | Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def file_hash(path: str | Path) -> str:
    """Hash of a product: sha256 of its bytes; of an executed notebook, of its cells and outputs.

    Programs that open a notebook write metadata into it, which does not change its content.
    """
    if Path(path).suffix == ".ipynb":
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
            return digest([[_joined(c.get(k)) for k in CELL] for c in cells])
    return sha256(path)


CELL = ("cell_type", "source", "outputs", "attachments")


def _joined(value: Any) -> Any:
    """Text of a notebook, which may be one string or a list of lines; no metadata, no counters."""
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return "".join(value)
    if isinstance(value, list):
        return [_joined(v) for v in value]
    if isinstance(value, dict):
        out = ("metadata", "execution_count", "transient")
        return {k: _joined(v) for k, v in value.items() if k not in out}
    return value


def write_atomic(path: str | Path, content: str | bytes, mode: int | None = None) -> Path:
    """Write a file atomically: readers see all of it or nothing, also after a power cut.

    Missing folders are made; ``mode`` is by the umask when not given. Raises OSError (disk full,
    read-only); the old file then stays.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temp = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fchmod(f.fileno(), 0o666 & ~UMASK if mode is None else mode)  # mkstemp's is 600
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


def file_hashes(files: dict[str, Path], index: Path | None, save: bool = True) -> dict[str, str]:
    """Name -> hash of the files that exist; ``index`` remembers them while size and times stay."""
    known, hashes, new = _index(index) if index else {}, {}, False
    for name, path in files.items():
        try:
            stat = path.stat()
        except OSError:
            continue
        if not S_ISREG(stat.st_mode):
            continue
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        if known.get(str(path), [None])[0] != stamp:
            known[str(path)], new = [stamp, file_hash(path)], True
        hashes[name] = known[str(path)][1]
    if new:
        known[""] = True  # to be saved
        if index and save:
            save_index(index)
    return hashes


def save_index(index: Path) -> None:
    """Save the index of hashes; if that fails, the next plan only takes longer."""
    known = _index(index)
    if known.pop("", False) or not index.exists() and known:
        with contextlib.suppress(OSError):
            write_atomic(index, json.dumps(known))


@functools.cache
def _index(path: Path) -> dict:
    return {k: v for k, v in read_json(path).items() if isinstance(v, list) and len(v) == 2}
