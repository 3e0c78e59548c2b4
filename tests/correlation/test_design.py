"""Planning: power as it is known from theory, and what noise, families and money do to it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import synthetic
from midway import cli
from midway.correlation import advice, design, specification

CLEAN = design.Parts(metric=1.0, outcome=1.0, items=0.0, icc=0.0, tasks=10, families=10, doses=3)


def at(parts, rho, column="between", **options):
    curve = design.power(parts, studies=2000, **options).set_index("rho")
    return curve.loc[rho, column]


def test_power_is_not_the_critical_value():
    """At n = 10 a true .65, the smallest that can be significant, is found in under half."""
    assert at(CLEAN, 0.65) == pytest.approx(0.45, abs=0.05)


def test_for_a_half_it_takes_about_32_tasks_not_16():
    assert at(replace(CLEAN, tasks=32, families=32), 0.5) == pytest.approx(0.8, abs=0.04)
    assert at(replace(CLEAN, tasks=16, families=16), 0.5) == pytest.approx(0.48, abs=0.05)


@pytest.mark.parametrize(
    ("worse", "column"),
    [
        ({"outcome": 0.3}, "between"), ({"metric": 0.3}, "between"), ({"items": 3.0}, "between"),
        ({"families": 3, "icc": 0.9}, "between"), ({"tasks": 6, "families": 6}, "between"),
        ({"outcome": 0.3}, "within"), ({"doses": 2}, "within"),
    ],
)  # fmt: skip
def test_what_costs_power(worse, column):
    assert at(replace(CLEAN, **worse), 0.7, column) < at(CLEAN, 0.7, column) - 0.1


@pytest.mark.parametrize("icc", [0.0, 0.7])
def test_power_within_is_that_of_the_test_within(icc):
    """With time removed and families alike: fewer independent points than doses of tasks."""
    parts = replace(CLEAN, tasks=9, families=5, icc=icc)
    seen = at(parts, 0.6, "within")
    free = (9 if icc == 0 else 9 / (1 + 0.8 * icc**2)) * 2 - 2  # about: doses - 1 in each task
    expected = norm.cdf(np.arctanh(0.6) * np.sqrt(free - 2) - 1.96)
    assert seen == pytest.approx(expected, abs=0.08)


def test_seeds_and_rows_buy_noise_back():
    noisy = replace(CLEAN, outcome=0.3, items=3.0)
    few = replace(CLEAN, outcome=0.3)
    assert at(replace(few, seeds=10), 0.7) > at(few, 0.7) + 0.1
    more = replace(noisy, rows=10 * noisy.rows, outcome=1.0)
    assert at(more, 0.7) > at(replace(noisy, outcome=1.0), 0.7) + 0.1
    assert design._noise(replace(noisy, seeds=2))[1] == pytest.approx(0.7 / 0.3 / 2 + 3)


def test_more_tests_cost_power():
    assert at(CLEAN, 0.7, tests=10) < at(CLEAN, 0.7) - 0.1


def test_no_relation_is_found_at_alpha():
    rng = np.random.default_rng(1)
    parts = replace(CLEAN, icc=0.9, families=4)
    null = design._correlations(parts, np.array([0.0, 0.0]), False, 4000, rng)
    edge = np.quantile(np.abs(null[0]), 0.95)
    assert (np.abs(null[1]) > edge).mean() == pytest.approx(0.05, abs=0.012)


def test_cost_by_hand():
    parts = design.Parts(tasks=2, seeds=3, doses=2, first=10, second=20, baseline=100, scaling=0.5)
    assert design.cost(parts) == 3 * (2 * (10 + 2 * 20) + 100)
    double = replace(parts, rows=2 * parts.rows)  # half of what 02 costs doubles
    assert design.cost(double) == 3 * (2 * (10 + 2 * 30) + 150)


def test_parts_of_a_study(root, tmp_path):
    synthetic.write(root, tmp_path / "s")
    parts = design.of_study(tmp_path / "s")
    assert (parts.tasks, parts.families, parts.seeds, parts.doses) == (9, 5, 2, 1)
    assert parts.first == 60 and parts.baseline == 120 and 0.5 < parts.outcome <= 1
    assert "assumed: items" in parts.source  # it kept no predictions
    one = tmp_path / "one"
    synthetic.write(root, one, seeds=(1,), variants=["none", "mnli"])
    assert "metric, outcome" in design.of_study(one).source


def test_families_differ_or_do_not():
    family = dict(zip("abcdef", "xxyyzz", strict=True))
    apart = pd.Series([0.0, 0.1, 5, 5.1, 9, 9.1], list("abcdef"))
    assert design._icc(apart, family) == 0.95  # at most
    mixed = pd.Series([0.0, 9, 0.1, 9.1, 0.2, 8.9], list("abcdef"))
    assert design._icc(mixed, family) == 0


def test_words_on_power_and_the_verb(capsys):
    table = design.table(replace(CLEAN, tasks=9, families=9), effect=0.5, studies=300)
    first, second, third, fourth, source = advice.power(table)
    assert first.startswith("Between tasks, with 9 tasks in 9 families")
    assert "alternative that reaches it: 32 tasks" in second or "64 tasks" in second
    assert third.startswith("Within tasks, with 3 doses each") and "Simulated from" in source
    assert fourth.startswith("The cheapest alternative") and "core-s (now " in fourth
    assert cli.main(["design", "--json", "--effect", "0.6"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["designs"][0]["design"] == "as it is" and tree["parts"]["outcome"] == 0.91
    for bad in (["--effect", "1"], ["--tests", "0"], ["--alpha", "0"]):
        assert cli.main(["design", *bad]) == 2
    curve = design.power(replace(CLEAN, tasks=9, families=9), studies=300)
    enough = curve[curve["between"] >= table.attrs["aim"]]
    assert table["rho_between"][0] == enough["rho"].iloc[0]


# -- specification curve --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curve(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs") / "s"
    synthetic.write(root, folder, seeds=(1,))
    path = folder / "02_transfer/mnli/seed1/part1/scores/tatoeba.de.json"
    for path in folder.glob("02_transfer/*/seed1/part1/scores/tatoeba.*.json"):
        tree = json.loads(path.read_text())
        tree["extra"] = {"direction": "both", "layers": {"5": {"both": 7.0}, "6": {"both": 50.0}}}
        path.write_text(json.dumps(tree))
    return specification.curve(folder, ("main_gain", "logme"), weak=("xnli",))


def test_one_specification_is_the_reported_one(curve):
    for _, rows in curve.groupby("predictor"):
        (usual,) = rows[rows["default"]].to_dict("records")
        assert (usual["outcome"], usual["targets"], usual["method"]) == (
            "gain",
            "reliable",
            "spearman",
        )
        assert usual["n"] == 9 and not usual["multi"] and usual["layer"] == "study's"


def test_every_choice_is_in_the_curve(curve):
    part = curve[curve["predictor"] == "main_gain"]
    assert set(part["multi"]) == {True, False} and set(part["method"]) == {"spearman", "pearson"}
    assert set(part["average"]) == set(specification.AVERAGES)
    assert set(part["outcome"]) == {"gain", "english_gain", "gap"}
    assert {"all", "reliable", "without retrieval"} <= set(part["targets"])
    assert set(part["layer"]) == {"study's", "5", "6"}
    assert (part[part["multi"]]["n"] == 10).all()
    # a layer is no choice where there is no retrieval
    assert set(part[part["targets"] == "without retrieval"]["layer"]) == {"study's"}


def test_another_layer_changes_the_average(curve):
    """Layer 5 gives every variant the same retrieval score: what is left is the others' mean."""
    part = curve[(curve["predictor"] == "main_gain") & (curve["outcome"] == "gain")]
    part = part[(part["average"] == "points") & ~part["multi"] & (part["method"] == "pearson")]
    rho = part.set_index(["targets", "layer"])["rho"]
    assert rho["all", "5"] == pytest.approx(rho["without retrieval", "study's"])
    assert rho["all", "5"] != pytest.approx(rho["all", "study's"], abs=1e-6)


def test_words_on_specifications(curve):
    lines = advice.specification(curve)
    assert len(lines) == 2 and "the sign of rho " in lines[0]
    assert "in this study" in lines[0] and "reported: +" in lines[0]


def test_families_by_hand():
    """Mean squares 16 between and 2 within, two tasks each: (16 - 2) / 2 of 7 + 2."""
    values = pd.Series([0.0, 2, 4, 6], list("abcd"))
    assert design._icc(values, {"a": 1, "b": 1, "c": 2, "d": 2}) == pytest.approx(7 / 9)
    assert design._icc(values, dict.fromkeys("abcd", 1)) == design.Parts.icc  # one family: unknown
