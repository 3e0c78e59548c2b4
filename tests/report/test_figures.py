"""Figures carry n, unit and correction, are reproducible files, and survive unfinished studies."""

import itertools
import re

import matplotlib.text
import numpy as np
import pandas as pd
import pytest

from midway.correlation import choice, tables, words
from midway.correlation.correlate import correlate
from midway.report import drawing, figures, lesson
from midway.study import names

VARIANTS = ["none", "anli", "mnli", "qqp", "squad1", "ccg", "multi", "mnli+shuffled"]


def text_of(fig):
    return " ".join(t.get_text() for t in fig.findobj(match=lambda a: hasattr(a, "get_text")))


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.random((9, 4)), columns=["main", "loss", "ece", "contrast"])
    Y = pd.DataFrame({"average": X["main"] + 0.01 * rng.random(9), "xnli": rng.random(9)})
    X["ece"] = 1.0
    return correlate(X, Y, permutations=199, resamples=99)


def curves():
    """Two doses of three tasks and of a placebo, and their row of within()."""
    points = pd.DataFrame(
        [[v, d, d * i, -d * i] for i, v in enumerate(["mnli", "qqp", "ccg", "mnli+shuffled"])
         for d in (0.5, 1.0)], columns=["variant", "dose", "x", "y"],
    )  # fmt: skip
    row = {"predictor": "main", "outcome": "average", "tasks": 3, "r_within": 0.5, "p_maxt": 0.4}
    return points, row | {"r_partial": 0.1, "partial_low": -0.9, "partial_high": 0.9}


def drawn(table):
    rng = np.random.default_rng(0)
    matrix = pd.DataFrame(rng.normal(size=(8, 4)), VARIANTS, ["xnli", "udpos", "xquad", "average"])
    matrix.iloc[2, 1] = np.nan
    points = pd.DataFrame(
        [[v, s, f, p, rng.random()] for v in VARIANTS for s in (1, 2) for f in (0, 0.5, 1)
         for p in ("main", "loss")], columns=["variant", "seed", "fraction", "predictor", "value"],
    )  # fmt: skip
    dots = pd.DataFrame({"x": range(8), "y": range(8)}, VARIANTS).astype(float)
    dots[["x_low", "y_low"]], dots[["x_high", "y_high"]] = dots - 0.1, dots[["x", "y"]] + 0.1
    nothing = (pd.DataFrame(columns=c) for c in (tables.PREDICTORS, tables.OUTCOME))
    rows = [[n, f, 1, 9, 2, f, 1 - f, 1.0, 0, 2] for n in ("main", "random choice") for f in (0, 1)]
    runs = pd.DataFrame(rows, columns=choice.early(*nothing).columns)
    return {
        "heatmap": figures.heatmap(matrix),
        "forest": figures.forest(table),
        "scatter": figures.scatter(dots, table.iloc[0]),
        "trajectories": figures.trajectories(points),
        "regret": figures.regret_curve(runs),
        "doses": figures.doses(*curves()),
        "losses": lesson.losses(rng.random(30), [10, 20]),
        "languages": lesson.languages(pd.Series({"en": 80.0, "de": 60.0}), "accuracy, percent", 60),
        "similarity": lesson.similarity(pd.DataFrame(rng.random((4, 4))), "before"),
        "chance": lesson.chance(rng.random(99), 0.9, "rho"),
    }


def test_every_figure_says_n_and_how_it_was_tested(table):
    for name, fig in drawn(table).items():
        text = text_of(fig)
        assert re.search(r"\bn =? ?\d", text), name
        assert re.search(r"max-T|no test", text), name


def test_files_are_the_same_every_time(table, tmp_path):
    """A figure that changes its bytes would make every audit cry wolf."""
    for folder in ("a", "b"):
        figures.save(drawn(table)["forest"], tmp_path / folder, "forest")
    for end in ("svg", "pdf", "png"):
        a, b = (tmp_path / f / f"forest.{end}" for f in "ab")
        assert a.read_bytes() == b.read_bytes() and a.stat().st_size > 1000


def test_significance_marks_follow_the_family(table):
    """Only a marker whose family-wise p holds is filled."""
    fig = figures.forest(table)
    faces = [line.get_markerfacecolor() for line in fig.axes[0].lines if line.get_marker() == "o"]
    rows = table[table["outcome"] == "average"].dropna(subset=["rho"])
    expected = ((rows["p_maxt"] < 0.05) & (rows["low"] * rows["high"] > 0)).sum()
    assert sum(f != "#ffffff" for f in faces) == expected == 1


