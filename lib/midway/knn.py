"""Exact k nearest neighbours by cosine in both directions, from one chunked matrix product."""

import warnings

import numpy as np
import torch

from midway.errors import InputError

MEMORY_MB = 512  # of one chunk of the product
_TILE = (1024, 2048)  # rows and columns of one product
_BLOCK = 32  # columns of which only the largest is looked at first; divides _TILE[1]
_KEPT = 10  # neighbours kept for re-scoring after a bf16 product
_SAMPLE = 4096  # rows that tell how large its rounding errors are

Vectors = np.ndarray | torch.Tensor


def unit(vectors: Vectors, device: str | torch.device | None = None) -> torch.Tensor:
    """(n, d) float32 rows of length 1; InputError for empty or non-finite vectors."""
    rows = torch.as_tensor(vectors).to(device=device, dtype=torch.float32)
    if rows.ndim != 2 or not rows.numel():
        raise InputError(f"vectors: an (n, d) array is needed, found shape {tuple(rows.shape)}")
    if not torch.isfinite(rows).all():
        raise InputError("vectors: nan or inf among the sentence vectors; was the encoder damaged?")
    return torch.nn.functional.normalize(rows)


def _best(maxima: torch.Tensor, members: torch.Tensor, scores: torch.Tensor, k: int):
    """k largest (values, positions) of each row of `scores`, largest first, exactly.

    maxima: (r, b) of the blocks whose columns `members` (b, g) lists; the k largest scores lie in
    the k blocks with the largest maxima, so only those are looked into.
    """
    blocks = maxima.topk(min(k, maxima.shape[1]), dim=1).indices
    places = members[blocks].flatten(1)
    values, order = scores.gather(1, places).topk(k, dim=1)
    return values, places.gather(1, order)


