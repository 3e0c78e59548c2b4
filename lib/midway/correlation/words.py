"""Sentences about results, made from the numbers by rules, so that they never claim more.

A metric 'predicts' only if the family-wise p is below alpha, the interval excludes zero and n can
reach alpha at all. Every sentence names n, unit and correction.
"""

import numpy as np
import pandas as pd

ENOUGH = 5  # candidates below which any metric finds the best one by luck
SYMBOLS = {"spearman": "rho", "pearson": "r", "kendall": "tau"}


def predicts(row, alpha: float = 0.05) -> bool:
    """Whether a row of :func:`correlate.correlate` may be called a prediction."""
    values = [row["p_maxt"], row["low"], row["high"], row["critical"]]
    if any(pd.isna(v) for v in values):
        return False
    return bool(row["p_maxt"] < alpha and (row["low"] > 0 or row["high"] < 0))


def cell(row, alpha: float = 0.05, unit: str = "tasks", symbol: str = "rho") -> str:
    """One sentence about one predictor and one outcome."""
    pair = f"{row['predictor']} and {row['outcome']}"
    if pd.isna(row["rho"]):
        return f"{pair}: no correlation can be computed ({row['note']})."
    facts = f"{symbol} = {row['rho']:+.2f}, n = {row['n']} {unit}"
    if pd.isna(row["critical"]):
        return f"{pair}: {facts}; no correlation of so few could reach p < {alpha:g}."
    span = f"{100 * (1 - alpha):g} % interval {row['low']:+.2f} to {row['high']:+.2f}"
    facts += f", {span}, family-wise {_p(row['p_maxt'])}"
    if predicts(row, alpha):
        way = "more" if row["rho"] > 0 else "less"
        sure = ""
        if row["loo_low"] * row["loo_high"] <= 0:
            sure = " One unit carries it: without that unit the sign is open."
        verb = "predicts" if way == "more" else "predicts (the lower, the better)"
        return f"{row['predictor']} {verb} {row['outcome']}: {facts}.{sure}"
    if row["p"] < alpha:
        why = "not after correction for the family" if row["p_maxt"] >= alpha else ""
        why = why or "but its interval includes zero"
        return f"{pair} go together alone ({_p(row['p'])}), {why}: {facts}."
    unseen = f"|{symbol}| below {row['critical']:.2f} cannot be seen"
    return f"{pair}: nothing shown ({facts}; {unseen})."


def family(table: pd.DataFrame, unit: str = "tasks", most: int = 5) -> list[str]:
    """What follows from a whole family: one sentence of summary, then its strongest cells."""
    alpha, cells = table.attrs.get("alpha", 0.05), int(table["p"].notna().sum())
    if not cells:
        why = "; ".join(sorted(set(table["note"]) - {""})) or "the table is empty"
        return [f"No cell has enough data for a correlation: {why}."]
    n = _range(table.loc[table["p"].notna(), "n"])
    symbol = SYMBOLS.get(table.attrs.get("method"), "rho")
    good = table[[predicts(row, alpha) for _, row in table.iterrows()]]
    singles = int((table["p"] < alpha).sum())
    fdr = int((table["q_bh"] < alpha).sum())
    base = (
        f"Of {cells} predictor-outcome pairs (n = {n} {unit}, {table.attrs.get('method', 'rho')})"
    )
    hold = "holds" if len(good) == 1 else "hold"
    parts = [f"{base}, {len(good)} {hold} after max-T correction over all of them"]
    parts.append(f"{fdr} at a false discovery rate of {alpha:g}, {singles} uncorrected")
    expected = f"(by chance alone about {alpha * cells:.1f} uncorrected ones are expected)"
    out = ["; ".join(parts) + f" {expected}."]
    if table["critical"].isna().all():
        out.append(f"With n = {n} no correlation at all could reach p < {alpha:g}.")
    elif not len(good):
        smallest = table["critical"].min()
        out.append(
            f"No metric is shown to predict transfer here. One pair alone would need |{symbol}| of "
            f"{smallest:.2f} or more at this n; the family needs more."
        )
    size = table["rho"].abs()
    top = table.assign(size=size).sort_values(
        ["p_maxt", "p", "size"], ascending=[True, True, False]
    )
    top = top.head(most)
    return out + [cell(row, alpha, unit, symbol) for _, row in top.iterrows()]


