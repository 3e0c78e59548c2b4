"""Errors of input and data, and helpers for one-line messages."""

import difflib


class InputError(Exception):
    """The user's input cannot be used: one line that names the key or file and what to do.

    Examples
    --------
    >>> from midway import InputError, tasks
    >>> try:
    ...     tasks.get("xnil")
    ... except InputError as error:
    ...     print(error)
    unknown task 'xnil'; did you mean 'xnli'?
    """


class MissingData(InputError):
    """One language or split of a task is missing or damaged; the study continues without it."""

    def __init__(self, task: str, lang: str, split: str, reason: str, where: str = ""):
        self.task, self.lang, self.split, self.reason, self.where = task, lang, split, reason, where
        hint = f" (get it: {where})" if where else ""
        super().__init__(f"{task} {split} {lang}: {reason}{hint}")


class Unreachable(Exception):
    """Something is not available now: the step fails, and the next run tries again.

    retry_after: seconds that the server asks to wait; final: do not try again at once.
    """

    def __init__(self, reason: str, retry_after: float | None = None, final: bool = False):
        self.retry_after, self.final = retry_after, final
        super().__init__(reason)


def meant(name: object, known, others: str = "known", cutoff: float = 0.5) -> str:
    """ "did you mean ...": the closest known name, or all names."""
    near = difflib.get_close_matches(str(name), list(known), 1, cutoff)
    return f"did you mean {near[0]!r}?" if near else f"{others}: {', '.join(known)}"


def one_line(text: object) -> str:
    """Text with line ends and control characters made visible, so that a message is one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def ensure(holds: object, what: str = "a check of this notebook does not hold") -> None:
    """Raise AssertionError unless ``holds``; unlike ``assert``, PYTHONOPTIMIZE leaves it in.

    Examples
    --------
    >>> from midway import ensure
    >>> ensure(0 <= 61.5 <= 100, "an accuracy is a percentage")
    """
    if not holds:
        raise AssertionError(what)


CONTROLS = (
    *range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
ESCAPES = {code: f"\\u{code:04x}" for code in CONTROLS}  # as in JSON; tabs and line ends stay


class Visible:
    """A text stream that shows control characters of data instead of obeying them.

    Characters that its encoding lacks are escaped, too (e.g. PYTHONIOENCODING=ascii).
    """

    def __init__(self, stream):
        self.stream = stream
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        return self.stream.write(text.translate(ESCAPES))

    def __getattr__(self, name: str):
        return getattr(self.stream, name)
