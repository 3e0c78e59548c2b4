"""Run the smoke study through a real Slurm on this machine, and kill jobs on the way.

    .venv/bin/python tests/slurm/run.py [--keep] [kill] [limit] [offline]
                                                     (Debian or Ubuntu, as root, two cores)

From a bare machine: installs slurm-wlm and munge, starts both on the loopback interface with one
node and two pretended GPUs in one private folder, runs a copy of this project with profiles/slurm,
and stops all it started. Packages stay installed. Not part of `make test`.

1. A job's process is killed: it is submitted again. Cancelled too, it is reported; exit 1.
2. The next run submits it again; then that run itself is killed, and its job stays in Slurm.
3. The next run cancels that job before it goes on, and finishes.
4. Nothing is left to do; the audit agrees; a step made again outside Slurm has the same numbers.
5. (limit) Jobs that run out of time end as interrupted, are submitted once more, then reported.
6. (offline) A hub study is fetched from a stand-in of the hub, which is then stopped: the jobs of
   `params/xlmr_large.yaml`, made tiny, finish with HF_HUB_OFFLINE and without a request.

That jobs ran in Slurm is read from Slurm's own log of finished jobs (JobCompLoc).
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
STUDY, STEPS = "smoke_slurm", 9
TRAINED, TRANSFERRED = "01_intermediate/mnli/seed1", "02_transfer/mnli/seed1/part1"
MARK = "MIDWAY_SLURM_TEST"  # in the environment of all that is started here
POLICY = Path("/usr/sbin/policy-rc.d")
START = time.monotonic()

CONF = """
ClusterName=midway
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
MinJobAge=300
KillWait=5
ReturnToService=2
EnforcePartLimits=ALL
MpiDefault=none
MailProg=/bin/true
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:2
PartitionName=test Nodes={host} Default=YES MaxTime=60 State=UP
"""


def say(text: str) -> None:
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def check(holds, text: str) -> None:
    if not holds:
        raise SystemExit(f"FAILED: {text}")
    say(f"ok: {text}")


def wait_for(text: str, condition, seconds: float):
    """What ``condition`` returns, as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"FAILED: waited {seconds:.0f} s for: {text}")


def read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def install() -> None:
    """Slurm and munge from the distribution, whose own services are not started."""
    names = "slurmctld slurmd munged sbatch squeue scancel sinfo srun".split()
    if all(map(shutil.which, names)):
        say("Slurm and munge are installed")
        return
    own = not POLICY.exists()
    if own:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        for words in (
            ["update"],
            ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"],
        ):
            subprocess.run(
                ["apt-get", "-qq", *words], check=True, stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            )  # fmt: skip
    finally:
        if own:
            POLICY.unlink()
    say("installed slurm-wlm and munge")


