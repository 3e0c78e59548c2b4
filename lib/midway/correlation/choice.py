"""The cost of choosing an intermediate task by a metric.

Regret@k: best gain among the candidates less the best gain among the k that the metric ranks
highest (Poth et al. 2021, 2104.08247); in points of the outcome. NDCG with linear gains above the
worst candidate and discount 1 / log2(rank + 1). Ties share: expectation over their orders.

These describe a study; the best of many rules is good on the data it was chosen on. Whether a
choice by metric beats chance is judged by :func:`nested`, on tasks that the rule has not seen.
"""

from itertools import combinations
from itertools import permutations as orderings
from math import comb, factorial

import numpy as np
import pandas as pd

from midway.correlation import tables
from midway.study.names import PREDICTORS

FIXED = "mnli"  # what one would take without looking, see STILTs
NO_TASK = "no intermediate task"


def sign(predictor: str) -> int:
    """+1, or -1 where a lower value should mean a better choice."""
    return -1 if predictor in PREDICTORS and PREDICTORS[predictor].smaller else 1


def regret(merit: np.ndarray, gain: np.ndarray, k: int = 1) -> float:
    """Regret@k of taking the k highest of ``merit``; tied candidates are taken at random."""
    order = np.sort(merit)[::-1]
    k = min(k, len(gain))
    sure, tied = gain[merit > order[k - 1]], gain[merit == order[k - 1]]
    floor = sure.max() if len(sure) else -np.inf
    return float(gain.max() - expected_best(np.maximum(tied, floor), k - len(sure)))


def expected_best(gain: np.ndarray, k: int) -> float:
    """Expected largest of k gains drawn without replacement."""
    ranked, n = np.sort(gain), len(gain)
    weight = np.array([comb(i, k - 1) for i in range(n)]) / comb(n, k)
    return float(weight @ ranked)


def ndcg(merit: np.ndarray, gain: np.ndarray) -> float:
    """Ranking quality in [0, 1]; nan when all gains are equal."""
    worth, discount = gain - gain.min(), 1 / np.log2(np.arange(len(gain)) + 2)
    ideal = np.sort(worth)[::-1] @ discount
    ranks = np.argsort(-merit, kind="stable")
    shared = pd.Series(worth[ranks]).groupby(merit[ranks]).transform("mean")
    return float(shared.to_numpy() @ discount / ideal) if ideal else np.nan


def quality(X: pd.DataFrame, Y: pd.DataFrame, *, skip=(), alpha: float = 0.05,
            fixed: str = FIXED) -> pd.DataFrame:  # fmt: skip
    """Choice quality of all predictors for all outcomes, with random and fixed choices to compare.

    X, Y, skip: as from :func:`arrays.wide` (more is better in Y). Columns: predictor, kind
    ('predictor', 'random', 'fixed', 'none'), target, n, regret_1, regret_3, ndcg; low, high: of a
    random choice only, the (1 - alpha) range of its regret_1 (which task is drawn). A description
    of these tasks: no row says that a metric would choose well among others.
    """
    x, y = (t.groupby(level=0).mean() for t in (X, Y))
    x, y = x.align(y, join="outer", axis=0)
    rows = []
    for target in y:
        there = y[target].dropna()
        gain = there.to_numpy()
        if len(gain) < 2:
            continue
        best, same = gain.max(), {"target": target, "n": len(gain)}
        low, high = np.quantile(best - gain, [alpha / 2, 1 - alpha / 2])
        random = {"predictor": "random choice", "kind": "random", "low": low, "high": high}
        rows.append(same | random | _costs(np.zeros(len(gain)), gain))  # a tie of all
        rows.append(same | {"predictor": NO_TASK, "kind": "none", "regret_1": best})
        if fixed in there:
            row = {"predictor": f"always {fixed}", "kind": "fixed"}
            rows.append(same | row | {"regret_1": best - there[fixed]})
        for name in x:
            both = x[name].notna() & y[target].notna()
            if (name, target) in skip or both.sum() < 2 or x.loc[both, name].nunique() < 2:
                continue
            short = name.split(":")[0]
            merit, g = sign(short) * x.loc[both, name].to_numpy(), y.loc[both, target].to_numpy()
            row = {"predictor": short, "kind": "predictor", "target": target, "n": len(g)}
            rows.append(row | _costs(merit, g))
    columns = "predictor kind target n regret_1 regret_3 ndcg low high"
    return pd.DataFrame(rows, columns=columns.split())


