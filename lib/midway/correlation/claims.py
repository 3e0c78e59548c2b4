"""The ten claims of X-STILTs that this project started from: what would test each, and its result.

A claim is about XLM-R Large on real tasks. A study can test it only with that encoder and data and
with at least two seeds, against the noise of seeds; in all others, the miniature among them, the
verdict is that the study cannot test it. Three claims describe a design and one is history.
"""

import numpy as np
import pandas as pd
from scipy.stats import t

from midway.correlation.published import why_not
from midway.study import tasks

CANNOT = "this study cannot test it"
WOULD = 'to test it: midway run params/xlmr_large.yaml --set "seeds=[1,2,3]"'
COLUMNS = ["number", "claim", "published", "measured", "verdict", "note"]


def claims(outcomes: pd.DataFrame, params: dict, alpha: float = 0.05) -> pd.DataFrame:
    """One row per claim: number, claim, published, measured, verdict, note.

    outcomes: ``tables.outcomes``. verdict: 'supported', 'contradicted', 'cannot tell' (tested, but
    within the noise of seeds), 'this study cannot test it', 'history' or 'a design, no result'.
    """
    gains = outcomes.pivot_table(index=["variant", "seed"], columns="target", values="gain")
    gains = gains.drop(index="none", errors="ignore")
    unable = why_not(params)
    if not unable and gains.groupby(level=0).size().max() < 2:
        unable = "one seed"
    rows = []
    for claim, published, measure in TESTS:
        said, ends = measure(gains, alpha) if len(gains) else (None, None)
        if said is None:
            cell = ["not measured", CANNOT, f"not in this study; {WOULD}"]
        elif unable:
            cell = [said, CANNOT, f"{unable}; {WOULD}"]
        else:
            cell = [said, _verdict(ends), f"against the noise of seeds, {1 - alpha:.0%} intervals"]
        rows.append([claim, published, *cell])
    languages = {lang for card in tasks.TARGETS.values() for lang in card.languages}
    kinds, design = {card.kind for card in tasks.INTERMEDIATE.values()}, "a design, no result"
    own = f"{len(tasks.INTERMEDIATE)} task cards"
    rows += [
        ["XLM-R Large is state of the art (2020)", "-", "-", "history", ""],
        ["XTREME: diverse tasks, up to 40 languages", "9 tasks, 40 languages",
         f"{len(tasks.TARGETS)} task cards, {len(languages)} languages", design, ""],
        ["nine intermediate tasks are studied", "9", own, design, ""],
        ["they cover QA, tagging, completion, paraphrase and NLI", "5 kinds",
         f"cards of kinds {', '.join(sorted(kinds))}", design, ""],
    ]  # fmt: skip
    return pd.DataFrame([[i, *r] for i, r in enumerate(rows, 1)], columns=COLUMNS)


def _verdict(ends) -> str:
    """ends: (low, high) of quantities that the claim says are all positive."""
    low, high = np.array(ends, float).reshape(-1, 2).T
    if np.isnan(low).any():
        return "cannot tell"
    if (low > 0).all():
        return "supported"
    return "contradicted" if (high < 0).any() else "cannot tell"


