"""Tidy tables of a study's records, tables of strangers, and what is written for papers."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import synthetic
from midway import cli
from midway.correlation import advice, analysis, any_table, arrays, export, tables, words
from midway.correlation.correlate import correlate
from midway.study import tasks
from midway.study.errors import InputError

FEW = {"permutations": 999, "resamples": 99}
RUNS = "lib/midway/correlation/published_data/pruksachatkun2020_runs.csv"


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("outputs") / "study"
    synthetic.write(root, path)
    return path


def test_scores_are_one_row_per_language_and_metric(folder):
    table = tables.scores(folder)
    assert list(table.columns) == tables.SCORES and not table.attrs["skipped"]
    part = table[(table["variant"] == "mnli") & (table["seed"] == 1) & (table["target"] == "xquad")]
    assert sorted(part["lang"].unique()) == ["de", "en", "ru"]
    assert set(part["metric"]) == {"em_f1", "em"}
    assert (folder / table["record"][0]).is_file()  # every number leads to its record


def test_gain_is_over_the_baseline_of_the_same_seed(folder):
    table = tables.outcomes(folder).set_index(["variant", "seed", "target"])
    scores = tables.scores(folder).set_index(["variant", "seed", "target", "metric", "lang"])
    mine = [
        scores.loc[("ccg", 2, "xnli", "accuracy", k), "value"]
        - scores.loc[("none", 2, "xnli", "accuracy", k), "value"]
        for k in ("de", "ru")
    ]
    row = table.loc[("ccg", 2, "xnli")]
    assert row["gain"] == pytest.approx(np.mean(mine))
    four = [table.loc[("ccg", 2, t), "gain"] for t in synthetic.TARGETS]
    assert table.loc[("ccg", 2, "average"), "gain"] == pytest.approx(np.mean(four))
    assert table.loc[("none", 1, "average"), "gain"] == 0


def test_no_average_before_all_targets_are_finished(root, tmp_path):
    """A mean over other targets than the neighbour's would be compared with it."""
    synthetic.write(root, tmp_path / "s", variants=["none", "mnli"], seeds=(1,))
    path = tmp_path / "s" / "params.yaml"
    text = path.read_text(encoding="utf-8").replace("  - xnli\n", "  - xnli\n  - pawsx\n")
    path.write_text(text, encoding="utf-8")
    assert "average" not in set(tables.outcomes(tmp_path / "s")["target"])


def test_no_mean_over_fewer_targets_than_the_others(root, tmp_path):
    """Where the baseline of one target is missing, group, language and average stay open."""
    folder = tmp_path / "s"
    synthetic.write(root, folder, variants=["none", "mnli", "qqp"], seeds=(1,))
    path = folder / "02_transfer" / "none" / "seed1" / "part1" / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["results"]["targets"]["xquad"]
    path.write_text(json.dumps(record), encoding="utf-8")
    table = tables.outcomes(folder).set_index(["variant", "target"])
    assert np.isnan(table.loc[("mnli", "xquad"), "gain"])
    assert np.isnan(table.loc[("mnli", "average"), "gain"])
    assert np.isfinite(table.loc[("mnli", "average"), "score"])
    assert ("none", "average") not in table.index
    languages = tables.outcomes(folder, by="language").set_index(["variant", "target"])
    assert np.isnan(languages.loc[("mnli", "de"), "gain"])
    groups = tables.outcomes(folder, by="group").set_index(["variant", "target"])
    assert np.isnan(groups.loc[("mnli", "qa"), "gain"])
    assert np.isfinite(groups.loc[("mnli", "pair"), "gain"])


def test_groups_and_languages(folder):
    groups = tables.outcomes(folder, by="group")
    assert set(groups["target"]) == {"pair", "structured", "qa", "retrieval"}
    languages = tables.outcomes(folder, by="language").set_index(["variant", "seed", "target"])
    assert languages.loc[("none", 1, "de"), "gain"] == 0
    assert {k[2] for k in languages.index} == {"de", "en", "ru"}


