"""A running step: a notebook opens it, writes scores with it and closes it with its record."""

import os
import resource
import time
from pathlib import Path

from midway.run import hashes
from midway.run.machine import cpu_seconds, environment, used
from midway.run.record import PENDING, RUNNER, Cost, ScoreRecord, StepRecord, load_score, now
from midway.run.steps import StepId
from midway.study.errors import InputError
from midway.study.files import digest, file_hash, plain, sha256


class Step:
    """A running step; made by :func:`begin`, closed by :meth:`finish`."""

    def __init__(self, out, sid, study, reads=None):
        self.out, self.sid, self.study = Path(out), sid, study
        self.out.mkdir(parents=True, exist_ok=True)
        self.started, self._wall, self._cpu = now(), time.monotonic(), cpu_seconds()
        self.params = hashes.relevant(study, sid)
        self.hashes = hashes.hashes(study, sid, self.out, reads=reads)
        self.key = digest(self.hashes)
        self.determinism = "seeded"
        self.environment = environment()
        self._scores: list[str] = []

    def score_key(self, target: str) -> str:
        """Key of one target's scores: like the step's, without the other targets of the part."""
        return hashes.score_key(self.study, self.sid, self.hashes, target)

    def scored(self, target: str, lang: str) -> ScoreRecord | None:
        """The score of an interrupted run, if everything that it depends on is the same."""
        path = self.out / "scores" / f"{target}.{lang}.json"
        try:
            found = load_score(path)
            whole = path.read_text(encoding="utf-8") == found.text()
            if whole and (name := found.predictions):
                whole = sha256(self.out / name) == found.predictions_sha256
        except (InputError, OSError):
            return None
        if not whole or found.missing or found.key != self.score_key(target):
            return None
        self._remember(found)
        return found

    def score(self, target: str, lang: str, *, predictions=None, **fields) -> ScoreRecord:
        """Write one target's and language's scores now; fields as in :class:`ScoreRecord`."""
        if predictions is not None:
            path = _below(self.out, predictions)
            fields["predictions"] = path.relative_to(os.path.abspath(self.out)).as_posix()
            fields["predictions_sha256"] = sha256(path)
        record = ScoreRecord(target=target, lang=lang, key=self.score_key(target), **plain(fields))
        record.write(self.out / "scores" / f"{target}.{lang}.json")
        self._remember(record)
        return record

    def _remember(self, record: ScoreRecord) -> None:
        self._scores.append(f"scores/{record.target}.{record.lang}.json")
        if record.predictions:
            self._scores.append(record.predictions)

    def keep(self, path: Path) -> None:
        """Add another file to the record, e.g. facts of a model that targets share."""
        self._scores.append(Path(path).relative_to(self.out).as_posix())

    def finish(self, results: dict, files=(), tokens: int | None = None) -> Path:
        """Hash ``files`` (paths below the step's folder; folders are walked) and write the record.

        Returns the record's path: record.json or, under the runner, the pending one that becomes
        record.json when the notebook has ended well.
        """
        wall, cpu = time.monotonic() - self._wall, cpu_seconds() - self._cpu
        record = StepRecord(
            **vars(self.sid),
            study=self.study.study,
            started=self.started,
            finished=now(),
            params=self.params,
            hashes=self.hashes,
            key=self.key,
            results=plain(results),
            files=hash_files(self.out, [*files, *self._scores]),
            determinism=self.determinism,
            environment=self.environment | used(),
            cost=Cost(
                wall_s=round(wall, 3),
                cpu_s=round(cpu, 3),
                tokens=tokens,
                tokens_per_s=round(tokens / wall, 1) if tokens else None,
                peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            ),
        )
        name = PENDING if os.environ.get(RUNNER) else "record.json"
        return record.write(self.out / name)


def begin(out, step: str, study, variant=None, seed=None, part=None, reads=None) -> Step:
    """Start measuring a step whose products go to the folder ``out``.

    Parameters
    ----------
    step : str
        The notebook's name, e.g. 01_intermediate.
    study : params.Study
    variant, seed, part : str, int, str, optional
        Which job of the step, as in :class:`steps.StepId`.
    reads : Path, optional
        The folder of the study that the step reads, where ``out`` is not below it.

    Raises InputError where a record that the step reads is missing.

    Examples
    --------
    >>> step = begin(out, "01_intermediate", study, "mnli", seed=1)  # doctest: +SKIP
    >>> step.finish({"task": "mnli"}, files=["encoder.safetensors"])  # doctest: +SKIP
    """
    return Step(out, StepId(step, variant, seed, part), study, reads)


def _below(folder: Path, name) -> Path:
    """Path of a product, in the step's folder or as given; InputError if it does not exist.

    Products of the report, which is one page for the whole study, lie beside the steps.
    """
    folder = Path(os.path.abspath(folder))
    wide = folder.parent if folder.name.startswith("05_") else folder
    for path in (folder / name, Path(name)):
        path = Path(os.path.abspath(path))
        if path.exists() and path.is_relative_to(wide):
            return path
    raise InputError(f"{name}: named as a product of the step but not in {folder}")


def hash_files(folder: Path, files) -> dict[str, str]:
    """Paths below ``folder`` -> hash; folders are walked."""
    named = [_below(folder, name) for name in files]
    found = {f for p in named for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()}
    here = os.path.abspath(folder)
    return {Path(os.path.relpath(f, here)).as_posix(): file_hash(f) for f in sorted(found)}
