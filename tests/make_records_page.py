"""Write docs/records.md from the record models: ``python tests/make_records_page.py``."""

from pathlib import Path

from midway.run import record

HEAD = """# Records

Each finished step has a file `record.json` in its folder. The record says what the step measured
and names everything that the measurement depends on. Midway writes the record last and atomically:
if it exists, all files that it names exist, too. Each language of a target has its own record,
`scores/<target>.<lang>.json`, which is written as soon as the language is scored. Midway refuses a
record with an unknown field or of a newer schema version, and upgrades an older one when it reads
it (`UPGRADES` in `lib/midway/run/record.py`).

`sha256` is the hash of the record's canonical JSON with an empty `sha256`. If somebody edits the
record, the hash no longer agrees. `hashes` covers everything that the step depends on:

| key in `hashes` | what is hashed |
|---|---|
| `params` | the settings that the step reads, as the field `params` shows them |
| `lib` | each file of the library's packages that the notebook uses |
| `notebook` | the source of the notebook's code cells |
| `encoder` | the pinned revision, or the files of a local folder |
| `data` | per task: its files (local), its revision (hub), or the language files (mini) |
| `upstream` | for each step that this step reads: its results and files, without times and cost |

`midway plan` compares these hashes with the present state. A record is valid as long as it is
complete, its `hashes` equal those of the present state, and every file in `files` has its recorded
hash. `plan`, `run`, `status`, `audit` and the report all use this definition. When a step runs
again, Midway first deletes its record.

The hash of an executed notebook covers its cells and outputs, but not its metadata, because
programs that open a notebook write to its metadata. The executed notebook is read-only.
`state.json` says how the last execution ended (`done`, `failed`, `died` or `interrupted`), also
when there is no record.

`results` of `01_intermediate` has `task`, `tasks` (more than one for `multi`), `train_n` (training
rows), `train_sizes`, `label_shuffled`, `steps`, `selected_step`, `losses`, `trajectory`, `summary`
and `missing`. `trajectory` is a list with one entry per checkpoint: `step`, `fraction`, `metrics`,
`jackknife` (each metric without each of ten groups of development rows, for its error; not for
`none` and `multi`) and, if the encoder was kept at this point, `dose`. Step 0 is the baseline.

`results` of `02_transfer` has `targets`, by name. Each target has `train_key`, `train_n`, `steps`,
`losses`, `english`, `zero_shot`, `xtreme_mean`, `logme`, `languages`, `controls` and `missing`. In
`variant`, the dose follows the name: `mnli@0.33`.

Scores are in percent and losses in nats; calibration error, contrasts and gaps of cosines have no
unit.

## What an audit proves and what it does not prove

`midway audit` proves that a folder agrees with itself and with the present library, notebooks and
data: nobody has changed, removed, added or swapped a file by accident or halfway. It proves nothing
against somebody who changes a score and then computes all hashes again, because a hash is not a
signature. `midway audit --rerun STEP` runs a step again and compares its numbers, predictions and
weights. On a machine that computes the same bits, it finds such a forgery in this step.

If you want proof, sign the study. `midway seal outputs/x --key ~/.ssh/id_ed25519` writes the list
of the records' hashes and its signature (`seal.txt` and `seal.txt.sig`), with `ssh-keygen`, as git
signs commits. After that, `audit` says with which key the study was signed, and names what has
changed since. It cannot know who owns the key: publish the key, or compare it with
`https://github.com/<name>.keys`. `ssh-keygen -Y verify` checks the signature against a list of
allowed signers.

`midway crate outputs/x` writes `ro-crate-metadata.json`. It describes the same records as an
[RO-Crate](https://w3id.org/ro/wfrun/workflow) of the workflow run profile, for archives and other
tools.

## What records say about you

A record has no user name, host name, home folder or environment variable. `environment` has the
versions of Python and nine packages, the operating system, the processor, the number of cores, the
commit, and whether the working tree had uncommitted changes. 01 and 02 add the number of threads,
the name of the GPU and, with hub data, the files that were read. `state.json` and `.lock` have the
host name and a process id. Nobody needs these two files to read a study: leave them out when you
publish it. Notebooks show paths relative to the project's folder, but the traceback of a failed
notebook shows absolute paths. If your study or data is in another folder, its path is shown as you
gave it.
"""


def page() -> str:
    """The page's text."""
    text = HEAD
    for title, model in (
        ("record.json", record.StepRecord),
        ("cost, in record.json", record.Cost),
        ("scores/<target>.<lang>.json", record.ScoreRecord),
    ):
        text += f"\n## {title}\n\n| field | type | meaning |\n|---|---|---|\n"
        for name, field in model.model_fields.items():
            kind = field.annotation
            kind = kind.__name__ if isinstance(kind, type) and "[" not in str(kind) else str(kind)
            kind = kind.replace("typing.", "").replace("|", "or")
            text += f"| `{name}` | {kind} | {field.description or ''} |\n"
    return text


if __name__ == "__main__":
    folder = Path(__file__).resolve().parents[1] / "docs"
    folder.mkdir(exist_ok=True)
    (folder / "records.md").write_text(page(), encoding="utf-8")
