"""Weights on disk: trained weights of a variant, the best so far, and resumable checkpoints."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import xxhash
from safetensors import safe_open
from safetensors.torch import save_file

from midway.study.errors import InputError, one_line
from midway.study.files import UMASK


def trained(model) -> dict[str, torch.Tensor]:
    """Copies, on the processor, of the tensors that training changes."""
    kept = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
    return {n: p.detach().to("cpu", copy=True) for n, p in kept}  # a GPU has no room for several


def restore(model, kept: dict[str, torch.Tensor]) -> None:
    """Put tensors of :func:`trained` back into a model that has them."""
    if unknown := model.load_state_dict(kept, strict=False).unexpected_keys:
        raise KeyError(f"the model has no {unknown[0]}")  # it would stay as it is, in silence


def save_weights(tensors: dict, path: Path, meta: dict) -> None:
    """Safetensors with metadata (JSON values) and a checksum, written atomically."""
    part = path.with_name(path.name + ".part")
    tensors = {n: t.contiguous() for n, t in tensors.items()}
    # one key: safetensors writes several in any order, and equal weights must be equal files
    kept = {"meta": meta, "checksum": _checksum(tensors, meta)}
    save_file(tensors, part, metadata={"midway": json.dumps(kept, sort_keys=True)})
    with open(part, "rb") as handle:
        os.fchmod(handle.fileno(), 0o666 & ~UMASK)  # safetensors' is 600
        os.fsync(handle.fileno())
    os.replace(part, path)


def _checksum(tensors: dict, meta: dict) -> str:
    digest = xxhash.xxh3_128(json.dumps(meta, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read_weights(path: Path, made_as: dict | None = None) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and metadata of :func:`save_weights`; InputError when they are not what it wrote.

    made_as: the metadata that they must have (encoder and variant).
    """
    try:
        with safe_open(path, "pt") as file:
            kept = json.loads((file.metadata() or {})["midway"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta = kept["meta"]
        whole = kept["checksum"] == _checksum(tensors, meta)
    except Exception as error:
        raise InputError(f"{path}: unreadable ({one_line(error)}); run its step again") from None
    if not whole:
        raise InputError(f"{path}: damaged; delete it and run its step again")
    if made_as and meta != made_as:
        raise InputError(f"{path}: weights of {meta}, not of {made_as}; run its step again")
    return tensors, meta


class Best:
    """The weights with the best development score so far; they are part of each state."""

    def __init__(self, model):
        self.model, self.weights = model, {}
        self.step: int | None = None
        self.value = -np.inf

    def look(self, step: int, value: float) -> None:
        """Keep the current weights if they are the best so far."""
        if value > self.value:
            self.step, self.value, self.weights = step, float(value), trained(self.model)

    def restore(self) -> int | None:
        """Go back to the best weights; returns their step."""
        restore(self.model, self.weights)
        return self.step


@dataclass
class States:
    """Resumable states of a training: a safetensors file each (no pickle), the newest two.

    A state has weights, optimiser, random state, and ``log`` (JSON values) and ``best``. Nothing is
    saved where ``every``, the number of steps between states, is 0. ``key``: hash of everything
    that the training depends on; a state with another key is removed.
    """

    folder: Path
    every: int
    key: str = ""
    best: Best | None = None
    log: list = field(default_factory=list)

    def save(self, step: int, model, optimiser, result) -> None:
        """Save the state after this many steps."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model/{n}": t for n, t in trained(model).items()}
        for i, p in enumerate(p for g in optimiser.param_groups for p in g["params"]):
            tensors |= {f"optimiser/{i}/{n}": t for n, t in optimiser.state[p].items()}
        tensors["rng"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng_cuda"] = torch.cuda.get_rng_state()
        meta = {"step": step, "losses": result.losses, "tokens": result.tokens}
        meta |= {"log": self.log, "key": self.key, "scale": result.scale}
        if self.best and self.best.weights:
            tensors |= {f"best/{n}": t for n, t in self.best.weights.items()}
            meta["best"] = self.best.step, self.best.value
        tensors = {n: t.cpu() for n, t in tensors.items()}
        save_weights(tensors, self.folder / f"step{step:08d}.safetensors", meta)
        for old in sorted(self.folder.glob("step*.safetensors"))[:-2]:
            old.unlink()

    def resume(self, model, optimiser, result) -> int:
        """Load the newest state and return its step; a damaged one is named and passed over."""
        for file in sorted(self.folder.glob("step*.safetensors"), reverse=True):
            try:
                tensors, meta = read_weights(file)
            except InputError as error:
                print(f"ignoring the damaged training state {file.name}: {error}", flush=True)
                continue
            if meta.get("key") != self.key:
                file.unlink()
                continue
            restore(model, {n[6:]: t for n, t in tensors.items() if n.startswith("model/")})
            for i, p in enumerate(p for g in optimiser.param_groups for p in g["params"]):
                names = [n for n in tensors if n.startswith(f"optimiser/{i}/")]
                optimiser.state[p] = {n.rsplit("/", 1)[1]: tensors[n].to(p.device) for n in names}
            torch.set_rng_state(tensors["rng"])
            if "rng_cuda" in tensors and torch.cuda.is_available():
                torch.cuda.set_rng_state(tensors["rng_cuda"])
            result.losses, result.tokens = meta["losses"], meta["tokens"]
            result.scale, self.log[:] = meta["scale"], meta["log"]
            if self.best and "best" in meta:
                self.best.step, self.best.value = meta["best"]
                self.best.weights = {n[5:]: t for n, t in tensors.items() if n.startswith("best/")}
            return meta["step"]
        return 0
