"""Recommend an intermediate task for a target, from what a study has measured so far.

A gain carries the noise of training seeds, of the baseline, of test items and of languages. The
best of ten noisy gains is too high (the winner's curse), so gains are drawn towards their mean as
far as their noise asks (empirical Bayes; Efron & Morris 1975, with the spread between tasks
integrated out as in Gelman et al., Bayesian Data Analysis, 5.4). The usual answer of a small study
is "cannot tell".
"""

import json

import numpy as np
import pandas as pd

from midway.correlation import advice, arrays, choice, export, items, tables, words
from midway.study import files, tasks
from midway.study.errors import InputError, meant

#: Seed-to-seed correlations of gains in the default study of 2026-11, for studies of one seed.
ONE_SEED = {
    "xnli": 0.00, "panx": 0.32, "pawsx": 0.52, "tydiqa": 0.78, "xquad": 0.85, "mlqa": 0.85,
    "udpos": 0.86, "tatoeba": 0.88, "bucc2018": 0.98, "average": 0.91,
}  # fmt: skip
#: Spread of log(variance of the baseline's noise / own variance of a gain), known beforehand: that
#: wide, intervals hold what a repetition measures up to a ratio of 6, the largest that was seen.
RATIO = 3.0
COLUMNS = ["variant", "gain", "expected", "low", "high", "p_best", "p_helps", "source", "seeds"]


def recommend(study_dir, target: str = "average", *, predictor: str = "main", draws: int = 8000,
              alpha: float = 0.05, seed: int = 0):  # fmt: skip
    """Rank intermediate tasks for a target from what is finished; returns (table, facts).

    Columns: variant; gain, measured; expected, after shrinking; low, high: the (1 - alpha)
    interval of what the *same study with other seeds and test items* would measure; p_best and
    p_helps: probability that it is the best of them, and better than none; source; seeds. Where
    02 is not finished but 01 is, a gain is predicted by a line through the finished variants'
    (predictor, gain), if that line beats their mean when each is left out. facts: dict expected,
    low, high, random (regret of the first and of a random choice, points), repeat_helps,
    repeat_hurts, repeat_best (probability that a repetition would find that the first task helps,
    that it hurts, that it is the best), noise (standard deviation from seeds, items, languages,
    baseline), seed_noise ('measured' or 'assumed').
    """
    table, rng = tables.outcomes(study_dir), np.random.default_rng(seed)
    if target != "average" and target not in tables.OUTCOMES:
        raise InputError(f"--target: {target!r}; one of {', '.join(tables.OUTCOMES)}")
    if target in tables.GROUPS:
        table = tables.outcomes(study_dir, by="group")
    part = table[table["target"] == target].dropna(subset=["gain"])
    gains = part[part["variant"].map(tables.is_unit).astype(bool)].groupby("variant")["gain"]
    if not len(gains):
        raise InputError(
            f"{study_dir}: needs the baseline 'none' and another variant, finished for {target}; "
            "`midway status` shows what is finished"
        )
    mean, runs = gains.mean(), gains.count()
    noise = _noise(study_dir, part, target, mean, runs)
    true = posterior(mean.to_numpy(), noise, draws, rng)
    again = true + _errors(noise, len(mean), draws, rng)
    true, again = (pd.DataFrame(d, columns=list(mean.index)) for d in (true, again))
    source = dict.fromkeys(mean.index, "measured")
    for variant, guess in _untransferred(study_dir, table, mean, predictor).items():
        source[variant] = "trained, not transferred yet"
        if guess is not None:
            source[variant] = f"predicted from {predictor}"
            true[variant] = guess[0] + guess[1] * rng.standard_t(max(len(mean) - 2, 1), draws)
            again[variant] = true[variant]
    out = pd.DataFrame({"source": pd.Series(source)})
    out["gain"], out["expected"] = mean.reindex(out.index), true.mean().reindex(out.index)
    ends = again.quantile([alpha / 2, 1 - alpha / 2])
    out["low"], out["high"] = (ends.iloc[i].reindex(out.index) for i in (0, 1))
    best = true.eq(true.max(axis=1), axis=0)
    out["p_best"] = best.mean().reindex(out.index)
    out["p_helps"] = (true > 0).mean().reindex(out.index)
    out["seeds"] = runs.reindex(out.index).fillna(0).astype(int)
    out = out.sort_values("expected", ascending=False).rename_axis("variant").reset_index()
    loss = true.max(axis=1) - true[out["variant"][0]]
    facts = {"expected": loss.mean(), "random": (true.max(axis=1) - true.mean(axis=1)).mean()}
    facts["low"], facts["high"] = loss.quantile([alpha / 2, 1 - alpha / 2])
    ahead, others = again[out["variant"][0]], again.drop(columns=out["variant"][0])
    facts |= {"repeat_helps": _found(ahead, alpha), "repeat_hurts": _found(-ahead, alpha)}
    facts["repeat_best"] = _found(ahead - others.max(axis=1), alpha) if len(mean) > 1 else 0.0
    facts = {k: float(v) for k, v in facts.items()}
    return out[COLUMNS], facts | {"noise": noise["sd"], "seed_noise": noise["from"]}


