"""What choosing an intermediate task by a metric costs, and which task to choose.

Regret@k: best gain among the candidates less the best gain among the k that the metric ranks
highest (Poth et al. 2021, 2104.08247); in points of the outcome. NDCG with linear gains above the
worst candidate and discount 1 / log2(rank + 1). Ties share: expectation over their orders.
"""

import argparse
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd

from midway.correlation import tables
from midway.study.errors import InputError

#: predictors of which less is better; of all others more is
LESS_IS_BETTER = ("loss", "ece", "steps_to_90")
FIXED = "mnli"  # what one would take without looking, see STILTs


def sign(predictor: str) -> int:
    """+1, or -1 where a lower value should mean a better choice."""
    return -1 if predictor in LESS_IS_BETTER else 1


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
    if ideal == 0:
        return np.nan
    ranks = np.argsort(-merit, kind="stable")
    shared = pd.Series(worth[ranks]).groupby(merit[ranks]).transform("mean")
    return float(shared.to_numpy() @ discount / ideal)


def quality(X: pd.DataFrame, Y: pd.DataFrame, *, skip=(), resamples: int = 999,
            alpha: float = 0.05, seed: int = 0, fixed: str = FIXED) -> pd.DataFrame:  # fmt: skip
    """Choice quality of every predictor for every outcome, beside random and fixed choices.

    X, Y, skip: as from :func:`tables.wide` (more is better in Y). Columns: predictor, kind
    ('predictor', 'random', 'fixed', 'none'), target, n, regret_1, regret_3, ndcg, low, high: the
    interval of regret_1 when the candidates are drawn again (bootstrap over units).
    """
    x, y = (t.groupby(level=0).mean() for t in (X, Y))
    x, y = x.align(y, join="outer", axis=0)
    rng, rows = np.random.default_rng(seed), []
    for target in y:
        there = y[target].dropna()
        gain = there.to_numpy()
        if len(gain) < 2:
            continue
        fixed_gain = [("random", "random choice", None), ("none", "no intermediate task", 0.0)]
        if fixed in there:
            fixed_gain.append(("fixed", f"always {fixed}", there[fixed]))
        for kind, name, value in fixed_gain:
            one = gain.max() - (gain.mean() if kind == "random" else value)
            three = gain.max() - expected_best(gain, min(3, len(gain)))
            worth, discount = gain - gain.min(), 1 / np.log2(np.arange(len(gain)) + 2)
            ideal = np.sort(worth)[::-1] @ discount
            by_chance = worth.mean() * discount.sum() / ideal if ideal > 0 else np.nan
            random = kind == "random"
            rows.append({"predictor": name, "kind": kind, "target": target, "n": len(gain),
                         "regret_1": one, "regret_3": three if random else np.nan,
                         "ndcg": by_chance if random else np.nan})  # fmt: skip
        for name in x:
            both = x[name].notna() & y[target].notna()
            if (name, target) in skip or both.sum() < 2 or x.loc[both, name].nunique() < 2:
                continue
            short = name.split(":")[0]
            merit, g = sign(short) * x.loc[both, name].to_numpy(), y.loc[both, target].to_numpy()
            draws = rng.integers(0, len(g), (resamples, len(g)))
            m, drawn = merit[draws], g[draws]
            tied = m == m.max(1, keepdims=True)  # regret@1 of all draws at once
            spread = drawn.max(1) - np.where(tied, drawn, 0).sum(1) / tied.sum(1)
            low, high = np.quantile(spread, [alpha / 2, 1 - alpha / 2])
            rows.append({"predictor": short, "kind": "predictor", "target": target, "n": len(g),
                         "regret_1": regret(merit, g), "regret_3": regret(merit, g, 3),
                         "ndcg": ndcg(merit, g), "low": low, "high": high})  # fmt: skip
    columns = ["predictor", "kind", "target", "n", "regret_1", "regret_3", "ndcg", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def looks(fractions) -> list[float]:
    """Shares of training at which a study looked; those within 0.02 are one (13/40, 20/60)."""
    known = sorted(set(fractions))
    return [a for a, b in zip(known, [*known, 9][1:], strict=True) if b - a > 0.02]


def early(predictors: pd.DataFrame, outcomes: pd.DataFrame, target: str = "average", *,
          costs: pd.DataFrame | None = None, keep=(1, 2, 3), names=()) -> pd.DataFrame:  # fmt: skip
    """Early choice on recorded trajectories: train all for a fraction, finish the k ranked best.

    predictors, outcomes, costs: from ``tables``. The gain of a kept variant is its
    recorded one. ``compute``: share of the full grid's CPU time (01 and 02; of training steps
    alone without costs); ``saved`` is the rest. ``regret``: mean over seeds, points; ``low`` and
    ``high`` its range over seeds. One row per predictor, fraction and k, and one for random.
    """
    gains = outcomes[(outcomes["target"] == target) & outcomes["variant"].map(tables.is_unit)]
    gains = gains.set_index(["variant", "seed"])["gain"].dropna()
    table = predictors[predictors["variant"].map(tables.is_unit) & predictors["target"].isna()]
    if names:
        table = table[table["predictor"].isin(list(names))]
    price = _prices(costs, gains.index)
    rows = []
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
    names = "predictor fraction k n seeds compute saved regret low high".split()
    return pd.DataFrame(rows, columns=names)


def _prices(costs, index) -> pd.DataFrame:
    price = pd.DataFrame({"first": 1.0, "second": 0.0}, index=index)
    if costs is None or not len(costs) or costs["cpu_s"].isna().any():
        return price
    spent = costs.pivot_table(index=["variant", "seed"], columns="step", values="cpu_s",
                              aggfunc="sum").reindex(index)  # fmt: skip
    if {"01_intermediate", "02_transfer"} <= set(spent) and not spent.isna().any().any():
        price["first"], price["second"] = spent["01_intermediate"], spent["02_transfer"]
    return price


def recommend(study_dir, target: str = "average", *, predictor: str = "main",
              resamples: int = 9999, alpha: float = 0.05, seed: int = 0):  # fmt: skip
    """Rank intermediate tasks for a target from what is finished; returns (table, regret).

    Columns: variant, gain, low, high (over languages and seeds), source, seeds. Where 02 is not
    finished but 01 is, the gain is predicted by a line through the finished variants'
    (predictor, gain), with its leave-one-out error, if at least 4 are finished. ``regret``: dict
    expected, low, high, random: what taking the first costs, if languages and seeds (and the
    line's errors) were drawn again; the tasks are the ones at hand.
    """
    table, rng = tables.outcomes(study_dir), np.random.default_rng(seed)
    if target != "average" and target not in tables.OUTCOMES:
        raise InputError(f"--target: {target!r}; one of {', '.join(tables.OUTCOMES)}")
    if target in tables.GROUPS:
        table = tables.outcomes(study_dir, by="group")
    part = table[(table["target"] == target) & table["variant"].map(tables.is_unit)]
    gains = part.dropna(subset=["gain"]).groupby("variant")["gain"]
    if not len(gains):
        raise InputError(
            f"{study_dir}: no variant and baseline 'none' are finished for {target} yet; "
            "`midway status` shows what is"
        )
    draws = _draws(study_dir, table, target, list(gains.groups), resamples, rng)
    rows = {v: [g.mean(), "measured", len(g)] for v, g in gains}
    X, _, _ = tables.wide(tables.predictors(study_dir), table, names=[predictor], composites=True)
    merit = X[predictor].groupby(level=0).mean() if predictor in X else pd.Series(dtype=float)
    known = [v for v in rows if v in merit]
    for v in merit.index.difference(list(rows)):
        if len(known) >= 4:
            x, y = merit[known].to_numpy(), np.array([rows[k][0] for k in known])
            guess, error = _line(x, y, merit[v])
            rows[v] = [guess, f"predicted from {predictor}", 0]
            draws[v] = guess + error * rng.standard_normal(resamples)
        else:
            rows[v] = [np.nan, "trained, not transferred yet", 0]
    out = pd.DataFrame.from_dict(rows, "index", columns=["gain", "source", "seeds"])
    ends = pd.DataFrame(draws).quantile([alpha / 2, 1 - alpha / 2]).T
    out["low"], out["high"] = ends.iloc[:, 0].reindex(out.index), ends.iloc[:, 1].reindex(out.index)
    out = out.sort_values("gain", ascending=False).rename_axis("variant").reset_index()
    all_ = pd.DataFrame(draws)
    loss = all_.max(axis=1) - all_[out["variant"][0]]
    chance = all_.max(axis=1) - all_.mean(axis=1)
    cost = {"expected": float(loss.mean()), "random": float(chance.mean())}
    cost["low"], cost["high"] = (float(q) for q in loss.quantile([alpha / 2, 1 - alpha / 2]))
    return out[["variant", "gain", "low", "high", "source", "seeds"]], cost


def _draws(study_dir, table, target, variants, resamples, rng) -> dict[str, np.ndarray]:
    """Gains with languages (the same for all variants) and seeds drawn again."""
    scores = tables.scores(study_dir)
    names = [t for t in tables.tasks.TARGETS
             if target in (t, "average", tables.tasks.get(t).group)
             and t in set(table["target"]) | set(scores["target"])]  # fmt: skip
    total = {v: np.zeros(resamples) for v in variants}
    seeds = sorted(set(scores["seed"]))
    which = rng.integers(0, len(seeds), (resamples, len(seeds)))
    used = 0
    for t in names:
        rows = scores[(scores["target"] == t) & (scores["metric"] == tables.tasks.get(t).metric)]
        rows = rows[rows["lang"] != "en"]
        cube = rows.pivot_table(index=["variant", "seed"], columns="lang", values="value")
        if "none" not in cube.index.get_level_values(0):
            continue
        languages = rng.integers(0, cube.shape[1], (resamples, cube.shape[1]))
        counts = np.stack([(languages == j).sum(1) for j in range(cube.shape[1])], 1)
        used += 1
        for v in variants:
            gain = np.full((len(seeds), cube.shape[1]), np.nan)
            for i, s in enumerate(seeds):
                if (v, s) in cube.index and ("none", s) in cube.index:
                    gain[i] = cube.loc[(v, s)] - cube.loc[("none", s)]
            there = ~np.isnan(gain)
            top = counts @ np.where(there, gain, 0).T  # resample x seed
            bottom = counts @ there.T
            pick = np.arange(resamples)[:, None], which
            weight = bottom[pick].sum(1)
            mean = np.divide(top[pick].sum(1), weight, out=np.full(resamples, np.nan),
                             where=weight > 0)  # fmt: skip
            total[v] += np.where(np.isnan(mean), np.nanmean(gain) if there.any() else np.nan, mean)
    return {v: total[v] / max(used, 1) for v in variants}


def _line(x, y, at):
    """Least-squares prediction at a point and its leave-one-out root mean square error."""

    def fit(x, y, at):
        slope = np.polyfit(x, y, 1) if np.ptp(x) > 0 else np.array([0, y.mean()])
        return float(np.polyval(slope, at))

    left = [y[i] - fit(np.delete(x, i), np.delete(y, i), x[i]) for i in range(len(x))]
    return fit(x, y, at), float(np.sqrt(np.mean(np.square(left))))


def advice(first, target: str, cost: dict) -> str:
    """What the best task's row says to do, also when that is to leave intermediate training out."""
    target = "the average" if target == "average" else target
    name, gain = first["variant"], f"{first['gain']:+.1f} points"
    gain += f" ({first['low']:+.1f} to {first['high']:+.1f})"
    if first["gain"] <= 0:
        return (
            f"Take none for {target}: no intermediate task is expected to help; the best, {name}, "
            f"changes the score by {gain}."
        )
    words = (
        f"Take {name} for {target}: {gain}; expected regret {cost['expected']:.1f} points "
        f"({cost['low']:.1f} to {cost['high']:.1f}); a random one {cost['random']:.1f}."
    )
    if first["low"] <= 0:
        words += " Not shown to be better than none: the interval includes zero."
    return words


def main(folder, rest: list[str]) -> int:
    """The verb: ranking, expected regret and, with --budget, early choice."""
    p = argparse.ArgumentParser(
        "midway recommend FOLDER", description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  midway recommend outputs/mini --target xquad\n"
        "  midway recommend outputs/mini --target retrieval --budget 0.4",
    )  # fmt: skip
    p.add_argument("--target", default="average", help="a target, a group or 'average'")
    p.add_argument("--predictor", default="main", help="ranks what is not transferred yet")
    p.add_argument("--budget", type=float, help="share of the grid's compute, e.g. 0.4")
    args = p.parse_args(rest)
    folder = Path(folder)
    table, cost = recommend(folder, args.target, predictor=args.predictor)
    none = {"variant": "none", "gain": 0.0, "source": "no intermediate task"}
    shown = pd.concat([table, pd.DataFrame([none])]).sort_values("gain", ascending=False)
    print(shown.fillna({"seeds": 0}).astype({"seeds": int})
          .to_string(index=False, float_format="%.1f", na_rep="–"))  # fmt: skip
    print(advice(table.iloc[0], args.target, cost))
    if args.budget is not None:
        if not 0 < args.budget <= 1:
            raise InputError(f"--budget: {args.budget}; a share between 0 and 1")
        runs = early(tables.predictors(folder), tables.outcomes(folder), args.target,
                     costs=tables.costs(folder))  # fmt: skip
        runs = runs[runs["compute"] <= args.budget].sort_values(["regret", "compute"])
        if runs.empty:
            raise InputError(f"--budget: {args.budget} is less than any early choice costs here")
        print(f"\nEarly choice within {args.budget:.0%} of the compute (on the runs recorded):")
        print(runs.head(12).to_string(index=False, float_format="%.2f"))
    return 0
