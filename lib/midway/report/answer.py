"""The report's first screen: the answer in plain words, how sure it is, and on what it rests."""

import pandas as pd

from midway.correlation import tables, words
from midway.report import pictures

SAID = {  # by the sign of what is shown
    1: "a task with a better score of its own {} more",
    0: "it is not shown that a task with a better score of its own {} more",
    -1: "a task with a better score of its own {} less",
}


def first_screen(study, cells, outcomes, made, three: dict, four: dict, complete: bool) -> dict:
    """Answer, certainty and basis, from the numbers by rules (``words``, ``taskweb``).

    three, four: results of 03 and 04, {} while they are unfinished.
    """
    said = three.get("sections") or {
        "answer": words.headline(cells),
        "between": words.family(cells, most=1)[:2] if cells["p"].notna().any() else [],
        "limits": words.limits(study.fold(), len(set(outcomes["variant"])), len(study.seeds)),
    }
    sure = four.get("answer", [])[:2] + said["answer"] + _range(study, outcomes, complete)
    sure += [
        line for part in ("reliability", "between", "within") for line in said.get(part, [])[:1]
    ]
    return {
        "answer": {k: v for k, v in (("Real tasks", real(made)), (mini(study), here(cells))) if v},
        "sure": sure, "limits": said["limits"] if len(outcomes) else [],
    }  # fmt: skip


def _range(study, outcomes, complete: bool) -> list[str]:
    """How far intermediate training moves the average score."""
    mean = outcomes[outcomes["target"] == "average"].groupby("variant")["gain"].mean()
    mean = mean[[tables.is_unit(v) for v in mean.index]].dropna()
    if not len(mean):
        return []
    return [
        f"Over {len(study.transfer.targets)} targets, intermediate training changes the zero-shot "
        f"score by {mean.min():+.1f} to {mean.max():+.1f} points, depending on the task"
        f"{'' if complete else ', in what is finished'}."
    ]


def mini(study) -> str:
    return "Miniature" if study.data.source == "mini" else "This study"


def real(made: dict) -> str:
    """One plain sentence about published tasks (from 04), "" without it."""
    if "taskweb_mean" not in made:
        return ""
    row = made["taskweb_mean"][1].set_index("predictor").loc["own"]
    low, high = min(row["low"], row["family_low"]), max(row["high"], row["family_high"])
    said = SAID[int(low > 0) - int(high < 0)].format("helps other tasks")
    return f"On {row['n'] / row['strata']:.0f} published tasks, {said} ({_rho(row, low, high)})."


def here(cells: pd.DataFrame) -> str:
    """One plain sentence about this study."""
    row = pictures.own_score(cells)
    if row is None:
        return "There is no answer yet: too few variants have been carried to all targets."
    way = (1 if row["rho"] > 0 else -1) * int(words.holds(row, cells.attrs.get("alpha", 0.05)))
    said = SAID[way].format("helps transfer to other languages")
    what = "" if row["predictor"] == "main" else "; score: its rise in training"
    facts = _rho(row, row["low"], row["high"])
    return f"In {row['n']:.0f} tasks of this study, {said} ({facts}{what})."


def _rho(row, low, high) -> str:
    return f"rho = {row['rho']:+.2f}, interval {low:+.2f} to {high:+.2f}"