def _found(draws: pd.Series, alpha: float) -> float:
    """Share of repetitions whose own (1 - alpha) interval, as wide as this one, is above zero."""
    return (draws > (draws.quantile(1 - alpha / 2) - draws.quantile(alpha / 2)) / 2).mean()


def posterior(gain: np.ndarray, noise: dict, draws: int, rng) -> np.ndarray:
    """Draws x units of the true gains: a normal population of tasks seen with known errors.

    noise: variance of one seed, ``own`` with degrees of freedom and ``shared`` as in
    :func:`_shared`; ``per``, 1 / seeds; ``items`` and ``languages``, covariances. The mean of the
    tasks has a flat prior, their spread a flat one up to three times what is seen; the variances'
    own errors are drawn, too.
    """
    n, blocks, grid = len(gain), 200, 25
    E = _covariances(noise, n, blocks, rng)[:, None]  # blocks, 1, n, n
    scale = 3 * max(gain.std(ddof=1) if n > 1 else 0.0, np.sqrt(np.trace(E[0, 0]) / n), 1e-6)
    tau = scale * (np.arange(grid) + 0.5) / grid
    spread = E + (tau**2)[None, :, None, None] * np.eye(n)
    W = np.linalg.inv(spread)
    weight, pull = W.sum((2, 3)), W.sum(2) @ gain
    mu = pull / weight
    fit = np.einsum("i,bgij,j->bg", gain, W, gain) - mu * pull
    logp = -0.5 * (np.linalg.slogdet(spread)[1] + np.log(weight) + fit)
    p = np.exp(logp - logp.max(1, keepdims=True))
    p = (p / p.sum(1, keepdims=True)).cumsum(1)
    block = rng.integers(0, blocks, draws)
    j = np.minimum((rng.random((draws, 1)) > p[block]).sum(1), grid - 1)
    m = mu[block, j] + rng.standard_normal(draws) / np.sqrt(weight[block, j])
    # given mean and spread: shrink by E (E + tau^2 I)^-1, with what uncertainty is left
    keep = (tau[j] ** 2)[:, None, None] * W[block, j]  # tau^2 (E + tau^2)^-1
    centre = m[:, None] + np.einsum("dij,dj->di", keep, gain - m[:, None])
    left = np.einsum("dij,djk->dik", keep, E[block, 0])
    left = (left + left.transpose(0, 2, 1)) / 2 + 1e-12 * np.eye(n)
    return centre + np.einsum(
        "dij,dj->di", np.linalg.cholesky(left + 1e-9 * np.eye(n)), rng.standard_normal((draws, n))
    )


def _covariances(noise, n, blocks, rng, again=False):
    """Error covariances (blocks, n, n) with the variances' own uncertainty; ``again``: of a
    repetition, which keeps the languages."""
    value, free = noise["own"]
    own = value * free / rng.chisquare(free, blocks)
    shared = _shared(own, *noise["shared"], rng)
    E = own[:, None, None] * np.diag(noise["per"]) + (shared * noise["per"].mean())[:, None, None]
    return E + (noise["items"] if again else noise["items"] + noise["languages"]) + 1e-9 * np.eye(n)


