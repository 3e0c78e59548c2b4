"""Settings of a study: one frozen, strict schema for YAML, CLI and notebooks.

Every refusal is an :class:`InputError`: one line that names the key, what was found and what is
allowed. Nothing heavy is imported here, so a bad file is refused in well under a second.

Examples
--------
>>> from midway import params, root
>>> study = params.load(root() / "params/smoke.yaml", {"seeds": [1, 2]})
>>> study.seeds, study.transfer.targets, study.training("transfer", "xnli").length(160)
([1, 2], ['xnli', 'xquad', 'tatoeba'], 10)
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from midway.study import tasks, yamlfile
from midway.study.errors import InputError
from midway.study.files import root
from midway.study.refusals import agree, change, explain
from midway.study.variants import at_dose, near, once, split_dose, split_variant

Phase = Literal["intermediate", "transfer"]


class Strict(BaseModel):
    """Unknown keys and wrong types are errors; values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Encoder(Strict):
    """The pretrained encoder: source, layers, frozen parts, pooling."""

    kind: Literal["packaged", "hub", "path"] = "packaged"  # where the encoder comes from
    name: str | None = None  # hub id, e.g. xlm-roberta-large
    revision: str | None = None  # hub: full commit, so that a study stays the same
    path: str | None = None  # folder with config.json, model.safetensors, tokenizer.json
    layers: int | None = Field(None, ge=1)  # keep the lowest N layers; None keeps all
    frozen_layers: int = Field(0, ge=0)  # lowest layers that are never trained
    frozen_embeddings: bool = False  # embeddings are never trained
    retrieval_layer: int | None = Field(None, ge=1)  # hidden_states index; None is the last kept
    pooling: Literal["mean", "cls"] = "mean"  # of sentence vectors (retrieval, probes)
    head_pooling: Literal["mean", "cls"] = "mean"  # under classification heads
    aggregation: Literal["last", "attention"] = "last"  # attention over layers: 2205.08497
    dropout: float | None = Field(None, ge=0, lt=1)  # None keeps the model's own

    @model_validator(mode="after")
    def _coherent(self):
        for kind, key in (("hub", "name"), ("path", "path")):
            if self.kind == kind and not getattr(self, key):
                raise ValueError(f"encoder.{key} is needed when encoder.kind is {kind}")
            if self.kind != kind and getattr(self, key):
                raise ValueError(f"encoder.{key} is only for encoder.kind: {kind}")
        if self.kind == "hub" and not re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            raise ValueError(
                f"encoder.revision is {self.revision!r}, not a commit; give the 40 hexadecimal "
                f"digits of a commit of {self.name} on the hub, which never changes"
            )
        if self.layers is not None and self.frozen_layers > self.layers:
            raise ValueError("encoder.frozen_layers must not exceed encoder.layers")
        if self.frozen_layers and not self.frozen_embeddings:
            raise ValueError("encoder.frozen_layers needs encoder.frozen_embeddings: true")
        if self.layers and self.retrieval_layer and self.retrieval_layer > self.layers:
            raise ValueError("encoder.retrieval_layer must not exceed encoder.layers")
        return self

    @property
    def folder(self) -> Path:
        """The folder of ``path``; a relative one starts at the project's root."""
        return root() / Path(self.path or "").expanduser()

    @property
    def place(self) -> tuple[str, str]:
        """Repository and commit on the hub."""
        return str(self.name), str(self.revision)


class Data(Strict):
    """Source and size of the data: the miniature, official files, or the hub."""

    source: Literal["mini", "local", "hub"] = "mini"  # where rows come from
    root: str | None = None  # local: the folder that holds the tasks' official files
    seed: int = Field(0, ge=0)  # mini: which microworld; others: which training subset
    dev_size: int | None = Field(None, ge=2)  # rows per task and language; None takes all
    test_size: int | None = Field(None, ge=2)  # the same for test rows

    @model_validator(mode="after")
    def _coherent(self):
        if self.source == "local" and not self.root:
            raise ValueError("data.root is needed when data.source is local")
        return self

    @property
    def folder(self) -> Path:
        """The folder of ``root``; a relative one starts at the project's root."""
        return root() / Path(self.root or "").expanduser()


