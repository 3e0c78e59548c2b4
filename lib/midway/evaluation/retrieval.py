"""Tatoeba accuracy, BUCC margin mining and probes of pooled sentence vectors.

All functions take pooled sentence vectors (n, d) as numpy arrays or torch tensors, compare them
by cosine, and give the same answers as XTREME's scripts (third_party/utils_retrieve.py), which
search exactly with faiss. `options` are those of `midway.evaluation.neighbours.neighbours`.

Examples
--------
>>> import numpy as np
>>> from midway import retrieval
>>> retrieval.retrieval_accuracy(np.eye(3), np.eye(3)[[1, 0, 2]])["both"]
33.33333333333333
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from midway.evaluation.neighbours import Vectors, neighbours, unit
from midway.study.errors import InputError

MARGINS: dict[str, Callable] = {
    "ratio": lambda a, b: a / b,
    "distance": lambda a, b: a - b,
    "absolute": lambda a, b: a,
}


# -- parallel sentences ---------------------------------------------------------------------------


def nearest(queries: Vectors, keys: Vectors, **options) -> np.ndarray:
    """(n,) index of the key with the highest cosine for each query; options of `neighbours`."""
    return neighbours(queries, keys, 1, **options)[0][1][:, 0].cpu().numpy()


def retrieval_accuracy(source: Vectors, target: Vectors, **options) -> dict[str, float]:
    """Tatoeba accuracy in percent: row i of `source` (foreign) translates row i of `target`.

    "from_english": each target looks for its source, as XTREME and jiant score; "to_english" the
    reverse; "both" their mean.
    """
    if len(source) != len(target):
        raise InputError(f"retrieval: {len(source)} sources for {len(target)} translations")
    to_english, from_english = (
        100.0 * (near[:, 0].cpu() == torch.arange(len(source))).double().mean().item()
        for _, near in neighbours(source, target, 1, **options)
    )
    both = (from_english + to_english) / 2
    return {"from_english": from_english, "to_english": to_english, "both": both}


# -- mining ---------------------------------------------------------------------------------------


def mine(
    x: Vectors, y: Vectors, k: int = 4, *, margin: str = "ratio", retrieval: str = "max", **options
) -> tuple[np.ndarray, np.ndarray]:
    """Candidate translation pairs by margin (Artetxe and Schwenk 2019), best first.

    x: (n, d), y: (m, d); returns pairs (p, 2) of row numbers and scores (p,). The margin compares
    a pair's cosine with the mean over both sides' k nearest neighbours. retrieval: "fwd", "bwd",
    "intersect", or "max": greedily the best-scored pairs of both directions, each row once.
    Scores that are not above 0 are dropped, as in the reference.
    """
    if margin not in MARGINS or retrieval not in ("fwd", "bwd", "intersect", "max"):
        raise InputError(f"mining: margin {margin!r} or retrieval {retrieval!r} is not known")
    results = neighbours(x, y, k, **options)
    (x_sim, x_near), (y_sim, y_near) = ((s.cpu().numpy(), i.cpu().numpy()) for s, i in results)
    x_mean, y_mean = x_sim.mean(axis=1), y_sim.mean(axis=1)
    x_margin = MARGINS[margin](x_sim, (x_mean[:, None] + y_mean[x_near]) / 2)
    y_margin = MARGINS[margin](y_sim, (y_mean[:, None] + x_mean[y_near]) / 2)
    x_rows, y_rows = np.arange(len(x_near)), np.arange(len(y_near))
    x_best = x_near[x_rows, x_margin.argmax(axis=1)]
    y_best = y_near[y_rows, y_margin.argmax(axis=1)]
    ahead = np.stack([x_rows, x_best], axis=1), x_margin.max(axis=1)
    back = np.stack([y_best, y_rows], axis=1), y_margin.max(axis=1)
    mutual = y_best[x_best] == x_rows
    pairs, scores = {
        "fwd": ahead, "bwd": back, "intersect": [part[mutual] for part in ahead],
        "max": [np.concatenate(parts) for parts in zip(ahead, back, strict=True)],
    }[retrieval]  # fmt: skip
    order = np.argsort(-scores, kind="stable")
    pairs, scores = pairs[order], scores[order].astype(np.float64)
    if retrieval == "max":
        taken_x, taken_y, keep = set(), set(), []
        for n, (i, j) in enumerate(pairs.tolist()):
            if i not in taken_x and j not in taken_y:
                taken_x.add(i)
                taken_y.add(j)
                keep.append(n)
        pairs, scores = pairs[keep], scores[keep]
    return pairs[scores > 0], scores[scores > 0]


def unique_rows(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows to mine and whether each may be reported: (first row of each text, it occurs once).

    As in XTREME: equal sentences are one candidate, and as their id is not known, not reported.
    """
    first, counts = {}, Counter(texts)
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    return np.array(list(first.values())), np.array([n == 1 for n in counts.values()])


