"""Sentences never claim more than the numbers: every rule has a case."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midway.correlation import advice, words
from midway.correlation.correlate import COLUMNS, correlate
from midway.data import mini

GOOD = {
    "predictor": "accuracy", "outcome": "average", "n": 9, "rho": 0.9, "p": 0.002, "p_maxt": 0.02,
    "q_bh": 0.01, "low": 0.6, "high": 0.98, "loo_low": 0.85, "loo_high": 0.95, "critical": 0.7,
    "note": "", "p_mc_low": 0.019, "p_mc_high": 0.021,
}  # fmt: skip
WEAKER = {
    "family-wise p too large": {"p_maxt": 0.06},
    "interval includes zero": {"low": -0.1},
    "n cannot reach alpha": {"critical": np.nan},
    "no correlation": {"rho": np.nan, "p": np.nan, "p_maxt": np.nan, "note": "constant outcome"},
    "no interval": {"low": np.nan, "high": np.nan},
    "p within its own error of alpha": {"p_maxt": 0.0495, "p_mc_low": 0.0483, "p_mc_high": 0.0507},
}


def test_a_strong_result_is_called_one():
    text = words.cell(GOOD)
    assert text.startswith("average rises with accuracy: rho = +0.90, n = 9 tasks")
    assert "95 % interval +0.60 to +0.98" in text and "family-wise p = 0.020" in text
    assert "average falls with" in words.cell(GOOD | {"rho": -0.9, "low": -0.98, "high": -0.6})


@pytest.mark.parametrize("name", WEAKER)
def test_holds_is_not_said_of_less(name):
    row = GOOD | WEAKER[name]
    assert not words.holds(row) and "rises" not in words.cell(row)


@pytest.mark.parametrize("p", [0.0489, 0.05, 0.0511])
def test_no_verdict_within_the_error_of_the_permutations(p):
    """Other random numbers would turn 'holds' into 'misses'."""
    row = GOOD | {"p_maxt": p, "p_mc_low": p - 0.0012, "p_mc_high": p + 0.0012}
    assert words.verdict(row) == "undecided" and "undecided" in words.cell(row)
    table = pd.DataFrame([row])
    assert "1 predictor-outcome pair tested" in words.family(table)[0]
    assert words.family(table)[0].endswith(": undecided.")
    both = words.family(pd.DataFrame([row, row]))[0]
    assert "0 hold after" in both and "2 are undecided" in both
    exact = row | {"p_mc_low": p, "p_mc_high": p}
    assert words.verdict(exact) == ("holds" if p < 0.05 else "not shown")


def test_pairs_named_before_training_come_first():
    """What was looked at afterwards must not pass for what was asked."""
    rows = pd.DataFrame([GOOD | {"primary": False}, GOOD | {"primary": True, "p_maxt": 0.7}])
    lines = words.family(rows)
    assert lines[0].startswith("1 primary pair tested (")
    assert lines[0].rstrip(".").endswith(": not significant")
    assert lines[1].startswith("No association is shown") and "many pairs" not in lines[1]
    assert any(x.startswith("1 exploratory pair tested") and x.endswith("holds.") for x in lines)
    assert "found among many pairs" in lines[-1] and "rises" not in " ".join(lines)
    assert words.cell(GOOD | {"primary": True}).startswith("average rises with accuracy")


def test_an_association_is_never_called_a_prediction_and_a_wide_interval_never_an_absence():
    for change in [{}, *WEAKER.values(), {"p": 0.04, "p_maxt": 0.5}, {"p": 0.6, "p_maxt": 0.9}]:
        row = GOOD | change
        text = " ".join([words.cell(row), *words.family(pd.DataFrame([row])),
                         *words.headline(pd.DataFrame([row | {"predictor": "main"}]))])  # fmt: skip
        for never in ("predicts", "no relation", "unrelated", "did not go", "does not"):
            assert never not in text


def test_one_unit_that_carries_the_result_is_named():
    assert "It depends on one task" in words.cell(GOOD | {"loo_low": -0.1})
    assert "It depends on one task" in words.cell(GOOD | {"loo_low": -0.1, "loo_high": 0.0})
    assert "It depends on one family of tasks" in words.cell(
        GOOD | {"lofo_low": -0.1, "lofo_high": 1}
    )
    assert "depends on" not in words.cell(GOOD | {"lofo_low": 0.1, "lofo_high": 1})


def test_nothing_shown_is_not_excluded():
    text = words.cell(GOOD | {"p": 0.3, "p_maxt": 0.9, "rho": 0.4, "low": -0.3})
    assert "not shown, and not excluded" in text


def test_uncorrected_significance_is_not_enough():
    text = words.cell(GOOD | {"p": 0.04, "p_maxt": 0.5})
    assert "not shown, and not excluded" in text and "taken alone p = 0.040" in text


HEADLINES = [
    ({}, "In this study they rise together: how much a task's own score rises"),
    ({"p_maxt": 0.2}, "Cannot tell: how much a task's own score rises"),
    (
        {"p_maxt": 0.05, "p_mc_low": 0.049, "p_mc_high": 0.051},
        "Undecided: how much a task's own score rises",
    ),
    ({"critical": np.nan}, "Too few tasks to tell: "),
    ({"predictor": "main", "low": -0.5}, "Cannot tell: a task's own score and the"),
]


@pytest.mark.parametrize(("change", "start"), HEADLINES)
def test_the_title_of_the_report_is_answered_in_one_sentence(change, start):
    (line,) = words.headline(pd.DataFrame([GOOD | {"predictor": "main_gain"} | change]))
    assert line.startswith(start) and "rho = +0.90" in line and "n = 9 tasks" in line
    assert ("in both directions" in line) == (change.get("low", 0) == -0.5)


def test_no_headline_without_a_correlation_of_the_tasks_own_score():
    assert words.headline(pd.DataFrame([GOOD])) == []
    assert words.headline(pd.DataFrame(columns=COLUMNS)) == []


unit = st.floats(0, 1)


@given(unit, unit, st.floats(-1, 1), st.floats(-1, 1), st.one_of(unit, st.just(np.nan)))
def test_holds_needs_all_three(p, p_maxt, low, high, critical):
    row = GOOD | {"p": p, "p_maxt": p_maxt, "low": low, "high": high, "critical": critical}
    row |= {"p_mc_low": p_maxt, "p_mc_high": p_maxt}
    if words.holds(row):
        assert p_maxt < 0.05 and (low > 0 or high < 0) and not np.isnan(critical)


def test_family_of_noise():
    """27 x 9 columns of noise over nine units: nothing holds."""
    rng = np.random.default_rng(1)
    X, Y = pd.DataFrame(rng.random((9, 27))), pd.DataFrame(rng.random((9, 9)))
    lines = words.family(correlate(X, Y, permutations=999, resamples=99))
    assert "243 predictor-outcome pairs (n = 9 tasks" in lines[0] and "0 hold" in lines[0]
    assert "up to 12.2 of the 243" in lines[0]
    assert "No association is shown, and none is excluded" in lines[1]


def test_of_exploratory_pairs_only_those_are_told_that_hold():
    """Which of the others is the strongest depends on the seeds; primary ones are all told."""
    weak = GOOD | {"p": 0.04, "p_maxt": 0.5, "p_mc_low": 0.5, "p_mc_high": 0.5}
    some = [weak | {"predictor": f"p{i}", "primary": i < 7} for i in range(12)]
    lines = words.family(pd.DataFrame(some))
    assert [any(f"p{i} and" in line for line in lines) for i in range(12)] == [True] * 7 + [
        False
    ] * 5
    lines = words.family(pd.DataFrame([*some, GOOD | {"predictor": "lead", "primary": False}]))
    assert sum("exploratory, found among many pairs" in line for line in lines) == 1


def test_cells_that_cannot_reach_alpha_are_not_expected_by_chance():
    rows = [GOOD, GOOD | {"critical": np.nan, "n": 4}]
    assert "up to 0.1 of the 1 that can reach" in words.family(pd.DataFrame(rows))[0]


def test_families_without_enough_data():
    assert "table is empty" in words.family(pd.DataFrame(columns=COLUMNS))[0]
    X, Y = pd.DataFrame({"a": [1.0, 2, 4, 3]}), pd.DataFrame({"b": [1.0, 3, 2, 4]})
    lines = words.family(correlate(X, Y, permutations=99, resamples=99))
    assert "no correlation at all could reach" in lines[0]
    X["a"] = 1.0
    assert "constant predictor" in words.family(correlate(X, Y, permutations=99, resamples=99))[0]


def test_comparison_needs_an_interval_without_zero():
    row = {"outcome": "mean of outcomes", "n": 9, "difference": 0.3, "low": -0.1, "high": 0.6}
    assert "not shown to differ" in advice.comparison(pd.DataFrame([row]), "a", "b")
    sure = advice.comparison(pd.DataFrame([row | {"low": 0.1}]), "a", "b")
    assert sure.startswith("a goes with transfer more closely than b")
    other = row | {"difference": -0.3, "low": -0.5, "high": -0.1}
    assert advice.comparison(pd.DataFrame([other]), "a", "b").startswith("b goes")


ROWS = [
    {"predictor": "random choice", "kind": "random", "target": "average", "n": 9, "regret_1": 3},
    {"predictor": "main", "kind": "predictor", "target": "average", "n": 9, "regret_1": 1.0},
    {"predictor": "em", "kind": "predictor", "target": "average", "n": 2, "regret_1": 0.0},
]
NESTED = {"rule": "best", "kind": "nested", "tried": 12, "regret": 1.0, "random": 1.5,
          "saved": 0.5, "low": -0.4, "high": 0.4, "p": 0.012}  # fmt: skip


def test_choice_has_no_verdict_from_the_data_it_was_chosen_on():
    (text,) = advice.choice(pd.DataFrame(ROWS))
    assert "main" not in text and "not named" in text  # with other seeds it is another one
    assert "0.1 of 1 rules would find the best of 9 tasks by luck" in text
    few = [ROWS[0] | {"n": 4}, ROWS[1] | {"n": 4}]
    assert "too few to judge" in advice.choice(pd.DataFrame(few))[0]
    harm = [*ROWS, ROWS[0] | {"kind": "none", "regret_1": -1.0}]
    assert (
        "no intermediate task had a measured gain above zero"
        in advice.choice(pd.DataFrame(harm))[-1]
    )
    assert "judged for xnli: fewer than two" in advice.choice(pd.DataFrame(ROWS), "xnli")[0]
    assert "covers the variants of the average" in advice.choice(pd.DataFrame(ROWS[:1]))[0]


def test_only_a_nested_choice_predicts():
    table = pd.DataFrame([NESTED])
    (text,) = advice.nested_choice(table)
    assert "predicts better than chance" in text and "12 rules tried" in text
    assert "by chance -0.4 to +0.4, p = 0.012" in text
    assert "not shown to beat chance" in advice.nested_choice(table.assign(p=0.0125))[0]
    assert "four families" in advice.nested_choice(table.iloc[:0])[0]
    assert advice.choice(pd.DataFrame(ROWS), nested=table)[-1] == text


def test_a_budget_names_the_rules_tried_and_what_luck_gives():
    runs = pd.DataFrame({"predictor": ["main", "em", "random choice"], "k": [1, 2, 1],
                         "n": [10, 10, 10], "regret": [0.0, 1.0, 3.0]})  # fmt: skip
    lines = advice.budget(runs, pd.DataFrame([NESTED | {"p": 0.4}]), 0.4)
    assert "40% of the compute: 2 rules were tried" in lines[0] and "by luck alone 0.3" in lines[0]
    assert "1 of them keep" in lines[0] and lines[-1].startswith("No rule is recommended")
    assert not advice.budget(runs, pd.DataFrame([NESTED]), 0.4)[-1].startswith("No rule")


def test_limits_name_the_microworld():
    text = " ".join(
        words.limits({"encoder": {"kind": "packaged"}, "data": {"source": "mini"}}, 9, 1)
    )
    assert words.MICROWORLD in text and "rests on 9 tasks" in text and "One seed" in text
    assert "microworld" not in " ".join(words.limits({"data": {"source": "hub"}}, 9, 2))
    assert "One seed" not in " ".join(words.limits({"data": {"source": "hub"}}, 9, 2))


def test_real_tasks_among_the_miniatures_are_not_called_a_microworld(monkeypatch, tmp_path):
    """A study of own files beside the miniature was said to be about invented data alone."""
    monkeypatch.delitem(mini.REGISTRY, "xnli")
    study = {"intermediate": {"variants": ["none", "mnli+shuffled", "multi"]},
             "transfer": {"targets": ["xnli", "xquad"]}}  # fmt: skip
    (said,) = words.scope(study | {"data": {"source": "mini", "root": str(tmp_path)}})
    assert said.startswith("All data but those of XNLI are a microworld")
    assert words.scope(study | {"data": {"source": "mini"}}) == [words.MICROWORLD]


def readme(sections: dict[str, list[str]]) -> str:
    """README's paragraph on a study, from the sections in 03's record (`results.sections`)."""
    short = [line.partition(";")[0].rstrip(".") + "." for line in sections["between"][:1]]
    lines = [*sections["answer"], *short, *sections["within"][:1], *sections["choice"][-1:]]
    return " ".join([*lines, *sections["limits"][1:]])


def test_readme_says_what_03_says(root):
    """README's paragraph comes from a record by rules; written by hand it once claimed more."""
    sections = json.loads((root / "docs/sample/answer.json").read_text(encoding="utf-8"))
    text = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    assert readme(sections) in text
    assert (
        words.MICROWORLD in text and "carry over" not in text and "did not go together" not in text
    )


