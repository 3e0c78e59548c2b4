"""The published numbers that the package ships say what the papers and a recomputation say."""

import numpy as np
import pandas as pd
import pytest

from midway.correlation import published

FEW = {"permutations": 999, "resamples": 99}


@pytest.fixture(scope="module")
def units():
    return published.units_matter(**FEW)


def test_shipped_runs_are_the_authors(shared):
    """A slip in copying would change every number of 04_published."""
    source = pd.read_csv(shared / "facts" / "pruksachatkun2020_raw_results_author_data.csv")
    pd.testing.assert_frame_equal(published.read("pruksachatkun2020_runs"), source)
    source = pd.read_csv(shared / "facts" / "xstilts_v1_table2_main_deltas.csv")
    pd.testing.assert_frame_equal(published.read("xstilts_v1_table2"), source)


def test_sixty_of_250_cells_with_runs_as_points(units):
    table, cells = units
    runs = table.iloc[0]
    assert (runs["significant"], runs["cells"], runs["n"]) == (60, 250, 33)
    mean = published.mean_by_probe(cells["runs"]).round(2).head(3)
    assert list(mean) == [0.69, 0.65, 0.64]
    names = ["odd-man-out", "dep-ud-ewt", "coordination-inversion"]
    assert all(part in name for part, name in zip(names, mean.index, strict=True))


def test_same_cells_as_the_recomputation(units, shared):
    """Every one of the 250 decisions, not only their number."""
    found = pd.read_csv(shared / "facts" / "pruksachatkun2020_holm_sig_recomputed.csv", index_col=0)
    mine = units[1]["runs"].pivot(index="target", columns="probe", values="significant")
    assert (mine == found.loc[mine.index, mine.columns]).all().all()


def test_eleven_tasks_leave_far_fewer(units):
    """With the task as the unit, 60 become 11, by their statistics and by max-T alike."""
    table, cells = units
    assert table["n"].tolist() == [33, 11, 11, 11]
    assert table["significant"].tolist()[1] == 11
    assert table["significant"].tolist()[2] == pytest.approx(11, abs=2)  # Monte-Carlo
    tasks_, ours = cells["tasks"], cells["ours"]
    both = tasks_.merge(ours, left_on=["probe", "target"], right_on=["predictor", "outcome"])
    np.testing.assert_allclose(both["rho_x"], both["rho_y"], atol=1e-12)


def test_averages_of_table_2():
    """18 of 20 printed averages follow from their rows; one is inconsistent."""
    table = published.averages()
    assert (table["agrees"].sum(), len(table)) == (18, 20)
    off = table[~table["agrees"]].set_index("row")
    assert off.loc["ccg", "average"] == pytest.approx(3.76, abs=0.005)
    assert off.loc["ccg", "note"] == "rounding of the inputs"
    assert off.loc["qqp+mlm", ["printed", "average"]].tolist() == pytest.approx([5.1, 7.1])
    assert off.loc["qqp+mlm", "note"] == "inconsistent as printed"


def test_rules_of_v1_by_hand():
    """Train size against Tatoeba, 7 tasks: sum of squared rank differences 12, p 0.048."""
    table = published.rules_v1(**FEW).set_index(["predictor", "outcome"])
    row = table.loc[("train_size", "tatoeba")]
    assert row["n"] == 7 and row["rho"] == pytest.approx(0.786, abs=5e-4)
    assert row["p_maxt"] > 0.05
    exact = published.rules_v1(permutations=5040, resamples=99).set_index(["predictor", "outcome"])
    assert exact.loc[("train_size", "tatoeba"), "p"] == pytest.approx(0.048, abs=5e-4)


def outcomes():
    """Two seeds of five variants on three targets; multi is best, xnli never gains."""
    rows = []
    gain = {"none": 0, "mnli": 2, "squad1": 3, "multi": 4, "mnli+mlm": 1}
    extra = {"xnli": -5, "tydiqa": 1, "tatoeba": 9, "average": 2}
    for variant, g in gain.items():
        for target, e in extra.items():
            for seed in (1, 2):
                d = 0 if variant == "none" else g + e
                rows.append([variant, seed, target, 50.0 + d, float(d), 60.0, 0.0])
    names = ["variant", "seed", "target", "score", "gain", "english", "english_gain"]
    return pd.DataFrame(rows, columns=names)


MINI = {
    "encoder": {"kind": "packaged", "name": None, "path": None, "layers": 6, "frozen_layers": 2},
    "data": {"source": "mini"},
    "intermediate": {"train_size": 256},
    "transfer": {"train_size": 128},
}
LARGE = {
    "encoder": {"kind": "hub", "name": "FacebookAI/xlm-roberta-large"},
    "data": {"source": "local"},
    "intermediate": {},
    "transfer": {},
}


def test_no_gap_where_settings_differ():
    """A miniature's gain must never be shown as an error of a replication."""
    table = published.beside(outcomes(), MINI)
    assert table["gap"].isna().all()
    row = table.set_index(["variant", "target"]).loc[("squad1", "xnli")]
    assert row["ours"] == -2 and row["published"] == -1.4 and row["seeds"] == 2
    assert "packaged" in row["note"] and "miniature" in row["note"]


def test_gap_where_settings_match():
    table = published.beside(outcomes(), LARGE).set_index(["variant", "target"])
    row = table.loc[("squad1", "xnli")]
    assert row["gap"] == pytest.approx(-0.6) and "dev" in row["note"]
    assert table.loc[("none", "xnli"), "gap"] == pytest.approx(50 - 80.1)
    assert table.loc[("ccg", "xnli"), "note"] == "not measured in this study"
