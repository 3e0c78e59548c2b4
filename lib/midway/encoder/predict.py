"""Prediction: a model's answers to rows (classes, options, spans, tags) and sentence vectors.

Examples
--------
>>> predict.answer(run.model, "mnli", inputs, rows, labels, run.machine)  # doctest: +SKIP
>>> vectors = predict.vectors(run.model, lines, run.machine, [6])[6]  # doctest: +SKIP
"""

import numpy as np
import torch

from midway import kinds
from midway.encoder import heads
from midway.encoder.batches import evaluation_batches
from midway.encoder.device import Inputs, Machine
from midway.kinds.kind import Answers
from midway.kinds.tokens import columns


def answer(model, task: str, inputs: Inputs, rows, labels, machine: Machine, null=False) -> Answers:
    """Answers to canonical rows. ``null`` allows 'no answer' (SQuAD v2.0)."""
    values, kind = logits(model, task, inputs, machine), kinds.get(inputs.features.kind)
    return kind.answer(values, inputs.features, columns(rows), labels, null)


@torch.inference_mode()
def logits(model: heads.Model, task: str, inputs: Inputs, machine: Machine) -> list[np.ndarray]:
    """Head outputs per sequence, padding removed: (classes,) or (pieces, classes)."""
    model.eval()
    out: list = [None] * len(inputs.features.sequences)
    lengths = inputs.features.lengths
    with machine.autocast():  # weights are cast once
        for chosen in evaluation_batches(lengths, machine.eval_tokens):
            values = model(inputs.tensors(chosen), task).float().cpu().numpy()
            for row, s in enumerate(chosen):
                out[s] = values[row] if values.ndim == 2 else values[row, : lengths[s]]
    return out


@torch.inference_mode()
def vectors(model: heads.Model, inputs: Inputs, machine: Machine, layers: list[int]) -> dict:
    """Pooled sentence vectors: {layer: (texts, hidden) float32}; layer 0 is the embeddings."""
    model.eval()
    frozen, how = model.options.frozen_layers, model.options.pooling
    n, size = len(inputs.features.sequences), model.encoder.config.hidden_size
    out = {layer: np.empty((n, size), np.float32) for layer in layers}
    kept, base, todo = inputs.pooled, 0, layers
    if kept is not None:  # up to the highest frozen layer
        base, todo = frozen, [layer for layer in layers if layer > frozen]
        out |= {layer: kept[:, layer].astype(np.float32) for layer in set(layers) - set(todo)}
    if not todo:
        return out
    with machine.autocast():  # weights are cast once
        for chosen in evaluation_batches(inputs.features.lengths, machine.eval_tokens):
            batch = inputs.tensors(chosen)
            whole = kept is None
            states = model.all_states(batch, max(layers)) if whole else model.states(batch)
            for layer in todo:
                hidden = states[layer - base].float()
                out[layer][chosen] = heads.pool(hidden, batch["mask"], how).cpu().numpy()
    return out