class Cluster:
    """munge, slurmctld and slurmd below ``folder``; a context manager."""

    def __init__(self, folder: Path):
        self.folder, self.host = folder, socket.gethostname().partition(".")[0]
        self.daemons: list[subprocess.Popen] = []
        mine = re.compile(r"SLURM_|MIDWAY_(?!CACHE$)")
        self.env = {k: v for k, v in os.environ.items() if not mine.match(k)}
        self.env |= {MARK: str(folder), "SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self):
        try:
            return self._up()
        except BaseException:
            self.__exit__()
            raise

    def _up(self):
        folder = self.folder
        for name in ("munge", "state", "spool"):
            (folder / name).mkdir(mode=0o700)
        (folder / "munge").chmod(0o711)
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        text = CONF.format(
            host=self.host, ports=ports, folder=folder, cores=min(2, os.cpu_count() or 1),
            memory=min(4000, memory),
        )  # fmt: skip
        (folder / "slurm.conf").write_text(text.lstrip())
        devices = "".join(f"Name=gpu File={f}\n" for f in ("/dev/null", "/dev/zero"))
        (folder / "gres.conf").write_text(devices)
        paths = {n: f"--{n}-file={folder}/munge/{n}" for n in ("key", "pid", "seed", "log")}
        munge = folder / "munge" / "socket"
        self._start("munged", "--foreground", "--force", f"--socket={munge}", *paths.values())
        wait_for("munge's socket", munge.exists, 20)
        self._start("slurmctld", "-D", "-f", folder / "slurm.conf")
        self._start("slurmd", "-D", "-f", folder / "slurm.conf", "-N", self.host)
        wait_for("an idle node", self._idle, 60)
        say(f"Slurm is up: {self.ask('sinfo', '--version')}, ports {ports} of 127.0.0.1")
        return self

    def _start(self, *words) -> None:
        with open(self.folder / f"{words[0]}.out", "wb") as out:
            self.daemons.append(
                subprocess.Popen(
                    [*map(str, words)],
                    env=self.env,
                    stdout=out,
                    stderr=out,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
            )

    def _idle(self) -> bool:
        for daemon in self.daemons:
            if daemon.poll() is not None:
                log = read(self.folder / f"{daemon.args[0]}.out")
                raise SystemExit(f"FAILED: {daemon.args[0]} has ended:\n{log[-1500:]}")
        return "idle" in self.ask("sinfo", "--noheader", "--format=%T")

    def ask(self, *words) -> str:
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def queue(self) -> list[str]:
        """Ids of jobs that are not over."""
        return self.ask("squeue", "--noheader", "--format=%i").split()

    def finished(self) -> dict[str, dict[str, str]]:
        """Slurm's log of finished jobs: id -> fields."""
        rows = [
            dict(re.findall(r"(\w+)=(\S*)", x)) for x in read(self.folder / "jobs.log").splitlines()
        ]
        return {row["JobId"]: row for row in rows if "JobId" in row}

    def started_here(self) -> list[int]:
        """All living processes that carry this folder's mark, except this one."""
        mark, found = f"{MARK}={self.folder}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def __exit__(self, *_):
        daemons = {d.pid for d in self.daemons}
        self._end([p for p in self.started_here() if p not in daemons], 0)  # a run, were there one
        if self.daemons and self.queue():
            self.ask("scancel", *self.queue())
            with contextlib.suppress(SystemExit):
                wait_for("an empty queue", lambda: not self.queue(), 30)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(15)
        self._end(self.started_here(), 5)
        left = self.started_here()
        say(f"stopped Slurm and munge; processes left: {left or 'none'}")

    def _end(self, pids: list[int], patience: float) -> None:
        for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
            for pid in set(pids) & set(self.started_here()):
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            end = time.monotonic() + wait
            while set(pids) & set(self.started_here()) and time.monotonic() < end:
                time.sleep(0.1)


class Project:
    """A copy of the project, set up for this cluster as a user would: in the profile."""

    def __init__(self, cluster: Cluster):
        self.cluster, self.root = cluster, cluster.folder / "project"
        for name in ("lib", "notebooks", "params", "profiles"):
            skip = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(PROJECT / name, self.root / name, ignore=skip)
        for name in ("pyproject.toml", "requirements.lock"):
            shutil.copy(PROJECT / name, self.root / name)
        self.out = self.root / "outputs" / STUDY
        self.env = cluster.env | {"PYTHONPATH": str(self.root / "lib")}
        self._profile()

    def _profile(self) -> None:
        """Partition, memory and time of this cluster, and the GPU lines taken as they stand."""
        path = self.root / "profiles/slurm.yaml"
        text = path.read_text(encoding="utf-8")
        for old, new in (
            (r"# slurm_partition: \w+", "slurm_partition: test"),
            (r"mem_gb: \d+", "mem_gb: 1.5"),
            (r"timeout_min: 720", "timeout_min: 30"),
            (r"# (\w+: \{gpus_per_node: 1\})", r"\1"),
        ):
            text, n = re.subn(old, new, text, flags=re.M)
            check(n, f"profiles/slurm has {old!r}")
        path.write_text(text, encoding="utf-8")

    def start(self, *words) -> tuple[subprocess.Popen, list[str]]:
        """`midway ...` in the background, and the list that its lines go into."""
        run = subprocess.Popen(
            [sys.executable, "-m", "midway", *words], cwd=self.root, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        lines: list[str] = []

        def listen():
            for line in run.stdout:
                lines.append(line.rstrip())
                say(f"    {lines[-1]}")

        run.listener = threading.Thread(target=listen, daemon=True)
        run.listener.start()
        say(f"$ midway {' '.join(words)}")
        return run, lines

    def study(self) -> tuple[subprocess.Popen, list[str]]:
        words = f"run params/smoke.yaml --profile slurm --set study={STUDY}".split()
        return self.start(*words)

    def end(self, run, code: int, text: str, seconds: float = 900) -> None:
        """Wait for a run and check its exit code."""
        try:
            found = run.wait(seconds)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"FAILED: {text}: still running after {seconds:.0f} s") from None
        run.listener.join(10)
        check(found == code, f"{text} (exit code {found})")

    def runner(self, step: str, other_than: str = "") -> dict | None:
        """The living runner of a step inside a Slurm job: pid, job, gpu."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads(read(self.out / step / "state.json"))
            if state["state"] == "running":
                raw = Path(f"/proc/{state['pid']}/environ").read_bytes().decode(errors="replace")
                env = dict(x.split("=", 1) for x in raw.split("\0") if "=" in x)
                if env["SLURM_JOB_ID"] != other_than:
                    gpu = env.get("CUDA_VISIBLE_DEVICES")
                    return {"pid": state["pid"], "job": env["SLURM_JOB_ID"], "gpu": gpu}
        return None

    def records(self) -> list[Path]:
        return sorted(self.out.glob("0*/**/record.json"))


def limit(cluster: Cluster, project: Project) -> None:
    say("5. a job that runs out of time")
    profile = project.root / "profiles/slurm.yaml"
    text = profile.read_text(encoding="utf-8")
    short = text.replace("01_intermediate: {", "01_intermediate: {timeout_min: 2, ")
    profile.write_text(short, encoding="utf-8")
    changes = {
        "study": "limit",
        "intermediate.variants": "[none,mnli]",
        "intermediate.steps": 100_000,
    }
    sets = [f"--set={key}={value}" for key, value in changes.items()]
    run, lines = project.start(
        "run", "params/smoke.yaml", "--profile", "slurm", "--until", "01_intermediate", *sets
    )
    project.end(run, 1, "the run ends and says that a step failed")
    profile.write_text(text, encoding="utf-8")
    again = [x for x in lines if "interrupted" in x and "submitted again" in x]
    check(again and "time limit" in again[0], "the time limit is named, and it is submitted again")
    check(any(re.match("interrupted: .*mnli", x) for x in lines), "it is reported as interrupted")
    state = json.loads(read(project.root / "outputs/limit" / TRAINED / "state.json"))
    check(state["state"] == "interrupted", "its state says interrupted")


def offline(cluster: Cluster, project: Project) -> None:
    say("6. nodes without a network")
    sys.path.insert(0, str(PROJECT / "tests/hub"))
    import repositories
    import server
    from tiny_studies import MODELS, TINY

    root, name = cluster.folder / "hub", "FacebookAI/xlm-roberta-large"
    repositories.model(repositories.write(root, size=30), name, *MODELS[name])
    hub = server.Server(root)
    project.env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(cluster.folder / "hf")}
    changes = TINY | {"intermediate.variants": "[none,mnli,csqa]", "study": "offline"}
    words = ["params/xlmr_large.yaml", *(f"--set={k}={v}" for k, v in changes.items())]
    run, _ = project.start("fetch", *words)
    project.end(run, 0, "all was fetched")
    asked = len(hub.log)
    hub.stop()
    project.env["HF_HUB_OFFLINE"] = "1"
    run, lines = project.start("run", *words, "--profile", "slurm")
    project.end(run, 0, "the run ends well", 1800)
    check(not any("missing data" in x for x in lines), "nothing was missing")
    check(len(hub.log) == asked, f"{asked} requests of fetch, none of the jobs")
    records = sorted((project.root / "outputs/offline").glob("0*/**/record.json"))
    check(len(records) == 9, "9 records")
    run, _ = project.start("audit", "outputs/offline")
    project.end(run, 0, "the audit finds no fault", 300)


def tell(cluster: Cluster) -> None:
    """How the jobs ended, in Slurm's own words."""
    jobs = cluster.finished()
    for number, row in sorted(jobs.items(), key=lambda item: int(item[0])):
        print(f"    {number} {row['JobState']} {row['StartTime'][11:]}-{row['EndTime'][11:]}")
    check(all(r["Name"].startswith(f"midway-{STUDY}-") for r in jobs.values()), "all jobs are ours")
    states = Counter(row["JobState"] for row in jobs.values())
    check(
        states["COMPLETED"] == STEPS, f"{STEPS} jobs completed, one for each step: {dict(states)}"
    )
    check(states["FAILED"] == 1 and states["CANCELLED"] == 2, "one job was killed, two cancelled")


def scenario(cluster: Cluster, project: Project) -> None:
    say("1. a job is killed, submitted again, cancelled, reported")
    run, lines = project.study()
    first = wait_for("a running job", lambda: project.runner(TRAINED), 180)
    check(first["gpu"] in ("0", "1"), f"job {first['job']} has GPU {first['gpu']}")
    os.kill(first["pid"], signal.SIGKILL)
    say(f"kill -9 of process {first['pid']} of job {first['job']} ({TRAINED})")
    second = wait_for("its next try", lambda: project.runner(TRAINED, first["job"]), 300)
    check(any(f"{TRAINED} died" in x for x in lines), "it was reported as died")
    check(second["job"] != first["job"], f"submitted again as job {second['job']}")
    cluster.ask("scancel", second["job"])
    say(f"scancel {second['job']}")
    project.end(run, 1, "the run ends and says that a step failed")
    told = [x for x in lines if re.match(rf"(interrupted|died): .*{TRAINED}/notebook.ipynb", x)]
    check(told, "it names the notebook of the cancelled job")
    check(not (project.out / TRAINED / "record.json").exists(), "the killed step has no record")
    done = {path: path.read_bytes() for path in project.records()}
    check(len(done) == 5, "all steps that do not need it are done")

    say("2. the next run submits it again, and is killed itself")
    run, lines = project.study()
    third = wait_for("the step below it", lambda: project.runner(TRANSFERRED), 300)
    check((project.out / TRAINED / "record.json").exists(), f"{TRAINED} has run now")
    os.kill(run.pid, signal.SIGKILL)
    say(f"kill -9 of `midway run` while job {third['job']} runs ({TRANSFERRED})")
    project.end(run, -signal.SIGKILL, "the run is gone")
    time.sleep(3)
    check(third["job"] in cluster.queue(), "its job is still running in Slurm")

    say("3. the next run cancels what was left, and finishes")
    run, lines = project.study()
    project.end(run, 0, "the run ends well")
    check(any("cancelling 1 job(s)" in x for x in lines), "the job of the killed run was cancelled")
    check(len(project.records()) == STEPS, f"{STEPS} records")
    check(
        all(p.read_bytes() == x for p, x in done.items()),
        "what was done in the first run was not done again",
    )

    say("4. afterwards")
    run, lines = project.study()
    project.end(run, 0, "once more", 120)
    check(any("nothing to do" in x for x in lines), "there is nothing to do")
    run, _ = project.start("audit", str(project.out))
    project.end(run, 0, "the audit finds no fault", 120)
    run, _ = project.start("audit", str(project.out), "--rerun", TRAINED)
    project.end(run, 0, "the step that was killed has the numbers of an undisturbed local run", 300)
    tell(cluster)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    parts = {"kill": scenario, "limit": limit, "offline": offline}
    parser.add_argument("parts", nargs="*", help="kill, limit, offline; all by default")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(parts):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(parts)}")
    if os.geteuid() or not shutil.which("apt-get"):
        print("run.py: needs root and apt-get: it installs Slurm")
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    install()
    folder = Path(tempfile.mkdtemp(prefix="midway-slurm-"))
    folder.chmod(0o755)
    passed = False
    try:
        with Cluster(folder) as cluster:
            project = Project(cluster)
            for name in args.parts or parts:
                parts[name](cluster, project)
        passed = True
        say("passed")
    finally:
        if passed and not args.keep:
            shutil.rmtree(folder)
        else:
            say(f"logs, slurm.conf and outputs: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
