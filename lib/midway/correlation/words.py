"""Sentences about results, made from the numbers by rules, so that they never claim more.

README, report and 03 take their sentences from here. The rules: a correlation 'holds' only if the
family-wise p is below alpha by more than the error of its permutations, its intervals (over tasks,
and over tasks and seeds) exclude zero and n can reach alpha at all; where that error straddles
alpha the word is 'undecided'. 'Predicts' is said only of what was predicted out of sample. A wide
interval is never called an absence. Every sentence names n, unit and correction.

Examples
--------
>>> import pandas as pd
>>> from midway import words
>>> row = {"rho": 0.9, "p_maxt": 0.001, "p_mc_low": 0.0, "p_mc_high": 0.004, "low": 0.5}
>>> words.verdict(pd.Series(row | {"high": 1.0, "critical": 0.8, "n": 9}))
'holds'
"""

import pandas as pd

from midway.correlation import tables
from midway.data import sources
from midway.study import names

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
    clear &= not row.get("run_low", 1) <= 0 <= row.get("run_high", 1)  # seeds drawn again, too
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
    facts += f", family-wise {p_of(row['p_maxt'])}"
    said = verdict(row, alpha)
    if said == "not shown" and row["p"] < alpha:  # other seeds take other pairs: no claim
        facts += f", if taken alone {p_of(row['p'])}"
    way = "rises" if row["rho"] > 0 else "falls"
    sure = f"{row['outcome']} {way} with {row['predictor']}: {facts}.{_carried(row)}"
    return _claim(row, said, pair, facts, sure, alpha)


def _claim(row, said: str, pair: str, facts: str, sure: str, alpha: float) -> str:
    """The sentence that a verdict allows; ``sure``: of a pair named before training that holds."""
    if said == "undecided":
        return f"{pair}: undecided, p is closer to {alpha:g} than its Monte-Carlo error ({facts})."
    if said != "holds":
        return f"{pair}: not shown, and not excluded ({facts})."
    if row.get("primary", True) == 0:
        return f"{pair}: exploratory, found among many pairs; to be tested on new tasks ({facts})."
    return sure


def _carried(row) -> str:
    """Which single unit or family a correlation rests on."""
    for low, high, what in (
        ("loo_low", "loo_high", "task"),
        ("lofo_low", "lofo_high", "family of tasks"),
    ):
        if row.get(low, 1) * row.get(high, 1) <= 0:
            return f" It depends on one {what}: without that {what} the sign may change."
    return ""


def family(table: pd.DataFrame, unit: str = "tasks", most: int = 5) -> list[str]:
    """What follows from a table: per family of tests a summary, then cells.

    Pairs that were named before training ('primary') are a family of their own, come first and are
    all told. Of the rest only those are that hold or are undecided: which is the strongest of
    others depends on the seeds. A table without primary pairs: the ``most`` strongest.
    """
    if not table["p"].notna().any():
        why = "; ".join(sorted(set(table["note"]) - {""})) or "the table is empty"
        return [f"No cell has enough data for a correlation: {why}."]
    parts = _parts(table, "predictor-outcome")
    return [line for name, part in parts for line in _family(part, unit, most, name)]


def _parts(table, otherwise="exploratory"):
    """(name, cells with data) of the primary pairs and of the rest, or of all pairs."""
    known = table[table["p"].notna()]
    if "primary" not in known:
        return [(otherwise, known)]
    first = known["primary"].astype(bool)
    parts = (("primary", known[first]), ("exploratory", known[~first]))
    return [(name, part) for name, part in parts if len(part)]