def _costs(merit, gain) -> dict[str, float]:
    costs = {f"regret_{k}": regret(merit, gain, k) for k in (1, 3)}
    return costs | {"ndcg": ndcg(merit, gain)}


def nested(merit: pd.DataFrame, gain: pd.Series, family=None, *, rivals=None, fixed: str = FIXED,
           permutations: int = 9999, alpha: float = 0.05, seed: int = 0):  # fmt: skip
    """Choose between two tasks that a rule has not seen; returns one row per way of choosing.

    merit: units x rules, more is better; a rule needs all units. gain: points per unit. family:
    unit -> family (None: each its own). For every two families the rule that chooses best among
    all *other* tasks is taken (row of kind 'nested') and chooses between a task of one family and
    a task of the other. One family alone would leave nothing to choose between, and a pair with a
    task that selected the rule would flatter it. ``regret``: mean points lost a choice; ``random``:
    of a coin; ``saved``: their difference; ``low``, ``high``: the band in which 1 - alpha of saved
    lies if gains of families were dealt at random; ``p``: one-sided, of no less saved. Rows of kind
    'rule' are single rules, judged without selection (so no p); 'rival': columns of ``rivals`` and
    always taking ``fixed``. ``tried``: how many rules. Empty with fewer than four families.
    """
    units = gain.dropna().index
    x, g = merit.reindex(units).dropna(axis=1), gain[units].to_numpy(float)
    x = x.loc[:, x.nunique() > 1]
    names = np.array([(family or {}).get(u, u) for u in units])
    groups, place = np.unique(names, return_inverse=True)
    columns = "rule kind n families tried regret random saved low high p".split()
    if len(groups) < 4 or not x.shape[1]:
        return pd.DataFrame(columns=columns)
    i, j = np.array([(a, b) for a, b in combinations(range(len(g)), 2) if place[a] != place[b]]).T
    pairs = np.sort([place[i], place[j]], axis=0)  # their families
    prefer = _preferences(x, i, j)
    means = np.bincount(place, g) / np.bincount(place)
    deals = [np.arange(len(groups)), *_deals(len(groups), permutations, seed)]
    dealt = np.array([means[d][place] + g - means[place] for d in deals])
    D = dealt[:, i] - dealt[:, j]
    saved = np.zeros(len(D))
    for held in combinations(range(len(groups)), 2):
        mask, out = ~np.isin(pairs, held).any(0), np.isin(pairs, held).all(0)
        score = D[:, mask] @ prefer[:, mask].T  # deals x rules
        best = score >= score.max(1, keepdims=True) - 1e-9
        way = best / best.sum(1, keepdims=True) @ prefer[:, out]
        saved += (way * D[:, out]).sum(1)
    saved /= 2 * len(i)
    others = [("rule", n, v) for n, v in zip(x, prefer, strict=True)]
    if rivals is not None:
        r = rivals.reindex(units).dropna(axis=1)
        others += [("rival", n, v) for n, v in zip(r, _preferences(r, i, j), strict=True)]
    if fixed in units:
        at = list(units).index(fixed)
        others.append(("rival", f"always {fixed}", (i == at) * 1.0 - (j == at)))
    coin = np.abs(D[0]).mean() / 2
    band = np.quantile(saved[1:], [alpha / 2, 1 - alpha / 2])
    p = float((saved[1:] >= saved[0] - 1e-9).mean())
    if len(deals) - 1 < factorial(len(groups)):
        p = (p * (len(deals) - 1) + 1) / len(deals)
    same = {"n": len(g), "families": len(groups), "tried": x.shape[1], "random": coin}
    chosen = {"saved": saved[0], "regret": coin - saved[0], "low": band[0], "high": band[1], "p": p}
    rows = [same | {"rule": "best rule on the other families", "kind": "nested"} | chosen]
    for kind, name, way in others:
        won = float(way @ D[0]) / (2 * len(i))
        rows.append(same | {"rule": name, "kind": kind, "saved": won, "regret": coin - won})
    return pd.DataFrame(rows, columns=columns)


