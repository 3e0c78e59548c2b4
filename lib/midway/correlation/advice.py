"""Sentences about choosing a task and planning a study; the rules of :mod:`words` hold.

'Predicts' is said of a choice only where it beat chance on tasks that did not choose the rule.
"""

import pandas as pd

from midway.correlation.words import p_of

ENOUGH = 5  # candidates below which any metric finds the best one by luck
SURE = 0.975  # probability from which one task is called better than none, or the best


def choice(table: pd.DataFrame, target: str = "average", nested=None, alpha=0.05) -> list[str]:
    """Sentences on the cost of choosing a task by a metric, for one target.

    table: of :func:`midway.correlation.choice.quality`, a description; nested: of
    :func:`midway.correlation.choice.nested`, without which no verdict is given.
    """
    rows = table[table["target"] == target].dropna(subset=["regret_1"])
    target = "the average" if target == "average" else target
    if rows.empty:
        return [f"No choice can be judged for {target}: fewer than two tasks are finished."]
    best = rows[rows["kind"] == "predictor"].sort_values("regret_1", kind="stable")
    best = best[best["n"] == best["n"].max()]  # only metrics that all candidates have compare
    random = rows[rows["kind"] == "random"].iloc[0]
    if best.empty:
        return [f"No predictor covers the variants of {target}."]
    out = []
    if (rows.loc[rows["kind"] == "none", "regret_1"] < 0).any():
        out.append(f"No intermediate task helped {target}: the best measured below none at all.")
    first, n, tried = best.iloc[0], int(best.iloc[0]["n"]), len(best)
    if n < ENOUGH:
        return [*out, f"{n} tasks are too few to judge a choice for {target}."]
    lucky = f"{tried / n:.1f} of {tried} rules would find the best of {n} tasks by luck alone"
    out.append(
        f"For {target}, the best of {tried} metrics on these tasks, {first['predictor']}, costs "
        f"{first['regret_1']:.1f} points against the best task, a random choice "
        f"{random['regret_1']:.1f}; it was chosen on the data it is judged on ({lucky})."
    )
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
        f"{row['tried']:.0f} rules tried, a choice between two unseen tasks of different families "
        f"costs {row['regret']:.1f} points, a coin {row['random']:.1f}; saved {row['saved']:+.1f}, "
        f"by chance {row['low']:+.1f} to {row['high']:+.1f}, {p_of(row['p'])}"
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
    noise = f"Noise of one gain: {_noise(facts['noise'])}; seed noise {facts['seed_noise']}."
    if first["p_helps"] < 1 - SURE:
        return [f"Take none for {target}: no intermediate task is expected to help; {gain}.", noise]
    if first["p_helps"] < SURE:
        return [f"Cannot tell whether any intermediate task helps {target}: {gain}.", noise]
    cost = f"expected regret {facts['expected']:.1f} points, of a random task {facts['random']:.1f}"
    if first["p_best"] >= SURE:
        return [f"Take {first['variant']} for {target}: {gain}; {cost}.", noise]
    if len(known) == 1:
        return [f"Take {first['variant']} for {target}, the only one finished: {gain}.", noise]
    may = ", ".join(known.loc[known["p_best"] >= 0.05, "variant"])
    return [f"Cannot tell which task is best for {target}: it may be {may}. Training on one helps: "
            f"{gain}; {cost}.", noise]  # fmt: skip


def _noise(parts: dict) -> str:
    return ", ".join(f"{name} {sd:.1f}" for name, sd in parts.items())


def budget(runs: pd.DataFrame, nested: pd.DataFrame, share: float) -> list[str]:
    """Early choice within a budget: how many rules, what luck gives, and the verdict."""
    rules = runs[runs["predictor"] != "random choice"]
    luck = float((rules["k"] / rules["n"]).sum())
    found = int((rules["regret"] <= 1e-9).sum())
    out = [
        f"Early choice within {share:.0%} of the compute: {len(rules)} rules tried on the runs "
        f"recorded; {found} of them keep the best task, by luck alone {luck:.1f} would.",
        *nested_choice(nested),
    ]
    if not len(nested) or not nested["p"].iloc[0] < 0.0125:
        out.append("No rule is recommended. The table shows what each would have cost here.")
    return out


def power(table: pd.DataFrame) -> list[str]:
    """What a design can show, of :func:`midway.correlation.design.table`."""
    effect, aim = table.attrs["effect"], table.attrs["aim"]
    row = table.iloc[0]
    what = f"{row['tasks']} tasks in {row['families']} families, {row['seeds']} seed(s)"
    out = [
        f"Between tasks, with {what}: a true correlation of {effect:.2f} is found in "
        f"{row['power_between']:.0%} of studies; {_needs(row['rho_between'], aim)}."
    ]
    enough = table[table["power_between"] >= aim]
    if row["power_between"] < aim and len(enough):
        best = enough.sort_values("core_s").iloc[0]
        price = f"{best['core_s']:,.0f} core-s (now {row['core_s']:,.0f})"
        out.append(f"Of the alternatives {best['design']} would do, at {price}.")
    elif row["power_between"] < aim:
        out.append("None of the alternatives would do.")
    if pd.notna(row["power_within"]):
        out.append(
            f"Within tasks, with {row['doses']} doses each: {row['power_within']:.0%}; "
            f"{_needs(row['rho_within'], aim)}."
        )
    return [*out, f"Simulated from: {table.attrs['source']}."]


def _needs(rho, aim) -> str:
    if pd.isna(rho):
        return f"no correlation reaches {aim:.0%}"
    return f"{aim:.0%} are reached from {rho:.2f} on"
