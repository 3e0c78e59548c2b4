"""Run a study: `midway run`. Snakemake decides the order and starts the jobs; this looks after it.

One run at a time per study; what a killed run has left is put in order; records that are no longer
true are retired, so that Snakemake runs what the plan says; progress; the report, early and again.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from midway.run import machine, notebook, slurm
from midway.run import plan as planning
from midway.run.kernels import forking
from midway.run.missing import without
from midway.run.progress import Watch, die_with_parent, environment, say
from midway.run.status import alive, me, read_state, send
from midway.run.steps import STEPS, steps
from midway.study import params, yamlfile
from midway.study.errors import InputError
from midway.study.files import root, write_atomic

NEEDED_MB = 100  # free disk space without which no run is started
STALE_LOCK = 600  # seconds after which a silent lock of another machine is taken over


def outputs(study: params.Study) -> Path:
    """The folder of a study; its name has been checked to be a plain name."""
    return root() / "outputs" / study.study


@contextlib.contextmanager
def lock(folder: Path):
    """Hold a study's folder; InputError when another run does.

    On this machine the operating system frees the lock of a dead run. A lock of another machine
    (shared folder) counts as held until it has been silent for ten minutes.
    """
    path = folder / ".lock"
    with open(path, "a+", encoding="utf-8") as f:
        f.seek(0)
        try:
            other = json.loads(f.read() or "{}")
        except ValueError:
            other = {}
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = other.get("pid", "unknown")
            raise InputError(
                f"{folder}: already being run by process {pid}; wait or stop it"
            ) from None
        mine = me()
        age = time.time() - path.stat().st_mtime
        if other and other.get("host") != mine["host"] and age < STALE_LOCK:
            raise InputError(
                f"{folder}: being run on {other.get('host')} (process {other.get('pid')}, "
                f"last sign {age:.0f} s ago); stop it there or, if it is gone, delete {path}"
            )
        if other:
            say(f"taking over from process {other.get('pid')}, which ended without a word")
        f.truncate(0)
        f.write(json.dumps(mine))
        f.flush()
        try:
            yield path
        finally:
            f.truncate(0)


def _stop(processes: list[dict], patience: float = 6.0) -> None:
    """End these runners and no others: asked first, killed when they do not listen."""
    for number, wait in ((None, 2.5), (signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        for who in processes:
            if number is not None and alive(who) and not send(who, number):
                say(f"process {who['pid']} is not surely a step of Midway: it is left alone")
        end = time.monotonic() + wait
        while any(map(alive, processes)) and time.monotonic() < end:
            time.sleep(0.1)


def clear_up(study, folder: Path, patience: float = 6.0) -> None:
    """After a kill: end orphaned runners, settle states, drop what Snakemake left behind."""
    states = [(s, read_state(folder / s.path)) for s in steps(study)]
    here = [x for _, x in states if x.get("state") == "running" and x.get("host") == me()["host"]]
    if here:
        say(f"stopping {len(here)} step(s) that an ended run has left behind")
        _stop(here, patience)
    for sid, _ in states:
        if read_state(folder / sid.path).get("state") == "died":
            notebook.settle(folder / sid.path)
    for name in ("locks", "incomplete", "metadata"):  # records say what is whole, not Snakemake
        shutil.rmtree(folder / ".snakemake" / name, ignore_errors=True)


def elsewhere(study, folder: Path) -> None:
    """InputError when another machine (a cluster's job) is executing a step of this study."""
    for sid in steps(study):
        end = read_state(folder / sid.path)
        if end.get("state") == "running" and end.get("host") != me()["host"]:
            raise InputError(
                f"{folder / sid.path}: being executed on {end['host']}; wait for it, or resume "
                "with the profile that started it"
            )


def retire(study, folder: Path, items: list[planning.Item]) -> None:
    """Set aside records that are not true any more; bring back those that are true again."""
    for item in items:
        record = folder / item.sid.path / "record.json"
        stale = record.with_name("record.stale.json")
        if item.state == "kept":
            os.replace(stale, record)
        elif not item.ready and "forced" in item.why:
            for path in (record, stale):
                path.unlink(missing_ok=True)
            shutil.rmtree(record.parent / "scores", ignore_errors=True)
        elif not item.ready and record.exists():
            os.replace(record, stale)
    current = {item.sid.path for item in items}
    for record in folder.glob("0[12]_*/**/record.json"):  # left out of the study since
        if record.parent.relative_to(folder).as_posix() not in current:
            os.replace(record, record.with_name("record.stale.json"))


def command(folder: Path, targets: list[str], cores: int, profile: str | None) -> list[str]:
    """Snakemake's command line; no part of it goes through a shell."""
    base = [
        sys.executable, "-m", "snakemake", "--snakefile", str(root() / "Snakefile"),
        "--directory", str(folder), "--keep-going", "--rerun-triggers", "mtime",
        "--scheduler", "greedy", "--nocolor",
    ]  # fmt: skip
    if profile:
        where = root() / "profiles" / profile
        if not re.fullmatch(r"[\w-]+", profile) or not (where / "config.yaml").is_file():
            known = sorted(p.parent.name for p in (root() / "profiles").glob("*/config.yaml"))
            raise InputError(f"unknown profile {profile!r}; known: {', '.join(known)}")
        base += ["--profile", str(where)]
        if profile == "slurm":
            base += ["--slurm-jobname-prefix", slurm.prefix(folder)]
    if not profile or cores:
        limit = "--cores" if profile in (None, "local") else "--jobs"
        base += [limit, str(cores or os.cpu_count() or 1)]
    return [*base, "--", *targets]


def stages(until: str | None) -> tuple[str, ...]:
    """The stages that a run goes through; InputError for an unknown last one."""
    if until is None:
        return STEPS
    if until not in STEPS:
        raise InputError(f"--until: unknown step {until!r}; known: {', '.join(STEPS)}")
    wanted = STEPS[: STEPS.index(until) + 1]
    return tuple(s for s in wanted if s != STEPS[3] or until == STEPS[3])


def check(study) -> None:
    """InputError for what every step would miss: ``encoder.path``, ``data.root``, a task."""
    if study.encoder.kind == "path":
        from midway.encoder import checkpoints

        path = root() / Path(study.encoder.path).expanduser()
        checkpoints.check_folder(path, "encoder.path")
    if study.encoder.kind == "hub":
        from midway.encoder import checkpoints

        checkpoints.check_cached(study.encoder.name, study.encoder.revision)
    if study.data.source != "mini":
        from midway.data import sources

        sources.refuse(study)


def run(study, cores=None, profile=None, until=None, force=()) -> int:
    """Bring a study up to date; the exit code: 0, 1 (a step failed) or 130 (interrupted)."""
    folder = outputs(study)
    stages(until)
    for name in force:
        planning.matching(study, name)
    command(folder, [], cores, profile)  # a wrong profile is refused before anything is written
    check(study)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / ".writable", "")
        (folder / ".writable").unlink()
        free = shutil.disk_usage(folder).free / 2**20
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    if free < NEEDED_MB:
        raise InputError(f"{folder}: {free:.0f} MB free on this disk; a run needs {NEEDED_MB} MB")
    with lock(folder) as held:
        return _run(study, folder, held, cores, profile, until, tuple(force))


