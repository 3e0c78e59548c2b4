"""The report's first screen: the answer in plain words, how sure it is, and on what it rests."""

import pandas as pd

from midway.correlation import tables, words
from midway.report import pictures
from midway.study import names

SAID = {  # by the sign of what is shown
    1: "a task with a better score of its own {} more",
    0: "it is not shown that a task with a better score of its own {} more",
    -1: "a task with a better score of its own {} less",
}


def first_screen(study, cells, outcomes, made, published: dict, n: int, complete: bool) -> dict:
    """Answer, certainty and basis, from the numbers by rules (``words``, ``taskweb``)."""
    sure = [*published.get("answer", [])[:2], *words.headline(cells)]
    mean = outcomes[outcomes["target"] == "average"].groupby("variant")["gain"].mean()
    mean = mean[[tables.is_unit(v) for v in mean.index]].dropna()
    if len(mean):
        best, worst = mean.idxmax(), mean.idxmin()
        sure.append(
            f"Over {len(study.transfer.targets)} targets, intermediate training changes the "
            f"zero-shot score by {mean[worst]:+.1f} points ({names.variant(worst)}) to "
            f"{mean[best]:+.1f} ({names.variant(best)})"
            f"{'' if complete else ' in what is finished'}."
        )
    if cells["p"].notna().any():
        sure += words.family(cells, most=1)[:2]
    return {
        "answer": {k: v for k, v in (("Real tasks", real(made)), (mini(study), here(cells))) if v},
        "sure": sure,
        "limits": words.limits(study.fold(), n, len(study.seeds)) if n else [],
    }  # fmt: skip


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
