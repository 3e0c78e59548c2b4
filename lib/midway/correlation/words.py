"""Sentences about results, made from the numbers by rules, so that they never claim more.

README, report and 03 take their sentences from here. The rules: a correlation 'holds' only if the
family-wise p is below alpha by more than the error of its permutations, its interval excludes zero
and n can reach alpha at all; where that error straddles alpha the word is 'undecided'. 'Predicts'
is said only of what was predicted out of sample. A wide interval is never called an absence. Every
sentence names n, unit and correction.
"""

import numpy as np
import pandas as pd

ENOUGH = 5  # candidates below which any metric finds the best one by luck
SURE = 0.975  # probability from which one task is called better than none, or the best
SYMBOLS = {"spearman": "rho", "pearson": "r", "kendall": "tau"}
MICROWORLD = (
    "The data are a microworld of our own sentences: nothing here, not even a sign, is evidence "
    "about the real tasks."
)


def verdict(row, alpha: float = 0.05) -> str:
    """Of a row of :func:`correlate.correlate`: 'holds', 'undecided', 'not shown', 'none'.

    'undecided': other random permutations may put p on the other side of alpha.
    """
    if any(pd.isna(row[name]) for name in ("rho", "p_maxt", "critical")):
        return "none"
    ends = row["p_mc_low"], row["p_mc_high"]
    if ends[0] < ends[1] and ends[0] <= alpha <= ends[1]:
        return "undecided"
    clear = row["low"] > 0 or row["high"] < 0  # False for nan
    return "holds" if row["p_maxt"] < alpha and clear else "not shown"


def holds(row, alpha: float = 0.05) -> bool:
    """Whether a correlation may be called shown, see :func:`verdict`."""
    return verdict(row, alpha) == "holds"


def cell(row, alpha: float = 0.05, unit: str = "tasks", symbol: str = "rho") -> str:
    """One sentence about one predictor and one outcome."""
    pair = f"{row['predictor']} and {row['outcome']}"
    if pd.isna(row["rho"]):
        return f"{pair}: no correlation can be computed ({row['note']})."
    facts = f"{symbol} = {row['rho']:+.2f}, n = {row['n']:.0f} {unit}"
    if pd.isna(row["critical"]):
        return f"{pair}: {facts}; no correlation of so few could reach p < {alpha:g}."
    if pd.notna(row["low"]):
        facts += f", {100 * (1 - alpha):g} % interval {row['low']:+.2f} to {row['high']:+.2f}"
    facts += f", family-wise {_p(row['p_maxt'])}"
    said = verdict(row, alpha)
    if said == "holds":
        way = "rises" if row["rho"] > 0 else "falls"
        return f"{row['outcome']} {way} with {row['predictor']}: {facts}.{_carried(row)}"
    if said == "undecided":
        return f"{pair}: undecided, p is as near to {alpha:g} as its own error ({facts})."
    if row["p"] < alpha:
        why = "not after correction for the other pairs"
        if row["p_maxt"] < alpha:
            why = "but its interval includes zero"
        return f"{pair} are associated if taken alone ({_p(row['p'])}), {why}: {facts}."
    return f"{pair}: not shown, and not excluded ({facts})."


def _carried(row) -> str:
    """Which single unit or family a correlation rests on."""
    for low, high, what in (
        ("loo_low", "loo_high", "task"),
        ("lofo_low", "lofo_high", "family of tasks"),
    ):
        if row.get(low, 1) * row.get(high, 1) <= 0:
            return f" One {what} carries it: without it the sign is open."
    return ""


def family(table: pd.DataFrame, unit: str = "tasks", most: int = 5) -> list[str]:
    """What follows from a table: per family of tests a summary, then its strongest cells.

    Pairs that were named before training ('primary') are a family of their own, and come first.
    """
    if not table["p"].notna().any():
        why = "; ".join(sorted(set(table["note"]) - {""})) or "the table is empty"
        return [f"No cell has enough data for a correlation: {why}."]
    if "primary" not in table:
        return _family(table[table["p"].notna()], unit, most, "predictor-outcome")
    out = []
    for first, name in ((True, "primary"), (False, "exploratory")):
        part = table[(table["primary"] == first) & table["p"].notna()]
        if len(part):
            part.attrs = table.attrs
            out += _family(part, unit, most, name)
    return out


