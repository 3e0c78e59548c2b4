"""Write docs/records.md from the record models: ``python tests/make_records_page.py``."""

from pathlib import Path

from midway.run import record

HEAD = """# Records

A finished step leaves `record.json` in its folder. The record is written last and atomically: if it
exists, all files that it names exist. Each language of a target leaves
`scores/<target>.<lang>.json` as soon as it is known. Unknown fields are refused; a record of a
newer schema is refused by its version; older ones are upgraded when read (`records.UPGRADES`).

`sha256` is the hash of the record's canonical JSON with `sha256` empty, so an edit shows.
`hashes` names everything the step depends on; `midway plan` compares them with the present state:

| in `hashes` | what is hashed |
|---|---|
| `params` | the settings that the step reads, as they stand in `params` |
| `lib` | each library file that the notebook imports, directly or not |
| `notebook` | the source of the notebook's code cells |
| `encoder` | pinned revision, or the files of a local folder |
| `data` | task -> its files' bytes (local), revision (hub), world and language packs (mini) |
| `upstream` | step read -> its results and files, without times and cost |

The record is deleted before a step runs again. A record is valid (for `plan`, `run`, `status`,
`audit` and the report alike) while it is complete, its `hashes` equal those of the present inputs,
and every file in `files` has its hash. The hash of an executed notebook is that of its
cells and outputs, without metadata, which programs that show a notebook save into it; the file is
read-only. `state.json` says how the last execution ended (done, failed, died, interrupted), also
when there is no record.

`results` of `01_intermediate`: `task`, `train_n`, `steps`, `trajectory` (a list of `step`,
`fraction`, `metrics` and, where the encoder was kept, `dose`; step 0 is the baseline), `controls`,
`label_shuffled`, `summary`. The `variant` of `02_transfer` has its dose behind it: `mnli@0.33`.
`results` of `02_transfer`: `targets`, by name: `train_key`, `train_n`, `steps`, `english`,
`zero_shot`, `xtreme_mean`, `logme`, `languages`, `controls`, `missing`.
Scores are in percent; loss is in nats; calibration error, contrasts and gaps in natural units.

## What an audit proves and what it does not prove

`midway audit` proves that a folder agrees with itself and with this library, these notebooks and
these data: nobody has changed, removed, added or swapped a file by accident or halfway. It proves
nothing against somebody who changes a score and then makes every hash anew: hashes are no
signature. `midway audit --rerun STEP` runs a step again and compares its numbers, predictions and
weights; that finds such a forgery in the step that was forged, on a machine that gives the same
bits.

Who wants proof signs: `midway seal outputs/x --key ~/.ssh/id_ed25519` writes the list of the
records' hashes and its signature (`seal.txt`, `seal.txt.sig`), made by `ssh-keygen` as git signs
commits. `audit` then says with which key the study was signed, and names what has changed since.
It cannot know whose key that is: publish the key, or compare with
`https://github.com/<name>.keys`; `ssh-keygen -Y verify` does so against a list of signers.

`midway crate outputs/x` writes `ro-crate-metadata.json`, which describes the same records as an
[RO-Crate](https://w3id.org/ro/wfrun/workflow) of the workflow run profile, for archives and
other tools.

## What records say about you

No user name, host name, home folder or environment value. `environment` has the versions of
Python and of nine packages, operating system, processor, number of cores, the commit and whether
the tree had changes; 01 and 02 add threads and the GPU's name. `state.json` and `.lock`, which
are not needed to read a study, have host name and process id: leave them out of what you publish.
Notebooks show paths below the project's folder, the traceback of a failed one whole paths; a
study or data folder elsewhere is shown as you gave it.
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
