"""What a finished step leaves behind: one schema-checked JSON record, written whole or not at all.

A record is written last, so its presence means that everything it names is there. Times, cost and
environment are for the reader; :func:`content` is what later steps depend on.
"""

import json
import os
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from midway.evaluation.metrics import METRIC_VERSION
from midway.run.machine import cpu_seconds, environment, hub_files, torch_state
from midway.study.errors import InputError
from midway.study.files import (
    digest,
    file_hash,
    plain,
    sha256,
    write_atomic,
)

SCHEMA_VERSION = 1
RUNNER = "MIDWAY_RUNNER"  # environment variable of kernels that a run has started
PENDING = "record.pending.json"  # under the runner: renamed when the notebook has ended well
UPGRADES: dict[int, Any] = {}  # schema version -> function(dict) -> dict of the next version


class Record(BaseModel):
    """Common to all records; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: int = Field(SCHEMA_VERSION, description="layout of this file")
    metric_version: int = Field(METRIC_VERSION, description="definition of the scores")
    sha256: str = Field("", description="of this record with an empty sha256")

    def text(self) -> str:
        """The record as it stands in its file, self-hash included."""
        tree = plain(self.model_dump()) | {"sha256": ""}
        tree["sha256"] = digest(tree)
        return json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, path: str | Path) -> Path:
        """Write whole or not at all; returns the path."""
        return write_atomic(path, self.text())


class Cost(BaseModel):
    """What a step took."""

    wall_s: float = Field(description="seconds from begin to finish")
    cpu_s: float = Field(description="seconds of all cores, children included")
    tokens: int | None = Field(None, description="pieces seen in training, padding left out")
    tokens_per_s: float | None = None
    peak_rss_mb: float = Field(description="largest resident memory of the kernel")


class StepRecord(Record):
    """One executed notebook: `record.json` in the step's folder."""

    step: str = Field(description="notebook, e.g. 01_intermediate")
    study: str
    variant: str | None = None
    seed: int | None = None
    part: str | None = None
    state: Literal["done"] = "done"
    started: str = Field(description="ISO 8601, UTC")
    finished: str
    params: dict[str, Any] = Field(description="the settings that this step depends on")
    hashes: dict[str, Any] = Field(description="params lib notebook encoder data upstream")
    key: str = Field(description="sha256 of hashes")
    results: dict[str, Any] = Field(description="by step, see docs/records.md")
    files: dict[str, str] = Field(description="path below the step's folder -> sha256")
    determinism: str = Field("seeded", description="none, seeded or full")
    environment: dict[str, Any] = Field(description="python, packages, commit, hardware")
    cost: Cost


class ScoreRecord(Record):
    """One target and language: `scores/<target>.<lang>.json`, written as soon as it is known."""

    target: str
    lang: str
    split: str = "test"
    n: int = Field(0, description="examples scored")
    metrics: dict[str, float | None] = Field({}, description="percent; empty when missing")
    main: str | None = Field(None, description="name of the main metric")
    controls: dict[str, dict[str, float | None]] = {}
    missing: str | None = Field(
        None, description="why there is no score, and where to get the data"
    )
    predictions: str | None = Field(None, description="path below the step's folder")
    predictions_sha256: str | None = None
    key: str = Field("", description="sha256 of what this score depends on")
    extra: dict[str, Any] = Field({}, description="e.g. scores of every layer")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def load(path: str | Path) -> StepRecord | ScoreRecord:
    """Read a record of any known schema version.

    Raises InputError when it is missing, torn, changed by hand, or newer than this program.
    """
    path = Path(path)
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        version = tree["schema_version"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such record (has the step run?)") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a whole record ({error}); run the step again") from None
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {version!r}; this midway reads 1 to {SCHEMA_VERSION}, "
            "so use the version that wrote it"
        )
    while version < SCHEMA_VERSION:
        tree = UPGRADES[version](tree)
        version = tree["schema_version"]
    try:
        return (StepRecord if "step" in tree else ScoreRecord)(**tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg']}; run the step again") from None


def content(record: StepRecord) -> str:
    """Hash of what later steps use: results and files, not times, cost or the executed notebook."""
    files = {k: v for k, v in record.files.items() if not k.endswith(".ipynb")}
    return digest({"results": record.results, "files": files})


class Step:
    """A running step; made by :func:`begin`, closed by :meth:`finish`."""

    def __init__(self, out, sid, study, reads=None):
        from midway.run import hashes as provenance

        self.out, self.sid, self.study = Path(out), sid, study
        self.out.mkdir(parents=True, exist_ok=True)
        self.started, self._wall, self._cpu = now(), time.monotonic(), cpu_seconds()
        self.params = provenance.relevant(study, sid)
        self.hashes = provenance.hashes(study, sid, self.out, reads=reads)
        self.key = digest(self.hashes)
        self.determinism = "seeded"
        self.environment = environment()
        self._scores: list[str] = []

    def score_key(self, target: str) -> str:
        """Key of one target's scores: like the step's, without the other targets of the part."""
        from midway.run import hashes as provenance

        return provenance.score_key(self.study, self.sid, self.hashes, target)

    def scored(self, target: str, lang: str) -> ScoreRecord | None:
        """The score that an earlier, cut-off run left here, if all it depends on is the same."""
        path = self.out / "scores" / f"{target}.{lang}.json"
        try:
            found = load(path)
            kept = found.predictions is None or (
                sha256(self.out / found.predictions) == found.predictions_sha256
            )
            whole = path.read_text(encoding="utf-8") == found.text()
        except (InputError, OSError):
            return None
        if not (whole and kept and found.key == self.score_key(target) and not found.missing):
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
        """Name a file in the record that is no score, e.g. facts of a model that targets share."""
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
            environment=self.environment | torch_state() | hub_files(),
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

    ``study`` is a ``params.Study``; ``step`` the notebook's name, e.g. 01_intermediate;
    ``reads`` the folder of the study that the step reads, where ``out`` is not below it.
    """
    from midway.run.steps import StepId

    return Step(out, StepId(step, variant, seed, part), study, reads)


def _below(folder: Path, name) -> Path:
    """A product's path, given below the step's folder or as it stands; InputError if it is not.

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