class Training(Strict):
    """One phase of fine-tuning. Exactly one of steps and epochs decides its length."""

    train_size: int | None = Field(None, ge=2)  # training examples; None takes all
    steps: int | None = Field(None, ge=1)  # optimiser steps
    epochs: float | None = Field(None, gt=0)  # passes over the training rows
    batch_size: int = Field(16, ge=1)  # examples per optimiser step
    accumulation: int = Field(1, ge=1)  # micro-batches per optimiser step
    lr: float = Field(1e-5, gt=0, le=1)  # learning rate at its highest
    head_lr: float | None = Field(None, gt=0, le=1)  # None: the same as lr
    warmup: float = Field(0.1, ge=0, lt=1)  # share of the steps
    decay: float = Field(1.0, ge=0, le=1)  # share of the steps over which lr falls to 0 at the end
    weight_decay: float = Field(0.0, ge=0, le=1)  # of AdamW; not on biases and norms
    max_grad_norm: float = Field(1.0, gt=0)  # gradients are scaled down to this norm
    selections: int = Field(0, ge=0, le=100)  # looks at English dev; the best one is kept; 0: last
    max_length: int = Field(128, ge=8)  # pieces per example, pair included
    stride: int = Field(64, ge=0)  # overlap of windows over long contexts

    def length(self, examples: int) -> int:
        """Optimiser steps: as set, or of the epochs over so many examples."""
        return self.steps or max(1, round((self.epochs or 0) * examples / self.batch_size))


class Override(Strict):
    """Settings of :class:`Training` for one task; what is left out is inherited."""

    train_size: int | None = Field(None, ge=2)
    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)
    batch_size: int | None = Field(None, ge=1)
    accumulation: int | None = Field(None, ge=1)
    lr: float | None = Field(None, gt=0, le=1)
    max_length: int | None = Field(None, ge=8)
    stride: int | None = Field(None, ge=0)


class Intermediate(Training):
    """English intermediate training and the measurements during it."""

    variants: list[str] = ["none", "mnli", "squad1"]  # tasks, none, multi; with suffixes
    checkpoints: int = Field(5, ge=1, le=100)  # points of training at which metrics are taken
    doses: list[float] = [1.0]  # shares of training whose encoders are kept and carried to 02
    dosed: list[str] = []  # variants with doses below 1; [] is all but none
    eval_size: int = Field(200, ge=2)  # development examples per measurement
    probe_size: int = Field(200, ge=2)  # sentence pairs per probe
    probe_languages: list[str] = []  # of cosine gap and P@1; [] is all of XNLI's
    multi_cap: int = Field(2**17, ge=1)  # K of r_m = min(e_m, K) / sum min(e, K)
    mlm_alpha: float = Field(0.3, ge=0, le=1)  # language sampling of continued MLM
    mlm_share: float = Field(0.5, gt=0, lt=1)  # weight of the MLM loss in +mlm variants
    translated_languages: list[str] = []  # of +translated variants; [] is every language there is
    tasks: dict[str, Override] = {}  # settings of single tasks

    @field_validator("variants")
    @classmethod
    def _variants(cls, names):
        if not names:
            raise ValueError("at least one variant is needed")
        for name in names:
            split_variant(name)
        return once(names, "variant")

    @field_validator("doses")
    @classmethod
    def _doses(cls, doses):
        if not doses or sorted(set(doses)) != doses or doses[0] <= 0 or doses[-1] != 1:
            raise ValueError("give increasing shares of training above 0, the last one 1.0")
        return doses


class Transfer(Training):
    """Fine-tuning on the target's English data, evaluation in its languages."""

    targets: list[str] = list(tasks.TARGETS)  # in which to fine-tune and test
    dose_targets: list[str] = []  # targets of doses below 1; [] is all
    languages: dict[str, list[str]] = {}  # per target; a target left out takes all there are
    targets_per_job: int = Field(9, ge=1)  # how many one step of 02 works on
    layer_sweep: bool = True  # retrieval scores of every layer beside the chosen one
    direction: Literal["from_english", "to_english", "both"] = "from_english"  # jiant's default
    mining_neighbours: int = Field(4, ge=1)  # k of the margin score of BUCC
    controls: bool = True  # majority, bag of words, hypothesis-only, question-blind, random
    tasks: dict[str, Override] = {}  # settings of single tasks

    @field_validator("targets", "dose_targets")
    @classmethod
    def _targets(cls, names, info):
        if not names and info.field_name == "targets":
            raise ValueError("at least one target is needed")
        for name in names:
            near(name, tasks.TARGETS, "target")
        return [n for n in tasks.TARGETS if n in once(names, "target")]  # in XTREME's order


