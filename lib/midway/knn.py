"""Exact k nearest neighbours by cosine in both directions, from one matrix product."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import normalize
from torch.nn.functional import pad as padded

from midway.errors import InputError

MEMORY_MB = 512  # held by one search beside the vectors
_TILE = (2048, 2048)  # rows and columns of one product, small enough for the processor's cache
_BLOCK = 32  # neighbouring rows of which only the largest product is noted; divides _TILE
_KEPT = 8  # blocks looked into after a rough product (topk is quick for a 64th of all and less)
_SAMPLE = 4096  # rows that tell how large a rough product's errors are

Vectors = np.ndarray | torch.Tensor
Found = tuple[torch.Tensor, torch.Tensor]


def unit(vectors: Vectors, device: str | torch.device | None = None) -> torch.Tensor:
    """(n, d) float32 rows of length 1; InputError for empty or non-finite vectors."""
    rows = torch.as_tensor(vectors).to(device=device, dtype=torch.float32)
    if rows.ndim != 2 or not rows.numel():
        raise InputError(f"vectors: an (n, d) array is needed, found shape {tuple(rows.shape)}")
    rows = normalize(rows)
    if not torch.isfinite(rows.sum()):
        raise InputError("vectors: nan or inf among the sentence vectors; was the encoder damaged?")
    return rows


# -- one product: which blocks hold the nearest? --------------------------------------------------


def _multiplier(y: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """x -> x @ y.T, with y laid out for it once where that is faster."""
    library = torch.ops.mkldnn
    ready = y.dtype == torch.float32 or library._is_mkldnn_bf16_supported()
    if y.device.type == "cpu" and torch.backends.mkldnn.is_available() and ready:
        # oneDNN; torch.mm asks MKL for fp32, which is a quarter slower on AMD processors
        weight = library._reorder_linear_weight(y, _TILE[0])
        return lambda x: library._linear_pointwise(x, weight, None, "none", [], "")
    return lambda x: x @ y.T


def _search(x: torch.Tensor, y: torch.Tensor, k: int, memory_mb: int) -> tuple[Found, Found]:
    """The k blocks of y that hold each row of x's largest products, and the reverse.

    Returns ((maxima (n, k), blocks (n, k)), (maxima (m, k), blocks (m, k))), largest first. Each
    tile of the product is made once, and of it only the maxima of _BLOCK neighbours are kept, in
    both directions. Floats are compared as the integers of the same bits, several times as fast
    and in the same order above 0: **maxima of 0 and below are unordered**.
    """
    kind = torch.int32 if x.dtype == torch.float32 else torch.int16
    sizes = len(x), len(y)
    x, y = (padded(rows, (0, 0, 0, -len(rows) % _BLOCK)) for rows in (x, y))
    tiles = []
    for part in y.split(_TILE[1]):  # a block's columns lie far apart: whole runs are compared
        mixed = part.unflatten(0, (-1, _BLOCK)).transpose(0, 1).flatten(0, 1)
        tiles.append((len(part), _multiplier(mixed)))
    row = x.element_size() * len(y) // _BLOCK  # bytes of what is noted down of one row
    rows = max(_BLOCK, int(memory_mb * 2**20) // (2 * row) // _BLOCK * _BLOCK)
    forward, backward = [], None
    for start in range(0, len(x), rows):
        chunk = x[start : start + rows]
        down = torch.empty(len(y), len(chunk) // _BLOCK, dtype=kind, device=x.device)
        for top in range(0, len(chunk), _TILE[0]):
            part, left, across = chunk[top : top + _TILE[0]], 0, []
            for wide, times in tiles:
                tile = times(part).view(kind)
                across.append(tile.view(len(part), _BLOCK, -1).amax(1))
                maxima = tile.view(-1, _BLOCK, wide).amax(1).view(-1, _BLOCK, wide // _BLOCK)
                place = down[left : left + wide].view(wide // _BLOCK, _BLOCK, -1)
                place[..., top // _BLOCK :][..., : len(maxima)] = maxima.permute(2, 1, 0)
                left += wide
            across = torch.cat(across, dim=1)
            forward.append(across.topk(min(k, across.shape[1]), dim=1))
        maxima, blocks = down.topk(min(k, down.shape[1]), dim=1)
        blocks += start // _BLOCK
        if backward is not None:
            maxima, blocks = (
                torch.cat(two, 1) for two in zip(backward, (maxima, blocks), strict=True)
            )
            maxima, order = maxima.topk(min(k, maxima.shape[1]), dim=1)
            blocks = blocks.gather(1, order)
        backward = maxima, blocks
    forward = tuple(torch.cat(parts) for parts in zip(*forward, strict=True))
    return tuple(
        (maxima[:size].view(x.dtype).float(), blocks[:size])
        for (maxima, blocks), size in zip((forward, backward), sizes, strict=True)
    )


# -- the blocks' rows in fp32 ---------------------------------------------------------------------


def _nearest(x: torch.Tensor, y: torch.Tensor, blocks: torch.Tensor, k: int) -> Found:
    """k largest products (values, places) of each row of x with its blocks' rows of y.

    blocks: (n, b), -1 for none; together they hold at least k rows.
    """
    n, kept = blocks.shape
    wanted, order = blocks.flatten().sort(stable=True)
    products = x.new_full((n * kept, _BLOCK), -torch.inf)
    found, counts = wanted.unique_consecutive(return_counts=True)
    runs = (order // kept).split(counts.tolist()), products.split(counts.tolist())
    for block, rows, out in zip(found.tolist(), *runs, strict=True):
        if block >= 0:
            part = y[block * _BLOCK : (block + 1) * _BLOCK]
            torch.mm(x.index_select(0, rows), part.T, out=out[:, : len(part)])
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=x.device)
    values, places = products.index_select(0, back).view(n, -1).topk(k, dim=1)
    return values, blocks.gather(1, places // _BLOCK) * _BLOCK + places % _BLOCK


def _refine(x, y, found: Found, k: int, rough: "_Rough", memory_mb: int) -> tuple:
    """fp32 k nearest y of each x within the blocks found, and the rows that are not certain.

    A block whose maximum is less than the k-th block's, by what rounding may hide, is passed
    over. A product outside all blocks is at most the last one's maximum: a row whose k-th cosine
    does not reach that one's is not certain.
    """
    maxima, blocks = found
    error = rough.error + maxima.abs() * rough.relative
    high, all_of_y = maxima + error, blocks.shape[1] * _BLOCK >= len(y)
    if blocks.shape[1] > k and not all_of_y:
        blocks = blocks.where(high >= (maxima - error)[:, k - 1 : k], -1)
    rows = max(1, int(memory_mb * 2**18) // (2 * _BLOCK * blocks.shape[1] + x.shape[1]))
    parts = [
        _nearest(part, y, some, k)
        for part, some in zip(x.split(rows), blocks.split(rows), strict=True)
    ]
    values, places = (torch.cat(v) for v in zip(*parts, strict=True))
    certain = (maxima[:, -1] > 0) & (values[:, -1] >= high[:, -1] + rough.shift)
    return values, places, (~certain & (not all_of_y)).nonzero().squeeze(1)


# -- a product that is quick and nearly right -----------------------------------------------------


class _Rough(NamedTuple):
    """Matrices whose product plus `shift` is the cosine, within error + relative * |product|."""

    x: torch.Tensor
    y: torch.Tensor
    shift: float = 0.0
    error: float = -1e-5  # fp32: equal cosines are not told apart
    relative: float = 0.0


def _bf16(x: torch.Tensor, y: torch.Tensor) -> _Rough:
    """bf16 matrices whose product orders cosines.

    Encoders' vectors share a large mean c, which would eat bf16's eight bits. With x' = x - c and
    y' = y - c, x.y = x'.y' + c.x' + c.y' + c.c; the two middle terms ride along as two columns
    each (high and low part), so that only small numbers are rounded.
    """
    centre = (x.mean(0) + y.mean(0)) / 2
    sides, powers, errors = [], [], []
    for rows, first in ((x, True), (y, False)):
        half = torch.ones(len(rows), rows.shape[1] + 4, dtype=torch.bfloat16, device=rows.device)
        at = slice(-4, -2) if first else slice(-2, None)
        for part, out in zip(rows.split(_TILE[0]), half.split(_TILE[0]), strict=True):
            shifted = part - centre
            bias = shifted @ centre
            out[:, :-4] = shifted
            out[:, at] = torch.stack([bias.bfloat16(), bias - bias.bfloat16()], dim=1)
        sides.append(half)
        some = slice(None, None, -(-len(rows) // _SAMPLE))
        shifted = rows[some] - centre
        powers.append(shifted.square().mean(0))
        errors.append((shifted - half[some, :-4]).square().mean(0))
    variance = (powers[0] * errors[1] + errors[0] * powers[1]).sum().item()
    # 8 standard deviations; sums and low parts are off by less than 1e-5; 8 bits of the product
    return _Rough(*sides, (centre @ centre).item(), 8 * variance**0.5 + 1e-5, 2**-9)


def neighbours(
    x: Vectors,
    y: Vectors,
    k: int = 4,
    *,
    precision: str = "fp32",
    memory_mb: int = MEMORY_MB,
    device: str | torch.device | None = None,
) -> tuple[Found, Found]:
    """Exact k nearest y of each x, and k nearest x of each y: ((cosines, indices), the reverse).

    x: (n, d), y: (m, d). Each result has (rows, min(k, other side)) float32 and int64, nearest
    first. precision "bf16" makes the product in bf16 and looks into the most promising rows in
    fp32: the same neighbours (equal cosines apart), faster where the machine multiplies bf16.
    Beside the vectors about `memory_mb` are held at a time.
    """
    if precision not in ("fp32", "bf16"):
        raise InputError(f"precision: {precision!r} is neither 'fp32' nor 'bf16'")
    x, y = unit(x, device), unit(y, device)
    rough = _bf16(x, y) if precision == "bf16" else _Rough(x, y)
    kept = k if precision == "fp32" else max(_KEPT, 2 * k)
    results = []
    sides = (x, y), (y, x)
    for (a, b), found in zip(sides, _search(rough.x, rough.y, kept, memory_mb), strict=True):
        values, places, doubtful = _refine(a, b, found, min(k, len(b)), rough, memory_mb)
        if precision == "bf16" and len(doubtful) > len(a) / 4:  # too much alike for bf16
            return neighbours(x, y, k, memory_mb=memory_mb)
        for some in doubtful.split(max(1, int(memory_mb * 2**18) // len(b))):
            values[some], places[some] = (a[some] @ b.T).topk(values.shape[1], dim=1)
        results.append((values, places))
    return tuple(results)
