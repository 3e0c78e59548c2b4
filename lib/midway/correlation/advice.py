"""Sentences about choosing a task, a metric, a specification or a design; as in :mod:`words`.

'Predicts' is said of a choice only where it beat chance on tasks that did not choose the rule.
"""

import pandas as pd

from midway.correlation import tables
from midway.correlation.words import p_of

ENOUGH = 5  # candidates below which any metric finds the best one by luck
SURE = 0.95  # a task helps, hurts or is best only if a repetition would find so, this probably


def choice(table: pd.DataFrame, target: str = "", nested=None, alpha=0.05) -> list[str]:
    """Sentences on the cost of choosing a task by a metric, for one target.

    target: "" is the average; table: of :func:`midway.correlation.choice.quality`, a description;
    nested: of :func:`midway.correlation.choice.nested`, without which no verdict is given.
    """
    target = target or tables.overall(table["target"])
    rows = table[table["target"] == target].dropna(subset=["regret_1"])
    target = "the average" if target == "average" else target
    if rows.empty:
        return [f"No choice can be judged for {target}: fewer than two tasks are finished."]
    best = rows[rows["kind"] == "predictor"].sort_values("regret_1", kind="stable")
    best = best[best["n"] == best["n"].max()]  # only metrics that all candidates have compare
    if best.empty:
        return [f"No predictor covers the variants of {target}."]
    n, tried = int(best.iloc[0]["n"]), len(best)
    if n < ENOUGH:
        return [f"{n} tasks are too few to judge a choice for {target}."]
    out = [
        f"For {target}, {tried} metrics were compared on the {n} tasks that they are judged on; "
        f"the best is not named: {tried / n:.1f} of {tried} rules would find the best of {n} tasks "
        "by luck alone."
    ]
    if (rows.loc[rows["kind"] == "none", "regret_1"] < 0).any():
        out.append(f"For {target} no intermediate task had a measured gain above zero.")
    return out + nested_choice(nested, target, alpha)


def nested_choice(nested, target: str = "the average", alpha: float = 0.05) -> list[str]:
    """The verdict on choosing by metric: on tasks that did not choose the rule."""
    if nested is None:
        return []
    if not len(nested):
        return [f"Choosing by metric cannot be judged out of sample for {target}: it needs four "
                "families of tasks and a metric that all have."]  # fmt: skip
    row = nested[nested["kind"] == "nested"].iloc[0]
    facts = (
        f"{row['tried']:.0f} rules tried; a choice between two unseen tasks of different families "
        f"loses {row['regret']:.1f} points on average against the better one, a coin flip "
        f"{row['random']:.1f}; difference "
        f"{row['saved']:+.1f}, by chance {row['low']:+.1f} to {row['high']:+.1f}, {p_of(row['p'])}"
    )
    if row["p"] < alpha / 4:  # one-sided, and one of several verdicts on the same data
        return [f"Choosing by metric predicts better than chance on unseen tasks ({facts})."]
    return [f"Choosing by metric is not shown to beat chance on unseen tasks ({facts})."]


def advice(table: pd.DataFrame, target: str, facts: dict) -> list[str]:
    """What a ranking of :func:`recommend.recommend` says to do; 'cannot tell' is usual."""
    target = "the average" if target == "average" else target
    known = table.dropna(subset=["expected"])
    first = known.iloc[0]
    gain = (
        f"{first['variant']} is expected to change the score by {first['expected']:+.1f} points "
        f"(measured {first['gain']:+.1f}; with other seeds and test items {first['low']:+.1f} to "
        f"{first['high']:+.1f})"
    )
    if first["source"] != "measured":
        gain = gain.replace(f"measured {first['gain']:+.1f}; ", "not measured; ")
    noise = ", ".join(f"{name} {sd:.1f}" for name, sd in facts["noise"].items())
    noise = f"Noise of one gain: {noise}; seed noise {facts['seed_noise']}."
    if facts["repeat_hurts"] >= SURE:
        return [f"Take none for {target}: no intermediate task is expected to help; {gain}.", noise]
    if facts["repeat_helps"] < SURE:
        return [f"Cannot tell whether any intermediate task helps {target}: {gain}; a repetition "
                f"would find a clear gain with probability {facts['repeat_helps']:.2f}, and {SURE} "
                "is asked for.", noise]  # fmt: skip
    cost = f"expected regret {facts['expected']:.1f} points, of a random task {facts['random']:.1f}"
    if facts["repeat_best"] >= SURE:
        return [f"Take {first['variant']} for {target}: {gain}; {cost}.", noise]
    if len(known) == 1:
        return [f"Take {first['variant']} for {target}, the only one finished: {gain}.", noise]
    may = ", ".join(known.loc[known["p_best"] >= 0.05, "variant"])
    return [f"Cannot tell which task is best for {target}: it may be {may}. Training on one helps: "
            f"{gain}; {cost}.", noise]  # fmt: skip


