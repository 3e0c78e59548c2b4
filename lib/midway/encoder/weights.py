"""Weights on disk: trained weights of a variant, the best so far, and resumable checkpoints."""

import json
import os
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
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in kept.items():
            own[name].copy_(tensor)


def save_weights(tensors: dict, path: Path, meta: dict[str, str] | None = None) -> None:
    """Safetensors with a checksum in their metadata, written atomically."""
    part = path.with_name(path.name + ".part")
    meta, tensors = meta or {}, {n: t.contiguous() for n, t in tensors.items()}
    # one key: safetensors writes several in any order, and equal weights must be equal files
    kept = {"meta": meta, "checksum": _checksum(tensors, meta)}
    save_file(tensors, part, metadata={"midway": json.dumps(kept, sort_keys=True)})
    with open(part, "rb") as handle:
        os.fchmod(handle.fileno(), 0o666 & ~UMASK)  # safetensors' is 600
        os.fsync(handle.fileno())
    os.replace(part, path)


def _checksum(tensors: dict, meta: dict[str, str]) -> str:
    digest = xxhash.xxh3_128(json.dumps(meta, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read_weights(
    path: Path, made_as: dict | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of :func:`save_weights`; InputError when they are not what it wrote.

    made_as: the encoder and the variant that they must be of.
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
    if made_as and (found := json.loads(meta.get("midway", "{}"))) != made_as:
        raise InputError(f"{path}: weights of {found}, not of {made_as}; run its step again")
    return tensors, meta


def _best(log: list | None) -> dict:
    """The newest entry of a :class:`Best`."""
    found = [entry for entry in log or [] if "value" in entry]
    return found[-1] if found else {"step": None, "value": -np.inf}


def _best_file(folder: Path, step: int) -> Path:
    return folder / f"best{step:08d}.safetensors"


class Best:
    """The weights with the best development score so far; a resumed run has them, too.

    ``log`` is the list that :func:`training.fit` keeps in its states; ``folder`` holds the
    weights beside them (None when there are no states).
    """

    def __init__(self, model, log: list, folder: Path | None):
        self.model, self.log, self.folder = model, log, folder
        self.weights: dict | None = None

    def look(self, step: int, value: float) -> None:
        """Keep the current weights if they are the best so far."""
        if not value > _best(self.log)["value"]:
            return
        self.log.append({"step": step, "value": float(value)})
        self.weights = trained(self.model)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.weights, _best_file(self.folder, step))
        states = sorted(self.folder.glob("step*.safetensors"))
        oldest = int(states[0].stem[4:]) if states else step
        kept = sorted(self.folder.glob("best*.safetensors"))
        for older, newer in zip(kept, kept[1:], strict=False):
            if int(newer.stem[4:]) <= oldest:  # no state needs it any more
                older.unlink()

    def restore(self) -> int | None:
        """Go back to the best weights; returns their step."""
        step = _best(self.log)["step"]
        if self.weights is not None:
            restore(self.model, self.weights)
        elif step is not None and self.folder is not None:
            restore(self.model, read_weights(_best_file(self.folder, step))[0])
        return step


def save_state(folder: Path, step: int, model, optimiser, result, log, key: str) -> None:
    """Save a resumable checkpoint as one safetensors file (no pickle); the newest two are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model/{n}": t for n, t in trained(model).items()}
    for i, p in enumerate(p for g in optimiser.param_groups for p in g["params"]):
        for name, value in optimiser.state[p].items():
            tensors[f"optimiser/{i}/{name}"] = value.detach().clone()
    tensors["rng"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng_cuda"] = torch.cuda.get_rng_state()
    meta = {"step": step, "losses": result.losses, "tokens": result.tokens}
    meta |= {"log": log, "key": key, "scale": result.scale}
    tensors = {n: t.cpu() for n, t in tensors.items()}
    save_weights(tensors, folder / f"step{step:08d}.safetensors", {"midway": json.dumps(meta)})
    for old in sorted(folder.glob("step*.safetensors"))[:-2]:
        old.unlink()


def resume(folder: Path, model, optimiser, result, log: list | None = None, key: str = "") -> int:
    """Load the newest complete state; a damaged one is named, and an older one is tried.

    A state of other settings, data or code (another ``key``) is removed.
    """
    for file in sorted(folder.glob("step*.safetensors"), reverse=True):
        try:
            tensors, meta = read_weights(file)
            meta = json.loads(meta["midway"])
            if meta.get("key") != key:
                file.unlink()
                continue
            if (step := _best(meta["log"])["step"]) is not None:
                read_weights(_best_file(folder, step))  # Best.restore will need it
            own = {f"model/{n}" for n, p in model.named_parameters() if p.requires_grad}
            if not own <= set(tensors) or "rng" not in tensors:
                raise ValueError("tensors are missing")
        except Exception as error:  # noqa: BLE001  (whatever is wrong with it, an older one may do)
            print(f"ignoring the damaged training state {file.name}: {error}", flush=True)
            continue
        restore(model, {n[6:]: tensors[n] for n in own})
        for i, p in enumerate(p for g in optimiser.param_groups for p in g["params"]):
            names = [n for n in tensors if n.startswith(f"optimiser/{i}/")]
            optimiser.state[p] = {n.rsplit("/", 1)[1]: tensors[n].to(p.device) for n in names}
        torch.set_rng_state(tensors["rng"])
        if "rng_cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng_cuda"])
        result.losses, result.tokens = meta["losses"], meta["tokens"]
        result.scale = meta.get("scale", {})
        if log is not None:
            log[:] = meta["log"] or []
        return meta["step"]
    return 0
