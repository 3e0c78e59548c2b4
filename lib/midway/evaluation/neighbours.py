"""Exact k nearest neighbours by cosine in both directions, from one matrix product."""

import numpy as np
import torch

from midway.study.errors import InputError

MEMORY_MB = 512  # held by one search beside the vectors
_ROWS = 1024  # of x whose products are made at a time, where memory allows

Vectors = np.ndarray | torch.Tensor
Found = tuple[torch.Tensor, torch.Tensor]  # cosines and places of each row's nearest


def unit(vectors: Vectors, device: str | torch.device | None = None) -> torch.Tensor:
    """(n, d) float32 rows of length 1; InputError for empty or non-finite vectors."""
    if isinstance(vectors, np.ndarray):
        vectors = np.ascontiguousarray(vectors)
    rows = torch.as_tensor(vectors).detach().to(device=device, dtype=torch.float32)
    if rows.ndim != 2 or not rows.numel():
        raise InputError(f"vectors: an (n, d) array is needed, found shape {tuple(rows.shape)}")
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not torch.isfinite(norms).all():
        raise InputError("vectors: nan or inf among the sentence vectors; was the encoder damaged?")
    return rows / norms.clamp_min(1e-12)


def neighbours(
    x: Vectors,
    y: Vectors,
    k: int = 4,
    *,
    memory_mb: int = MEMORY_MB,
    device: str | torch.device | None = None,
) -> tuple[Found, Found]:
    """Exact k nearest y of each x, and k nearest x of each y: ((cosines, indices), the reverse).

    x: (n, d), y: (m, d). Each result has (rows, min(k, other side)) float32 and int64, nearest
    first. Beside the vectors, the result and some 50 MB, `memory_mb` are held at a time.
    """
    x, y = unit(x, device), unit(y, device)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"vectors have {x.shape[1]} and {y.shape[1]} dimensions; are both of the same encoder?"
        )
    tile = y.new_empty(max(1, min(_ROWS, len(x), int(memory_mb * 2**18) // len(y))), len(y))
    ahead, values, places = [], y.new_empty(0, len(y)), y.new_empty(0, len(y), dtype=torch.int64)
    for start in range(0, len(x), len(tile)):
        part = x[start : start + len(tile)]
        product = torch.mm(part, y.T, out=tile[: len(part)])
        ahead.append(product.topk(min(k, len(y)), dim=1))
        best, found = product.topk(min(k, len(product)), dim=0)
        values, order = torch.cat([values, best]).topk(min(k, start + len(product)), dim=0)
        places = torch.cat([places, found + start]).gather(0, order)
    cosines, nearest = (torch.cat(parts) for parts in zip(*ahead, strict=True))
    return (cosines, nearest), (values.T, places.T)