def _shared(own, seen, free, part, rng):
    """Draws of the baseline's variance, one for each draw of a gain's own.

    seen estimates shared + part * own with ``free`` degrees of freedom: with two seeds one, which
    alone would allow anything. The baseline is one more training, so its variance is likely to be
    that of the others up to a factor: log(shared / own) ~ N(0, RATIO).
    """
    own = np.maximum(own, 1e-9)
    if seen > 1e3 * own.mean():  # nothing like another training: no prior knowledge
        return seen * free / rng.chisquare(free, len(own))
    ratio = np.linspace(-9, 9, 121)
    scale = own[:, None] * (np.exp(ratio) + part)
    fit = -free / 2 * (np.log(scale) + seen / scale) - (ratio / RATIO) ** 2 / 2
    p = np.exp(fit - fit.max(1, keepdims=True)).cumsum(1)
    at = (rng.random((len(own), 1)) * p[:, -1:] > p).sum(1)
    return own * np.exp(ratio[at])


def _errors(noise, n, draws, rng):
    root = np.linalg.cholesky(_covariances(noise, n, draws, rng, again=True))
    return np.einsum("dij,dj->di", root, rng.standard_normal((draws, n)))


def _noise(study_dir, part, target, mean, runs) -> dict:
    """Variances of the mean gains: seeds (own and shared with the baseline), items, languages."""
    units, n = list(mean.index), len(mean)
    cube = part[part["variant"].isin(units)].pivot(index="variant", columns="seed", values="gain")
    base = part[part["variant"] == "none"]["score"]
    whole = cube.dropna()
    k = whole.shape[1]
    if k > 1 and len(whole) > 2:
        a = whole.to_numpy()
        rest = a - a.mean(1, keepdims=True) - a.mean(0) + a.mean()
        own = (rest**2).sum() / ((len(a) - 1) * (k - 1))
        shared = a.mean(0).var(ddof=1), k - 1, 1 / len(a)
        free, known = (len(a) - 1) * (k - 1), "measured"
    elif len(base) > 1:
        own, free = base.var(ddof=1), len(base) - 1
        shared, known = (own, free, 0.0), "measured on the baseline"
    else:
        names = [t for t in tasks.TARGETS if tasks.get(t).group == target] or [target]
        seen = np.mean([ONE_SEED[t] for t in names])
        spread = mean.var(ddof=1) if n > 1 else mean.iloc[0] ** 2
        own, free = (1 - seen) * spread, 4
        shared, known = (own, free, 0.0), "assumed from the default study"
    per = 1 / runs.to_numpy()
    fixed = _fixed(study_dir, target, units)
    common = np.median(_shared(np.full(999, own), *shared, np.random.default_rng(0)))
    sd = {"seeds": np.sqrt(own * per.mean()), "baseline": np.sqrt(common * per.mean())}
    sd |= {name: np.sqrt(np.trace(c) / n) for name, c in fixed.items()}
    return {
        "own": (own, free), "shared": shared, "per": per,
        "from": known, "sd": {key: float(v) for key, v in sd.items()}, **fixed,
    }  # fmt: skip


def _fixed(study_dir, target, units) -> dict[str, np.ndarray]:
    """Covariances of the units' gains from test items and from the choice of languages."""
    scores = tables.scores(study_dir)
    names = [t for t in tasks.TARGETS if target in (t, "average", tasks.get(t).group)
             and t in set(scores["target"])]  # fmt: skip
    influence = items.influences(study_dir, names)
    out = {"items": np.zeros((len(units),) * 2), "languages": np.zeros((len(units),) * 2)}
    for t in names:
        rows = scores[(scores["target"] == t) & (scores["metric"] == tasks.get(t).metric)]
        rows = rows[rows["lang"] != "en"]
        cube = rows.pivot_table(index="lang", columns="variant", values="value")
        cube = cube.reindex(columns=["none", *units]).dropna()
        if len(cube) > 1:
            g = cube[units].sub(cube["none"], axis=0)
            g = (g - g.mean()).to_numpy() / len(g)
            out["languages"] += g.T @ g * len(g) / (len(g) - 1)
        if t in influence:
            z = influence[t].T.groupby(level=0).mean().T.reindex(columns=["none", *units])
            z = z.fillna(0.0)
            d = z[units].sub(z["none"], axis=0).to_numpy()
            out["items"] += d.T @ d
        elif len(rows):  # no predictions kept: binomial, as if gains were unpaired
            p = rows["value"].mean().clip(1, 99) / 100
            size = rows["n"].mean() * rows["lang"].nunique()
            out["items"] += np.eye(len(units)) * 2e4 * p * (1 - p) / max(size, 1)
    return {name: c / max(len(names), 1) ** 2 for name, c in out.items()}


