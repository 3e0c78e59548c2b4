"""Files of a repository on the hub at one commit: downloaded once, verified, from no other commit.

huggingface_hub keeps a commit's listing in its cache: a repository costs one request for it and one
download per file, whatever the number of jobs. Files are compared with the listed hashes when they
are read. What goes wrong is told apart:

:class:`Absent`       not there, or not for us: no such repository, commit or file; gated. Asking
                      again will not help.
:class:`Unreachable`  not now: no network, a time-out, 429 or 5xx, a download that was cut off or
                      damaged. Asked again with growing pauses (``Retry-After`` is obeyed) first.
"""

import errno
import hashlib
import re
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from midway.study.errors import InputError, Unreachable, one_line

WAITS = (5.0, 20.0)  # seconds before the second and third attempt; a request has its own five
PATIENCE = 330  # seconds of Retry-After that are waited for; the hub counts in five minutes
#: "dataset owner/name@commit/path" -> sha256 of what this process has read
READ: dict[str, str] = {}
Choose = Callable[[list[str]], list[str]]  # the files wanted of those that are listed


class Absent(Exception):
    """The hub does not have it, or does not give it to us: one line with the cause."""


def files(name: str, commit: str, choose: Choose, kind: str = "dataset", bars=False) -> list[Path]:
    """The chosen files of a commit, in the listing's order, downloaded where they are not here yet.

    kind: 'dataset' or 'model'. ``choose`` is given all paths of the commit and may raise Absent.
    Raises Absent or Unreachable, one line each; InputError where the cache cannot be written.
    """
    for wait in (*WAITS, None):
        try:
            found = here(name, commit, choose, kind)
            if found is None:
                _download(name, commit, choose, kind, bars)
                found = here(name, commit, choose, kind)
            if found is None:
                raise Unreachable(f"{name} at {commit[:12]}: the download is not complete")
            return [_verified(name, commit, path, kind) for path in found]
        except Unreachable as error:
            pause = max(wait or 0, error.retry_after or 0)
            if wait is None or error.offline or pause > PATIENCE:
                raise
            time.sleep(pause)
    raise AssertionError  # the last turn has returned or raised


def listing(name: str, commit: str, kind: str = "dataset", ask: bool = True) -> dict | None:
    """Path -> size of every file of a commit; from the cache, else from the hub (one request).

    None when it is not in the cache and ``ask`` is False. Raises as :func:`files`, but asks once.
    """
    known = _tree(name, commit, kind)
    if known is None and ask:
        _download(name, commit, lambda _: [], kind)
        known = _tree(name, commit, kind)
    return None if known is None else {path: entry.size for path, entry in known.items()}


def unreachable() -> str:
    """One line on why the hub cannot be reached; "" if it answers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # of httpx2, certificates, proxies
        return f"no connection to {constants.ENDPOINT} ({_line(error)})"
    return ""


def here(name: str, commit: str, choose: Choose, kind: str = "dataset") -> list[Path] | None:
    """The chosen files where all of them are in the cache, else None. No request, no hashing."""
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
    """Path -> huggingface_hub.RepoFile as the cache knows this commit."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        listed = get_cached_repo_tree(name, repo_type=kind, revision=commit)
    except (CachedRepoTreeNotFoundError, OSError, ValueError):
        return None
    return {entry.path: entry for entry in listed}


def _download(name: str, commit: str, choose: Choose, kind: str, bars: bool = False) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    shown, level = not are_progress_bars_disabled(), logging.get_verbosity()
    if not bars:
        disable_progress_bars()
    logging.set_verbosity_error()  # its warnings are said here in one line
    try:
        if (tree := _tree(name, commit, kind)) is None:  # first the listing alone
            snapshot_download(name, repo_type=kind, revision=commit, allow_patterns=["\n"])
            tree = _tree(name, commit, kind)
            if tree is None:  # it found some files of the commit and swallowed why it cannot ask
                next(iter(HfApi().list_repo_tree(name, repo_type=kind, revision=commit)), None)
                raise Unreachable(f"{name} at {commit[:12]}: the hub's listing was not kept")
        wanted = [re.sub(r"([*?[])", r"[\1]", path) for path in choose(list(tree))]
        if wanted:
            snapshot_download(name, repo_type=kind, revision=commit, allow_patterns=wanted)
    except (Absent, Unreachable):
        raise
    except Exception as error:  # of httpx2, huggingface_hub, hf_xet, the disk
        raise _told(error, name, commit, kind) from None
    finally:
        logging.set_verbosity(level)
        if shown:
            enable_progress_bars()


