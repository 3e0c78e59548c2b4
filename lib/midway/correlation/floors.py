"""What a score must be above before it says anything: controls for targets, chance for tasks."""

import numpy as np
import pandas as pd

from midway import kinds
from midway.correlation import tables
from midway.study import tasks


def chance(card) -> float:
    """Score of a guess on a task, percent: 0 for spans, tags and retrieval."""
    return kinds.get(card.kind).chance(card)


def below_control(folder) -> pd.DataFrame:
    """For each target: the best control's zero-shot score, and the variants that do not exceed it.

    Columns: target, control, score (percent, mean over languages and seeds), variants (how many
    were measured), below (names). Controls are simple rivals without the encoder, or the encoder
    that does not see half of the input (:mod:`midway.controls`).
    """
    found: list[tuple] = []
    for _, record in tables.read_records(folder, "02_transfer")[0]:
        for target, result in record["results"]["targets"].items():
            for lang, controls in (result.get("controls") or {}).items():
                for name, values in controls.items() if lang != "en" else ():
                    found.append((target, name, values.get(tasks.get(target).metric)))
    outcomes, rows = tables.outcomes(folder), []
    known = pd.DataFrame(found, columns=["target", "control", "score"]).dropna()
    means = known.groupby(["target", "control"], sort=False)["score"].mean()
    for target, best in means.groupby(level=0, sort=False).idxmax():
        own = outcomes[outcomes["target"] == target].groupby("variant", sort=False)["score"].mean()
        score = means[target, best]
        rows.append([target, best, score, len(own), ", ".join(own.index[own <= score])])
    return pd.DataFrame(rows, columns=["target", "control", "score", "variants", "below"])


def not_learned(folder) -> pd.DataFrame:
    """Tasks whose own score after training is not clearly above its start or above chance.

    Columns: variant, score, floor (percent), n (development examples of all seeds), error: one
    standard error of a share of n. Clear is two errors above the higher of start and chance.
    """
    size = tables.settings(folder).get("intermediate", {}).get("eval_size") or 0
    main = tables.predictors(folder)
    main = main[(main["predictor"] == "main") & main["variant"].isin(list(tasks.INTERMEDIATE))]
    rows = []
    for variant, part in main.sort_values("fraction", kind="stable").groupby("variant", sort=False):
        ends = part.groupby("seed")["value"].agg(["first", "last", "size"])
        score, n = ends["last"].mean(), size * len(ends)
        start = ends.loc[ends["size"] > 1, "first"].mean()
        floor = np.fmax(chance(tasks.get(variant)), start)
        p = np.clip(score / 100, 0.01, 0.99)
        error = 100 * np.sqrt(p * (1 - p) / max(n, 1))
        if score - floor <= 2 * error:
            rows.append([variant, score, floor, n, error])
    return pd.DataFrame(rows, columns=["variant", "score", "floor", "n", "error"])
