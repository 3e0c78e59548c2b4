# The chain: which notebook makes what, from what. `midway run` calls this in outputs/<study>/, whose
# params.yaml it reads; by hand: snakemake -s Snakefile --directory outputs/mini --cores 2
#
# Only record.json is an output: it is renamed into place when all else is there. Snakemake deletes
# the outputs of a failed job, and a failed notebook is what a person wants to read. Whether a record
# is still true is decided by `midway plan` (settings, code, data), not by file times: `ancient`.
import re
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "lib"))
from midway.run import steps as stages
from midway.study import params

STUDY = params.load("params.yaml")
RUN = f"{shlex.quote(sys.executable)} -m midway.run.notebook"


def above(step, **wildcards):
    """Records that a job of this step reads."""
    seed = int(wildcards["seed"]) if "seed" in wildcards else None
    sid = stages.StepId(step, wildcards.get("variant"), seed, wildcards.get("part"))
    return [ancient(f"{up.path}/record.json") for up in stages.upstream(STUDY, sid)]


wildcard_constraints:
    variant="|".join(map(re.escape, {*STUDY.intermediate.variants, *STUDY.carried()})),
    seed="|".join(map(str, STUDY.seeds)),
    part="|".join(STUDY.parts()),


rule report:
    input: above("05_report")
    output: "05_report/record.json"
    shell: "{RUN} 05_report params.yaml"


rule published:
    output: "04_published/record.json"
    priority: 100
    shell: "{RUN} 04_published params.yaml"


rule correlation:
    input: above("03_correlation")
    output: "03_correlation/record.json"
    shell: "{RUN} 03_correlation params.yaml"


rule transfer:
    input: lambda w: above("02_transfer", **dict(w.items()))
    output: "02_transfer/{variant}/seed{seed}/{part}/record.json"
    params: variant=lambda w: w.variant
    threads: STUDY.compute.threads
    shell:
        "{RUN} 02_transfer params.yaml --variant {params.variant:q} --seed {wildcards.seed:q}"
        " --part {wildcards.part:q}"


rule intermediate:
    output: "01_intermediate/{variant}/seed{seed}/record.json"
    params: variant=lambda w: w.variant
    priority: 10  # all before the first 02: what is left at the end then splits evenly over cores
    threads: STUDY.compute.threads
    shell:
        "{RUN} 01_intermediate params.yaml --variant {params.variant:q} --seed {wildcards.seed:q}"


# Every gain is a difference from the baseline, so it goes first.
ruleorder: baseline > intermediate
ruleorder: baseline_transfer > transfer


use rule transfer as baseline_transfer with:
    input: lambda w: above("02_transfer", variant="none", **dict(w.items()))
    output: "02_transfer/none/seed{seed}/{part}/record.json"
    params: variant="none"
    priority: 30


use rule intermediate as baseline with:
    output: "01_intermediate/none/seed{seed}/record.json"
    params: variant="none"
    priority: 30


# The longest training: started last, it would leave the other cores idle at the end.
ruleorder: longest > intermediate


use rule intermediate as longest with:
    output: "01_intermediate/{variant}/seed{seed}/record.json"
    wildcard_constraints: variant="multi.*"
    priority: 20