WITHIN = {"predictor": "main", "outcome": "average", "tasks": 9, "r_within": 0.9, "r_partial": 0.8,
          "partial_low": 0.5, "partial_high": 0.9, "p": 0.001, "p_maxt": 0.01, "p_mc_low": 0.008,
          "p_mc_high": 0.012, "placebos": 9, "r_placebo": 0.4, "placebo_low": 0.1,
          "placebo_high": 0.6, "difference_low": 0.1, "difference_high": 0.7}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "main and average within tasks rise together, with training time removed"),
        ({"r_partial": -0.8, "partial_low": -0.9, "partial_high": -0.5}, "go opposite ways"),
        ({"difference_low": -0.1}, "It is not shown that this needs correct labels"),
        ({"p_maxt": 0.5, "p_mc_low": 0.4, "p_mc_high": 0.6}, "not shown, and not excluded"),
        ({"p_maxt": 0.05, "p_mc_low": 0.04, "p_mc_high": 0.06}, "undecided"),
        ({"partial_low": -0.1}, "not shown, and not excluded"),
        ({"primary": False}, "exploratory, found among many pairs"),
    ],
)
def test_within_a_task_only_what_is_beyond_time(change, says):
    lines = words.within(pd.DataFrame([WITHIN | change]))
    assert says in lines[-1] and "r = +0.40 (+0.10 to +0.60) with shuffled labels" in lines[-1]
    assert ("needs correct labels" in lines[-1]) == (change == {"difference_low": -0.1})
    assert "three tasks" in words.within(pd.DataFrame([WITHIN | {"p": np.nan}]))[0]


