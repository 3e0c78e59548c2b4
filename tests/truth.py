"""Studies with known truth as tables, without records: between tasks, within tasks, or nothing.

``draw`` gives what :func:`analysis.assemble` takes; ``sentences`` is what 03 then says.
"""

import numpy as np
import pandas as pd

from midway.correlation import analysis, tables
from midway.study import params, tasks

NOISE = "loss contrast ece cosine_gap p_at_1 probe_entailment_contrast retrieval_probe".split()
TARGETS = ["xnli", "udpos", "xquad", "tydiqa"]
DOSES = (1 / 3, 2 / 3, 1.0)
FALSE = {  # what may not be said when there is nothing
    "between": ("rises with", "falls with"),
    "answer": ("rise together", "go opposite"),
    "within": ("rise together", "go opposite"),
    "choice": ("predicts better",),
}


def draw(truth: str, rng, seeds=2, noise=0.3, icc=0.5):
    """Predictors, outcomes and both with doses. truth: 'none', 'between' or 'within'."""
    names = list(tasks.INTERMEDIATE)
    _, place = np.unique(tables.families(names).to_numpy(str), return_inverse=True)

    def level():  # a value per task, its families alike
        common = rng.standard_normal(place.max() + 1)[place]
        return np.sqrt(icc) * common + np.sqrt(1 - icc) * rng.standard_normal(len(names))

    metric, gain = level(), level()
    if truth == "between":
        gain = 0.98 * metric + 0.2 * gain
    rise = np.array(DOSES)
    wobble = rng.standard_normal((len(names), len(DOSES))) * (rise < 1)  # gone at the end
    rows, scores = [], []
    for kind in ("", "+shuffled"):
        for i, name in enumerate(names):
            own = wobble[i] if truth == "within" and not kind else 0 * rise
            other = [rng.standard_normal(len(DOSES)) for _ in NOISE]
            for s in range(seeds):
                x = metric[i] * (not kind) + 2 * rise + own
                y = gain[i] * (not kind) + 2 * rise + own
                for d, dose in enumerate(DOSES):
                    run = [name + kind, dose, s]
                    value = x[d] + noise * rng.standard_normal()
                    rows.append([*run, d, dose, "main_gain", value, None, ""])
                    for label, v in zip(NOISE, other, strict=True):
                        value = v[d] + noise * rng.standard_normal()
                        rows.append([*run, d, dose, label, value, None, ""])
                    values = y[d] + noise * rng.standard_normal(len(TARGETS))
                    values = [*zip(TARGETS, values, strict=True), ("average", values.mean())]
                    for target, v in values:
                        scores.append([*run, target, 50 + v, v, 60 + v, v, 55 + v])
    predictors = pd.DataFrame(rows, columns=tables.PREDICTORS)
    outcomes = pd.DataFrame(scores, columns=tables.OUTCOME)
    ends = predictors[predictors["dose"] == 1], outcomes[outcomes["dose"] == 1]
    return *ends, (predictors, outcomes)


def sentences(truth: str, seed: int, permutations: int = 5000) -> dict:
    """All that 03 says about one draw, by section."""
    rng = np.random.default_rng([seed, len(truth)])
    setting = params.Correlation(primary=[["main_gain", "average"]])
    predictors, outcomes, dosed = draw(truth, rng)
    data = analysis.assemble(predictors, outcomes, setting, dosed=dosed)
    options = {"permutations": permutations, "resamples": 999, "seed": seed}
    cells = analysis.between(data, **options)
    doses = analysis.within(data, setting, **options)
    quality, nested = analysis.choices(data, permutations=999)
    empty = pd.DataFrame(columns=["outcome", "rho", "predictor", "below", "default"])
    study = {"seeds": [1, 2], "encoder": {}, "data": {"source": "mini"}}
    return analysis.conclusion(
        data, study, cells, doses, quality, nested, empty, (empty, empty.iloc[:0])
    )


def said(found: dict, section: str) -> bool:
    """Whether a section claims something."""
    return any(phrase in line for line in found[section] for phrase in FALSE[section])
