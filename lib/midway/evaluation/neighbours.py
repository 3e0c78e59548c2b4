"""Exact k nearest neighbours by cosine in both directions, from one matrix product."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import pad as padded

from midway.study.errors import InputError

MEMORY_MB = 512  # held by one search beside the vectors
_TILE = (2048, 2048)  # rows and columns of one product, small enough for the processor's cache
_BLOCK = 32  # neighbouring rows of which only the largest product is noted; divides _TILE
_KEPT = 9  # blocks looked into after a rough product (topk is quick for a 64th of all and less)

Vectors = np.ndarray | torch.Tensor
Found = tuple[torch.Tensor, torch.Tensor]  # cosines and places of each row's nearest
Blocks = tuple[torch.Tensor, torch.Tensor]  # largest products and places of each row's blocks


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


# -- one product: which blocks hold the nearest? --------------------------------------------------


def _multiplier(y: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """x -> x @ y.T, with y laid out for it once where that is faster."""
    library, onednn = torch.ops.mkldnn, torch.backends.mkldnn.is_available()
    exact = y.dtype == torch.float32
    if y.device.type == "cpu" and onednn and (exact or library._is_mkldnn_bf16_supported()):
        # torch.mm asks MKL for fp32, which is a quarter slower on AMD processors
        weight = library._reorder_linear_weight(y, _TILE[0])  # for products with so many rows
        return lambda x: library._linear_pointwise(x, weight, None, "none", [], "")
    if y.is_cuda:  # sums in fp32, as _error takes for granted
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    return lambda x: x @ y.T


def _search(x: torch.Tensor, y: torch.Tensor, k: int, memory_mb: int) -> tuple[Blocks, Blocks]:
    """The k blocks of y that hold each row of x's largest products, and the reverse.

    Returns ((maxima (n, k), blocks (n, k)), (maxima (m, k), blocks (m, k))), largest first. Each
    tile of the product is made once, and of it only the maxima of _BLOCK neighbours are kept, in
    both directions. Floats are compared as the integers of the same bits, several times as fast
    and in the same order above 0: where a last maximum is 0 or below, it is given as inf.
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
    forward, backward = [], []
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
                del tile  # before the next is made
            across = torch.cat(across, dim=1)
            forward.append(across.topk(min(k, across.shape[1]), dim=1))
        maxima, blocks = down.topk(min(k, down.shape[1]), dim=1)
        blocks += start // _BLOCK
        if backward:
            maxima = torch.cat((backward[0], maxima), 1)
            blocks = torch.cat((backward[1], blocks), 1)
            maxima, order = maxima.topk(min(k, maxima.shape[1]), dim=1)
            blocks = blocks.gather(1, order)
        backward = [maxima, blocks]
    forward = [torch.cat(parts) for parts in zip(*forward, strict=True)]
    results: list[Blocks] = []
    for (maxima, blocks), size in zip((forward, backward), sizes, strict=True):
        maxima = maxima[:size].view(x.dtype).float()
        maxima[:, -1].masked_fill_(maxima[:, -1] <= 0, torch.inf)
        results.append((maxima, blocks[:size]))
    return results[0], results[1]


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


