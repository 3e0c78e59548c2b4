"""Execute one step in a process of its own, as an engine's job does: for tests that disturb it."""

import argparse
import sys
from pathlib import Path

from midway.run import steps
from midway.run.status import Stop
from midway.run.step import on_signals, run_step
from midway.study.errors import InputError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=steps.STEPS)
    parser.add_argument("study", type=Path, help="params file; its folder receives the step")
    parser.add_argument("--variant")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--part")
    parser.add_argument("--draft", action="store_true", help="leave no record")
    a = parser.parse_args(argv)
    stop, sid = Stop(), steps.StepId(a.step, a.variant, a.seed, a.part)
    try:
        with on_signals(stop):
            outcome = run_step(sid, a.study, a.draft, stop)
    except InputError as error:
        print(f"midway: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"midway: {sid.path}: {error}", file=sys.stderr)
        return 1
    if outcome.code:
        print(f"midway: {sid.path}: {outcome.state}: {outcome.error}", file=sys.stderr)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