def test_torn_and_foreign_records_are_skipped_by_name(root, tmp_path):
    """One torn file must not hide the rest of a study, nor pass unseen."""
    folder = tmp_path / "s"
    synthetic.write(root, folder, variants=["none", "mnli", "squad1"], seeds=(1,))
    torn = folder / "02_transfer" / "mnli" / "seed1" / "part1" / "record.json"
    torn.write_text(torn.read_text(encoding="utf-8")[:100], encoding="utf-8")
    other = folder / "01_intermediate" / "qqp" / "seed1"
    other.mkdir(parents=True)
    source = folder / "01_intermediate" / "mnli" / "seed1" / "record.json"
    text = source.read_text(encoding="utf-8").replace('"mnli"', '"qqp"')
    (other / "record.json").write_text(text, encoding="utf-8")  # a variant no longer in the study
    table = tables.outcomes(folder)
    assert set(table["variant"]) == {"none", "squad1"}
    assert len(table.attrs["skipped"]) == 1 and "mnli" in table.attrs["skipped"][0]
    assert "qqp" not in set(tables.predictors(folder)["variant"])


def test_a_language_dropped_from_the_record_does_not_count(folder):
    """Score files of an earlier run may lie about; the finished record says which count."""
    part = folder / "02_transfer" / "anli" / "seed1" / "part1" / "scores"
    text = (part / "xnli.de.json").read_text(encoding="utf-8").replace('"de"', '"fr"')
    (part / "xnli.fr.json").write_text(text, encoding="utf-8")
    (part / "xnli.training.json").write_text('{"steps": 3}', encoding="utf-8")
    table = tables.scores(folder)
    assert "fr" not in set(table["lang"]) and not table.attrs["skipped"]


def test_predictors_and_what_belongs_to_one_target(folder):
    table = tables.predictors(folder)
    assert list(table.columns) == tables.PREDICTORS
    main = table[(table["predictor"] == "main_gain") & (table["variant"] == "csqa")]
    assert main.sort_values("fraction")["value"].iloc[[0, -1]].tolist()[0] == 0
    X, Y, skip = arrays.wide(table, tables.outcomes(folder))
    assert ("logme:xnli", "xquad") in skip and ("logme:xnli", "xnli") not in skip
    assert "none" not in X.index.get_level_values(0) and list(Y)[-1] == "average"
    early, _, _ = arrays.wide(table, tables.outcomes(folder), names=["main"], fraction=0.3)
    at = table[(table["predictor"] == "main") & (table["fraction"] == 0.2)]
    assert early.loc[("csqa", 1), "main"] == at[at["variant"] == "csqa"]["value"].iloc[0]


def test_what_is_known_at_the_end_of_training_stands_there(root, tmp_path):
    """Steps to 90 % belong to the last checkpoint, which is the encoder of dose 1."""
    synthetic.write(root, tmp_path / "s", variants=["none", "mnli"], seeds=(1,))
    path = tmp_path / "s/01_intermediate/mnli/seed1/record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["results"]["summary"]["steps_to_90"] = 12
    del record["results"]["trajectory"][-1]["dose"]
    path.write_text(json.dumps(record), encoding="utf-8")
    table = tables.predictors(tmp_path / "s").set_index("predictor")
    assert table.loc[["steps_to_90"], ["fraction", "dose", "value"]].to_numpy().tolist() == [
        [1.0, 1.0, 12.0]
    ]
    assert table.loc["main", "dose"].tolist()[-1] == 1


def test_controls_and_other_recipes_are_no_units():
    """Shuffled labels or added MLM on one task are not another task: n must not grow."""
    names = ["none", "mnli", "mnli+shuffled", "mnli+mlm", "multi"]
    assert [v for v in names if tables.is_unit(v)] == ["mnli", "multi"]


def test_a_composite_is_no_unit_unless_asked_for(folder):
    """multi is made of the nine tasks: with it they would be counted twice."""
    both = tables.predictors(folder), tables.outcomes(folder)
    X, Y, _ = arrays.wide(*both)
    assert (
        set(X.index.get_level_values(0))
        == set(Y.index.get_level_values(0))
        == set(tasks.INTERMEDIATE)
    )
    assert "multi" in arrays.wide(*both, composites=True)[0].index.get_level_values(0)