def _refine(
    x: torch.Tensor, y: torch.Tensor, found: Blocks, k: int, error: torch.Tensor, memory_mb: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """fp32 k nearest y of each x within the blocks found, and the rows that are not certain.

    error: (n, b), how far the blocks' maxima may be from the cosines. A block that is further
    behind the k-th is passed over. A cosine outside all blocks is at most the last one's maximum
    and error: a row whose k-th cosine does not reach that is not certain.
    """
    maxima, blocks = found
    high, all_of_y = maxima + error, blocks.shape[1] * _BLOCK >= len(y)
    if blocks.shape[1] > k and not all_of_y:
        blocks = blocks.where(high >= (maxima - error)[:, k - 1 : k], -1)
    rows = max(1, int(memory_mb * 2**18) // (2 * _BLOCK * blocks.shape[1] + x.shape[1]))
    parts = [
        _nearest(part, y, some, k)
        for part, some in zip(x.split(rows), blocks.split(rows), strict=True)
    ]
    values, places = (torch.cat(v) for v in zip(*parts, strict=True))
    doubtful = (values[:, -1] < high[:, -1]) & (not all_of_y)
    return values, places, doubtful.nonzero().squeeze(1)


# -- a product in bf16 ----------------------------------------------------------------------------


def _halves(x: torch.Tensor, y: torch.Tensor) -> tuple[list, list, float]:
    """bf16 matrices (n, d + 4) whose product is nearly x @ y.T - shift, their spreads, and shift.

    Encoders' vectors share a large mean c, which would eat bf16's eight bits. With x' = x - c and
    y' = y - c, x.y = x'.y' + c.x' + c.y' + c.c; the two middle terms ride along as two columns
    each (high and low part), so that only small numbers are rounded. A row's spread is the square
    root of the sum of the fourth powers of x', see :func:`_error`.
    """
    centre = (x.mean(0) + y.mean(0)) / 2
    sides, spreads = [], []
    for rows, at in ((x, slice(-4, -2)), (y, slice(-2, None))):
        half = torch.ones(len(rows), rows.shape[1] + 4, dtype=torch.bfloat16, device=rows.device)
        found = []
        for part, out in zip(rows.split(_TILE[0]), half.split(_TILE[0]), strict=True):
            shifted = part - centre
            bias = shifted @ centre
            out[:, :-4] = shifted
            out[:, at] = torch.stack([bias.bfloat16(), bias - bias.bfloat16()], dim=1)
            found.append(torch.linalg.vector_norm(shifted.square_(), dim=1))
        sides.append(half)
        spreads.append(torch.cat(found))
    return sides, spreads, (centre @ centre).item()


def _error(maxima: torch.Tensor, own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """How far (n, b) products in bf16 of rows with spreads `own` and `others` may be from true.

    A number v is rounded by at most 2^-8 v, with a variance of at most 2^-16 v^2 / 3. So the sum
    x'.y' varies by at most 2^-16 (2/3) sum x'^2 y'^2, and that sum is at most the product of the
    spreads: four such standard deviations are allowed (many more, where x' and y' are not largest
    in the same dimensions). The product itself is rounded, too; low parts are off by 1e-5 each.
    """
    sigma = 2**-8 * (2 / 3 * own * others.max()).sqrt()
    return 4 * sigma[:, None] + 2**-8 * maxima.abs() + 2e-5


def _neighbours(x: torch.Tensor, y: torch.Tensor, k: int, rough: bool, memory_mb: int):
    """`neighbours` of unit vectors; None where bf16 leaves a quarter of a side uncertain."""
    if rough:
        halves, spreads, shift = _halves(x, y)
        found = _search(*halves, max(_KEPT, 2 * k), memory_mb)
        errors = [_error(f[0], *s) for f, s in zip(found, (spreads, spreads[::-1]), strict=True)]
    else:
        shift, found = 0.0, _search(x, y, k, memory_mb)
        errors = [torch.full_like(maxima, -1e-5) for maxima, _ in found]  # near ties are ties
    results = []
    for (a, b), (maxima, blocks), error in zip(((x, y), (y, x)), found, errors, strict=True):
        best = min(k, len(b))
        *result, doubtful = _refine(a, b, (maxima + shift, blocks), best, error, memory_mb)
        if rough and len(doubtful) > len(a) / 4:
            return None
        for some in doubtful.split(max(1, int(memory_mb * 2**18) // len(b))):
            result[0][some], result[1][some] = (a[some] @ b.T).topk(best, dim=1)
        results.append(tuple(result))
    return tuple(results)


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
    fp32: the same neighbours (cosines equal to 1e-5 apart), faster where the machine multiplies
    bf16. Beside the vectors, the result and some 50 MB, `memory_mb` are held at a time.
    """
    if precision not in ("fp32", "bf16"):
        raise InputError(f"precision: {precision!r} is neither 'fp32' nor 'bf16'")
    x, y = unit(x, device), unit(y, device)
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"vectors have {x.shape[1]} and {y.shape[1]} dimensions; are both of the same encoder?"
        )
    results = _neighbours(x, y, k, precision == "bf16", memory_mb)
    return results or _neighbours(x, y, k, False, memory_mb)
