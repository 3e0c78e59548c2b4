"""Power and cost of a design: number of tasks, families, seeds, doses and test rows.

By simulation: tasks in families, true values of metric and gain that correlate, noise of seeds and
test items as a finished study has it (or as the default study had it). The test is one that keeps
its promise: |rho| above what the same design gives without any relation. Within a task the values
of the doses correlate after each task's mean is taken out (repeated-measures correlation, Bland &
Altman 1995).
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from midway.correlation import advice, arrays, families, items, reliability, tables
from midway.study import files

LEVELS = np.round(np.arange(0.05, 1.0, 0.05), 2)  # true correlations that are tried


@dataclass(frozen=True)
class Parts:
    """The parts of a design; defaults are the default study's numbers.

    metric, outcome: reliability of one training, seed to seed; items: variance from test items over
    that between tasks, at ``rows``; icc: share of the variance between tasks that is between
    families; first, second, baseline: core-seconds of 01, of 02 for one encoder, of ``none``;
    scaling: share of 02 that grows with the rows.
    """

    tasks: int = 9
    families: int = 6
    seeds: int = 1
    doses: int = 3
    rows: int = 120
    metric: float = 0.95  # assumed: no default study has measured it with several seeds
    outcome: float = 0.91
    items: float = 0.05  # assumed
    icc: float = 0.5  # assumed
    first: float = 15.6
    second: float = 48.4
    baseline: float = 158.0
    scaling: float = 0.45
    source: str = "defaults of the default study; reliability of the metric, items and icc assumed"


def of_study(folder, predictor: str = "main_gain") -> Parts:
    """The parts of a finished study; what it cannot tell keeps its default, and is named."""
    study, base = tables.settings(folder), Parts()
    outcomes = tables.outcomes(folder)
    X, Y, _ = arrays.wide(tables.predictors(folder), outcomes)
    known: dict = {"doses": len(study["intermediate"].get("doses") or [1])}
    units = sorted(set(X.index.get_level_values(0)) & set(Y.index.get_level_values(0)))
    family = tables.families(units).to_dict()
    assumed = ["tasks"] if len(units) < 3 else []
    if len(units) > 2:
        known |= {"tasks": len(units), "families": len(set(family.values()))}
    known["seeds"] = max(len(study.get("seeds", [1])), 1)
    known["rows"] = study["data"].get("test_size") or base.rows
    whole = tables.overall(Y)
    for name, table, column in (("metric", X, predictor), ("outcome", Y, whole)):
        parts = reliability.components(table[[column]]) if column in table else pd.DataFrame()
        if len(parts) and parts["one_seed"].notna().all():
            known[name] = float(np.clip(parts["one_seed"].iloc[0], 0.01, 1))
        else:
            assumed.append(name)
    if whole in Y and known.get("tasks"):
        covariances = [items.covariance(z) for z in items.influences(folder).values()]
        spread = Y[whole].groupby(level=0).mean().var()
        if covariances and spread > 0:
            c = sum(covariances[1:], covariances[0]) / len(covariances) ** 2
            known["items"] = min(items.between_units(c, units) / spread, 10.0)
        else:
            assumed.append("items")
        known["icc"] = _icc(Y[whole].groupby(level=0).mean(), family)
    costs = tables.costs(folder).dropna(subset=["cpu_s"])
    mean = costs[costs["variant"] != "none"].groupby("step")["cpu_s"].mean()
    none = costs[costs["variant"] == "none"].groupby("seed")["cpu_s"].sum()
    if len(mean) == 2 and len(none):
        known |= {"first": mean.iloc[0], "second": mean.iloc[1] / known["doses"]}
        known["baseline"] = none.mean()
    else:
        assumed.append("cost")
    source = f"{Path(folder).name}" + (f"; assumed: {', '.join(assumed)}" if assumed else "")
    return replace(base, **known, source=source)


def _icc(values: pd.Series, family: dict) -> float:
    """Share of variance between families (one-way analysis of variance), in [0, 0.95]."""
    codes, names = pd.factorize(values.index.map(family))
    if not 1 < len(names) < len(values):
        return Parts.icc
    share = families.icc(values.to_numpy()[:, None], codes)[0]
    return float(min(np.nan_to_num(share), 0.95))


def power(parts: Parts, *, alpha: float = 0.05, tests: int = 1, studies: int = 2000, seed: int = 0):
    """Power against every true rho of LEVELS: columns rho, between, within.

    tests: pairs that are corrected for (Bonferroni, an upper bound of what max-T costs).
    """
    rng = np.random.default_rng(seed)
    out = {"rho": LEVELS}
    for name in ("between", "within"):
        if name == "within" and parts.doses < 2:
            out[name] = np.full(len(LEVELS), np.nan)
            continue
        seen = _correlations(parts, np.array([0.0, *LEVELS]), name == "within", studies, rng)
        edge = np.quantile(np.abs(seen[0]), 1 - alpha / tests)
        out[name] = (np.abs(seen[1:]) > edge).mean(1)
    return pd.DataFrame(out)


def _pair(rng, shape, rho):
    """Standard normal x and, for each rho, y with that correlation: (shape), (rhos, *shape)."""
    x, e = rng.standard_normal((2, *shape))
    r = rho.reshape(-1, *[1] * len(shape))
    return x, r * x + np.sqrt(1 - r**2) * e


def _noise(parts: Parts):
    """Error variances of metric and outcome, in units of the variance between tasks."""
    seeds = [(1 - r) / r / parts.seeds for r in (parts.metric, parts.outcome)]
    return seeds[0], seeds[1] + parts.items * Parts.rows / parts.rows


def _study(parts, rho, shape, rng):
    """Metric (studies, tasks, ...) and outcome for each rho: alike within families, noisy."""
    studies, tasks, *rest = shape
    place = np.arange(tasks) % parts.families
    family, own = (_pair(rng, (studies, n, *rest), rho) for n in (parts.families, tasks))
    a, b = np.sqrt(parts.icc), np.sqrt(1 - parts.icc)
    x = a * family[0][:, place] + b * own[0]
    y = a * family[1][:, :, place] + b * own[1]
    for v, error in zip((x, y), _noise(parts), strict=True):
        v += np.sqrt(error) * rng.standard_normal(v.shape)
    return x, y


def _correlations(parts, rho, within: bool, studies, rng):
    """Correlations of simulated studies for each true one: (rhos, studies).

    Spearman's rho between tasks, or the repeated-measures correlation with time removed, as
    within.py tests it.
    """
    shape = (studies, parts.tasks, parts.doses) if within else (studies, parts.tasks)
    pair = _study(parts, rho, shape, rng)
    if not within:
        pair = [rankdata(v, axis=-1) for v in pair]
    every = (-2, -1) if within else -1
    for axis in (-1, -2, every) if within else (every,):  # mean of a task; of a dose; of all
        pair = [v - v.mean(axis, keepdims=True) for v in pair]
    x, y = pair
    return (x * y).sum(every) / np.sqrt((x**2).sum(every) * (y**2).sum(every))


def cost(parts: Parts) -> float:
    """Core-seconds of a study."""
    grow = 1 + parts.scaling * (parts.rows / Parts.rows - 1)
    each = parts.first + parts.doses * parts.second * grow
    return parts.seeds * (parts.tasks * each + parts.baseline * grow)


def alternatives(parts: Parts) -> dict[str, Parts]:
    """What one could do otherwise: name -> design."""

    def tasks(n):
        return replace(parts, tasks=n, families=max(2, round(n * parts.families / parts.tasks)))

    out = {"as it is": parts}
    out |= {f"{k} seeds": replace(parts, seeds=k) for k in (3, 10) if k != parts.seeds}
    out["four times the test rows"] = replace(parts, rows=4 * parts.rows)
    out |= {f"{k} doses": replace(parts, doses=k) for k in (3, 6) if k != parts.doses}
    out |= {f"{n} tasks": tasks(n) for n in (16, 32, 64) if n > parts.tasks}
    out["each task its own family"] = replace(parts, families=parts.tasks)
    return out


def table(parts: Parts, *, effect: float = 0.5, aim: float = 0.8, **options) -> pd.DataFrame:
    """One row per alternative: design, sizes, power at ``effect`` and what ``aim`` would need."""
    rows = []
    for name, one in alternatives(parts).items():
        curve = power(one, **options)
        at = curve.iloc[(curve["rho"] - effect).abs().argmin()]
        row: dict = {"design": name}
        row |= {k: getattr(one, k) for k in ("tasks", "families", "seeds", "doses", "rows")}
        row |= {"power_between": at["between"], "power_within": at["within"]}
        for kind in ("between", "within"):  # the smallest correlation that is found so often
            row[f"rho_{kind}"] = curve.loc[curve[kind] >= aim, "rho"].min()
        rows.append(row | {"core_s": cost(one)})
    out = pd.DataFrame(rows)
    out.attrs = {"effect": float(at["rho"]), "aim": aim, "source": parts.source} | options
    return out


def curves(parts: Parts, names=(), **options) -> pd.DataFrame:
    """Power against the true correlation of some alternatives: design, rho, between, within."""
    made = {k: v for k, v in alternatives(parts).items() if k in names or not names}
    each = [power(one, **options).assign(design=name) for name, one in made.items()]
    return pd.concat(each, ignore_index=True)


def show(parts: Parts, as_json: bool = False, **options) -> str:
    """The table and its sentences, as text or JSON."""
    found = table(parts, **options)
    sentences = advice.power(found)
    if as_json:
        tree = {"parts": asdict(parts), "designs": found.to_dict("records"), "words": sentences}
        return json.dumps(files.plain(tree), indent=1, ensure_ascii=False)
    text = found.to_string(index=False, float_format="%.2f", na_rep="–")
    return "\n".join([text, *sentences])