def _family(known, unit, most, name) -> list[str]:
    alpha, n = known.attrs.get("alpha", 0.05), _range(known["n"])
    symbol = SYMBOLS.get(known.attrs.get("method"), "rho")
    said = pd.Series([verdict(row, alpha) for _, row in known.iterrows()])
    good, open_ = int((said == "holds").sum()), int((said == "undecided").sum())
    able = int(known["critical"].notna().sum())
    if not able:
        return [f"With n = {n} no correlation at all could reach p < {alpha:g}."]
    singles = int((known["p"] < alpha).sum())
    first = (
        f"Of {len(known)} {name} pairs (n = {n} {unit}, {known.attrs.get('method', 'rho')}), "
        f"{good} {'holds' if good == 1 else 'hold'} after max-T correction over all of them"
    )
    if open_:
        first += f", {open_} {'is' if open_ == 1 else 'are'} undecided"
    first += (
        f"; {int((known['q_bh'] < alpha).sum())} at a false discovery rate of {alpha:g}, "
        f"{singles} uncorrected (by chance alone up to {alpha * able:.1f} of the {able} that "
        f"can reach {alpha:g} are expected)."
    )
    out = [first]
    if not good:
        out.append(
            "No association is shown, and none is excluded: with so few only a strong one would "
            "be seen."
        )
    order = known.assign(size=known["rho"].abs())
    order = order.sort_values(["p_maxt", "p", "size"], ascending=[True, True, False])
    return out + [cell(row, alpha, unit, symbol) for _, row in order.head(most).iterrows()]


def headline(table: pd.DataFrame, outcome: str = "average") -> list[str]:
    """Does the task's own score tell? One sentence, none without a correlation of it."""
    alpha = table.attrs.get("alpha", 0.05)
    rows = table[(table["outcome"] == outcome) & table["rho"].notna()].set_index("predictor")
    name = next((n for n in ("main_gain", "main") if n in rows.index), None)
    if name is None:
        return []
    row = rows.loc[name]
    what = "how much a task's own score rises" if name == "main_gain" else "a task's own score"
    facts = f"{what} ({name}) and the {outcome} gain have rho = {row['rho']:+.2f}"
    wide = pd.notna(row["low"])
    facts += f" ({row['low']:+.2f} to {row['high']:+.2f})" if wide else ""
    facts += f", n = {row['n']:.0f} tasks"
    said = verdict(row, alpha)
    if said == "none":
        return [f"Too few tasks to tell: {facts}."]
    if said == "holds":
        way = "rise together" if row["rho"] > 0 else "go opposite ways"
        return [f"In this study they {way}: {facts}, family-wise {_p(row['p_maxt'])}."]
    start = "Undecided" if said == "undecided" else "Cannot tell"
    more = ""
    if wide and row["low"] < -0.3 and row["high"] > 0.3:
        more = "; anything from a clear relation one way to one the other way fits"
    return [f"{start}: {facts}{more}."]


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


def choice(table: pd.DataFrame, target: str = "average", nested=None, alpha=0.05) -> list[str]:
    """What choosing by a metric costs, for one target.

    table: of :func:`midway.correlation.choice.quality`, a description; nested: of
    :func:`midway.correlation.choice.nested`, without which no verdict is given.
    """
    rows = table[table["target"] == target].dropna(subset=["regret_1"])
    target = "the average" if target == "average" else target
    if rows.empty:
        return [f"No choice can be judged for {target}: nothing is finished."]
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
        f"by chance {row['low']:+.1f} to {row['high']:+.1f}, {_p(row['p'])}"
    )
    if row["p"] < alpha:
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
    if not len(nested) or not nested["p"].iloc[0] < 0.05:
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


def scope(study: dict) -> list[str]:
    """What results are about: one sentence for the miniature, none for real data."""
    return [MICROWORLD] if study.get("data", {}).get("source") == "mini" else []


def limits(study: dict, n: int, seeds: int) -> list[str]:
    """What no number here can show, from a study's parameters."""
    encoder = study.get("encoder", {})
    name = encoder.get("name") or encoder.get("kind", "unknown")
    out = [f"One encoder ({name}); another may order the tasks differently.", *scope(study)]
    if n:
        out.append(f"The correlation rests on {n} tasks; more seeds do not change that.")
    if seeds == 1:
        out.append("One seed: how much of a difference is the noise of one training is not known.")
    return out


def _p(value):
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _range(values):
    low, high = int(np.min(values)), int(np.max(values))
    return str(low) if low == high else f"{low} to {high}"