class Correlation(Strict):
    """How predictors are related to outcomes."""

    predictors: list[str] = []  # [] is all that were measured
    primary: list[list[str]] = []  # [predictor, outcome] pairs named before training
    outcome: Literal["gain", "score"] = "gain"  # gain over none, or the score itself
    permutations: int = Field(100_000, ge=999)  # random orders behind p values
    resamples: int = Field(9999, ge=99)  # bootstrap samples behind intervals
    alpha: float = Field(0.05, gt=0, lt=1)  # family-wise error rate; 1 - alpha intervals


class Compute(Strict):
    """Device, precision, threads, batches and checkpoints."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU if there is one
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # of arithmetic
    threads: int = Field(1, ge=1, le=256)  # per process
    eval_tokens: int = Field(4096, ge=64)  # padded tokens per evaluation batch
    gradient_checkpointing: bool = False  # less memory, more time
    cache_trunk: bool = True  # compute frozen layers once for all variants
    save_every: int = Field(0, ge=0)  # optimiser steps between resumable checkpoints; 0 is none
    mining_memory_mb: int = Field(512, ge=16)  # held by a search beside the vectors


class Study(Strict):
    """One study: everything that decides its numbers."""

    study: str  # name of the study and of its folder in outputs/
    seeds: list[int] = [1]  # each step runs once for each seed
    encoder: Encoder = Encoder()
    data: Data = Data()
    intermediate: Intermediate = Intermediate()
    transfer: Transfer = Transfer()
    correlation: Correlation = Correlation()
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _coherent(self):
        agree(self)
        return self

    def fold(self) -> dict:
        """The study as plain Python values, defaults included."""
        return self.model_dump(mode="json")

    def training(self, phase: Phase, task: str) -> Training:
        """Settings of one phase with the overrides of one task applied."""
        part = getattr(self, phase)
        base = {k: getattr(part, k) for k in Training.model_fields}
        own = part.tasks[task].model_dump(exclude_none=True) if task in part.tasks else {}
        if own.keys() & {"steps", "epochs"}:
            base |= {"steps": None, "epochs": None}
        return Training(**base | own)

    def doses(self, variant: str) -> list[float]:
        """Shares of a variant's training at which it is transferred; the last is 1."""
        own = variant.split("+")[0] != "none"
        if own and (not self.intermediate.dosed or variant in self.intermediate.dosed):
            return list(self.intermediate.doses)
        return [1.0]

    def carried(self) -> list[str]:
        """Variants of 02: each of 01's and, as mnli@0.5, its doses below 1."""
        return [at_dose(v, d) for v in self.intermediate.variants for d in reversed(self.doses(v))]

    def parts(self, variant: str = "") -> dict[str, list[str]]:
        """Targets in chunks of ``targets_per_job``; those that share a model stay together.

        ``variant``: of 02; a dose below 1 leaves targets out that are not in ``dose_targets``.
        """
        some = self.transfer.dose_targets if split_dose(variant)[1] < 1 else []
        chunks: list[list[str]] = []
        homes: dict[str, list[str]] = {}  # train_key -> its chunk
        for name in self.transfer.targets:
            key = tasks.TARGETS[name].train_key
            if key not in homes:
                if not chunks or len(chunks[-1]) >= self.transfer.targets_per_job:
                    chunks.append([])
                homes[key] = chunks[-1]
            homes[key].append(name)
        kept = [[name for name in chunk if not some or name in some] for chunk in chunks]
        return {f"part{i}": names for i, names in enumerate(kept, 1) if names}


def load(path: str | Path, changes: dict[str, object] | None = None) -> Study:
    """Read a params file, apply dotted ``changes`` and check everything.

    Raises InputError, in one line, for a missing or unreadable file, an unknown or mistyped key
    (with the nearest one), a wrong type, a value out of range, an unknown task or language.
    """
    tree = yamlfile.read(Path(path))
    for key, value in (changes or {}).items():
        change(tree, key, value)
    try:
        return Study(**{str(k): v for k, v in tree.items()})
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Study)}") from None
