"""From a model and rows to answers (classes, options, spans, tags, vectors) and their scores."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from midway.encoder import heads
from midway.encoder.batches import evaluation_batches
from midway.encoder.device import Inputs, Machine
from midway.encoder.tokens import columns
from midway.evaluation import metrics

LONGEST = 30  # pieces of an answer; the SQuAD scripts' max_answer_length


@dataclass
class Answers:
    """What a model says about one set of rows.

    predictions: per example a class index, option index, answer text, or list of tags;
    scores: (decisions, rivals) log-probabilities for class, option and tag decisions, else None;
    loss: mean nats per decision; margin: per decision, gold minus strongest rival in log-odds
    (nan where there is no gold); confidence, right: per decision, for calibration.
    """

    predictions: list
    loss: float
    margin: np.ndarray
    scores: np.ndarray | None = None
    confidence: np.ndarray | None = None
    right: np.ndarray | None = None


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
    known = inputs.pooled is not None
    for layer in layers:
        if known and layer <= frozen:
            out[layer][:] = inputs.pooled[:, layer]
    if known and max(layers) <= frozen:
        return out
    base = frozen if known else 0
    with machine.autocast():  # weights are cast once
        for chosen in evaluation_batches(inputs.features.lengths, machine.eval_tokens):
            batch = inputs.tensors(chosen)
            states = model.states(batch) if known else model.all_states(batch, last=max(layers))
            for layer in layers:
                if layer >= base and not (known and layer <= frozen):
                    hidden = states[layer - base].float()
                    out[layer][chosen] = heads.pool(hidden, batch["mask"], how).cpu().numpy()
    return out


def answer(model, task: str, inputs: Inputs, rows, labels, machine: Machine, null=False) -> Answers:
    """Answers to canonical rows. ``null`` allows 'no answer' (SQuAD v2.0)."""
    values, rows = logits(model, task, inputs, machine), columns(rows)
    kind = inputs.features.kind
    if kind == "pair":
        return _decided(_log_softmax(np.stack(values)), inputs.features.labels)
    if kind == "choice":
        owner = torch.from_numpy(np.asarray(inputs.features.owner))
        table = heads.by_example(torch.from_numpy(np.stack(values)[:, 0]), owner).numpy()
        return _decided(_log_softmax(table), inputs.features.labels)
    if kind == "tags":
        return _tags(values, inputs.features, rows, labels)
    return _spans(values, inputs.features, rows, null)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _decided(scores: np.ndarray, gold: np.ndarray) -> Answers:
    chosen = scores.argmax(1)
    known = gold >= 0
    at = np.arange(len(gold)), np.where(known, gold, 0)
    rest = scores.copy()
    rest[at] = -np.inf
    margin = np.where(known, scores[at] - rest.max(1), np.nan)
    loss = float(-scores[at][known].mean()) if known.any() else float("nan")
    confidence = np.exp(scores.max(1))
    return Answers(chosen.tolist(), loss, margin, scores, confidence, chosen == gold)


def _tags(values, features, rows, labels) -> Answers:
    scores = [_log_softmax(v[w[:, 0]]) for v, w in zip(values, features.words, strict=True)]
    decided = _decided(
        np.concatenate([*scores, np.zeros((0, len(labels)))]),
        np.concatenate([*features.tags, np.zeros(0, np.int64)]),
    )
    # A word without any piece (control characters only) still gets a tag.
    fallback = "O" if "O" in labels else labels[-1]
    out = [[fallback] * len(tokens) for tokens in rows["tokens"]]
    for s, words in enumerate(features.words):
        for (_, word), row in zip(words, scores[s], strict=True):
            out[features.owner[s]][word] = labels[int(row.argmax())]
    decided.predictions = out
    return decided


@lru_cache(maxsize=64)
def _possible(n: int) -> np.ndarray:
    """(n, n) bool: spans that do not run backwards and are at most LONGEST pieces."""
    return np.triu(np.ones((n, n), bool)) & ~np.triu(np.ones((n, n), bool), LONGEST)


def _spans(values, features, rows, null: bool) -> Answers:
    """Best span over all windows of each question, and the gold span's log-odds."""
    n = features.examples
    best = [(-np.inf, "")] * n
    empty = np.full(n, np.inf)
    margin, losses, confidence = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
    silence = np.zeros(n)  # probability of no answer, in the window where it is least likely
    contexts = rows["context"]
    for s, value in enumerate(values):
        e, where = features.owner[s], features.offsets[s]
        inside = np.flatnonzero((where[:, 0] >= 0) & (where[:, 1] > where[:, 0]))
        # Raw logits are compared across windows, as the reference scripts do.
        start, end = value[inside, 0], value[inside, 1]
        none = value[0, 0] + value[0, 1]
        norm = sum(
            np.logaddexp.reduce(np.append(x, value[0, k])) for k, x in ((0, start), (1, end))
        )
        if none < empty[e]:
            empty[e], silence[e] = none, np.exp(none - norm)
        if not len(inside):
            continue
        total = start[:, None] + end[None]
        total = np.where(_possible(len(inside)), total, -np.inf)
        i, j = np.unravel_index(total.argmax(), total.shape)
        if total[i, j] > best[e][0]:
            best[e] = (float(total[i, j]), contexts[e][where[inside[i], 0] : where[inside[j], 1]])
            confidence[e] = float(np.exp(total[i, j] - norm))
        first, last = features.spans[s]
        if first or last:
            a, b = np.searchsorted(inside, [first, last])
            gold, total[a, b] = start[a] + end[b], -np.inf
            rival = max(total.max(), none if null else -np.inf)
            losses[e], margin[e] = (norm - gold) / 2, gold - rival
    if null:
        for e, answers in enumerate(rows["answers"]):
            if not answers["text"]:
                margin[e] = empty[e] - best[e][0]
    silent = [null and empty[e] > score for e, (score, _) in enumerate(best)]
    texts = ["" if quiet else text for quiet, (_, text) in zip(silent, best, strict=True)]
    confidence = np.where(silent, silence, confidence)
    mean = float(np.nanmean(losses)) if np.isfinite(losses).any() else float("nan")
    return Answers(texts, mean, margin, None, confidence, None)