def headline(table: pd.DataFrame, outcome: str = "average") -> list[str]:
    """Does the task's own score tell? One sentence, none without a correlation of it."""
    alpha = table.attrs.get("alpha", 0.05)
    rows = table[(table["outcome"] == outcome) & table["rho"].notna()].set_index("predictor")
    name = next((n for n in ("main_gain", "main") if n in rows.index), None)
    if name is None:
        return []
    row = rows.loc[name]
    what = "how much a task's own score rises" if name == "main_gain" else "a task's own score"
    facts = f"{what} ({name}) and the {outcome} over all targets have rho = {row['rho']:+.2f}"
    facts += f" ({row['low']:+.2f} to {row['high']:+.2f})" if pd.notna(row["low"]) else ""
    facts += f", n = {row['n']} tasks"
    if pd.isna(row["critical"]):
        return [f"Too few tasks to tell: {facts}."]
    if predicts(row, alpha):
        return [f"Yes, in this study: {facts}, family-wise {_p(row['p_maxt'])}."]
    return [f"Not shown: {facts}."]


def comparison(table: pd.DataFrame, a: str, b: str) -> str:
    """One sentence about :func:`correlate.compare` (its mean over outcomes)."""
    row = table.set_index("outcome").loc["mean of outcomes"]
    facts = f"difference of mean rho {row['difference']:+.2f}, interval {row['low']:+.2f} to "
    facts += f"{row['high']:+.2f}, n = {row['n']:.0f} tasks"
    if pd.isna(row["difference"]):
        return f"{a} and {b} cannot be compared: a column is constant."
    if row["low"] > 0 or row["high"] < 0:
        better, worse = (a, b) if row["difference"] > 0 else (b, a)
        return f"{better} goes with transfer more closely than {worse}: {facts}."
    return f"{a} and {b} are not shown to differ: {facts}."


def choice(table: pd.DataFrame, target: str = "average") -> list[str]:
    """What choosing by a metric would have cost (:func:`choice.quality`), for one target."""
    rows = table[table["target"] == target].dropna(subset=["regret_1"])
    target = "the average" if target == "average" else target
    if rows.empty:
        return [f"No choice can be judged for {target}: nothing is finished."]
    best = rows[rows["kind"] == "predictor"].sort_values("regret_1", kind="stable")
    best = best[best["n"] == best["n"].max()]  # only metrics that all candidates have compare
    random = rows[rows["kind"] == "random"].iloc[0]
    if best.empty:
        return [f"No predictor covers the variants of {target}."]
    first = best.iloc[0]
    none = rows.loc[rows["kind"] == "none", "regret_1"]
    harm = f"No intermediate task helped {target}: the best is worse than none at all."
    extra = [harm] if (none < 0).any() else []
    if first["n"] < ENOUGH:
        return [*extra, f"{first['n']:.0f} tasks are too few to judge a choice for {target}."]
    better = bool(first["high"] < random["regret_1"])
    verdict = "less than" if better else "not shown to be less than"
    line = (
        f"For {target}, choosing by {first['predictor']} costs {first['regret_1']:.1f} points "
        f"against the best of {first['n']:.0f} tasks (interval {first['low']:.1f} to "
        f"{first['high']:.1f}), {verdict} the {random['regret_1']:.1f} of a random choice. "
        f"It is the best of {len(best)} predictors on the data it is judged on, so optimistic."
    )
    return [*extra, line]


def limits(study: dict, n: int, seeds: int) -> list[str]:
    """What no number here can show, from a study's parameters."""
    encoder, data = study.get("encoder", {}), study.get("data", {})
    out = [f"One encoder ({encoder.get('name') or encoder.get('kind', 'unknown')})."]
    out[0] = out[0][:-1] + "; another may order the tasks differently."
    if data.get("source") == "mini":
        out.append("A microworld of our own sentences: directions may carry over, sizes do not.")
    if n:
        out.append(
            f"n = {n} intermediate tasks is what the correlation rests on, whatever the seeds."
        )
    if seeds == 1:
        out.append("One seed: differences between tasks hold the noise of a single training.")
    return out


def _p(value):
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _range(values):
    low, high = int(np.min(values)), int(np.max(values))
    return str(low) if low == high else f"{low} to {high}"
