"""Record of a finished step: schema-checked JSON, written atomically.

A record is written last: if it exists, everything that it names exists. Times, cost and environment
are information for the reader; later steps depend on :func:`content` only.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from midway.evaluation.metrics import METRIC_VERSION
from midway.study.errors import InputError
from midway.study.files import digest, plain, write_atomic

SCHEMA_VERSION = 1
RUNNER = "MIDWAY_RUNNER"  # environment variable of kernels that a run has started
BY_HAND = "MIDWAY_BY_HAND"  # the same, but nothing runs that would replace stale records
PENDING = "record.pending.json"  # under the runner: renamed when the notebook has ended well
UPGRADES: dict[int, Any] = {}  # schema version -> function(dict) -> dict of the next version


class Record(BaseModel):
    """Common to all records; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: int = Field(SCHEMA_VERSION, description="version of the layout of this file")
    metric_version: int = Field(
        METRIC_VERSION, description="version of the definition of the scores"
    )
    sha256: str = Field("", description="hash of this record with an empty sha256")

    def text(self) -> str:
        """The record as JSON, with its own hash: the content of its file."""
        tree = plain(self.model_dump()) | {"sha256": ""}
        tree["sha256"] = digest(tree)
        return json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, path: str | Path) -> Path:
        """Write the file atomically; returns the path."""
        return write_atomic(path, self.text())


class Cost(BaseModel):
    """Time and memory that a step used."""

    wall_s: float = Field(description="seconds from started to finished")
    cpu_s: float = Field(description="processor seconds, all cores and child processes")
    tokens: int | None = Field(None, description="subword pieces in training, without padding")
    tokens_per_s: float | None = Field(None, description="tokens / wall_s")
    peak_rss_mb: float = Field(description="largest memory of the kernel, in MB")


class StepRecord(Record):
    """One executed notebook: `record.json` in the step's folder."""

    step: str = Field(description="name of the notebook, e.g. 01_intermediate")
    study: str = Field(description="name of the study")
    variant: str | None = Field(None, description="variant of 01 and 02, e.g. mnli or mnli@0.33")
    seed: int | None = Field(None, description="seed of 01 and 02")
    part: str | None = Field(None, description="group of targets of 02, e.g. part1")
    state: Literal["done"] = Field("done", description="always done: only such steps have a record")
    started: str = Field(description="time when the notebook began, ISO 8601, UTC")
    finished: str = Field(description="time when this record was written, ISO 8601, UTC")
    params: dict[str, Any] = Field(description="the settings that this step depends on")
    hashes: dict[str, Any] = Field(description="what the step depends on: see above")
    key: str = Field(description="hash of hashes")
    results: dict[str, Any] = Field(description="the numbers of the step: see above")
    files: dict[str, str] = Field(description="path in the step's folder -> sha256")
    determinism: str = Field("seeded", description="seeded: the seed fixes all random choices")
    environment: dict[str, Any] = Field(description="python, packages, commit, hardware")
    cost: Cost = Field(description="time and memory, see below")


class ScoreRecord(Record):
    """One target and language: `scores/<target>.<lang>.json`, written as soon as it is known."""

    target: str = Field(description="name of the target task")
    lang: str = Field(description="language code")
    split: str = Field("test", description="split that is scored")
    n: int = Field(0, description="number of examples scored")
    metrics: dict[str, float | None] = Field({}, description="scores in percent, {} if missing")
    main: str | None = Field(None, description="name of the main metric")
    controls: dict[str, dict[str, float | None]] = Field({}, description="control -> its scores")
    missing: str | None = Field(None, description="why there is no score; where to get the data")
    predictions: str | None = Field(None, description="path in the step's folder")
    predictions_sha256: str | None = Field(None, description="hash of that file")
    key: str = Field("", description="hash of everything that this score depends on")
    extra: dict[str, Any] = Field({}, description="e.g. scores of every layer")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def load(path: str | Path) -> StepRecord:
    """Read a step's record of any known schema version.

    Raises InputError if the record is missing or incomplete, is that of a score, or is of a newer
    schema version than this program reads.

    Examples
    --------
    >>> from midway import load_record
    >>> load_record("outputs/mini/03_correlation/record.json").results  # doctest: +SKIP
    """
    return _load(path, StepRecord)


def load_score(path: str | Path) -> ScoreRecord:
    """Read the record of a score; see :func:`load`."""
    return _load(path, ScoreRecord)


def _load(path: str | Path, kind: Any) -> Any:
    path = Path(path)
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        version = tree["schema_version"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such record (has the step run?)") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: incomplete or damaged ({error}); run the step again") from None
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {version!r}; this midway reads 1 to {SCHEMA_VERSION}, "
            "so use the version that wrote it"
        )
    while version < SCHEMA_VERSION:
        tree = UPGRADES[version](tree)
        version = tree["schema_version"]
    if ("step" in tree) != (kind is StepRecord):
        raise InputError(f"{path}: not a {kind.__name__}")
    try:
        return kind(**tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg']}; run the step again") from None


def content(record: StepRecord) -> str:
    """Hash of what later steps use: results and files, not times, cost or the executed notebook."""
    files = {k: v for k, v in record.files.items() if not k.endswith(".ipynb")}
    return digest({"results": record.results, "files": files})