def test_words_on_reliability_and_floors():
    values = {"reliability": [np.nan, 0.95], "low": [0, 0.8], "high": [0.6, 1]}
    values |= {"total": [0.3, np.nan], "total_low": [0, np.nan], "total_high": [0.45, np.nan]}
    parts = pd.DataFrame(values, ["xnli", "average"])
    rule, first, second, third = words.reliability(parts, {"xnli": 0.3}, 0.5)
    assert "only where the study knows it to +-0.15" in rule
    assert first == "With other seeds: xnli 0.00 to 0.60, average 0.95 (0.80 to 1.00)."
    assert second.endswith("other test items: xnli 0.30 (0.00 to 0.45).")
    assert third.startswith("Below 0.5 for certain, and left out of the average")
    open_ = words.reliability(parts.assign(total_high=0.8), {}, 0.5)[-1]
    assert open_.startswith("Where an interval reaches below 0.5") and "in the average" in open_
    one = words.reliability(parts.assign(low=np.nan, high=np.nan), {}, 0.5)
    assert "With one seed" in one[0] and "at most xnli 0.30" in one[1]
    below = pd.DataFrame({"target": ["xquad", "xnli"], "control": "window", "score": 11.0,
                          "below": ["none, ccg", ""]})  # fmt: skip
    idle = pd.DataFrame({"variant": ["anli"], "score": [39.0], "floor": [33.3]})
    assert words.floors(below, idle) == [
        "xquad: not all variants are above the control window (11.0), which cannot understand the "
        "text.",
        "Not clear of chance after training: anli (39.0, start or chance 33.3).",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"p_maxt": 0.05, "p_mc_low": 0.05, "p_mc_high": 0.05}, "not shown"),  # below, not at
        ({"p_maxt": 0.049, "p_mc_low": 0.049, "p_mc_high": 0.049}, "holds"),
        ({"p_mc_low": 0.05, "p_mc_high": 0.06}, "undecided"),
        ({"p_mc_low": 0.04, "p_mc_high": 0.05}, "undecided"),
        ({"low": 0.0}, "not shown"),
        ({"low": -0.9, "high": 0.0}, "not shown"),
        ({"low": -0.9, "high": -0.1}, "holds"),
    ],
)
def test_verdicts_at_their_edges(change, said):
    assert words.verdict(GOOD | change) == said
    assert words.verdict(GOOD, 0.01) == "not shown" and words.verdict(GOOD, 0.02) == "undecided"


