"""The two ways in which input can be wrong."""


class InputError(Exception):
    """The user's input cannot be used: one line that names the key or file and what to do."""


class MissingData(InputError):
    """One language or split of a task is absent or broken; the others go on without it."""

    def __init__(self, task: str, lang: str, split: str, reason: str, where: str = ""):
        self.task, self.lang, self.split, self.reason, self.where = task, lang, split, reason, where
        hint = f" (get it: {where})" if where else ""
        super().__init__(f"{task} {split} {lang}: {reason}{hint}")
