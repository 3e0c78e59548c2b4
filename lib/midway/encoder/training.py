"""Fine-tuning: one loop for intermediate tasks, for targets, and for several tasks at once."""

import itertools
import zlib
from dataclasses import dataclass, field

import numpy as np
import torch

from midway.encoder import heads, weights
from midway.encoder.batches import training_order
from midway.encoder.device import Inputs, Machine
from midway.encoder.progress import bar
from midway.study.params import Training


def stable_seed(*parts) -> int:
    """A 31-bit seed from names and numbers, the same in every process."""
    return zlib.crc32("/".join(map(str, parts)).encode()) & 0x7FFFFFFF


@dataclass
class Source:
    """Training data of one head: ``inputs`` of one task, drawn with probability ``share``."""

    task: str
    kind: str
    inputs: Inputs
    share: float = 1.0
    weight: float = 1.0

    def lengths(self) -> np.ndarray:
        f = self.inputs.features
        longest = np.zeros(f.examples, np.int64)
        np.maximum.at(longest, f.owner, f.lengths)
        return longest


def multi_shares(sizes: dict[str, int], cap: int) -> dict[str, float]:
    """r_m = min(e_m, K) / sum min(e, K) (X-STILTs v1, section 3; K = 2**17)."""
    capped = {name: min(size, cap) for name, size in sizes.items()}
    return {name: size / sum(capped.values()) for name, size in capped.items()}


def schedule(step: int, steps: int, warmup: float, decay: float) -> float:
    """Learning-rate factor: linear rise, flat, linear fall over the last ``decay`` share."""
    rise = max(1, round(warmup * steps))
    fall = min(max(1, round(decay * steps)), max(1, steps - rise)) if decay else 0
    up = min(1.0, (step + 1) / rise)
    return up * (min(1.0, (steps - step) / fall) if fall else 1.0)


@dataclass
class Fit:
    """Result of a training run: losses per step (nats) and tokens seen."""

    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    resumed_from: int = 0
    scale: dict = field(default_factory=dict)  # of fp16 losses


def fit(
    model: heads.Model,
    sources: list[Source],
    plan: Training,
    steps: int,
    seed: int,
    machine: Machine,
    at: dict | None = None,
    also=None,
    states: weights.States | None = None,
) -> Fit:
    """Train in place for ``steps`` optimiser steps.

    Parameters
    ----------
    sources : list of Source
        With several, each step draws one by its share (X-STILTs' multi-task training).
    at : dict of step to callable
        Called after that many steps (0: before the first) with the model in evaluation mode.
    also : callable(step) -> Tensor, optional
        A further loss added to each step (continued masked-language modelling).
    states : weights.States, optional
        A run killed at any moment continues from the newest whole state and gives the same weights
        as an uninterrupted run (bit for bit on a CPU).
    """
    torch.manual_seed(seed)
    groups = model.groups(plan.lr, plan.head_lr, plan.weight_decay)
    optimiser = torch.optim.AdamW(groups, fused=True)
    rates = [g["lr"] for g in optimiser.param_groups]
    scaler = torch.amp.GradScaler("cuda", enabled=machine.precision == "fp16")
    result = Fit()
    if states:
        result.resumed_from = states.resume(model, optimiser, result)
        if result.scale:
            scaler.load_state_dict(result.scale)
    params = [p for g in optimiser.param_groups for p in g["params"]]
    at = at or {}
    if 0 in at and not result.resumed_from:
        _look(model, at[0])
    _ready(model, machine)
    first = result.resumed_from
    drawn = _draws(sources, plan, steps, seed, first)
    for step, (source, examples) in bar(drawn, f"training {sources[0].task}", steps, first):
        factor = schedule(step, steps, plan.warmup, plan.decay)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        total, tokens = _gradients(model, source, examples, plan, machine, scaler.scale)
        if also is not None:
            with machine.autocast():
                value = also(step)
            scaler.scale(value).backward()
            total += value.item()
        if not np.isfinite(total):
            raise FloatingPointError(f"the loss is {total} at step {step + 1}; try a lower lr")
        scaler.unscale_(optimiser)
        torch.nn.utils.clip_grad_norm_(params, plan.max_grad_norm)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
        result.losses.append(total)
        result.tokens += tokens
        if step + 1 in at:
            _look(model, at[step + 1])
        if states and states.every and (step + 1) % states.every == 0 and step + 1 < steps:
            result.scale = scaler.state_dict()
            states.save(step + 1, model, optimiser, result)
    model.eval()
    return result


def _ready(model, machine) -> None:
    if machine.recompute:  # of layers in training mode: frozen ones keep nothing anyway
        encoder = model.encoder  # transformers has renamed it
        name = "activation_checkpointing_enable"
        enable = getattr(encoder, name, None) or encoder.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    model.train()


def _draws(sources, plan, steps: int, seed: int, first: int):
    """(step, (source, examples)) of each step from ``first`` on, the same in every process."""
    rng = np.random.default_rng([seed, 11])
    shares = np.array([s.share for s in sources])
    turns = rng.choice(len(sources), steps, p=shares / shares.sum())
    orders = [
        iter(training_order(s.lengths(), plan.batch_size, int((turns == i).sum()), seed + i))
        for i, s in enumerate(sources)
    ]
    drawn = ((sources[turn], next(orders[turn])) for turn in turns)
    return itertools.islice(enumerate(drawn), first, None)


def _gradients(model, source, examples, plan, machine, scale) -> tuple[float, int]:
    """Add a batch's gradient in ``plan.accumulation`` parts; its loss and its tokens."""
    total, tokens = 0.0, 0
    for part in np.array_split(examples, min(len(examples), plan.accumulation)):
        batch = source.inputs.training(part)
        with machine.autocast():
            logits = model(batch, source.task)
        value = heads.loss(logits, batch, source.kind) * source.weight * len(part) / len(examples)
        scale(value).backward()
        total += value.item()
        tokens += int(batch["mask"].sum())
    return total, tokens


def _look(model, callback) -> None:
    state = torch.get_rng_state()
    model.eval()
    callback()
    model.train()
    torch.set_rng_state(state)
