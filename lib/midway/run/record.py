"""Record of a finished step: schema-checked JSON, written atomically.

A record is written last, so its presence means that everything it names is there. Times, cost and
environment are for the reader; :func:`content` is what later steps depend on.
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


def load(path: str | Path) -> StepRecord:
    """Read a step's record of any known schema version.

    Raises InputError when it is missing, torn, a score's, or newer than this program.

    Examples
    --------
    >>> from midway import load_record
    >>> load_record("outputs/mini/03_correlation/record.json").results  # doctest: +SKIP
    """
    return _load(path, StepRecord)


def load_score(path: str | Path) -> ScoreRecord:
    """Read a score's record, as :func:`load` a step's."""
    return _load(path, ScoreRecord)


def _load(path: str | Path, kind: Any) -> Any:
    path = Path(path)
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        version = tree["schema_version"]
    except FileNotFoundError:
        raise InputError(f"{path}: no such record (has the step run?)") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a whole record ({error}); run the step again") from None
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {version!r}; this midway reads 1 to {SCHEMA_VERSION}, "
            "so use the version that wrote it"
        )
    while version < SCHEMA_VERSION:
        tree = UPGRADES[version](tree)
        version = tree["schema_version"]
    if ("step" in tree) != (kind is StepRecord):
        raise InputError(f"{path}: another kind of record than a {kind.__name__}")
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