def mine_bucc(
    x: Vectors, y: Vectors, x_rows: Sequence[Mapping], y_rows: Sequence[Mapping], **options
) -> tuple[list[tuple[str, str]], np.ndarray]:
    """`mine` on the rows (with id and text) of a mining task: ((x id, y id) pairs, scores)."""
    (rows_x, once_x), (rows_y, once_y) = (
        unique_rows([row["text"].strip() for row in rows]) for rows in (x_rows, y_rows)
    )
    x, y = torch.as_tensor(x)[rows_x], torch.as_tensor(y)[rows_y]
    pairs, scores = mine(x, y, **options)
    known = once_x[pairs[:, 0]] & once_y[pairs[:, 1]]
    found = zip(rows_x[pairs[known, 0]], rows_y[pairs[known, 1]], strict=True)
    return [(x_rows[int(i)]["id"], y_rows[int(j)]["id"]) for i, j in found], scores[known]


def best_threshold(pairs: Iterable[Hashable], scores: Sequence[float], gold: set) -> float:
    """The score that gives the best F1 when all pairs from it upwards are taken.

    Greedy from the best score down, half way to the next score, as XTREME's bucc_optimize; 0 when
    nothing is right; the last score when all pairs are best (the reference fails there).
    """
    items = sorted(zip(pairs, scores, strict=True), key=lambda item: -item[1])
    threshold = best = 0.0
    right = 0
    for n, (pair, score) in enumerate(items, start=1):
        right += pair in gold
        f1 = 2 * right / (n + len(gold))
        if f1 > best:
            best = f1
            following = items[n][1] if n < len(items) else score
            threshold = (float(score) + float(following)) / 2
    return threshold


def mining_scores(
    pairs: Iterable[Hashable], scores: Sequence[float], gold: set, threshold: float
) -> dict[str, float]:
    """F1, precision and recall in percent of the pairs that score at least `threshold`.

    Fit the threshold on the development split (`best_threshold`) and give it here for test.
    """
    if not gold:
        raise InputError("mining: no gold pairs to score against")
    taken = {pair for pair, score in zip(pairs, scores, strict=True) if score >= threshold}
    right = len(taken & gold)
    return {
        "f1": 200.0 * right / (len(taken) + len(gold)),
        "precision": 100.0 * right / len(taken) if taken else 0.0,
        "recall": 100.0 * right / len(gold),
    }


# -- what vectors alone tell ----------------------------------------------------------------------


def cosine_gap(source: Vectors, target: Vectors) -> float:
    """Mean cosine of translation pairs minus that of all other pairs (2601.03168); (n, d) each."""
    source, target = unit(source).double(), unit(target).double()
    n = len(source)
    own = (source * target).sum().item()
    total = (source.sum(0) @ target.sum(0)).item()
    return own / n - (total - own) / (n * (n - 1))


def precision_at_1(source: Vectors, target: Vectors, **options) -> float:
    """P@1 of translation retrieval, mean of both directions, in percent (2601.03168)."""
    return retrieval_accuracy(source, target, **options)["both"]


def logme(features: Vectors, labels: ArrayLike, iterations: int = 200) -> float:
    """Log maximum evidence of labels given features, per item, in nats (You et al. 2021).

    features: (n, d); labels: (n,) classes, each then a 0/1 target, or (n, t) real targets. The
    evidence of a Bayesian linear model y = F w, w ~ N(0, 1/alpha), noise 1/beta, maximised over
    alpha and beta by fixed point iteration (2102.11005, algorithm 1), averaged over targets.
    """
    features = np.asarray(torch.as_tensor(features).cpu(), dtype=np.float64)
    targets = np.asarray(labels)
    if targets.ndim == 1:
        targets = targets[:, None] == np.unique(targets)[None]
    n, d = features.shape
    if len(targets) != n or n < 2 or targets.shape[1] < 1:
        raise InputError(f"logme: {len(targets)} labels for {n} items")
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    power = singular[:, None] ** 2  # (r, 1)
    inside = (left.T @ targets) ** 2  # (r, t) squared projections
    outside = np.maximum((targets.astype(float) ** 2).sum(0) - inside.sum(0), 0.0)
    alpha = beta = np.ones(targets.shape[1])
    tiny = np.finfo(float).tiny
    for _ in range(iterations):
        ratio = alpha / beta
        gamma = (power / (power + ratio)).sum(0)
        weights = (power * inside / (power + ratio) ** 2).sum(0)
        residual = (inside * (ratio / (power + ratio)) ** 2).sum(0) + outside
        alpha = np.clip(gamma / np.maximum(weights, tiny), 1e-12, 1e12)
        beta = np.clip((n - gamma) / np.maximum(residual, tiny), 1e-12, 1e12)
        if np.all(np.abs(alpha / beta / ratio - 1) < 1e-8):
            break
    ratio = alpha / beta
    weights = (power * inside / (power + ratio) ** 2).sum(0)
    residual = (inside * (ratio / (power + ratio)) ** 2).sum(0) + outside
    evidence = (
        d * np.log(alpha)
        + n * np.log(beta / (2 * np.pi))
        - beta * residual
        - alpha * weights
        - np.log(alpha + beta * power).sum(0)
        - (d - len(power)) * np.log(alpha)
    )
    return float(evidence.mean() / (2 * n))
