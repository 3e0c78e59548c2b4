"""Sentences never claim more than the numbers: every rule has a case."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midway.correlation import words
from midway.correlation.correlate import COLUMNS, correlate

GOOD = {
    "predictor": "accuracy", "outcome": "average", "n": 9, "rho": 0.9, "p": 0.002, "p_maxt": 0.02,
    "q_bh": 0.01, "low": 0.6, "high": 0.98, "loo_low": 0.85, "loo_high": 0.95, "critical": 0.7,
    "note": "",
}  # fmt: skip
WEAKER = {
    "family-wise p too large": {"p_maxt": 0.06},
    "interval includes zero": {"low": -0.1},
    "n cannot reach alpha": {"critical": np.nan},
    "no correlation": {"rho": np.nan, "p": np.nan, "p_maxt": np.nan, "note": "constant outcome"},
    "no interval": {"low": np.nan, "high": np.nan},
}


def test_a_strong_result_is_called_one():
    text = words.cell(GOOD)
    assert text.startswith("accuracy predicts average: rho = +0.90, n = 9 tasks")
    assert "95 % interval +0.60 to +0.98" in text and "family-wise p = 0.020" in text
    less = words.cell(GOOD | {"rho": -0.9, "low": -0.98, "high": -0.6})
    assert "the lower, the better" in less


@pytest.mark.parametrize("name", WEAKER)
def test_predicts_is_not_said_of_less(name):
    text = words.cell(GOOD | WEAKER[name])
    assert "predicts" not in text


def test_one_unit_that_carries_the_result_is_named():
    assert "One unit carries it" in words.cell(GOOD | {"loo_low": -0.1})


def test_what_could_not_have_been_seen_is_said():
    text = words.cell(GOOD | {"p": 0.3, "p_maxt": 0.9, "rho": 0.4, "low": -0.3})
    assert "|rho| below 0.70 cannot be seen" in text


def test_uncorrected_significance_is_not_enough():
    text = words.cell(GOOD | {"p": 0.04, "p_maxt": 0.5})
    assert "not after correction" in text


HEADLINES = [
    ({}, "Yes, in this study: how much a task's own score rises (main_gain)"),
    ({"p_maxt": 0.2}, "Not shown: how much a task's own score rises (main_gain)"),
    ({"critical": np.nan}, "Too few tasks to tell: "),
    ({"predictor": "main", "low": -0.1}, "Not shown: a task's own score (main) and the average"),
]


@pytest.mark.parametrize(("change", "start"), HEADLINES)
def test_the_title_of_the_report_is_answered_in_one_sentence(change, start):
    (line,) = words.headline(pd.DataFrame([GOOD | {"predictor": "main_gain"} | change]))
    assert line.startswith(start) and "rho = +0.90" in line and "n = 9 tasks" in line


def test_no_headline_without_a_correlation_of_the_tasks_own_score():
    assert words.headline(pd.DataFrame([GOOD])) == []
    assert words.headline(pd.DataFrame(columns=COLUMNS)) == []


unit = st.floats(0, 1)


@given(unit, unit, st.floats(-1, 1), st.floats(-1, 1), st.one_of(unit, st.just(np.nan)))
def test_predicts_needs_all_three(p, p_maxt, low, high, critical):
    row = GOOD | {"p": p, "p_maxt": p_maxt, "low": low, "high": high, "critical": critical}
    if "predicts" in words.cell(row):
        assert p_maxt < 0.05 and (low > 0 or high < 0) and not np.isnan(critical)


def test_family_of_noise():
    """27 x 9 columns of noise over nine units: no sentence may say 'predicts'."""
    rng = np.random.default_rng(1)
    X, Y = pd.DataFrame(rng.random((9, 27))), pd.DataFrame(rng.random((9, 9)))
    lines = words.family(correlate(X, Y, permutations=999, resamples=99))
    assert "243 predictor-outcome pairs (n = 9 tasks" in lines[0] and "12.2 uncorrected" in lines[0]
    assert "No metric is shown to predict" in lines[1]
    assert not any("predicts" in line for line in lines)


def test_families_without_enough_data():
    assert "table is empty" in words.family(pd.DataFrame(columns=COLUMNS))[0]
    X, Y = pd.DataFrame({"a": [1.0, 2, 4, 3]}), pd.DataFrame({"b": [1.0, 3, 2, 4]})
    lines = words.family(correlate(X, Y, permutations=99, resamples=99))
    assert "no correlation at all could reach" in lines[1]
    X["a"] = 1.0
    assert "constant predictor" in words.family(correlate(X, Y, permutations=99, resamples=99))[0]


def test_comparison_needs_an_interval_without_zero():
    row = {"outcome": "mean of outcomes", "n": 9, "difference": 0.3, "low": -0.1, "high": 0.6}
    assert "not shown to differ" in words.comparison(pd.DataFrame([row]), "a", "b")
    sure = words.comparison(pd.DataFrame([row | {"low": 0.1}]), "a", "b")
    assert sure.startswith("a goes with transfer more closely than b")
    other = row | {"difference": -0.3, "low": -0.5, "high": -0.1}
    assert words.comparison(pd.DataFrame([other]), "a", "b").startswith("b goes")


def test_choice_says_that_it_is_optimistic():
    rows = [
        {"predictor": "random choice", "kind": "random", "target": "average", "n": 9,
         "regret_1": 3},
        {"predictor": "main", "kind": "predictor", "target": "average", "n": 9, "regret_1": 1.0,
         "low": 0, "high": 4},
        {"predictor": "em", "kind": "predictor", "target": "average", "n": 2, "regret_1": 0.0,
         "low": 0, "high": 0},
    ]  # fmt: skip
    text = words.choice(pd.DataFrame(rows))[0]
    assert "choosing by main costs 1.0" in text and "not shown to be less" in text
    assert "optimistic" in text
    rows[1]["n"] = 4
    assert "too few to judge" in words.choice(pd.DataFrame(rows[:2]))[0]
    rows.append(rows[0] | {"predictor": "no intermediate task", "kind": "none", "regret_1": -1.0})
    assert "No intermediate task helped" in words.choice(pd.DataFrame(rows))[0]
    assert "nothing is finished" in words.choice(pd.DataFrame(rows), "xnli")[0]


def test_limits_name_the_microworld():
    text = " ".join(
        words.limits({"encoder": {"kind": "packaged"}, "data": {"source": "mini"}}, 9, 1)
    )
    assert "microworld" in text and "n = 9" in text and "One seed" in text
