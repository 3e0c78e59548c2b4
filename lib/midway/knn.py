"""Exact k nearest neighbours by cosine in both directions, from one chunked matrix product."""

import numpy as np
import torch

from midway.errors import InputError

MEMORY_MB = 256  # of one chunk of the product
_KEPT = 8  # neighbours kept for re-scoring after a bf16 product

Vectors = np.ndarray | torch.Tensor


def unit(vectors: Vectors, device: str | torch.device | None = None) -> torch.Tensor:
    """(n, d) float32 rows of length 1; InputError for empty or non-finite vectors."""
    rows = torch.as_tensor(vectors).to(device=device, dtype=torch.float32)
    if rows.ndim != 2 or not rows.numel():
        raise InputError(f"vectors: an (n, d) array is needed, found shape {tuple(rows.shape)}")
    if not torch.isfinite(rows).all():
        raise InputError("vectors: nan or inf among the sentence vectors; was the encoder damaged?")
    return torch.nn.functional.normalize(rows)


def _largest(tile: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and positions of the k largest of each row of (r, c), largest first, exactly.

    The k largest lie in the k blocks with the largest maxima, so only those are sorted.
    """
    rows, columns = tile.shape
    block = max(1, round((columns / k) ** 0.5))
    blocks = columns // block
    if blocks <= 2 * k:
        values, places = tile.contiguous().topk(min(k, columns), dim=1)
        return values.float(), places
    whole = blocks * block
    chosen = tile[:, :whole].unflatten(1, (blocks, block)).amax(2).topk(k, dim=1).indices
    places = (chosen[:, :, None] * block + torch.arange(block, device=tile.device)).flatten(1)
    if whole < columns:
        rest = torch.arange(whole, columns, device=tile.device).expand(rows, -1)
        places = torch.cat([places, rest], dim=1)
    values, order = tile.gather(1, places).topk(k, dim=1)
    return values.float(), places.gather(1, order)


def _search(x: torch.Tensor, y: torch.Tensor, k: int, memory_mb: int) -> tuple[tuple, tuple]:
    """k largest products of each row of x with rows of y and the reverse, from one product."""
    step = max(1, memory_mb * 2**20 // (len(y) * x.element_size()))
    tile = torch.empty(min(step, len(x)), len(y), dtype=x.dtype, device=x.device)
    forward, backward = [], None
    for start in range(0, len(x), step):
        part = x[start : start + step]
        scores = torch.mm(part, y.T, out=tile[: len(part)])
        forward.append(_largest(scores, min(k, len(y))))
        values, places = _largest(scores.T, min(k, len(part)))
        places = places + start
        if backward is not None:  # earlier rows first: they win ties
            values = torch.cat([backward[0], values], dim=1)
            places = torch.cat([backward[1], places], dim=1)
            values, order = values.topk(min(k, values.shape[1]), dim=1)
            places = places.gather(1, order)
        backward = values, places
    return tuple(torch.cat(parts) for parts in zip(*forward, strict=True)), backward


def _half(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """bf16 matrices whose product orders cosines up to the returned error bound.

    Encoders' vectors share a large mean c, which would eat bf16's eight bits. With x' = x - c and
    y' = y - c, x.y = x'.y' + c.x' + c.y' + const; the two middle terms ride along as two columns
    each (high and low part), so that only small numbers are rounded.
    """
    centre = (x.mean(0) + y.mean(0)) / 2
    sides, lengths, errors = [], [], []
    for rows, first in ((x, True), (y, False)):
        shifted = rows - centre
        bias = shifted @ centre
        rounded = shifted.bfloat16()
        high = bias.bfloat16()
        low = (bias - high.float()).bfloat16()
        ones = torch.ones_like(high)
        extra = (high, low, ones, ones) if first else (ones, ones, high, low)
        sides.append(torch.cat([rounded, torch.stack(extra, dim=1)], dim=1))
        lengths.append(shifted.norm(dim=1).max().item())
        errors.append((shifted - rounded.float()).norm(dim=1).max().item())
    bound = errors[0] * lengths[1] + (lengths[0] + errors[0]) * errors[1]
    return sides[0], sides[1], bound + 1e-4  # fp32 accumulation, low parts


def _rescore(
    x: torch.Tensor, y: torch.Tensor, found: tuple, k: int, bound: float, memory_mb: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Exact fp32 k nearest y of each x from bf16 candidates, searched anew where not certain.

    A candidate below (k-th best - 2 errors) cannot be among the k nearest. When even the last
    one kept lies above that line, something may have been lost: that row is searched in fp32.
    """
    rough, places = found
    error = bound + rough.abs() * 2**-8  # the output is rounded to bf16, too
    line = (rough[:, k - 1] - error[:, k - 1]).unsqueeze(1)
    possible = rough + error >= line
    row, column = possible.nonzero(as_tuple=True)
    exact = torch.full_like(rough, -torch.inf)
    key = places[row, column]
    step = max(1, memory_mb * 2**20 // (8 * x.shape[1]))
    exact[row, column] = torch.cat(
        [
            torch.linalg.vecdot(x[a], y[b])
            for a, b in zip(row.split(step), key.split(step), strict=True)
        ]
    )
    values, order = exact.topk(k, dim=1)
    places = places.gather(1, order)
    if rough.shape[1] < len(y):
        doubtful = possible[:, -1].nonzero().squeeze(1)
        for part in doubtful.split(max(1, memory_mb * 2**20 // (4 * len(y)))):
            values[part], places[part] = _largest(x[part] @ y.T, k)
    return values, places


def neighbours(
    x: Vectors,
    y: Vectors,
    k: int = 4,
    *,
    precision: str = "fp32",
    memory_mb: int = MEMORY_MB,
    device: str | torch.device | None = None,
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Exact k nearest y of each x, and k nearest x of each y: ((cosines, indices), the reverse).

    x: (n, d), y: (m, d). Each result has (rows, min(k, other side)) float32 and int64, nearest
    first. precision "bf16" makes the product in bf16 and re-scores in fp32: the same neighbours
    (equal cosines apart), faster where the machine multiplies bf16. The product is held
    `memory_mb` at a time.
    """
    x, y = unit(x, device), unit(y, device)
    if precision == "fp32":
        return _search(x, y, k, memory_mb)
    if precision != "bf16":
        raise InputError(f"precision: {precision!r} is neither 'fp32' nor 'bf16'")
    left, right, bound = _half(x, y)
    forward, backward = _search(left, right, max(_KEPT, 2 * k), memory_mb)
    return (
        _rescore(x, y, forward, min(k, len(y)), bound, memory_mb),
        _rescore(y, x, backward, min(k, len(x)), bound, memory_mb),
    )