def _preferences(merit: pd.DataFrame, i, j) -> np.ndarray:
    """Rules x pairs: 1 where a rule takes the first of a pair, -1 the second, 0 a coin."""
    values = merit.to_numpy().T
    return np.sign(values[:, i] - values[:, j])


def _deals(n: int, most: int, seed: int):
    """All orders of n families, or ``most`` random ones."""
    if factorial(n) <= most:
        return [np.array(o) for o in orderings(range(n))]
    rng = np.random.default_rng(seed)
    return [rng.permutation(n) for _ in range(most)]


def looks(fractions) -> list[float]:
    """Shares of training at which a study looked; those within 0.02 are one (13/40, 20/60)."""
    known = sorted(set(fractions))
    return [a for a, b in zip(known, [*known, 9][1:], strict=True) if b - a > 0.02]


def early(predictors: pd.DataFrame, outcomes: pd.DataFrame, target: str = "average", *,
          costs: pd.DataFrame | None = None, keep=(1, 2, 3), names=()) -> pd.DataFrame:  # fmt: skip
    """Early choice on recorded trajectories: train all for a fraction, finish the k ranked best.

    predictors, outcomes, costs: tables of :mod:`midway.tables`. The gain of a kept variant is its
    recorded one. ``compute``: share of the full grid's CPU time (01 and 02; of training steps
    alone without costs); ``saved`` is the rest. ``regret``: mean over seeds, points; ``low`` and
    ``high`` its range over seeds. One row per predictor, fraction and k, and one for random.
    """
    gains = outcomes[(outcomes["target"] == target) & outcomes["variant"].map(tables.is_unit)]
    gains = gains.set_index(["variant", "seed"])["gain"].dropna()
    table = predictors[predictors["variant"].map(tables.is_unit) & predictors["target"].isna()]
    table = table[table["predictor"].isin(list(names))] if names else table
    price, rows = _prices(costs, gains.index), []
    for fraction in looks(table["fraction"]):
        now = table[table["fraction"] <= fraction + 1e-3].sort_values("fraction", kind="stable")
        now = now.groupby(["variant", "seed", "predictor"])["value"].last().unstack()
        for k in keep:
            per: dict[str, list] = {}
            for _, g in gains.groupby(level="seed"):
                values = now.reindex(g.index)
                if len(g) <= k:
                    continue
                first, second = price.loc[g.index, "first"], price.loc[g.index, "second"]
                spent = fraction * first.sum() + k * ((1 - fraction) * first + second).mean()
                share = spent / (first + second).sum()
                chance = g.max() - expected_best(g.to_numpy(), k)
                per.setdefault("random choice", []).append((chance, share, len(g)))
                for name, merit in values.items():
                    if merit.isna().any() or merit.nunique() < 2:
                        continue  # a choice among all needs the metric of all
                    cost = regret(sign(name) * merit.to_numpy(), g.to_numpy(), k)
                    per.setdefault(name, []).append((cost, share, len(g)))
            for name, found in per.items():
                cost, share, n = np.array(found).T
                rows.append([name, fraction, k, int(n.max()), len(found), share.mean(),
                             1 - share.mean(), cost.mean(), cost.min(), cost.max()])  # fmt: skip
    columns = "predictor fraction k n seeds compute saved regret low high"
    return pd.DataFrame(rows, columns=columns.split())


def _prices(costs, index) -> pd.DataFrame:
    price = pd.DataFrame({"first": 1.0, "second": 0.0}, index=index)
    if costs is None or not len(costs) or costs["cpu_s"].isna().any():
        return price
    spent = costs.pivot_table(index=["variant", "seed"], columns="step", values="cpu_s",
                              aggfunc="sum").reindex(index)  # fmt: skip
    if {"01_intermediate", "02_transfer"} <= set(spent) and not spent.isna().any().any():
        price["first"], price["second"] = spent["01_intermediate"], spent["02_transfer"]
    return price