def _family(known, unit, most, name) -> list[str]:
    alpha = known.attrs.get("alpha", 0.05)
    n = " to ".join(str(int(v)) for v in dict.fromkeys([known["n"].min(), known["n"].max()]))
    symbol = SYMBOLS.get(known.attrs.get("method"), "rho")
    said = pd.Series([verdict(row, alpha) for _, row in known.iterrows()])
    good, open_ = int((said == "holds").sum()), int((said == "undecided").sum())
    able = int(known["critical"].notna().sum())
    if not able:
        return [f"With n = {n} no correlation at all could reach p < {alpha:g}."]
    how = f"(n = {n} {unit}, {known.attrs.get('method', 'spearman').title()})"
    also = f", {open_} {'is' if open_ == 1 else 'are'} undecided" if open_ else ""
    found = int((known["q_bh"] < alpha).sum())
    first = (f"Of {len(known)} {name} pairs {how}, {good} {_hold(good)} after max-T correction "
             f"over all of them{also}; {found} at a false discovery rate of {alpha:g} (uncorrected,"
             f" by chance alone up to {alpha * able:.1f} of the {able} that can reach {alpha:g} "
             "are expected).")  # fmt: skip
    many = " and so many pairs"
    if len(known) == 1:
        weak = "not significant" if known["p_maxt"].iloc[0] >= alpha else "not shown"
        word = "it holds" if good else "undecided" if open_ else weak
        first = f"1 {name} pair tested {how}: {word}."
        many = ""
    out = [first]
    if not good:
        out.append(f"No association is shown, and none is excluded: with so few tasks{many} a "
                   "study can miss even a strong one.")  # fmt: skip
    told = _told(known.assign(size=-known["rho"].abs()), said, name, most)
    return out + [cell(row, alpha, unit, symbol) for row in told]


def _told(part, said, name, most) -> list[pd.Series]:
    """Rows of a family of tests that get a sentence: beside primary pairs only those that hold."""
    if name == "exploratory" and "primary" in part:
        part = part[said.isin(["holds", "undecided"]).to_numpy()]
    by = [c for c in ("p_maxt", "p", "size") if c in part]
    rows = [row for _, row in part.sort_values(by).iterrows()]
    return rows if name == "primary" else rows[:most]


def headline(table: pd.DataFrame, outcome: str = "") -> list[str]:
    """Does the task's own score tell? One sentence, none without a correlation of it."""
    alpha, outcome = table.attrs.get("alpha", 0.05), outcome or tables.overall(table["outcome"])
    rows = table[(table["outcome"] == outcome) & table["rho"].notna()].set_index("predictor")
    name = next((n for n in ("main_gain", "main") if n in rows.index), None)
    if name is None:
        return []
    row = rows.loc[name]
    what = "how much a task's own score rises" if name == "main_gain" else "a task's own score"
    facts = f"{what} and the {names.effect('gain', outcome)} have rho = {row['rho']:+.2f}"
    facts += f" ({row['low']:+.2f} to {row['high']:+.2f})" if pd.notna(row["low"]) else ""
    facts += f", n = {row['n']:.0f} tasks"
    said = verdict(row, alpha)
    if said == "none":
        return [f"Too few tasks to tell: {facts}."]
    if said == "holds":
        way = "rise together" if row["rho"] > 0 else "go opposite ways"
        return [f"In this study they {way}: {facts}, family-wise {p_of(row['p_maxt'])}."]
    start = "Undecided" if said == "undecided" else "Cannot tell"
    open_ = row["low"] < -0.3 and row["high"] > 0.3
    more = ". The interval includes clear relations in both directions" if open_ else ""
    return [f"{start}: {facts}{more}."]


def within(table: pd.DataFrame, most: int = 3) -> list[str]:
    """What follows within tasks, of :func:`within.within`; a dose is also just time."""
    alpha = table.attrs.get("alpha", 0.05)
    if not table["p"].notna().any():
        return ["Within tasks nothing can be said: three tasks with two doses each are needed."]
    out = []
    for name, part in _parts(table):
        said = pd.Series([_within_verdict(row, alpha) for _, row in part.iterrows()])
        good, open_ = ((said == v).sum() for v in ("holds", "undecided"))
        also = f", {open_} undecided" if open_ else ""
        out.append(
            f"Within tasks, of {len(part)} {name} pairs {good} {_hold(good)} after the mean effect "
            f"of training time is removed (max-T correction over them){also}."
        )
        out += [_within(row, alpha) for row in _told(part, said, name, most)]
    return out


def _within_verdict(row, alpha) -> str:
    ends = {"low": row["partial_low"], "high": row["partial_high"], "rho": row["r_partial"]}
    return verdict({**row, **ends, "critical": 0.0}, alpha)