def _interval(values: pd.DataFrame, alpha) -> np.ndarray:
    """Ends (columns, 2) of the intervals of column means over rows (seeds)."""
    n = len(values)
    half = t.ppf(1 - alpha / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return np.column_stack([values.mean() - half, values.mean() + half])


def _plain(gains: pd.DataFrame, target: str) -> pd.DataFrame:
    """Seeds x trained variants of one target, recipes such as +mlm left out."""
    if target not in gains:
        return pd.DataFrame()
    cube = gains[target].unstack(level=0)
    return cube[[v for v in cube if "+" not in v]].dropna(axis=1).dropna()


def _large(gains, alpha):
    cube = _plain(gains, "average")
    named = [v for v in ("squad1", "mnli", "hellaswag") if v in cube]
    return (_list(cube[named].mean()), _interval(cube[named], alpha)) if named else (None, None)


def _multi(gains, alpha):
    cube = _plain(gains, "average")
    if "multi" not in cube or cube.shape[1] < 2:
        return None, None
    rest = cube.drop(columns="multi")
    said = f"multi {cube['multi'].mean():+.1f}, best single {_list(rest.mean().nlargest(1))}"
    return said, _interval(rest.rsub(cube["multi"], axis=0), alpha)


def _retrieval(gains, alpha):
    means = {t: _plain(gains, t).mean(axis=1) for t in tasks.TARGETS if t in gains}
    by = pd.DataFrame(means).dropna(axis=1, how="all")  # seeds x targets
    both = [t for t in ("bucc2018", "tatoeba") if t in by]
    rest = by.drop(columns=both)
    if not both or rest.empty:
        return None, None
    ahead = rest.rsub(by[both].min(axis=1), axis=0)
    return _list(by.mean().sort_values(ascending=False)), _interval(ahead, alpha)


def _most(gains, alpha):
    cubes = {t: _plain(gains, t) for t in ("tydiqa", "xnli")}
    if any(c.empty for c in cubes.values()):
        return None, None
    sure = {k: (_interval(c, alpha)[:, 0] > 0).mean() for k, c in cubes.items()}
    said = ", ".join(f"{v:.0%} ({k})" for k, v in sure.items())
    excess = [sure["tydiqa"] - 0.5, 0.5 - sure["xnli"]]  # shares of gains clear of the noise
    ends = [(x if x > 0 else -1, 1) for x in excess]
    return f"gains above the noise of seeds from {said} of variants", ends


def _best(gains, alpha):
    """Chosen on one seed, judged on the others: chosen and judged on the same it cannot fail."""
    cubes = [c for c in (_plain(gains, t) for t in tasks.TARGETS) if not c.empty]
    if not cubes:
        return None, None
    if min(len(c) for c in cubes) < 2:
        return "needs a second seed to judge the choice on", (np.nan, np.nan)
    seeds = cubes[0].index

    def elsewhere(cube, s):
        return cube.drop(index=s)[cube.loc[s].idxmax()].mean() if cube.loc[s].max() > 0 else 0.0

    judged = pd.DataFrame({s: [elsewhere(c, s) for c in cubes] for s in seeds}).T
    said = f"{judged.to_numpy().mean():+.1f} over {len(cubes)} targets, judged on other seeds"
    ends = _interval(judged.mean(axis=1).to_frame(), alpha)
    centre = ends.mean()  # each seed judges all others' choices: not independent
    return said, centre + np.sqrt(len(seeds) - 1) * (ends - centre)


def _recipes(gains, alpha):
    if "average" not in gains:
        return None, None
    cube, found = gains["average"].unstack(level=0), {}
    for recipe in ("mlm", "translated"):
        pairs = [v for v in cube if f"{v}+{recipe}" in cube]
        if pairs:
            rest = cube[[f"{v}+{recipe}" for v in pairs]].to_numpy()
            found[f"plain minus +{recipe}"] = (cube[pairs] - rest).mean(axis=1)
    if not found:
        return None, None
    table = pd.DataFrame(found).dropna()
    return _list(table.mean()), _interval(table, alpha)


def _list(series: pd.Series) -> str:
    return ", ".join(f"{k} {v:+.1f}" for k, v in series.items() if not np.isnan(v))


TESTS = (
    ("SQuAD, MNLI and HellaSwag give large mean gains", "+8.2, +7.5, +7.0", _large),
    ("multi-task training on all tasks is best", "+8.7", _multi),
    ("BUCC and Tatoeba gain most", "largest", _retrieval),
    ("TyDiQA gains from most tasks, XNLI does not", "direction", _most),
    ("the best model per target improves XTREME", "+5.4", _best),
    ("plain English training beats continued MLM and translated data", "direction", _recipes),
)