def test_the_average_of_one_target_is_not_counted_beside_it(root, tmp_path):
    """Each pair was tested twice, and a primary pair of the average was no pair of the target."""
    made = synthetic.write(root, tmp_path / "one", targets=["xnli"], doses=(0.5, 1.0))
    primary = [["main", "average"], ["main_gain", "xnli"]]
    setting = made.correlation.model_copy(update={"primary": primary})
    data = analysis.read(tmp_path / "one", setting)
    assert list(data.Y) == ["xnli"] and data.primary == (("main", "xnli"), ("main_gain", "xnli"))
    few = {"permutations": 999, "resamples": 99}
    cells, doses = analysis.between(data, **few), analysis.within(data, setting, **few)
    assert (
        set(cells["outcome"]) == set(doses["outcome"]) == {"xnli"} and cells["primary"].sum() == 2
    )
    assert "the gain on XNLI have rho" in words.headline(cells)[0]
    quality, nested = analysis.choices(data, permutations=999)
    assert advice.choice(quality, nested=nested)[0].startswith("For xnli") and len(nested)


def test_families_say_which_units_belong_together():
    found = tables.families(["squad1", "squad2", "anli", "mnli+shuffled", "ccg", "multi"])
    assert found["squad1"] == found["squad2"] and found["anli"] == found["mnli+shuffled"]
    assert found.nunique() == 3 and found["multi"] is None


def test_doses_are_apart_from_what_is_compared_between_tasks(root, tmp_path):
    """A third of MNLI is not one more task; it is compared with MNLI alone."""
    folder, variants = tmp_path / "s", ["none", "mnli", "mnli+shuffled", "squad1", "multi"]
    synthetic.write(root, folder, variants=variants, noise=0.0, doses=(0.2, 0.5, 1.0))
    X, Y, _ = arrays.wide(tables.predictors(folder), tables.outcomes(folder))
    assert len(X) == len(Y) == 4
    assert set(tables.scores(folder)["dose"]) == set(tables.costs(folder)["dose"]) == {1.0}
    assert set(tables.scores(folder, doses=True)["dose"]) == {0.2, 0.5, 1.0}
    every = tables.outcomes(folder, doses=True)
    X, Y, skip = arrays.within(tables.predictors(folder, doses=True), every)
    assert list(X.index.names) == ["placebo", "variant", "seed", "dose"]
    assert len(X) == len(Y) == 3 * 2 * 3 and X.index.equals(Y.index)
    one = X.loc[(False, "squad1", 1), "main"]
    assert one.index.tolist() == [0.2, 0.5, 1.0] and one.is_monotonic_increasing
    own = every.set_index(["variant", "seed", "dose", "target"])["gain"]
    assert Y.loc[(False, "squad1", 1, 0.5), "xnli"] == own[("squad1", 1, 0.5, "xnli")]
    assert Y.loc[False].loc["mnli", "average"].gt(0).all() and Y.loc[True, "average"].eq(0).all()
    assert X["logme:xnli"].notna().all() and ("logme:xnli", "xquad") in skip
    assert X.loc[(False, "squad1", 1), "logme:average"].is_monotonic_increasing
    # a LogME for each dose must not enter the mean of the one at the end
    found = tables.predictors(folder, doses=True)
    whole, _, _ = arrays.wide(tables.predictors(folder), tables.outcomes(folder))
    pd.testing.assert_frame_equal(arrays.wide(found, every)[0], whole)
    points = arrays.doses(found, every, "logme:xnli", "xnli").set_index(["variant", "dose"])
    assert list(points) == ["x", "y"] and len(points) == 3 * 3
    for placebo, name in ((False, "mnli"), (True, "mnli+shuffled")):  # means over two seeds
        both = X["logme:xnli"][placebo].loc["mnli", :, 0.5], Y["xnli"][placebo].loc["mnli", :, 0.5]
        assert points.loc[name, 0.5].tolist() == pytest.approx([t.mean() for t in both])
    alone = every[(every["variant"] != "squad1") | (every["dose"] == 1)]  # one dose is no line
    lines = arrays.doses(found, alone, "main", "average")["variant"]
    assert set(lines) == {"mnli", "mnli+shuffled"}
    for pair in (("nothing", "average"), ("main", "nothing")):
        assert arrays.doses(found, every, *pair).columns.tolist() == ["variant", "dose", "x", "y"]


