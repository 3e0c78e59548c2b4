"""Answers of the hub: how long Midway waits, and what each answer means for a study.

:class:`Absent`       not there: no such repository, commit or file. Asking again will not help.
:class:`Unreachable`  not now: no network, a time-out, 429 or 5xx, a download that was cut off or
                      damaged. Asked again first, with growing pauses (``Retry-After`` is obeyed).
                      Also, at once, what the user can change: gated, a token that is not valid.
"""

import email.utils
import errno
import re
import time
from collections.abc import Mapping
from functools import lru_cache

from midway.study.errors import InputError, Unreachable, one_line

PATIENCE = 330  # seconds of Retry-After that are waited for; the hub counts in five minutes
TIMEOUT = 30  # seconds without a byte; the client would wait for a listing for ever


class Absent(Exception):
    """The hub does not have it: one line with the cause."""


@lru_cache(maxsize=1)
def connect() -> None:
    """Let huggingface_hub's clients wait and retry by the rules of this module.

    By their own rules they wait for a listing for ever, and as long as any ``Retry-After`` says.
    """
    import httpx2
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils import logging
    from huggingface_hub.utils._http import hf_request_event_hook

    class Client(httpx2.Client):
        def send(self, request, **options):
            timeouts = request.extensions.get("timeout", {})
            request.extensions["timeout"] = {k: v or TIMEOUT for k, v in timeouts.items()}
            try:
                response = super().send(request, **options)
            except httpx2.TransportError as error:
                raise Unreachable(
                    f"no connection to {constants.ENDPOINT} ({line(error)})"
                ) from None
            status = response.status_code
            if status not in (408, 429) and status < 500:
                return response
            response.close()
            names = {429: "too many requests (429)", 408: "a time-out (408)"}
            reason = names.get(status, f"the hub reports an error of its own ({status})")
            if after := _pause(response.headers):
                reason += f"; it asks to wait {after:.0f} s"
                if after > PATIENCE:
                    reason += f", but Midway waits at most {PATIENCE} s: run it again later"
            raise Unreachable(reason, after)

    logging.set_verbosity_error()  # what it warns of is said by `told`, in one line
    hooks: dict = {"request": [hf_request_event_hook]}
    set_client_factory(lambda: Client(event_hooks=hooks, follow_redirects=True, timeout=TIMEOUT))


def _pause(headers: Mapping[str, str]) -> float | None:
    """Seconds that the hub asks to wait: Retry-After (a number or a date), or its rate limit."""
    from huggingface_hub.utils import parse_ratelimit_headers

    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit and not limit.remaining else None


def told(error: Exception, name: str, commit: str, kind: str, listed: bool = False) -> Exception:
    """Absent, Unreachable or InputError for an exception of a download, with its cause.

    listed: the hub has listed the files of this commit, so the repository is, or was, there.
    """
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
    answer = first(errors.HfHubHTTPError)
    response = getattr(answer, "response", None)
    status = getattr(response, "status_code", 0)
    said = getattr(response, "headers", {}).get("X-Error-Message", "").lower()
    change = ""  # what the user can change
    if first(errors.OfflineModeIsEnabled):
        change = ": HF_HUB_OFFLINE is set and the cache lacks it; run `midway fetch` with a network"
    elif first(errors.GatedRepoError):
        change = f" is gated: ask for access at {page}, then `hf auth login` or set HF_TOKEN"
    elif status == 401 and re.search("credential|token|password", said):
        change = ": the token is not valid (HF_TOKEN or `hf auth login`)"
    elif status == 401 and listed:
        login = f"log in (`hf auth login` or HF_TOKEN); see {page}"
        change = f" is listed, but a file is refused (401): {login}"
    elif status == 403 and not first(errors.DisabledRepoError):
        change = f": access refused (403); see {page}"
    if change:
        return Unreachable(what + change, final=True)
    if first(errors.RevisionNotFoundError):
        return Absent(f"{name} has no commit {commit}: check the digits, or is it deleted?")
    if first(errors.DisabledRepoError):
        return Absent(f"{what}: the hub has disabled this repository ({page})")
    if first(errors.RepositoryNotFoundError) or status == 401:
        why = "check the name; if it is private, `hf auth login`"
        return Absent(f"the hub shows no {kind} {name} ({status or 404}): {why}")
    if first(errors.RemoteEntryNotFoundError) or status:
        return Absent(f"{what}: the hub answers {status or 404}: {line(answer)}")
    disk = next((e for e in chain if isinstance(e, OSError) and e.errno in _DISK), None)
    if disk:
        return unwritable(str(disk.strerror))
    return Unreachable(f"{what}: the download failed ({type(error).__name__}: {line(error)})")


def unwritable(reason: str) -> InputError:
    from huggingface_hub import constants

    advice = "free space there, or set HF_HOME to another folder"
    return InputError(f"{constants.HF_HUB_CACHE}: cannot be written ({reason}); {advice}")


_DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.EEXIST, errno.ENOTDIR,
)  # fmt: skip


def line(error) -> str:
    return one_line(" ".join(str(error).split()))[:160] or type(error).__name__