def _within(row, alpha) -> str:
    pair = f"{row['predictor']} and {row['outcome']} within tasks"
    facts = (
        f"r = {row['r_within']:+.2f} while {row['tasks']:.0f} tasks train, {row['r_partial']:+.2f} "
        f"({row['partial_low']:+.2f} to {row['partial_high']:+.2f}) with time removed, family-wise "
        f"{p_of(row['p_maxt'])}"
    )
    placebo = ""
    if row["placebos"] > 0 and pd.notna(row["r_placebo"]):
        facts += (f"; r = {row['r_placebo']:+.2f} ({row['placebo_low']:+.2f} to "
                  f"{row['placebo_high']:+.2f}) with shuffled labels")  # fmt: skip
        if not (row["difference_low"] > 0 or row["difference_high"] < 0):
            placebo = " It is not shown that this needs correct labels."
    way = "rise together" if row["r_partial"] > 0 else "go opposite ways"
    sure = f"{pair} {way}, with training time removed: {facts}.{placebo}"
    return _claim(row, _within_verdict(row, alpha), pair, facts, sure, alpha)


def reliability(parts: pd.DataFrame, weak: dict[str, float], floor: float) -> list[str]:
    """What other seeds and test items would leave of the outcomes, of :func:`reliability.told`."""
    whole, out = parts[parts["total_low"].notna()], []
    if parts["low"].isna().all():
        out.append("With one seed the error of training is not known, nor any reliability.")
        if len(whole):
            out.append(f"Test items alone limit it to at most {_values(whole, 'total')}.")
        return out
    out.append("Reliability (1: a repetition gives the same order of tasks). A number stands only "
               "where the study knows it to +-0.15, otherwise only the 95 % interval.")  # fmt: skip
    out.append(f"With other seeds: {_values(parts, '')}.")
    if len(whole):
        out.append(f"With other seeds and other test items: {_values(whole, 'total')}.")
    ends = (parts[f"total_{end}"].fillna(parts[end]) for end in ("low", "high"))
    if any((low < floor <= high) for low, high in zip(*ends, strict=True)):
        out.append(f"Where an interval reaches below {floor:g}, a correlation may be mostly noise; "
                   "such targets are in the average and tested all the same, as it is not certain."
                   )  # fmt: skip
    if weak:
        out.append(f"Below {floor:g} for certain, and left out of the average and of all families "
                   f"of tests: {', '.join(weak)}.")  # fmt: skip
    return out


def floors(below: pd.DataFrame, idle: pd.DataFrame) -> list[str]:
    """Cells below their control, tasks that did not learn, of :mod:`floors`."""
    out = [
        f"{row['target']}: not all variants are above the control {row['control']} "
        f"({row['score']:.1f}), which cannot understand the text."
        for _, row in below[below["below"] != ""].iterrows()
    ]
    if len(idle):
        shown = [f"{r['variant']} ({r['score']:.1f}, start or chance {r['floor']:.1f})"
                 for _, r in idle.iterrows()]  # fmt: skip
        out.append(f"Not clear of chance after training: {', '.join(shown)}.")
    return out


def _values(parts, kind) -> str:
    """Reliabilities with their intervals; kind: 'total' or ''."""
    names = ["total", "total_low", "total_high"] if kind else ["reliability", "low", "high"]
    rows = parts[names].dropna(subset=names[1:])
    return ", ".join(
        f"{k} {low:.2f} to {high:.2f}" if pd.isna(v) else f"{k} {v:.2f} ({low:.2f} to {high:.2f})"
        for k, v, low, high in rows.itertuples()
    )


def _hold(n: int) -> str:
    return "holds" if n == 1 else "hold"


def scope(study: dict) -> list[str]:
    """What results are about: one sentence for the miniature, none for real data."""
    if study.get("data", {}).get("source") != "mini":
        return []
    real = ", ".join(sources.beside_mini(study))
    part = MICROWORLD.replace("The data", f"All data but those of {real}")
    return [part.replace("nothing here", "nothing that rests on it") if real else MICROWORLD]


def limits(study: dict, n: int, seeds: int) -> list[str]:
    """What no number here can show, from a study's parameters."""
    encoder = study.get("encoder", {})
    name = encoder.get("name") or encoder.get("kind", "unknown")
    name = "the packaged multilingual E5 small" if name == "packaged" else name
    out = [f"One encoder ({name}); another may order the tasks differently.", *scope(study)]
    if n > 2:
        out.append(f"The correlation rests on {n} tasks; more seeds do not change that.")
    if seeds == 1:
        out.append("One seed: how much of a difference is the noise of one training is not known.")
    return out


def p_of(value):
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