def test_columns_of_outcomes_by_hand(folder):
    """English apart from the zero-shot mean; the average over the targets that have a value."""

    def values(variant, target):
        path = folder / f"02_transfer/{variant}/seed2/part1/record.json"
        results = json.loads(path.read_text(encoding="utf-8"))["results"]["targets"][target]
        return {k: m[tasks.get(target).metric] for k, m in results["languages"].items()}

    assert list(tables.outcomes(folder)) == tables.OUTCOME
    known = {}
    for target in synthetic.TARGETS:
        ours, base = values("ccg", target), values("none", target)
        rest, english = [k for k in ours if k != "en"], ours.get("en", np.nan)
        known[target] = {
            "score": np.mean([ours[k] for k in rest]),
            "gain": np.mean([ours[k] - base[k] for k in rest]),
            "english": english,
            "english_gain": english - base.get("en", np.nan),
            "xtreme": np.mean(list(ours.values())),
        }
    known["average"] = pd.DataFrame(known).mean(axis=1).to_dict()
    table = tables.outcomes(folder).set_index(["variant", "seed", "target"])
    for target, row in known.items():
        found = table.loc[("ccg", 2, target), list(row)].to_dict()
        assert found == pytest.approx(row, nan_ok=True), target
    languages = tables.outcomes(folder, by="language").set_index(["variant", "seed", "target"])
    for lang, with_it in (("de", synthetic.TARGETS), ("en", synthetic.TARGETS[:3])):
        ours = [values("ccg", t)[lang] for t in with_it]
        base = [values("none", t)[lang] for t in with_it]
        found = languages.loc[("ccg", 2, lang), ["score", "gain"]].tolist()
        assert found == pytest.approx([np.mean(ours), np.mean(ours) - np.mean(base)])


def test_columns_of_predictors_and_costs_by_hand(folder):
    table = tables.predictors(folder)
    part = table[(table["variant"] == "mnli") & (table["seed"] == 1)]
    wide = part[part["target"].isna()].pivot(index="fraction", columns="predictor", values="value")
    assert wide.index.tolist() == synthetic.FRACTIONS
    rise = 4 * synthetic.VARIANTS.index("mnli")
    assert wide["main_gain"].tolist() == pytest.approx([f * rise for f in synthetic.FRACTIONS])
    assert (wide["train_size"] == tasks.get("mnli").train_size).all()
    own = part[part["target"].notna()]
    assert set(own["predictor"]) == {"logme"} and set(own["fraction"]) == set(own["dose"]) == {1.0}
    cost = tables.costs(folder)
    assert len(cost) == 2 * 2 * len(synthetic.VARIANTS)
    assert set(cost["cpu_s"]) == set(cost["wall_s"]) == {60.0}


def test_gain_matrix_is_in_xtremes_order(folder):
    matrix = tables.gain_matrix(tables.outcomes(folder))
    assert list(matrix) == ["xnli", "udpos", "xquad", "tatoeba", "average"]
    assert list(matrix.index) == synthetic.VARIANTS
    outcomes = tables.outcomes(folder)
    mean = outcomes.groupby(["variant", "target"])["gain"].mean()
    assert matrix.loc["ccg", "xnli"] == pytest.approx(mean["ccg", "xnli"])  # over seeds
    assert "tatoeba" not in tables.gain_matrix(outcomes, "english")


@pytest.mark.parametrize("variants", [[], ["none"], ["none", "mnli"]])
def test_unfinished_studies_give_empty_tables(root, tmp_path, variants):
    folder = tmp_path / "s"
    synthetic.study(root, folder)
    synthetic.write(root, folder, variants=variants) if variants else None
    outcomes, predictors = tables.outcomes(folder), tables.predictors(folder)
    X, Y, skip = arrays.wide(predictors, outcomes)
    table = correlate(X, Y, skip=skip, **FEW)
    assert table.empty or table["rho"].isna().all()
    assert tables.gain_matrix(outcomes).shape[0] == len(variants)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        tables.scores(tmp_path / "none")


