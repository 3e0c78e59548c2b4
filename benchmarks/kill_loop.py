"""Kill the smoke study at 25 random moments, resume it each time, compare with an undisturbed run.

At every round one process is killed with signal 9: the run, the fork server or a kernel; which and
when is drawn from a seed. A study that gets through starts anew until 25 kills
are done. All numbers of all records and all files must then be the same, bit for bit.

    python benchmarks/kill_loop.py [--kills 25] [--seed 1]       # about 20 minutes on two cores
"""

import argparse
import random
import shutil
import subprocess
import sys
import time

import psutil

from midway.run import record as records
from midway.study.files import root

LONGEST = 25.0  # seconds before a kill, at most


def command(study: str) -> list[str]:
    run = [sys.executable, "-m", "midway", "run", str(root() / "params" / "smoke.yaml")]
    return [*run, "--set", f"study={study}"]


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
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def main() -> int:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--kills", type=int, default=25)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()
    rng = random.Random(args.seed)
    subprocess.run(command("kill_reference"), check=True, capture_output=True)
    wanted = contents("kill_reference")
    shutil.rmtree(root() / "outputs" / "kill_loop", ignore_errors=True)
    kills = rounds = 0
    while kills < args.kills:
        run = subprocess.Popen(
            command("kill_loop"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + rng.uniform(1, LONGEST)
        while time.monotonic() < end and run.poll() is None:
            time.sleep(0.1)
        if run.poll() is None:
            victim = rng.choice(family(run.pid))
            try:
                victim.kill()
            except psutil.NoSuchProcess:  # ended in between: this round goes on undisturbed
                run.wait()
                continue
            kills += 1
            kind = "run" if victim.pid == run.pid else "fork server or kernel"
            print(f"kill {kills}: {kind}", flush=True)
            # Killing the run ends all; killing a part lets the run end by itself.
            if victim.pid != run.pid and rng.random() < 0.5:
                run.kill()
            run.wait()
            time.sleep(1)
        if run.returncode == 0:
            if contents("kill_loop") != wanted:
                got = contents("kill_loop")
                print(
                    "differs from the undisturbed study:",
                    [k for k in wanted if got.get(k) != wanted[k]],
                )
                return 1
            rounds += 1
            shutil.rmtree(root() / "outputs" / "kill_loop")
    subprocess.run(command("kill_loop"), check=True, capture_output=True)
    got = contents("kill_loop")
    different = [step for step in wanted if got.get(step) != wanted[step]]
    print(f"{kills} kills, {rounds + 1} studies finished; steps that differ: {different or 'none'}")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
