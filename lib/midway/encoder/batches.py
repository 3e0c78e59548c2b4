"""Which examples or sequences make a batch."""

import numpy as np

WIDTHS = 32  # pieces: on a GPU a batch is padded to a multiple, because each new shape costs time


def training_order(lengths, batch_size: int, steps: int, seed: int) -> list[np.ndarray]:
    """Examples of each training step: shuffled every epoch, grouped by length.

    Within runs of 32 batches examples are sorted by length and cut into batches, which are
    shuffled again: every example once per epoch, nearly no padding. Depends on the arguments
    alone, so a resumed run sees the same batches.
    """
    rng = np.random.default_rng([seed, len(lengths)])
    lengths = np.asarray(lengths)
    batches: list[np.ndarray] = []
    carry = np.array([], np.int64)
    while len(batches) < steps:
        order = np.concatenate([carry, rng.permutation(len(lengths))])
        usable = len(order) // batch_size * batch_size
        carry = order[usable:]
        if not usable:
            continue
        epoch = []
        for run in range(0, usable, 32 * batch_size):
            part = order[run : min(run + 32 * batch_size, usable)]
            part = part[np.argsort(lengths[part], kind="stable")]
            epoch += np.split(part, len(part) // batch_size)
        batches += [epoch[i] for i in rng.permutation(len(epoch))]
    return batches[:steps]


def evaluation_batches(lengths, tokens: int) -> list[np.ndarray]:
    """Sequences sorted by length, longest first (memory trouble shows at once), at most
    ``tokens`` padded pieces a batch; one that is worth its start ends where padding begins."""
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    for i in range(1, len(order) + 1):
        n, longest = i - start, max(1, int(lengths[order[start]]))
        full = i == len(order) or (n + 1) * longest > tokens
        if full or (n * longest >= 512 and lengths[order[i]] < 0.85 * longest):
            batches.append(order[start:i])
            start = i
    return batches


def width(longest: int, most: int, device: str) -> int:
    """Pieces that a batch is padded to; most: the encoder's longest text."""
    wide = -(-longest // WIDTHS) * WIDTHS
    return wide if device != "cpu" and wide <= most else longest