def test_nothing_finished_is_drawn_as_such():
    empty = [
        figures.heatmap(pd.DataFrame()),
        figures.forest(correlate(pd.DataFrame(), pd.DataFrame())),
        figures.trajectories(pd.DataFrame(columns=tables.PREDICTORS)),
        figures.regret_curve(pd.DataFrame(columns=["predictor"])),
    ]
    assert all("n = 0" in text_of(fig) for fig in empty)


def test_a_task_is_one_line_through_its_doses():
    """Points of different tasks joined to one line would show a relation that no task has."""
    (ax,) = figures.doses(*curves()).axes
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and not line.get_gid()]
    drawn = {tuple(line.get_xdata()) for line in lines}
    assert {(0.5, 1.0), (1.0, 2.0), (1.5, 3.0)} <= drawn
    assert [line.get_linestyle() for line in lines if line.get_xdata()[1] == 3.0] == [":"]


def test_unfinished_cells_are_hatched_not_white():
    fig = figures.heatmap(pd.DataFrame([[1.0, np.nan]], ["mnli"], ["xnli", "xquad"]))
    assert fig.axes[0].patch.get_hatch() and fig.axes[0].collections[0].get_array().mask.sum() == 1


def test_callers_settings_are_left_alone(table):
    before = dict(matplotlib.rcParams)
    figures.forest(table)
    assert dict(matplotlib.rcParams) == before


def test_names_of_crowded_points_do_not_cover_each_other(table):
    """Eight tasks, six of them in one corner: every name is still readable."""
    y = [0, 1, 2, 3, 4, 5, 30, 40]
    dots = pd.DataFrame({"x": [0, 1, 1, 2, 0, 1, 30, 40], "y": y}, VARIANTS).astype(float)
    fig = figures.scatter(dots, table.iloc[0])
    fig.draw_without_rendering()
    words = {names.variant(v) for v in VARIANTS}
    labels = [t for t in fig.axes[0].texts if t.get_text() in words]
    boxes = [matplotlib.text.Text.get_window_extent(t) for t in labels]
    assert len(boxes) == len(VARIANTS)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert {t.get_color() for t in labels} == {drawing.INK}  # which a dark page makes light


@pytest.mark.parametrize(("method", "sign"), words.SYMBOLS.items())
def test_a_coefficient_is_called_by_its_name(method, sign):
    rng = np.random.default_rng(0)
    X, Y = (pd.DataFrame(rng.random((6, 1)), list("abcdef"), [c]) for c in ("main", "average"))
    table = correlate(X, Y, method=method, permutations=99, resamples=99)
    fig = figures.scatter(X.set_axis(["x"], axis=1).join(Y.set_axis(["y"], axis=1)), table.iloc[0])
    assert fig.axes[0].get_title(loc="left").startswith(f"{sign} = ")
    assert method.title() in text_of(fig) and method.title() in text_of(figures.forest(table))
    assert method == "spearman" or "rho" not in text_of(fig)


def test_a_figure_in_a_page_is_one_of_many(table):
    """Two figures in one page share no id; values show on hover; colours follow the page."""
    a, b = (drawing.inline(figures.forest(table), n, "a & b") for n in ("one", "two"))
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (a, b)]
    assert ids[0] and not ids[0] & ids[1]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', a))
    assert used and used <= ids[0]
    assert "<title>own score: +1.00" in a and 'aria-label="a &amp; b"' in a
    assert "var(--ink)" in a and drawing.INK not in a


def test_panels_show_every_point_of_every_family():
    """The published picture: a task that is not drawn, or drawn as another family, misleads."""
    index = pd.MultiIndex.from_product([["a", "b"], ["t1", "t2", "t3"]])
    points = pd.DataFrame({"x": range(6), "y": range(6), "family": ["f", "g", "f"] * 2}, index)
    fig = figures.panels(points, {"b": "B", "a": "A"}, "own (%)", "gain", "n = 3")
    panels = [ax for ax in fig.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == ["B", "A"]
    drawn = [(line.get_xdata()[0], line.get_marker()) for line in panels[0].lines if line.get_gid()]
    assert [x for x, _ in drawn] == [3, 4, 5]
    assert drawn[0][1] == drawn[2][1] != drawn[1][1]
    assert {t.get_text() for t in fig.legends[0].get_texts()} == {"f", "g"}
    assert fig.get_supxlabel() == "n = 3"
