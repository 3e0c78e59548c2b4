"""The ten claims: a verdict only where something was tested, with its noise."""

import numpy as np
import pandas as pd
import pytest

from midway.correlation import claims
from midway.study import tasks

MINI = {
    "encoder": {"kind": "packaged", "name": None, "path": None, "layers": 6, "frozen_layers": 2},
    "data": {"source": "mini"}, "intermediate": {"train_size": 256}, "transfer": {},
}  # fmt: skip
LARGE = {
    "encoder": {"kind": "hub", "name": "FacebookAI/xlm-roberta-large"},
    "data": {"source": "local"}, "intermediate": {}, "transfer": {},
}  # fmt: skip
GAIN = {"none": 0, "mnli": 2, "squad1": 3, "hellaswag": 3, "multi": 8, "mnli+mlm": 0}
TARGETS = {"xnli": -6, "tydiqa": 4, "tatoeba": 9, "bucc2018": 8, "average": 4}


def outcomes(noise=0.3, seeds=3, gain=GAIN, targets=TARGETS, seed=0):
    rng, rows = np.random.default_rng(seed), []
    for variant, g in gain.items():
        for target, e in targets.items():
            for s in range(seeds):
                d = 0.0 if variant == "none" else g + e + noise * rng.standard_normal()
                rows.append([variant, s, target, 50 + d, d])
    return pd.DataFrame(rows, columns=["variant", "seed", "target", "score", "gain"])


def verdicts(table, params=LARGE):
    return claims.claims(table, params).set_index("number")["verdict"]


def test_clear_results_of_a_comparable_study():
    found = verdicts(outcomes(noise=0.1))
    assert list(found[:6]) == ["supported"] * 6
    assert found[7] == "history" and set(found[8:]) == {"a design, no result"}


def test_the_opposite_is_contradicted():
    gain = GAIN | {"multi": -8, "mnli": -9, "mnli+mlm": 0}
    targets = TARGETS | {"tatoeba": -9, "xnli": 9}
    found = verdicts(outcomes(gain=gain, targets=targets))
    assert set(found[[1, 2, 3, 6]]) == {"contradicted"}


def test_within_the_noise_of_seeds_there_is_no_verdict():
    flat = {"gain": dict.fromkeys(GAIN, 0), "targets": dict.fromkeys(TARGETS, 0)}
    found = verdicts(outcomes(noise=9, **flat))
    assert set(found[[1, 2, 3, 4, 6]]) <= {"cannot tell"}


def test_the_best_of_noise_does_not_improve_xtreme():
    """Chosen and judged on the same scores, claim 5 could not fail."""
    said = []
    for seed in range(30):
        nothing = outcomes(3, 3, dict.fromkeys(GAIN, 0), dict.fromkeys(TARGETS, 0), seed)
        said.append(verdicts(nothing)[5])
    assert said.count("supported") <= 4


@pytest.mark.parametrize(
    ("table", "params", "why"),
    [
        (outcomes(), MINI, "miniature"),
        (outcomes(seeds=1), LARGE, "one seed"),
        (outcomes().iloc[:0], LARGE, "not in this study"),
    ],
)
def test_what_a_study_cannot_test_it_says(table, params, why):
    found = claims.claims(table, params)
    assert len(found) == 10 and list(found["number"]) == list(range(1, 11))
    assert set(found["verdict"][:6]) == {claims.CANNOT}
    assert found["note"][:6].str.contains(why).all()
    assert found["note"][:6].str.contains("params/xlmr_large.yaml").all()


def test_numbers_are_shown_beside():
    found = claims.claims(outcomes(noise=0), MINI).set_index("number")["measured"]
    assert found[1] == "squad1 +7.0, mnli +6.0, hellaswag +7.0"
    assert found[2] == "multi +12.0, best single hellaswag +7.0"
    assert found[3].startswith("tatoeba +13.0, bucc2018 +12.0, tydiqa +8.0")
    assert found[4] == "gains above the noise of seeds from 100% (tydiqa), 25% (xnli) of variants"
    assert found[5].startswith("+11.8 over 4 targets")
    assert found[6] == "plain minus +mlm +2.0"
    assert f"{len(tasks.TARGETS)} task cards" in found[8]
