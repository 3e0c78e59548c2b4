"""Do 03's sentences say what is true? Studies with known truth, through all of 03's calls.

python benchmarks/truth.py [--draws 100]    (about 5 core-minutes)
"""

# ruff: noqa: E402  (threads are set before NumPy is imported)
import argparse
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE / "lib"), str(HERE / "tests")]

import truth

TRUE = {"none": (), "between": ("between", "answer", "choice"), "within": ("within",)}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--draws", type=int, default=100)
    p.add_argument("--first", type=int, default=0, help="seed of the first draw")
    args = p.parse_args()
    draws = args.draws
    begun = time.process_time()
    print(f"{draws} draws each: claims by section (* is true), and studies without a false one")
    for kind, true in TRUE.items():
        count, clean = dict.fromkeys(truth.FALSE, 0), 0
        for seed in range(args.first, args.first + draws):
            found = truth.sentences(kind, seed)
            claimed = {s for s in truth.FALSE if truth.said(found, s)}
            clean += not claimed - set(true)
            for s in claimed:
                count[s] += 1
        cells = ", ".join(f"{s}{'*' * (s in true)} {n}" for s, n in count.items())
        print(f"{kind:8s} {cells}; without a false claim {clean} of {draws}", flush=True)
    print(f"{time.process_time() - begun:.0f} CPU seconds")


if __name__ == "__main__":
    main()