# -- writers ------------------------------------------------------------------------------------


def test_paper_tables(tmp_path):
    """LaTeX compiles only with text escaped; Markdown cells hold no pipes; CSV keeps precision."""
    table = pd.DataFrame({"task_name": ["a|b & 5%", "x"], "rho": [1 / 3, np.nan], "n": [9, 7]})
    csv, md, tex = export.write(table, tmp_path, "t", index=False)
    back = pd.read_csv(csv)
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    lines = tex.read_text(encoding="utf-8").splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}" and lines[1] == r"\toprule"
    assert r"task\_name & rho & n \\" in lines and r"a|b \& 5\% & 0.33 & 9 \\" in lines
    rows = md.read_text(encoding="utf-8").splitlines()
    assert rows[0] == "| task_name | rho | n |" and rows[2] == "| a\\|b & 5% | 0.33 | 9 |"
    assert rows[3].endswith("| – | 7 |")


# -- any table ----------------------------------------------------------------------------------


def published(root, **options):
    return any_table.correlate_table(
        root / RUNS, predictors="*_PRB", outcomes="*_TRG", **FEW | options
    )


def test_published_style_and_task_level(root):
    """unit = run gives the published rho; unit = task the honest n."""
    runs = published(root, unit="int_task,run")
    assert runs["n"].eq(33).all() and len(runs) == 250
    mean = runs.groupby("predictor")["rho"].mean().sort_values(ascending=False).round(2)
    assert mean.head(3).tolist() == [0.69, 0.65, 0.64]
    level = published(root, unit="int_task", run="run")
    assert level["n"].eq(11).all()
    many, few = (int((t["p_maxt"] < 0.05).sum()) for t in (runs, level))
    assert 50 <= many <= 70 and few <= 14


def test_long_and_parquet_tables_give_the_same(root, tmp_path):
    wide = pd.read_csv(root / RUNS)
    wide.to_parquet(tmp_path / "wide.parquet")
    wide.melt(["run", "int_task"]).to_csv(tmp_path / "long.csv", index=False)
    options = {"unit": "int_task", "run": "run", "outcomes": "rte_TRG"} | FEW
    a = any_table.correlate_table(root / RUNS, predictors="cola_PRB,se-*", **options)
    b = any_table.correlate_table(tmp_path / "wide.parquet", predictors="cola_PRB,se-*", **options)
    c = any_table.correlate_table(tmp_path / "long.csv", predictors="cola_PRB,se-*", **options)
    pd.testing.assert_frame_equal(a, b)
    cells = a.merge(c, on=["predictor", "outcome"])
    np.testing.assert_allclose(cells["rho_x"], cells["rho_y"])
    assert "long table" in c.attrs["problems"][0]


def small():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((8, 3)).round(3), columns=["acc", "loss", "gain"])
    return frame.assign(task=list("abcdefgh"), flat=1.0)


def run_small(tmp_path, change, **options):
    frame = change(small())
    frame.to_csv(tmp_path / "t.csv", index=False)
    options = {"unit": "task", "predictors": "acc,flat", "outcomes": "gain"} | FEW | options
    return any_table.correlate_table(tmp_path / "t.csv", **options)