def test_a_table_word_for_word():
    """Counts, order, interval and level of every sentence, at a level of .1."""
    rows = [
        GOOD | {"p_maxt": 0.04, "p_mc_low": 0.04, "p_mc_high": 0.04, "loo_low": 0.0},
        GOOD | {"predictor": "loss", "n": 8, "rho": -0.9, "low": -1.0, "high": -0.6, "p": 0.0001,
                "p_maxt": 0.04, "p_mc_low": 0.04, "p_mc_high": 0.04, "loo_low": -0.95,
                "loo_high": -0.85},
        GOOD | {"predictor": "ece", "p": 0.1, "q_bh": 0.1, "p_maxt": 0.3, "p_mc_low": 0.2},
        GOOD | {"predictor": "f1", "p_maxt": 0.1, "p_mc_high": 0.11, "q_bh": 0.2},
        GOOD | {"predictor": "em", "p": 0.05, "p_maxt": 0.3, "p_mc_low": 0.2, "rho": 0.95},
        GOOD | {"predictor": "main", "p": 0.05, "p_maxt": 0.09, "p_mc_high": 0.09, "low": -0.1,
                "p_mc_low": 0.09},
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.attrs = {"alpha": 0.1, "method": "kendall"}
    lines = words.family(table)
    assert lines[0] == (
        "Of 6 predictor-outcome pairs (n = 8 to 9 tasks, Kendall), 2 hold after max-T correction "
        "over all of them, 1 is undecided; 4 at a false discovery rate of 0.1 (uncorrected, by "
        "chance alone up to 0.6 of the 6 that can reach 0.1 are expected)."
    )
    sure = "90 % interval +0.60 to +0.98"
    assert lines[1:] == [
        "average falls with loss: tau = -0.90, n = 8 tasks, 90 % interval -1.00 to -0.60, "
        "family-wise p = 0.040.",
        f"average rises with accuracy: tau = +0.90, n = 9 tasks, {sure}, family-wise p = 0.040. "
        "It depends on one task: without that task the sign may change.",
        "main and average: not shown, and not excluded (tau = +0.90, n = 9 tasks, 90 % interval "
        "-0.10 to +0.98, family-wise p = 0.090, if taken alone p = 0.050).",
        "f1 and average: undecided, p is closer to 0.1 than its Monte-Carlo error (tau = +0.90, "
        f"n = 9 tasks, {sure}, family-wise p = 0.100).",
        f"em and average: not shown, and not excluded (tau = +0.95, n = 9 tasks, {sure}, "
        "family-wise p = 0.300, if taken alone p = 0.050).",
    ]
    assert "taken alone" not in words.family(table, most=9)[-1]  # ece: p is .1, not below
    assert [len(words.family(table, most=k)) for k in (0, 1, 9)] == [1, 2, 7]
    plain = words.family(pd.DataFrame(rows))[0]  # of a table that does not say: .05 and rho
    assert "(n = 8 to 9 tasks, Spearman), 2 hold" in plain and "can reach 0.05" in plain
    open_ = table.assign(p_mc_low=0.01, p_mc_high=0.2)
    assert (
        "0 hold after max-T correction over all of them, 6 are undecided"
        in (words.family(open_)[0])
    )
    assert "No association is shown" in words.family(open_)[1]


def test_ties_of_p_are_ordered_by_size():
    rows = [GOOD | {"predictor": k, "rho": r} for k, r in (("a", 0.7), ("b", -0.8), ("c", 0.75))]
    assert [line.split()[3] for line in words.family(pd.DataFrame(rows))[1:]] == ["b:", "c:", "a:"]


@pytest.mark.parametrize(
    ("low", "high", "open_"),
    [(-0.31, 0.31, True), (-0.3, 0.31, False), (-0.31, 0.3, False), (np.nan, np.nan, False)],
)
def test_a_headline_says_when_anything_fits(low, high, open_):
    row = GOOD | {"predictor": "main", "rho": 0.1, "p_maxt": 0.9, "low": low, "high": high}
    row |= {"p_mc_low": 0.9, "p_mc_high": 0.9}
    (line,) = words.headline(pd.DataFrame([row]))
    ends = f" ({low:+.2f} to {high:+.2f})" if low == low else ""
    more = ". The interval includes clear relations in both directions" if open_ else ""
    facts = f"a task's own score and the average gain have rho = +0.10{ends}, n = 9 tasks"
    assert line == f"Cannot tell: {facts}{more}."


def test_headline_of_a_negative_relation_and_of_the_gain_first():
    rows = [GOOD | {"predictor": k, "rho": -0.9, "low": -1.0, "high": -0.5}
            for k in ("main", "main_gain")]  # fmt: skip
    (line,) = words.headline(pd.DataFrame(rows))
    assert line.startswith("In this study they go opposite ways: how much a task's own score rises")
    assert line.endswith("n = 9 tasks, family-wise p = 0.020.")
    assert words.headline(pd.DataFrame(rows), "xnli") == []


@pytest.mark.parametrize(
    ("p", "text"), [(0.001, "p = 0.001"), (0.0009999, "p < 0.001"), (0.0495, "p = 0.050")]
)
def test_small_p_values_are_bounds(p, text):
    assert words.p_of(p) == text


def test_within_tasks_word_for_word():
    """Primary pairs first, each list by p, at most three; a lead is no finding."""
    rows = [WITHIN | {"predictor": k, "p_maxt": p, "p_mc_low": p, "p_mc_high": p, "primary": first}
            for k, p, first in (("a", 0.04, False), ("b", 0.01, False), ("c", 0.03, True),
                                ("d", 0.02, False), ("e", 0.05, False))]  # fmt: skip
    lines = words.within(pd.DataFrame(rows))
    assert [line.split(" and ")[0] for line in lines[1:2] + lines[3:]] == ["c", "b", "d", "a"]
    assert lines[0] == (
        "Within tasks, of 1 primary pairs 1 holds after the mean effect of training time is "
        "removed (max-T correction over them)."
    )
    assert lines[1] == (
        "c and average within tasks rise together, with training time removed: r = +0.90 while 9 "
        "tasks train, +0.80 (+0.50 to +0.90) with time removed, family-wise p = 0.030; r = +0.40 "
        "(+0.10 to +0.60) with shuffled labels."
    )
    assert lines[2].startswith("Within tasks, of 4 exploratory pairs 3 hold after")
    assert (
        "exploratory, found among many pairs" in lines[3]
        and len(words.within(pd.DataFrame(rows), 1)) == 4
    )
    primary = pd.DataFrame(rows * 2).assign(primary=True)
    assert len(words.within(primary)) == 1 + len(primary)  # all that were named before training
    bare = words.within(pd.DataFrame([WITHIN | {"placebos": 0}, WITHIN | {"r_placebo": np.nan}]))
    assert len(bare) == 3 and "shuffled" not in " ".join(bare)
    edge = words.within(pd.DataFrame([WITHIN | {"difference_low": 0.0}]))
    assert edge[1].endswith(" It is not shown that this needs correct labels.")
    less = WITHIN | {"difference_low": -0.7, "difference_high": -0.1}
    assert "correct labels" not in words.within(pd.DataFrame([less]))[1]
    open_ = pd.DataFrame([WITHIN | {"p_mc_high": 0.06}])
    assert words.within(open_)[0].endswith("(max-T correction over them), 1 undecided.")


def test_limits_word_for_word():
    (said,) = words.limits({"encoder": {"name": "xlmr"}}, 2, 2)
    assert said == "One encoder (xlmr); another may order the tasks differently."
    assert words.limits({}, 3, 1)[1:] == [
        "The correlation rests on 3 tasks; more seeds do not change that.",
        "One seed: how much of a difference is the noise of one training is not known.",
    ]


def test_comparisons_at_zero_and_without_a_value():
    row = {"outcome": "mean of outcomes", "n": 9, "difference": 0.3, "low": 0.0, "high": 0.6}
    facts = "difference of mean rho +0.30, interval +0.00 to +0.60, n = 9 tasks"
    table = pd.DataFrame([row])
    assert advice.comparison(table, "a", "b") == f"a and b are not shown to differ: {facts}."
    other = table.assign(difference=-0.3, low=-0.6, high=0.0)
    assert "not shown to differ" in advice.comparison(other, "a", "b")
    none = advice.comparison(table.assign(difference=np.nan), "a", "b")
    assert none == "a and b cannot be compared: a column is constant."


def test_specifications_word_for_word():
    table = pd.DataFrame({"predictor": "main", "outcome": ["gain", "gain", "gain", "gap"],
                          "rho": [0.1, 0.5, -0.2, 0.9],
                          "default": [False, True, False, True]})  # fmt: skip
    said = (
        "main: the sign of rho depends on the specification (3 specifications, in this study -0.20"
    )
    assert advice.specification(table) == [f"{said} to +0.50; reported: +0.50)."]
    (line,) = advice.specification(table.assign(default=False, rho=[0.0, 0.5, 0.1, 0.9]))
    assert line.endswith(
        "the sign of rho is always the same (3 specifications, in this study +0.00 to +0.50)."
    )
    assert advice.specification(table, "english") == []
    two = pd.concat([table, table.assign(predictor="loss")])  # in the table's order
    assert [line.partition(":")[0] for line in advice.specification(two)] == ["main", "loss"]