def _untransferred(study_dir, table, mean, predictor) -> dict:
    """Variants that are trained only -> (guess, error), or None where no line is any good."""
    X, _, _ = arrays.wide(tables.predictors(study_dir), table, names=[predictor], composites=True)
    merit = X[predictor].groupby(level=0).mean() if predictor in X else pd.Series(dtype=float)
    known = [v for v in mean.index if v in merit]
    rest = merit.index.difference(list(mean.index))
    if len(known) < 5:
        return dict.fromkeys(rest)
    x, y = merit[known].to_numpy(), mean[known].to_numpy()
    left = [y[i] - _line(np.delete(x, i), np.delete(y, i), x[i]) for i in range(len(x))]
    plain = (y - y.mean()) * len(y) / (len(y) - 1)  # the same with the mean for a line
    error = float(np.sqrt(np.mean(np.square(left))))
    if error >= np.sqrt(np.mean(plain**2)):
        return dict.fromkeys(rest)
    return {v: (_line(x, y, merit[v]), error) for v in rest}


def _line(x, y, at) -> float:
    slope = np.polyfit(x, y, 1) if np.ptp(x) > 0 else np.array([0, y.mean()])
    return float(np.polyval(slope, at))


def budget(study_dir, target: str, share: float):
    """Early choice within a share of the grid's compute: (rules, nested).

    rules: rows of :func:`choice.early` that the share pays for; nested: what choosing by
    the metrics that they rank with is worth on tasks that did not choose the rule.
    """
    predictors, outcomes = tables.predictors(study_dir), tables.outcomes(study_dir)
    runs = choice.early(predictors, outcomes, target, costs=tables.costs(study_dir))
    runs = runs[runs["compute"] <= share].sort_values(["regret", "compute"])
    if runs.empty:
        raise InputError(f"--budget: {share} is too small; every early choice costs more")
    merit = {}
    for (name, at), _ in runs.groupby(["predictor", "fraction"]):
        X, Y, _ = arrays.wide(predictors, outcomes, names=[name], fraction=at)
        if name in X:
            merit[f"{name} at {at:.0%}"] = choice.sign(name) * X[name].groupby(level=0).mean()
    gain = Y[target].groupby(level=0).mean() if merit and target in Y else pd.Series(dtype=float)
    return runs, choice.nested(pd.DataFrame(merit), gain, tables.families(gain.index).to_dict())


def report(folder, target="average", predictor="main", share=None, as_json=False) -> int:
    """Output of `midway recommend`: the ranking, and sentences on its certainty.

    share: of the grid's compute, for early choice.
    """
    if share is not None and not 0 < share <= 1:
        raise InputError(f"--budget: {share}; expected a share between 0 and 1")
    if predictor != "main":
        known = sorted(set(tables.predictors(folder)["predictor"]))
        if predictor not in known:
            raise InputError(f"--predictor: {predictor!r}; {meant(predictor, known)}")
    table, facts = recommend(folder, target, predictor=predictor)
    table = export.zeros(table)
    sentences = advice.advice(table, target, facts)
    sentences += words.scope(tables.settings(folder))
    early = None
    if share is not None:
        runs, early = budget(folder, target, share)
        sentences += advice.budget(runs, early, share)
    if as_json:
        found = {"gains": table, "nested": early} | ({"early": runs} if early is not None else {})
        found = {k: v.to_dict("records") for k, v in found.items() if v is not None}
        text = files.plain(found | {"facts": facts, "words": sentences})
        print(json.dumps(text, indent=1, ensure_ascii=False))
        return 0
    none = {"variant": "none", "expected": 0.0, "source": "no intermediate task", "seeds": 0}
    shown = pd.concat([table, pd.DataFrame([none])]).sort_values("expected", ascending=False)
    print(shown.to_string(index=False, float_format="%.2f", na_rep="–"))
    print("\n".join(sentences))
    if early is not None:
        print(runs.head(6).to_string(index=False, float_format="%.2f"))
        print(early.to_string(index=False, float_format="%.2f", na_rep="–"))
    return 0
