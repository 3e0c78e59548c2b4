"""Files of a repository on the hub at one commit: downloaded once and verified.

huggingface_hub keeps a commit's listing in its cache: a repository costs one request for it and one
download per file, whatever the number of jobs. Files are compared with the listed hashes when they
are read. What goes wrong is Absent or Unreachable (``hub_answers``).
"""

import re
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

from midway.study.errors import InputError, Unreachable
from midway.study.files import sha256
from midway.study.hub_answers import PATIENCE, Absent, connect, line, told, unwritable

WAITS = (1.0, 5.0, 20.0, 60.0)  # seconds before the second to fifth attempt
#: "dataset owner/name@commit/path" -> sha256 of what this process has read
READ: dict[str, str] = {}
Choose = Callable[[list[str]], list[str]]  # the files wanted of those that are listed


def files(name: str, commit: str, choose: Choose, kind: str = "dataset") -> list[Path]:
    """The chosen files of a commit, in the listing's order, downloaded where they are not here yet.

    kind: 'dataset' or 'model'. ``choose`` is given all paths of the commit and may raise Absent.
    Raises Absent or Unreachable, one line each; InputError where the cache cannot be written.
    """

    def attempt() -> list[Path]:
        found = here(name, commit, choose, kind)
        if found is None:
            _download(name, commit, choose, kind)
            found = here(name, commit, choose, kind)
        if found is None:
            raise Unreachable(f"{name} at {commit[:12]}: the download is not complete")
        return [_verified(name, commit, path, kind) for path in found]

    return _patiently(attempt, WAITS)


def _patiently(attempt: Callable, waits):
    """Result of ``attempt``; after Unreachable it is tried again, after each of ``waits``."""
    for wait in waits:
        try:
            return attempt()
        except Unreachable as error:
            pause = max(wait, error.retry_after or 0)
            if error.final or pause > PATIENCE:
                raise
            time.sleep(pause)
    return attempt()


def listing(name: str, commit: str, kind: str = "dataset", waits=()) -> dict | None:
    """Path -> size of every file of a commit; from the cache, else from the hub (one request).

    waits: seconds before further attempts; None: the hub is not asked, and None is returned where
    the cache has no listing. Raises as :func:`files`.
    """
    known = _tree(name, commit, kind)
    if known is None and waits is not None:
        _patiently(lambda: _download(name, commit, lambda _: [], kind), waits)
        known = _tree(name, commit, kind)
    return None if known is None else {path: entry.size for path, entry in known.items()}


def unreachable() -> str:
    """One line on why the hub cannot be reached; "" if it answers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        connect()
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # Unreachable; of certificates, proxies
        return line(error)
    return ""


def here(name: str, commit: str, choose: Choose, kind: str = "dataset") -> list[Path] | None:
    """The chosen files if all of them are in the cache, else None. No request, no hashing."""
    tree, folder = _tree(name, commit, kind), snapshot(name, commit, kind)
    if tree is None:  # filled by another program: what it left must be whole by its names
        there = (p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file())
        try:
            chosen = choose(list(there))
        except Absent:
            return None
        parts = [re.fullmatch(r"(.*-)\d{5}(-of-(\d{5}).*)", path) for path in chosen]
        wanted = {m[1] + m[2]: int(m[3]) for m in parts if m}
        if not chosen or sum(wanted.values()) != sum(map(bool, parts)):
            return None
    else:
        chosen = choose(list(tree))
    found = [folder / path for path in chosen]
    return found if all(path.is_file() for path in found) else None


def _folder(name: str, kind: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / f"{kind}s--{name.replace('/', '--')}"


def snapshot(name: str, commit: str, kind: str) -> Path:
    """The folder of a commit in the cache, whether it is there or not."""
    return _folder(name, kind) / "snapshots" / commit


def _tree(name: str, commit: str, kind: str) -> dict | None:
    """Path -> size, blob_id (git's) and lfs_sha256 as the cache's listing of this commit has them.

    Not by ``get_cached_repo_tree``, which leaves lfs_sha256 out: blob_id is a pointer's there.
    """
    from huggingface_hub._tree_cache import read_tree_cache

    try:
        return read_tree_cache(str(_folder(name, kind).resolve()), commit)
    except (OSError, ValueError):
        return None


def _download(name: str, commit: str, choose: Choose, kind: str) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    where: dict = {"repo_id": name, "repo_type": kind, "revision": commit}
    try:
        connect()
        with disable_progress_bars():
            if _tree(name, commit, kind) is None:  # first the listing alone
                snapshot_download(**where, allow_patterns=["\n"])
            tree = _tree(name, commit, kind)
            if tree is None:  # it found some files of the commit and swallowed why it cannot ask
                next(iter(HfApi().list_repo_tree(**where)), None)
                raise unwritable("its listing was not kept there")
        wanted = [re.sub(r"([*?[])", r"[\1]", path) for path in choose(list(tree))]
        if wanted:
            with nullcontext() if sys.stderr.isatty() else disable_progress_bars():
                snapshot_download(**where, allow_patterns=wanted)
    except (Absent, InputError):
        raise
    except Unreachable as error:
        raise Unreachable(f"{name} at {commit[:12]}: {error}", error.retry_after) from None
    except Exception as error:  # of httpx2, huggingface_hub, hf_xet, the disk
        listed = _tree(name, commit, kind) is not None
        raise told(error, name, commit, kind, listed) from None


def _verified(name: str, commit: str, path: Path, kind: str) -> Path:
    """The path of a file that is what the listing says; a damaged one is deleted: Unreachable."""
    from huggingface_hub.utils.sha import git_hash

    inside = path.relative_to(snapshot(name, commit, kind)).as_posix()
    stat = path.stat()
    found = _sha256(path, stat.st_size, stat.st_mtime_ns)
    entry = (_tree(name, commit, kind) or {}).get(inside)
    if entry is not None:
        large = entry.lfs_sha256  # small files have only git's hash
        if found != large if large else git_hash(path.read_bytes()) != entry.blob_id:
            try:
                path.resolve().unlink()  # the blob; the link beside it then leads nowhere
                path.unlink(missing_ok=True)
                done = "it was deleted"
            except OSError:
                done = f"delete {path}"
            raise Unreachable(
                f"{name} at {commit[:12]}: {inside} is not what the hub lists "
                f"(its sha256 is {found[:12]}...): damaged; {done}"
            )
    READ[f"{kind} {name}@{commit}/{inside}"] = found
    return path


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size: int, _time: int) -> str:
    return sha256(path)
