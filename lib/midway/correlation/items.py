"""Error from test items: the contribution of each item to a score or a predictor.

Outcomes are computed again from 02's predictions; for predictors 01 records their values without
each of ten groups of rows (jackknife).

A score is a mean or an F1; ``influence`` is an item's share of its deviation, so that the squares
of all influences add up to the score's sampling variance (infinitesimal jackknife, Efron 1982).
The items of a target are clusters: one item's influences in several languages are added before
they are squared, because XNLI, XQuAD and others ask the same questions in all languages.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from midway import kinds
from midway.correlation import tables
from midway.data import sources
from midway.study import params, tasks
from midway.study.errors import InputError, MissingData, Unreachable

PROBES = ("probe_entailment_contrast", "retrieval_probe", "cosine_gap", "p_at_1")


def influences(folder, targets=()) -> dict[str, pd.DataFrame]:
    """Per target a table items x (variant, seed): influence on the zero-shot score, points.

    Targets without predictions or without the gold rows are left out.
    """
    folder = Path(folder)
    known = tables.scores(folder)
    try:
        data = params.Data(**tables.settings(folder)["data"])
    except (KeyError, ValueError):  # no study, or one of another version
        return {}
    out = {}
    for target in targets or dict.fromkeys(known["target"]):
        card = tasks.get(target)
        part = known[(known["target"] == target) & (known["metric"] == card.metric)]
        part = part[part["lang"] != "en"]
        languages = part["lang"].nunique()
        columns: dict[tuple, list] = {}
        for lang, runs in part.groupby("lang"):
            try:
                rows = sources.load(target, "test", lang, data, data.test_size)
                gold = kinds.get(card.kind).gold(card, rows, lang)
            except (InputError, MissingData, Unreachable, ImportError):  # ImportError: light core
                columns = {}
                break
            for run in runs.itertuples():
                one = _influence(card, lang, gold, folder / run.record)
                if one is not None:
                    columns.setdefault((run.variant, run.seed), []).append(one / languages)
        if columns:
            merged = {k: pd.concat(v).groupby(level=0).sum() for k, v in columns.items()}
            out[target] = pd.DataFrame(merged).fillna(0.0)
    return out


def covariance(influence: pd.DataFrame) -> pd.DataFrame:
    """Sampling covariance between variants (means over seeds) from items x (variant, seed)."""
    mean = influence.T.groupby(level=0).mean()
    return mean @ mean.T


def between_units(cov: pd.DataFrame, units) -> float:
    """Variance that other test items would put between the units, of a variants' covariance."""
    units = [u for u in units if u in cov.index]
    c = cov.loc[units, units].to_numpy()
    n = len(units)
    return float((np.trace(c) - c.sum() / n) / (n - 1)) if n > 1 else np.nan


def predictor_errors(folder, units) -> dict[str, float]:
    """Variance that other development rows would put between tasks, by predictor of 01.

    A task's own scores rest on its own rows; the probes on the same sentences for all tasks. Seeds
    share the rows. Predictors that are computed from training rows (LogME) vary with the seed.
    """
    shares: dict[str, dict] = {}
    for _, record in tables.read_records(Path(folder), "01_intermediate")[0]:
        points = record["results"].get("trajectory", [])
        ends = [p.get("jackknife", {}) for p in points[:1] + points[-1:]]
        if record["variant"] not in units or not all(ends):
            continue
        first, last = ({k: np.array(v) for k, v in end.items()} for end in ends)
        for name, left_out in (last | {"main_gain": last["main"] - first["main"]}).items():
            n = len(left_out)
            share = np.sqrt((n - 1) / n) * (left_out - left_out.mean())
            rows = "" if name in PROBES else record["variant"]
            at = pd.MultiIndex.from_product([[rows], range(n)])
            shares.setdefault(name, {})[record["variant"], record["seed"]] = pd.Series(share, at)
    made = {k: covariance(pd.DataFrame(v).fillna(0.0)) for k, v in shares.items()}
    return {k: between_units(c, units) for k, c in made.items() if len(c) > 1}


def _influence(card, lang, gold: dict, record: Path) -> pd.Series | None:
    try:
        name = json.loads(record.read_text(encoding="utf-8"))["predictions"]
        text = (record.parents[1] / name).read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    kind = kinds.get(card.kind)
    shares = kind.shares(card, gold, kind.parse(text), lang)
    return None if shares is None else pd.Series(shares, list(gold))