def _told(error: Exception, name: str, commit: str, kind: str) -> Exception:
    """Absent, Unreachable or InputError of whatever a download has raised, with its cause."""
    from huggingface_hub import constants, errors

    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__

    def first(*types):
        return next((e for e in chain if isinstance(e, types)), None)

    what, page = f"{name} at {commit[:12]}", f"{constants.ENDPOINT}/"
    page += f"{'datasets/' if kind == 'dataset' else ''}{name}"
    if first(errors.OfflineModeIsEnabled):
        advice = (
            "HF_HUB_OFFLINE is set and it is not in the cache; run `midway fetch` with a network"
        )
        return Unreachable(f"{what}: {advice}", offline=True)
    answer = first(errors.HfHubHTTPError)
    response = getattr(answer, "response", None)
    status, headers = getattr(response, "status_code", 0), getattr(response, "headers", {})
    if status == 429 or status == 408 or status >= 500:
        after = headers.get("Retry-After", "")
        asks = f"; it asks to wait {after} s" if after.isdigit() else ""
        kinds = {429: "too many requests (429)", 408: "a time-out (408)"}
        told = kinds.get(status, f"the hub is out of order ({status})")
        return Unreachable(f"{what}: {told}{asks}", int(after) if after.isdigit() else None)
    if first(errors.GatedRepoError):
        return Absent(f"{what} is gated: accept its terms at {page}, then `hf auth login`")
    if first(errors.RevisionNotFoundError):
        return Absent(f"{name} has no commit {commit}: mistyped, or deleted there?")
    if first(errors.DisabledRepoError):
        return Absent(f"{what}: the hub has disabled this repository ({page})")
    if first(errors.RepositoryNotFoundError) or status == 401:
        why = "mistyped, or private (then: `hf auth login`)?"
        if "credentials" in headers.get("X-Error-Message", "").lower():
            why = "the token is not valid (HF_TOKEN or `hf auth login`)?"
        return Absent(f"the hub shows no {kind} {name} (401): {why}")
    if status == 403:
        return Absent(f"{what}: access refused (403); see {page}")
    if first(errors.RemoteEntryNotFoundError) or status:
        return Absent(f"{what}: the hub answers {status or 404}: {_line(answer)}")
    disk = next((e for e in chain if isinstance(e, OSError) and e.errno in _DISK), None)
    if disk:
        return InputError(f"{constants.HF_HUB_CACHE}: cannot be written: {disk.strerror}")
    if any(type(e).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore") for e in chain):
        return Unreachable(f"{what}: no connection to {constants.ENDPOINT} ({_line(chain[-1])})")
    return Unreachable(f"{what}: the download failed ({type(error).__name__}: {_line(error)})")


_DISK = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM)


def _line(error) -> str:
    return one_line(" ".join(str(error).split()))[:160] or type(error).__name__


def _verified(name: str, commit: str, path: Path, kind: str) -> Path:
    """The path of a file that is what the listing says; a damaged one is deleted: Unreachable."""
    inside = path.relative_to(snapshot(name, commit, kind)).as_posix()
    stat = path.stat()
    sha256, git = _hashes(path, stat.st_size, stat.st_mtime_ns)
    entry = (_tree(name, commit, kind) or {}).get(inside)
    if entry is not None:
        right = sha256 == entry.lfs.sha256 if entry.lfs else git == entry.blob_id
        if not right:
            try:
                path.resolve().unlink()  # the blob; the link beside it then leads nowhere
                path.unlink(missing_ok=True)
                done = "it was deleted"
            except OSError:
                done = f"delete {path}"
            raise Unreachable(
                f"{name} at {commit[:12]}: {inside} is not what the hub lists "
                f"(its sha256 is {sha256[:12]}...): damaged; {done}"
            )
    READ[f"{kind} {name}@{commit}/{inside}"] = sha256
    return path


@lru_cache(maxsize=4096)
def _hashes(path: Path, size: int, _time: int) -> tuple[str, str]:
    """sha256 of the bytes, and git's name of them (sha1 of a header and the bytes)."""
    sha, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
            git.update(block)
    return sha.hexdigest(), git.hexdigest()