def scores_of(card, predictions, rows, lang: str) -> dict[str, float]:
    """All metrics of a labelled target; the main one under ``card.metric``."""
    rows = columns(rows)
    if card.kind == "span":
        references = {i: a["text"] for i, a in zip(rows["id"], rows["answers"], strict=True)}
        given = dict(zip(rows["id"], predictions, strict=True))
        found = metrics.qa_scores(given, references, lang, card.name)
        em, f1 = found["exact_match"], found["f1"]
        return {"em": em, "f1": f1, "em_f1": (em + f1) / 2}
    if card.kind == "tags":
        found = metrics.tag_scores(predictions, rows["tags"])
        return found | {"f1": found["f1_xtreme"]}
    return metrics.class_scores(predictions, rows["label"], len(card.labels))


def by_kind(card, predictions, rows, lang: str) -> dict:
    """Scores by the rows' ``kind`` column where there is one (mini says what a row tests)."""
    rows = columns(rows)
    kinds = rows.get("kind", [])
    out = {}
    for kind in sorted(set(kinds)):
        at = [i for i, k in enumerate(kinds) if k == kind]
        own = {name: [values[i] for i in at] for name, values in rows.items()}
        some = scores_of(card, [predictions[i] for i in at], own, lang)
        out[kind] = {"n": len(at), card.metric: some[card.metric]}
    return {"kinds": out} if out else {}


def submission(card, predictions, rows):
    """What XTREME's submission files hold."""
    if card.kind == "span":
        return dict(zip(columns(rows)["id"], predictions, strict=True))
    if card.kind == "pair":
        return [card.labels[p] for p in predictions]
    return predictions
