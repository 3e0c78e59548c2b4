"""Verbs of a study: run, plan, status, report, clean, audit, seal, doctor, fetch."""

import os
import shutil
from pathlib import Path

from midway.cli.group import a_folder, a_study, as_json, forced, option, say_json, verb
from midway.study.errors import InputError


@verb(
    "run params/smoke.yaml",
    "run params/smoke.yaml --set seeds=[1,2] --set study=two",
    "run params/smoke.yaml --force 02_transfer/mnli --until 03_correlation",
)
@a_study
@option("--cores", type=int, help="Cores to use; all that this process may use by default.")
@option("--profile", help="A file of profiles/, e.g. slurm.")
@option("--until", metavar="STEP", help="Stop after this stage, e.g. 02_transfer.")
@forced
@option("-n", "--dry-run", is_flag=True, help="Only show the plan.")
@option("-v", "--verbose", is_flag=True, help="First say why each step runs.")
def run(study, cores, profile, until, force, dry_run, verbose):
    """Run what a study still needs, up to its report; resumes a run that was stopped."""
    if cores is not None and cores < 1:
        raise InputError(f"--cores: found {cores}, expected at least 1")
    from midway.run import engine, schedule

    if dry_run:  # what run would refuse is refused
        engine.profile(profile)
        return show_plan(study, force, schedule.stages(until))
    if verbose:
        show_plan(study, force, schedule.stages(until))
    return schedule.run(study, cores, profile, until, force)


@verb("plan params/mini.yaml", "plan params/xlmr_large.yaml --cost --peak-tflops 125")
@a_study
@as_json
@forced
@option("--cost", is_flag=True, help="Show the estimated cost: steps, tokens, FLOPs, GPU-hours.")
@option("--peak-tflops", default=312.0, show_default=True, help="TFLOP/s of your GPU (A100: 312).")
@option("--utilisation", default=0.12, show_default=True, help="Share of it that training gets.")
def plan(study, as_json, force, cost, peak_tflops, utilisation):
    """Show every step: new, done or changed, and why; start nothing."""
    if as_json and cost:
        raise InputError("--cost is text only: leave out --json")
    if cost:  # asked before the data are there
        from midway.run import cost as costs

        print(costs.text(study, peak_tflops, utilisation))
    return show_plan(study, force, as_json=as_json, summary=cost)


def show_plan(study, force, stages=None, as_json=False, summary=False):
    from midway.run import plan as planning
    from midway.run import schedule

    if not summary:
        schedule.check(study)
    items = planning.plan(study, schedule.outputs(study), tuple(force))
    items = [i for i in items if stages is None or i.sid.step in stages]
    if as_json:
        say_json([{"step": i.sid.path, "state": i.state, "why": i.why} for i in items])
    else:
        print(planning.summary(items) if summary else planning.show(items))


@verb("status outputs/mini", "status outputs/mini --json")
@a_folder
@as_json
def status(folder, as_json):
    """Show how every step of a study ended."""
    from midway.run import plan as planning
    from midway.study.params import load

    rows = planning.status(folder)
    if as_json:
        return say_json(rows)
    missing = planning.without(load(folder / "params.yaml"), folder)
    print(planning.matrix(rows), *missing, sep="\n")


@verb("report outputs/mini")
@a_folder
def report(folder):
    """Build a study's report (index.html) again from what is finished; nothing else runs."""
    from midway.run import record, schedule

    os.environ[record.BY_HAND] = "1"
    return schedule.report(folder)


@verb("clean outputs/mini")
@a_folder
def clean(folder):
    """Delete a study's cache, which a later run builds again; results and weights stay."""
    from midway.run.status import lock

    freed = 0
    with lock(folder):
        for name in ("cache", ".jobs"):
            freed += sum(p.stat().st_size for p in (folder / name).rglob("*") if p.is_file())
            shutil.rmtree(folder / name, ignore_errors=True)
    print(f"{freed / 1e6:.0f} MB freed")


@verb("audit outputs/mini", "audit outputs/mini --rerun 01_intermediate/mnli/seed1")
@a_folder
@option("--rerun", metavar="STEP", help="Run a step again elsewhere and compare results.")
@as_json
def audit(folder, rerun, as_json):
    """Check that records, notebooks, files and params agree."""
    from midway.run import audit as auditing

    found = auditing.rerun(folder, rerun) if rerun else auditing.audit(folder)
    say_json(found) if as_json else print(auditing.show(found))
    return 1 if found["problems"] else 0


@verb("seal outputs/mini --key ~/.ssh/id_ed25519")
@a_folder
@option("--key", required=True, help="Your private SSH key, as for signing git commits.")
def seal(folder, key):
    """Sign a study whose audit finds no problem; audit then checks the signature."""
    from midway.run import audit as auditing
    from midway.run import seal as sealing

    found = auditing.audit(folder)
    left = [p for p in found["problems"] if not p.startswith(sealing.NAME)]  # an older seal
    if left:
        print(auditing.show(found | {"problems": left}))
        return 1
    print(sealing.seal(folder, Path(key).expanduser()))


@verb("crate outputs/mini")
@a_folder
def crate(folder):
    """Describe a study's records as an RO-Crate (workflow run profile), for other tools."""
    from midway.run import crate as crates

    print(crates.write(folder))


@verb("doctor params/mini.yaml", "doctor params/local_sample.yaml --set data.root=/path/to/data")
@a_study
def doctor(study):
    """Check encoder, data, disk, device and versions before a run."""
    from midway.run import doctor as checking

    rows = checking.checks(study)
    print(checking.show(rows))
    return 0 if all(row["ok"] is not False for row in rows) else 1


@verb("fetch params/hub_laptop.yaml", "fetch params/xlmr_large.yaml --set data.root=data")
@a_study
def fetch(study):
    """Download everything that a study reads, so that it can run without a network."""
    from midway.run import fetch as fetching

    return fetching.fetch(study)
