"""Write docs/records.md from the record models: ``python tests/make_records_page.py``."""

from pathlib import Path

from midway.run import record

HEAD = """# Records

A finished step leaves `record.json` in its folder, written last and renamed into place: where it
stands, everything it names is there. Each language of a target leaves `scores/<target>.<lang>.json`
as soon as it is known. Unknown fields are refused; a record of a newer schema is refused by its
version; older ones are upgraded when read (`records.UPGRADES`).

`sha256` is the hash of the record's canonical JSON with `sha256` empty, so an edit shows.
`hashes` names everything the step depends on; `midway plan` compares them with what is there now:

| in `hashes` | what is hashed |
|---|---|
| `params` | the settings that the step reads, as they stand in `params` |
| `lib` | each library file that the notebook imports, directly or not |
| `notebook` | the source of the notebook's code cells |
| `encoder` | pinned revision, or the files of a local folder |
| `data` | task -> its files' bytes (local), revision (hub), world and language packs (mini) |
| `upstream` | step read -> its results and files, without times and cost |

A step that turns out to have the same inputs as a retired record (`record.stale.json`) gets that
record back without being run. `state.json` says how the last execution ended (done, failed, died,
interrupted), also when there is no record.

`results` of `01_intermediate`: `task`, `train_n`, `steps`, `trajectory` (a list of `step`,
`fraction`, `metrics` and, where the encoder was kept, `dose`; step 0 is the baseline), `controls`,
`label_shuffled`, `summary`. The `variant` of `02_transfer` has its dose behind it: `mnli@0.33`.
`results` of `02_transfer`: `targets`, by name: `train_key`, `train_n`, `steps`, `english`,
`zero_shot`, `xtreme_mean`, `logme`, `languages`, `controls`, `missing`.
Scores are in percent; loss is in nats; calibration error, contrasts and gaps in natural units.
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
