"""How fast is mining, and how much memory does it take, against two separate searches?

    python benchmarks/mining.py [--rows 20000] [--threads 2] [--repeats 5]

Compares, in one run and on the same vectors: a plain reference that searches each direction with
its own matrix product and a top-k (what two faiss flat indices do; faiss itself where it is
installed) and our single product. Each runs in a process of its own so that peak memory can be told
apart; the best of the repeats counts. Core-seconds (of one thread) say more than seconds when other
work runs on the machine.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from midway.evaluation import (
    neighbours,
    retrieval,  # noqa: E402
)

STEP = 1024  # rows of one product of the reference


def vectors(rows: int, size: int, shared: float) -> tuple[np.ndarray, np.ndarray]:
    """Two sides of which half are noisy translations; `shared` makes them anisotropic, as
    encoders' vectors are (cosines of unrelated sentences about shared^2 / (1 + shared^2))."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, size), dtype=np.float32)
    y = rng.standard_normal((rows, size), dtype=np.float32)
    y[: rows // 2] = x[: rows // 2] + 1.2 * y[: rows // 2]
    common = rng.standard_normal(size, dtype=np.float32)
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    common = shared * common / np.linalg.norm(common)
    return x + common, y + common


def plain(x, y, k: int = 4):
    """k-NN of each direction by its own product and top-k."""
    x, y = neighbours.unit(x), neighbours.unit(y)
    found = []
    for a, b in ((x, y), (y, x)):
        tile = torch.empty(STEP, len(b))
        parts = [
            torch.mm(part, b.T, out=tile[: len(part)]).topk(k, dim=1) for part in a.split(STEP)
        ]
        found.append((torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])))
    return tuple(found)


def faiss_flat(x, y, k: int = 4):
    """k-NN of each direction by an exact faiss index, as XTREME's script does."""
    import faiss

    x, y = neighbours.unit(x).numpy(), neighbours.unit(y).numpy()
    found = []
    for a, b in ((x, y), (y, x)):
        index = faiss.IndexFlatIP(b.shape[1])
        index.add(b)
        found.append(tuple(torch.from_numpy(part) for part in index.search(a, k)))
    return tuple(found)


WAYS = {
    "plain": plain,
    "faiss": faiss_flat,
    "ours": neighbours.neighbours,
}


def measure(way: str, args) -> dict:
    """Seconds of one search, peak memory above the start, and the mined pairs' fingerprint."""
    torch.set_num_threads(args.threads)
    if way == "faiss":
        import faiss

        faiss.omp_set_num_threads(args.threads)
    x, y = vectors(args.rows, args.size, args.shared)
    WAYS[way](x[:2000], y[:2000])  # warm up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times, work = [], []
    for _ in range(args.repeats):
        start, used = time.perf_counter(), time.process_time()
        found = WAYS[way](x, y)
        times.append(time.perf_counter() - start)
        work.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    retrieval.neighbours = lambda *_, **__: found  # mine from what this way found
    pairs, scores = retrieval.mine(x, y)
    np.savez(args.out, pairs=pairs, scores=scores)
    return {"seconds": min(times), "core": min(work), "mb": (peak - before) / 1024}


def main():
    """Run every way in a process of its own and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--shared", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", choices=list(WAYS))
    parser.add_argument("--out", default="/dev/null")
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measure(args.way, args)))
        return
    import tempfile

    ways = dict(WAYS)
    try:
        import faiss  # noqa: F401
    except ImportError:
        del ways["faiss"]
    results, mined = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for way in ways:
            out = f"{folder}/{way}.npz"
            command = [sys.executable, *sys.argv, "--way", way, "--out", out]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[way] = json.loads(done.stdout)
            with np.load(out) as file:
                mined[way] = {tuple(p) for p in file["pairs"].tolist()}
    print(f"{args.rows} x {args.rows} x {args.size}, {args.threads} threads, k = 4 both ways")
    print("| way | seconds | x plain | core-s | x plain | peak MB above start | other pairs |")
    print("|---|---|---|---|---|---|---|")
    base = results["plain"]
    for way, one in results.items():
        ratios = [base[name] / one[name] for name in ("seconds", "core")]
        print(
            f"| {way} | {one['seconds']:.2f} | {ratios[0]:.2f} | {one['core']:.2f} "
            f"| {ratios[1]:.2f} | {one['mb']:.0f} | {len(mined[way] ^ mined['plain'])} |"
        )


if __name__ == "__main__":
    main()