def comparison(table: pd.DataFrame, a: str, b: str) -> str:
    """One sentence about :func:`midway.correlation.correlate.compare` (its mean over outcomes)."""
    row = table.set_index("outcome").loc["mean of outcomes"]
    facts = f"difference of mean rho {row['difference']:+.2f}, interval {row['low']:+.2f} to "
    facts += f"{row['high']:+.2f}, n = {row['n']:.0f} tasks"
    if pd.isna(row["difference"]):
        return f"{a} and {b} cannot be compared: a column is constant."
    if row["low"] > 0 or row["high"] < 0:
        better, worse = (a, b) if row["difference"] > 0 else (b, a)
        return f"{better} goes with transfer more closely than {worse}: {facts}."
    return f"{a} and {b} are not shown to differ: {facts}."


def specification(table: pd.DataFrame, outcome: str = "gain") -> list[str]:
    """How far each predictor's rho depends on choices, of :func:`specification.curve`."""
    out = []
    part = table[(table["outcome"] == outcome) & table["rho"].notna()]
    for name, rows in part.groupby("predictor", sort=False):
        low, high = rows["rho"].min(), rows["rho"].max()
        changes = "depends on the specification" if low < 0 < high else "is always the same"
        usual = rows.loc[rows["default"], "rho"]
        here = f"; reported: {usual.iloc[0]:+.2f}" if len(usual) else ""
        out.append(
            f"{name}: the sign of rho {changes} ({len(rows)} specifications, in this study "
            f"{low:+.2f} to {high:+.2f}{here})."
        )
    return out


def budget(runs: pd.DataFrame, nested: pd.DataFrame, share: float) -> list[str]:
    """Early choice within a budget: how many rules, what luck gives, and the verdict."""
    rules = runs[runs["predictor"] != "random choice"]
    luck = float((rules["k"] / rules["n"]).sum())
    found = int((rules["regret"] <= 1e-9).sum())
    out = [
        f"Early choice within {share:.0%} of the compute: {len(rules)} rules were tried on the "
        f"recorded runs. {found} of them keep the best task; by luck alone {luck:.1f} would.",
        *nested_choice(nested),
    ]
    if not len(nested) or not nested["p"].iloc[0] < 0.0125:
        out.append("No rule is recommended. The table shows what each would have cost here.")
    return out


def power(table: pd.DataFrame) -> list[str]:
    """What a design can show, of :func:`midway.correlation.design.table`."""
    effect, aim = table.attrs["effect"], table.attrs["aim"]
    row, out = table.iloc[0], []
    families = f"{row['tasks']} tasks in {row['families']} families, {row['seeds']} seed(s)"
    for kind, what in (("between", families), ("within", f"{row['doses']} doses each")):
        seen = row[f"power_{kind}"]
        if pd.isna(seen):
            continue
        out.append(
            f"{kind.capitalize()} tasks, with {what}: a true correlation of {effect:.2f} is found "
            f"in {seen:.0%} of studies; {_needs(row[f'rho_{kind}'], aim)}."
        )
        enough = table[table[f"power_{kind}"] >= aim]
        if seen < aim and len(enough):
            best = enough.sort_values("core_s").iloc[0]
            price = f"{best['core_s']:,.0f} core-s (now {row['core_s']:,.0f})"
            out.append(f"The cheapest alternative that reaches it: {best['design']}, {price}.")
        elif seen < aim:
            out.append("None of the alternatives reaches it.")
    return [*out, f"Simulated from: {table.attrs['source']}."]


def _needs(rho, aim) -> str:
    if pd.isna(rho):
        return f"no true correlation is found in {aim:.0%} of studies"
    return f"{aim:.0%} need a true correlation of {rho:.2f} or more"
