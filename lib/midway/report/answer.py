"""The report's first screen: the answer in plain words, how sure it is, and on what it rests."""

import pandas as pd

from midway.correlation import tables, words
from midway.report import pictures
from midway.study import names

SAID = {  # by the sign of what is shown
    1: "Yes: {}, {} {} more ({}).",
    0: "Not shown: {}, {} did not clearly {} more ({}).",
    -1: "The opposite: {}, {} {} less ({}).",
}
SCORE = "those with a better score of their own"


def first_screen(study, cells, outcomes, made, three: dict, four: dict, complete: bool) -> dict:
    """Answer, certainty and basis, from the numbers by rules (``words``, ``taskweb``).

    three, four: results of 03 and 04, {} while they are unfinished. ``more``: further sentences
    about certainty, for readers who want them.
    """
    n = len(set(outcomes["variant"]) & set(tables.tasks.INTERMEDIATE))
    said = three.get("sections") or {
        "answer": words.headline(cells),
        "between": words.family(cells, most=1)[:2] if cells["p"].notna().any() else [],
        "limits": words.limits(study.fold(), n, len(study.seeds)),
    }
    lines = {"Published real tasks": real(made), mini(study): here(cells, n, complete)}
    more = said["answer"] + four.get("answer", [])[:2]
    for part in ("between", "within", "reliability"):
        more += said.get(part, [])[:1]
    return {
        "answer": {tag: line for tag, line in lines.items() if line},
        "sure": _width(cells) + _power(three) + _pairs(cells),
        "more": more + said.get("choice", [])[-1:] + _range(study, outcomes, complete),
        "limits": said["limits"] if len(outcomes) else [],
    }  # fmt: skip


def _width(cells: pd.DataFrame) -> list[str]:
    """What the interval of the answer leaves open."""
    row = pictures.own_score(cells)
    if row is None or not (row["low"] < -0.3 and row["high"] > 0.3):
        return []
    return ["Very unsure: the interval includes clear relations in both directions."]


def _power(three: dict) -> list[str]:
    """How often a study like this one would find a true correlation."""
    for row in three.get("design", []):
        known = row.get("power_between") is not None and three.get("n", 3) >= 3
        if row["design"] == "as it is" and known:
            found = f"{100 * row['power_between']:.0f} of 100 cases"
            return [f"A study of this size finds a true correlation of 0.5 in {found}."]
    return []


def _pairs(cells: pd.DataFrame) -> list[str]:
    """How many of the tested pairs hold."""
    tested = cells[cells["p"].notna()]
    if tested.empty:
        return []
    alpha = cells.attrs.get("alpha", 0.05)
    held = sum(words.holds(row, alpha) for _, row in tested.iterrows())
    return [f"Of {len(tested)} tested pairs of a metric and an outcome, {held or 'none'} "
            f"{'holds' if held < 2 else 'hold'} after correction for multiple tests."]  # fmt: skip


def _range(study, outcomes, complete: bool) -> list[str]:
    """How far intermediate training moves the average score."""
    mean = outcomes[outcomes["target"] == "average"].groupby("variant")["gain"].mean()
    mean = mean[[tables.is_unit(v) for v in mean.index]].dropna()
    if not len(mean):
        return []
    return [
        f"Over all {len(study.transfer.targets)} targets, intermediate training changes the "
        f"zero-shot score by {mean.min():+.1f} to {mean.max():+.1f} points, depending on the task"
        f"{'' if complete else ', in what is finished'}."
    ]


def mini(study) -> str:
    said = words.scope(study.fold())
    part = "" if said == [words.MICROWORLD] else "partly "
    return f"This study, {part}a miniature" if said else "This study"


def real(made: dict) -> str:
    """One plain sentence about published tasks (from 04), "" without it."""
    if "taskweb_mean" not in made:
        return ""
    row = made["taskweb_mean"][1].set_index("predictor").loc["own"]
    low, high = min(row["low"], row["family_low"]), max(row["high"], row["family_high"])
    sign = int(low > 0) - int(high < 0)
    where = f"among {row['n'] / row['strata']:.0f} English tasks (English targets)"
    does = "help" if sign == 0 else "helped"
    return SAID[sign].format(where, SCORE, f"{does} other tasks", _rho(row, low, high))


def here(cells: pd.DataFrame, n: int = 0, complete: bool = False) -> str:
    """One plain sentence about this study of n intermediate tasks."""
    row = pictures.own_score(cells)
    if row is None and not complete:
        return "No answer yet: too few variants have been carried to all targets."
    if row is None and n < 3:
        return (f"No answer: {n} intermediate task{'s are' if n != 1 else ' is'} too few. A "
                "correlation needs three, and at least five to be significant.")  # fmt: skip
    if row is None:
        return "No answer: no correlation of the own score can be computed."
    verdict = words.verdict(row, cells.attrs.get("alpha", 0.05))
    sign = (1 if row["rho"] > 0 else -1) * int(verdict == "holds")
    rise = row["predictor"] == "main_gain"
    who = "those whose own score rose more in training" if rise else SCORE
    on = "" if row["outcome"] == "average" else f" on {names.outcome(row['outcome'])}"
    does = f"{'improve' if sign == 0 else 'improved'} transfer{on} to other languages"
    facts = _rho(row, row["low"], row["high"])
    text = SAID[sign].format(f"among {row['n']:.0f} intermediate tasks", who, does, facts)
    start = {"undecided": "Undecided:", "none": "Too few tasks to tell:"}.get(verdict)
    return text.replace("Not shown:", start) if start else text


def _rho(row, low, high) -> str:
    facts = f"rank correlation {row['rho']:+.2f}"
    return facts if pd.isna(low) else f"{facts}, 95 % interval {low:+.2f} to {high:+.2f}"