def _run(study, folder: Path, held: Path, cores, profile, until, force) -> int:
    if profile == "slurm":
        slurm.cancel(folder)
    else:
        elsewhere(study, folder)
    clear_up(study, folder)
    items = planning.plan(study, folder, force)
    wanted = stages(until)
    text = yamlfile.dump(study.fold())
    if not (folder / "params.yaml").exists() or (folder / "params.yaml").read_text() != text:
        write_atomic(folder / "params.yaml", text)
    retire(study, folder, items)
    todo = [i for i in items if not i.ready and i.sid.step in wanted]
    page = folder / "index.html"
    if not todo:
        say(f"nothing to do: all {sum(i.sid.step in wanted for i in items)} steps are done")
        for line in without(study, folder):
            say(line)
        print(page if page.exists() else folder)
        return 0
    slots = max(1, (cores or os.cpu_count() or 1) // study.compute.threads)
    if profile in (None, "local") and (devices := len(machine.gpus(study.compute))):
        slots = max(1, min(slots, devices))
        cores = slots * study.compute.threads
    say(f"{len(todo)} of {len(items)} steps to run, {slots} at a time; log: {folder}/snakemake.log")
    watch = Watch(study, folder, [i for i in items if i.ready or i in todo], slots)
    targets = [f"{i.sid.path}/record.json" for i in todo]
    cmd = command(folder, targets, cores, profile)
    with forking(study.compute, profile):
        code = _watch_over(study, folder, held, watch, cmd, profile)
    if code == 130:
        say("interrupted; what is finished is kept, and the next run goes on from there")
        return code
    finished = (folder / STEPS[4] / "record.json").exists()
    if not finished:
        watch.report(last=True)
    failed = [(s, e) for s, e in watch.failed if not (folder / s.path / "record.json").exists()]
    for sid, end in failed:  # a cluster may have run one again, and well
        say(f"{end['state']}: {folder / sid.path / 'notebook.ipynb'}\n    {end['error']}")
    missing = [i for i in todo if not (folder / i.sid.path / "record.json").exists()]
    if missing and not failed:
        say(f"Snakemake ended with code {code}; the end of {folder}/snakemake.log:")
        tail = (folder / "snakemake.log").read_text(encoding="utf-8", errors="replace")
        say("\n".join(f"    {line}" for line in tail.splitlines()[-12:]))
    for line in without(study, folder):
        say(line)
    print(page if page.exists() else folder)
    return 1 if missing else 0


def _watch_over(study, folder, held, watch, cmd, profile) -> int:
    """Run Snakemake to its end; SIGINT and SIGTERM stop it and its jobs. Its code, or 130."""

    def on_signal(number, _frame):
        raise KeyboardInterrupt(number)

    old = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with open(folder / "snakemake.log", "w", encoding="utf-8") as log:
        engine = subprocess.Popen(
            cmd, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder,
            env=environment(profile), start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        try:
            while engine.poll() is None:
                os.utime(held)
                watch.look()
                watch.report()
                time.sleep(0.3)
            watch.look()
        except KeyboardInterrupt:
            for n in old:
                signal.signal(n, signal.SIG_IGN)
            say("stopping ...")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(engine.pid, signal.SIGINT)
            watch.stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                engine.wait(60 if profile else 15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(engine.pid, signal.SIGKILL)
            engine.wait()
            clear_up(study, folder)
            return 130
        finally:
            for n, handler in old.items():
                signal.signal(n, handler)
        watch.stop()
        clear_up(study, folder)  # had Snakemake been killed, its jobs would still be there
        watch.look()
    return engine.returncode