def with_cell(column, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[0, column] = value
        return frame

    return change


GO_ON = {
    "constant": (lambda f: f, "column 'flat' is constant", 8),
    "missing": (with_cell("acc", None), "1 of 24 cells is missing", 7),
    "a dash": (with_cell("acc", "–"), "1 of 24 cells is missing", 7),
    "repeated row": (lambda f: pd.concat([f.assign(r=1), f[:1].assign(r=1)]), "word for word", 8),
    "no run named": (lambda f: pd.concat([f, f]), "taken as its runs", 8),
    "no unit": (with_cell("task", None), "1 row has no task", 7),
}


@pytest.mark.parametrize("name", GO_ON)
def test_problems_that_can_be_lived_with_are_said(tmp_path, name):
    change, message, n = GO_ON[name]
    table = run_small(tmp_path, change, **({"run": "r"} if name == "repeated row" else {}))
    assert any(message in p for p in table.attrs["problems"]), table.attrs["problems"]
    assert table["n"][0] == n and np.isfinite(table["rho"][0])
    assert all("\n" not in p for p in table.attrs["problems"])


STOP = {
    "one unit": (lambda f: f.assign(task="a", r=range(8)), {"run": "r"}, "1 unit by 'task'"),
    "all text": (lambda f: f.assign(acc="high"), {}, "holds text"),
    "text": (with_cell("acc", "n/a!"), {}, "line 2: column 'acc': 'n/a!' is not a number"),
    "two numbers for a run": (
        lambda f: pd.concat([f.assign(r=1), f[:1].assign(r=1, acc=9)]),
        {"run": "r"},
        "twice with different numbers",
    ),
    "no such unit": (lambda f: f, {"unit": "name"}, "no column 'name'"),
    "no such glob": (lambda f: f, {"predictors": "*_PRB"}, "no column matches"),
    "both": (lambda f: f, {"predictors": "acc,gain"}, "as predictor and as outcome"),
    "none named": (lambda f: f, {"predictors": ","}, "name at least one column"),
}


@pytest.mark.parametrize("name", STOP)
def test_problems_that_cannot_stop_in_one_line(tmp_path, name):
    change, options, message = STOP[name]
    with pytest.raises(InputError, match=message) as error:
        run_small(tmp_path, change, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00x", b"PAR1 not really"])
def test_files_that_are_no_tables(tmp_path, content):
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            any_table.correlate_table(tmp_path / name, unit="a", predictors="b", outcomes="c")
    with pytest.raises(InputError, match="no such file"):
        any_table.read(tmp_path / "absent.csv")


def test_semicolons_and_byte_order_marks_are_read(tmp_path):
    text = small().to_csv(sep=";", index=False)
    (tmp_path / "t.csv").write_text("\ufeff" + text, encoding="utf-8")
    table = any_table.correlate_table(
        tmp_path / "t.csv", unit="task", predictors="acc", outcomes="gain", **FEW
    )
    assert table["n"][0] == 8


def test_a_file_is_no_folder_for_tables(root, tmp_path, capsys):
    """Said before the permutations are counted, not after."""
    (tmp_path / "x").touch()
    args = "--unit int_task --run run --predictors cola_PRB --outcomes rte_TRG".split()
    assert cli.main(["correlate", str(root / RUNS), *args, "--out", str(tmp_path / "x")]) == 2
    assert "x: not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(("method", "name"), [("kendall", "tau"), ("pearson", "r")])
def test_a_coefficient_has_its_own_name(root, tmp_path, capsys, method, name):
    """A tau printed as rho would be quoted as rho."""
    args = "--unit int_task --run run --predictors se-*_PRB --outcomes rte_TRG --resamples 99"
    more = ["--permutations", "99", "--method", method, "--out", str(tmp_path)]
    assert cli.main(["correlate", str(root / RUNS), *args.split(), *more]) == 0
    assert f"{name} = " in (err := capsys.readouterr().err) and "rho" not in err
    for path in tmp_path.iterdir():
        head = path.read_text()[:200]
        assert name in re.findall(r"\w+", head) and "rho" not in head


def test_verb_prints_table_and_words(root, capsys):
    args = "--unit int_task --run run --predictors cola_PRB --outcomes rte_TRG --permutations 99"
    assert cli.main(["correlate", str(root / RUNS), *args.split(), "--resamples", "99"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("predictor,outcome,n,rho")
    assert "n = 11 values of int_task" in err


def test_english_stands_before_the_zero_shot_languages():
    """In the middle it reads as one of those that the mean is over."""
    rows = [
        ["none", 1.0, 1, "pawsx", x, "accuracy", 50.0, 9, "test", ""] for x in ("de", "en", "fr")
    ]
    scores = pd.DataFrame(rows, columns=tables.SCORES)
    assert list(tables.language_table(scores, "pawsx")) == ["en", "de", "fr"]