def _search(x: torch.Tensor, y: torch.Tensor, k: int, memory_mb: int) -> tuple[tuple, tuple]:
    """k largest products of each row of x with rows of y and the reverse, from one product.

    The product is made in tiles that fit the processor's cache, whose block maxima are taken
    while they are there; `memory_mb` of it is kept at a time. Scores are compared as the integers
    of the same bits, several times as fast and in the same order above 0: **products of 0 and
    below are unordered and may be missing**, which :func:`_anew` mends.
    """
    wide = -(-len(y) // _BLOCK) * _BLOCK  # padded with 0 to whole blocks
    rows = max(1, min(int(memory_mb * 2**20) // (wide * x.element_size()), len(x)))
    rows = -(-len(x) // -(-len(x) // rows))  # chunks of one size
    high = max(1, min(_BLOCK, rows // (64 * k)))  # topk is quick from 64 k blocks upwards
    rows = -(-rows // high) * high
    product = torch.zeros((rows, wide), dtype=x.dtype, device=x.device)
    scores = product.view(torch.int32 if x.dtype == torch.float32 else torch.int16)
    across = scores.new_zeros(rows, wide // _BLOCK)
    down = scores.new_zeros(rows // high, wide)
    index = torch.arange(max(rows, wide), device=x.device)
    columns = torch.cat([part.view(_BLOCK, -1).T for part in index[:wide].split(_TILE[1])])
    lines = index[:rows].view(-1, high)
    forward, backward = [], None
    tile_rows = -(-_TILE[0] // high) * high
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        end = -(-len(part) // high) * high
        scores[len(part) : end] = 0
        for top in range(0, len(part), tile_rows):
            for left in range(0, wide, _TILE[1]):
                right, bottom = min(left + _TILE[1], len(y)), min(top + tile_rows, len(part))
                torch.mm(part[top:bottom], y[left:right].T, out=product[top:bottom, left:right])
                tile = scores[top : min(top + tile_rows, end), left : left + _TILE[1]]
                parts = tile.unflatten(1, (_BLOCK, -1))
                found = across[top : top + len(tile), left // _BLOCK :][:, : parts.shape[2]]
                torch.amax(parts, 1, out=found)
                parts = tile.unflatten(0, (-1, high))
                found = down[top // high :, left : left + _TILE[1]][: len(parts)]
                torch.amax(parts, 1, out=found)
        forward.append(_best(across[: len(part)], columns, scores[: len(part)], min(k, len(y))))
        blocks, turned = (
            end // high,
            scores[:end].T[: len(y)],
        )  # below are those of an earlier chunk
        maxima = down[:blocks].T[: len(y)].contiguous()
        values, places = _best(maxima, lines[:blocks], turned, min(k, len(part)))
        places = places + start
        if backward is not None:  # earlier rows first: they win ties
            values = torch.cat([backward[0], values], dim=1)
            places = torch.cat([backward[1], places], dim=1)
            values, order = values.topk(min(k, values.shape[1]), dim=1)
            places = places.gather(1, order)
        backward = values, places
    forward = tuple(torch.cat(parts) for parts in zip(*forward, strict=True))
    return tuple(
        (values.view(x.dtype).float(), places.clamp(max=size - 1))  # padding is not a place
        for (values, places), size in ((forward, len(y)), (backward, len(x)))
    )


def _anew(x, y, found: tuple, doubtful: torch.Tensor, memory_mb: int) -> tuple:
    """`found` (values, places) with the rows `doubtful` (r, bool) searched again in plain fp32."""
    values, places = found
    which = doubtful.nonzero().squeeze(1)
    for part in which.split(max(1, int(memory_mb * 2**20) // (4 * len(y)))):
        values[part], places[part] = (x[part] @ y.T).topk(values.shape[1], dim=1)
    return values, places


def _half(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """bf16 matrices whose product orders cosines, and its rounding error (8 standard deviations).

    Encoders' vectors share a large mean c, which would eat bf16's eight bits. With x' = x - c and
    y' = y - c, x.y = x'.y' + c.x' + c.y' + const; the two middle terms ride along as two columns
    each (high and low part), so that only small numbers are rounded.
    """
    centre = (x.mean(0) + y.mean(0)) / 2
    sides, powers, errors = [], [], []
    for rows, first in ((x, True), (y, False)):
        shifted = rows - centre
        bias = shifted @ centre
        rounded = shifted.bfloat16()
        high = bias.bfloat16()
        low = (bias - high.float()).bfloat16()
        ones = torch.ones_like(high)
        extra = (high, low, ones, ones) if first else (ones, ones, high, low)
        sides.append(torch.cat([rounded, torch.stack(extra, dim=1)], dim=1))
        some = slice(None, None, -(-len(rows) // _SAMPLE))
        powers.append(shifted[some].square().mean(0))
        errors.append((shifted[some] - rounded[some]).square().mean(0))
    variance = (powers[0] * errors[1] + errors[0] * powers[1]).sum().item()
    return sides[0], sides[1], 8 * variance**0.5 + 1e-5  # fp32 accumulation, low parts


def _rescore(
    x: torch.Tensor, y: torch.Tensor, found: tuple, k: int, bound: float, memory_mb: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """fp32 k nearest y of each x from bf16 candidates, searched anew in fp32 where not certain.

    A score below (k-th best - 2 errors) cannot be among the k nearest. When even the last one
    kept lies above that line, something may have been lost: that row is searched in fp32.
    """
    rough, kept = found
    kept = kept.sort(dim=1).values
    ends = torch.arange(0, kept.numel() + 1, kept.shape[1], device=x.device)
    zeros, size = torch.zeros(kept.numel(), device=x.device), (len(x), len(y))
    with warnings.catch_warnings():  # "Sparse CSR tensor support is in beta state"
        warnings.simplefilter("ignore")
        wanted = torch.sparse_csr_tensor(ends, kept.flatten(), zeros, size, check_invariants=False)
    exact = torch.sparse.sampled_addmm(wanted, x, y.T, beta=0.0).values().view(kept.shape)
    values, order = exact.topk(k, dim=1)
    places = kept.gather(1, order)
    error = bound + rough.abs() * 2**-9  # the product itself is rounded to bf16, too
    line = rough[:, k - 1] - error[:, k - 1]
    doubtful = (rough[:, -1] + error[:, -1] >= line) | (rough[:, -1] <= 0)
    return _anew(x, y, (values, places), doubtful, memory_mb)


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
        forward, backward = _search(x, y, k, memory_mb)
        return (
            _anew(x, y, forward, forward[0][:, -1] <= 0, memory_mb),
            _anew(y, x, backward, backward[0][:, -1] <= 0, memory_mb),
        )
    if precision != "bf16":
        raise InputError(f"precision: {precision!r} is neither 'fp32' nor 'bf16'")
    left, right, bound = _half(x, y)
    forward, backward = _search(left, right, max(_KEPT, 2 * k), memory_mb)
    return (
        _rescore(x, y, forward, min(k, len(y)), bound, memory_mb),
        _rescore(y, x, backward, min(k, len(x)), bound, memory_mb),
    )
