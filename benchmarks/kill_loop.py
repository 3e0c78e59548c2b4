"""Kill a study at 25 random moments, resume it each time, compare with an undisturbed run.

At every round one process is killed with signal 9: the run, the fork server or a kernel; which and
when is drawn from a seed. A study that gets through starts anew until 25 kills are done. All
numbers of all records and all files must then be the same, bit for bit, and audit must agree.
On Linux each run has a PID namespace of its own, so that a kill reaches nothing else.

    python benchmarks/kill_loop.py [--kills 25] [--seed 1]       # about 20 minutes on two cores
    python benchmarks/kill_loop.py --tiny   # a random encoder of 3 layers, sooner
"""

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from midway.run import audit
from midway.run import record as records
from midway.study.files import root

APART = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
TINY = [
    *("encoder.kind=path", "encoder.path=outputs/kill_encoder", "encoder.layers=3"),
    *("encoder.frozen_layers=1", "compute.save_every=2", "intermediate.max_length=64"),
    *("intermediate.stride=16", "transfer.max_length=64", "transfer.stride=16"),
]


def command(study: str, settings: list[str]) -> list[str]:
    run = [sys.executable, "-m", "midway", "run", str(root() / "params" / "smoke.yaml")]
    apart = APART if subprocess.run([*APART, "true"], capture_output=True).returncode == 0 else []
    return [*apart, *run, *(w for s in [f"study={study}", *settings] for w in ("--set", s))]


def contents(study: str) -> dict[str, str]:
    """Step -> hash of its results and files (executed notebooks and times left out)."""
    folder = root() / "outputs" / study
    found = {}
    for path in sorted(folder.rglob("record.json")):
        step = path.parent.relative_to(folder).as_posix()
        record = records.load(path)
        # The report, early choice and the study's design show processor time.
        record.results.pop("design", None)
        timed = ("/early", "/design", "/power")
        record.files = {k: v for k, v in record.files.items() if not any(t in k for t in timed)}
        if not step.startswith("05"):
            found[step] = records.content(record)
    return found


def family(pid: int) -> list[psutil.Process]:
    """The run and what it has started; without the shell of its namespace."""
    try:
        top = psutil.Process(pid)
        below = top.children(recursive=True)
        return below if top.name() == "unshare" else [top, *below]
    except psutil.NoSuchProcess:
        return []


def differences(wanted: dict[str, str], study: str) -> list[str]:
    got = contents(study)
    return [step for step in wanted if got.get(step) != wanted[step]]


def main() -> int:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--kills", type=int, default=25)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--longest", type=float, default=25.0, help="seconds before a kill, at most")
    args.add_argument("--tiny", action="store_true")
    args = args.parse_args()
    rng, settings, outputs = random.Random(args.seed), TINY if args.tiny else [], root() / "outputs"
    for left in ("kill_reference", "kill_loop"):
        shutil.rmtree(outputs / left, ignore_errors=True)
    if args.tiny:
        sys.path.append(str(Path(__file__).parents[1] / "tests"))
        from tiny import checkpoint

        checkpoint(outputs / "kill_encoder")
    subprocess.run(command("kill_reference", settings), check=True, capture_output=True)
    wanted = contents("kill_reference")
    kills, rounds, loop = 0, 0, command("kill_loop", settings)
    while kills < args.kills:
        quiet = subprocess.DEVNULL
        run = subprocess.Popen(loop, stdout=quiet, stderr=quiet)
        end = time.monotonic() + rng.uniform(1, args.longest)
        while time.monotonic() < end and run.poll() is None:
            time.sleep(0.1)
        members = family(run.pid)
        if run.poll() is None and members:
            victim = rng.choice(members)
            try:
                name = "run" if victim == members[0] else "fork server or kernel"
                victim.kill()
            except psutil.NoSuchProcess:  # ended in between: this round goes on undisturbed
                run.wait()
                continue
            kills += 1
            done = len(list((outputs / "kill_loop").rglob("record.json")))
            print(f"kill {kills}: {name}, {done} records there", flush=True)
            # Killing the run ends all; killing a part lets the run end by itself.
            if name != "run" and rng.random() < 0.5:
                members[0].kill()
        if run.wait() == 0:
            if different := differences(wanted, "kill_loop"):
                print("differs from the undisturbed study:", different)
                return 1
            rounds += 1
            shutil.rmtree(outputs / "kill_loop")
    subprocess.run(loop, check=True, capture_output=True)
    different = differences(wanted, "kill_loop")
    problems = audit.audit(outputs / "kill_loop")["problems"]
    print(
        f"{kills} kills, {rounds + 1} studies finished; steps that differ: {different or 'none'}; "
        f"problems of the audit: {problems or 'none'}"
    )
    return bool(different or problems)


if __name__ == "__main__":
    sys.exit(main())
