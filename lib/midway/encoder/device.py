"""Device, precision and threads of a job, and the cached output of the frozen layers."""

import hashlib
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from midway import kinds
from midway.encoder import weights
from midway.encoder.batches import evaluation_batches, width
from midway.encoder.heads import Model, pool
from midway.kinds.tokens import Features
from midway.study.errors import InputError

#: what the kept output of frozen layers comes from; a study's folder may outlive a version
CODE = [Path(__file__).with_name(f"{n}.py") for n in "device encoder architectures heads".split()]


@dataclass(frozen=True)
class Machine:
    """Device and precision of a job; ``level``: how reproducible a rerun is."""

    device: str
    precision: str
    threads: int
    eval_tokens: int
    level: str
    recompute: bool = False  # gradient checkpointing: less memory, a third more time

    def autocast(self):
        """Mixed precision for forward passes, or nothing in fp32."""
        if self.precision == "fp32":
            return nullcontext()
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        return torch.autocast(self.device, dtype=dtype)


def setup(compute) -> Machine:
    """Choose device and precision by capability, set threads, make torch deterministic.

    Raises InputError when a params file asks for what this machine does not have.
    """
    has_cuda = torch.cuda.is_available()
    if compute.device == "cuda" and not has_cuda:
        raise InputError("compute.device: cuda, but torch sees no GPU here; use cpu or auto")
    device = "cuda" if has_cuda and compute.device != "cpu" else "cpu"
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    best = "bf16" if fast else "fp32"
    precision = best if compute.precision == "auto" else compute.precision
    if precision == "fp16" and device == "cpu":
        raise InputError("compute.precision: fp16 needs a GPU; use bf16, fp32 or auto")
    level = "bitwise on this machine and thread count" if device == "cpu" else "seeded"
    torch.set_num_threads(compute.threads)
    if device == "cuda":  # CPU kernels are deterministic; this imports a second's worth
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        aids: Any = torch.utils.deterministic
        aids.fill_uninitialized_memory = False  # for debugging; 152 ms a step instead of 117
    settings = compute.threads, compute.eval_tokens, level, compute.gradient_checkpointing
    return Machine(device, precision, *settings)


class Inputs:
    """Features of one text set, ready for a model: padded tensors, with the trunk's output if kept.

    The lowest, frozen layers compute the same for every variant, so their output is computed once
    and kept on disk (float16, (all pieces, hidden)); a batch then starts above them.

    Examples
    --------
    >>> inputs = Inputs(features, run.model, run.machine, run.cache)  # doctest: +SKIP
    >>> inputs.tensors([0, 1])["ids"].shape  # (sequences, longest)  # doctest: +SKIP
    """

    def __init__(self, features: Features, model: Model, machine: Machine, cache: Path | None):
        self.features, self.model, self.machine, self.cache = features, model, machine, cache
        self.starts = np.concatenate([[0], np.cumsum(features.lengths)])
        self.trunk = self.pooled = None
        if cache is not None and model.options.frozen_layers and len(features.sequences):
            self.trunk, self.pooled = self._kept(cache)

    def _kept(self, cache: Path) -> tuple[np.ndarray, np.ndarray]:
        m, options = self.machine, self.model.options
        made_by = (m.device, m.precision, m.threads, m.eval_tokens, torch.__version__)
        parts = self.model.fingerprint, *made_by, options.frozen_layers, options.pooling
        code = (file.read_text("utf-8") for file in CODE)
        digest = hashlib.sha256(" ".join([*map(str, parts), *code]).encode())
        digest.update(np.concatenate(self.features.sequences).astype(np.int32).tobytes())
        digest.update(self.starts.tobytes())
        if self.features.types is not None:
            digest.update(np.concatenate(self.features.types).tobytes())
        cache.mkdir(parents=True, exist_ok=True)
        file, about = cache / f"{digest.hexdigest()[:32]}.trunk", {"of": digest.hexdigest()}
        with FileLock(f"{file}.lock"):
            try:
                kept, _ = weights.read_weights(file, about)
            except InputError:  # absent, damaged, or of other texts
                weights.save_weights(self._run_trunk(), file, about)
                kept, _ = weights.read_weights(file)
        return kept["trunk"].numpy(), kept["pooled"].numpy()

    @torch.inference_mode()
    def _run_trunk(self) -> dict[str, torch.Tensor]:
        frozen, size = self.model.options.frozen_layers, self.model.encoder.config.hidden_size
        trunk = np.empty((int(self.starts[-1]), size), np.float16)
        pooled = np.empty((len(self.features.sequences), frozen + 1, size), np.float16)
        self.model.eval()
        for chosen in evaluation_batches(self.features.lengths, self.machine.eval_tokens):
            batch = self.tensors(chosen)
            with self.machine.autocast():
                states = self.model.all_states(batch, last=frozen)
            for layer, hidden in enumerate(states):
                pooled[chosen, layer] = pool(
                    hidden.float(), batch["mask"], self.model.options.pooling
                ).cpu()
            top = states[-1].to(torch.float16).cpu().numpy()
            for row, s in enumerate(chosen):
                begin, end = self.starts[s], self.starts[s + 1]
                trunk[begin:end] = top[row, : end - begin]
        return {"trunk": torch.from_numpy(trunk), "pooled": torch.from_numpy(pooled)}

    def tensors(self, sequences) -> dict:
        """ids, mask, types and (where kept) trunk of these sequences, padded to one width."""
        f, device = self.features, self.model.device
        lengths = f.lengths[sequences]
        wide = width(int(lengths.max()), self.model.longest, device.type)
        mask = np.arange(wide) < lengths[:, None]

        def padded(arrays, value: int = 0) -> torch.Tensor:
            flat = np.concatenate(arrays)
            out = np.full((*mask.shape, *flat.shape[1:]), value, flat.dtype)
            out[mask] = flat
            return torch.from_numpy(out).to(device)

        batch = {"mask": torch.from_numpy(mask).to(device)}
        batch["ids"] = padded([f.sequences[s] for s in sequences], self.model.pad).long()
        if f.types is not None:
            batch["types"] = padded([f.types[s] for s in sequences]).long()
        if self.trunk is not None:
            parts = [self.trunk[self.starts[s] : self.starts[s + 1]] for s in sequences]
            batch["trunk"] = padded(parts).float()
        return batch

    def training(self, examples) -> dict:
        """A training batch of these examples: tensors and targets."""
        f, device = self.features, self.model.device
        kind = kinds.get(f.kind)
        groups = kind.groups(f, examples)
        sequences = np.concatenate([np.asarray(g, np.int64) for g in groups])
        batch = self.tensors(sequences)
        for name, value in kind.targets(f, examples, sequences, batch["mask"].shape[1]).items():
            batch[name] = torch.from_numpy(value).to(device)
        return batch
