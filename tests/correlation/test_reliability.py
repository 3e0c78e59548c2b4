"""Reliability is what another seed would show; ceilings and corrections follow from it."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f

import synthetic
from midway.correlation import floors, items, reliability, tables
from midway.data import sources
from midway.evaluation import metrics
from midway.study import params, tasks
from midway.transfer import submission as files


def crossed(rng, true, seeds, noise=1.0, shared=3.0):
    """(unit, seed) table of one column: true value + what a seed does to all + noise."""
    n = len(true)
    values = np.asarray(true)[:, None] + shared * rng.standard_normal(seeds)
    values = values + noise * rng.standard_normal((n, seeds))
    index = pd.MultiIndex.from_product([range(n), range(seeds)])
    return pd.DataFrame({"y": values.ravel()}, index)


def test_anova_by_hand():
    """Three tasks, two seeds: residual mean square 1, between (3 * 2 - 1) / 2."""
    index = pd.MultiIndex.from_product([list("abc"), [1, 2]])
    table = pd.DataFrame({"y": [0.0, 10, 3, 11, 2, 14]}, index)  # seed 2 is higher for all
    means = np.array([5.0, 7, 8])
    rest = np.array([[0.0, 10], [3, 11], [2, 14]])
    rest = rest - rest.mean(1, keepdims=True) - rest.mean(0) + rest.mean()
    error, units = (rest**2).sum() / 2, 2 * means.var(ddof=1)
    row = reliability.components(table).loc["y"]
    assert row["seed"] == pytest.approx(np.sqrt(error))
    assert row["reliability"] == pytest.approx(1 - error / units)
    assert row["one_seed"] == pytest.approx((units - error) / (units + error))
    assert row["seed_to_seed"] == pytest.approx(np.corrcoef([0, 3, 2], [10, 11, 14])[0, 1])
    assert (row["n"], row["seeds"]) == (3, 2)
    ends = f.ppf([0.975, 0.025], 2, 2) * error / units  # Feldt
    assert [row["low"], row["high"]] == pytest.approx(np.clip(1 - ends, 0, 1))
    assert row["between"] == pytest.approx(np.sqrt(max(0, units - error) / 2))


@pytest.mark.parametrize("true", [0.0, 0.5, 1.0, 3.0])
def test_printed_reliability_is_the_correlation_of_new_seeds(true):
    """One seed's against another seed's, and the mean's against another mean's, within .15."""
    rng, found = np.random.default_rng(2), []
    for _ in range(200):
        values = true * rng.standard_normal(12)
        first, second = crossed(rng, values, 3), crossed(rng, values, 3)
        row = reliability.components(first).loc["y"]
        new = second["y"].unstack()
        one = np.corrcoef(first["y"].unstack()[0], new[0])[0, 1]
        mean = np.corrcoef(first["y"].groupby(level=0).mean(), new.mean(axis=1))[0, 1]
        found.append([row["one_seed"], one, row["reliability"], mean])
    one_seed, one, printed, mean = np.mean(found, axis=0)
    assert abs(one_seed - one) < 0.15 and abs(printed - mean) < 0.15
    assert printed >= one_seed - 1e-9


def test_what_one_seed_cannot_say_is_not_said():
    row = reliability.components(crossed(np.random.default_rng(0), range(9), 1)).loc["y"]
    assert np.isnan(row["reliability"]) and row["note"] == "one seed: error of training not known"
    few = reliability.components(crossed(np.random.default_rng(0), range(2), 2)).loc["y"]
    assert np.isnan(few["one_seed"]) and "2 tasks" in few["note"]
    same = reliability.components(crossed(np.random.default_rng(0), [1, 1, 1], 2, 0)).loc["y"]
    assert np.isnan(same["reliability"]) and "do not differ" in same["note"]


def test_a_property_without_noise_is_fully_reliable():
    row = reliability.components(crossed(np.random.default_rng(0), range(9), 2, 0, 0)).loc["y"]
    assert row["reliability"] == row["one_seed"] == 1 and row["seed"] == 0


def test_items_lower_reliability_and_are_all_that_one_seed_knows():
    parts = pd.DataFrame({"reliability": [0.8, np.nan]}, ["a", "b"]).reindex(
        columns=reliability.COLUMNS)  # fmt: skip
    error, seen = dict.fromkeys("abc", 1.0), pd.Series({"a": 10, "b": 4})
    both = reliability.with_items(parts, error, seen)
    assert both["total"].tolist() == pytest.approx([0.7, 0.75])
    assert both["item"].tolist() == [1.0, 1.0]
    assert reliability.best_known(parts.assign(total_high=np.nan))["a"] == 0.8


def test_a_number_is_told_only_where_it_is_known():
    """An estimate with a wide interval is another one with other seeds; the interval stays."""
    parts = pd.DataFrame(np.nan, list("abc"), reliability.COLUMNS)
    parts["one_seed"] = parts["reliability"] = parts["total"] = 0.9
    parts["low"], parts["high"] = [0.76, 0.74, np.nan], [0.95, 0.95, np.nan]
    parts["total_low"], parts["total_high"] = [0.7, 0.7, np.nan], [0.95, 0.95, np.nan]
    out = reliability.told(parts)
    assert out["reliability"].isna().tolist() == out["one_seed"].isna().tolist() == [0, 1, 1]
    assert out["total"].isna().all() and (out["low"].isna() == parts["low"].isna()).all()
    assert reliability.best_known(out).isna().all()  # not that without the items' error instead
    assert reliability.weak(parts.assign(total_high=0.4)) == dict.fromkeys("abc", 0.9)


@pytest.mark.parametrize("true", [0.0, 0.3, 0.6, 0.8, 0.9, 0.97])
def test_a_told_number_is_hardly_ever_wrong(true):
    """A number that is off by more than .15 is told in at most one of twenty studies."""
    rng, told = np.random.default_rng(5), []
    for _ in range(400):
        values = np.sqrt(true) * rng.standard_normal(9)
        parts = reliability.components(crossed(rng, values, 2, np.sqrt(2 * (1 - true))))
        told.append(reliability.told(parts)["reliability"].iloc[0])
    assert np.mean(np.abs(np.array(told) - true) > 0.15) < 0.05
    assert np.isfinite(told).mean() > 0.6 or true < 0.95  # and known numbers are told


@pytest.mark.parametrize("items", [0.0, 0.5])
@pytest.mark.parametrize("true", [0.3, 0.6, 0.9])
def test_printed_reliability_is_neither_too_high_nor_too_low(true, items):
    """Known reliability, nine tasks, two seeds: the median is right, and intervals hold it."""
    rng, found, held = np.random.default_rng(4), [], []
    error = (1 - true) * np.array([1 - items, items])  # of means over seeds; of items
    for _ in range(400):
        values = np.sqrt(true) * rng.standard_normal(9) + np.sqrt(error[1]) * rng.standard_normal(9)
        table = crossed(rng, values, 2, np.sqrt(2 * error[0]))
        parts = reliability.components(table)
        row = reliability.with_items(parts, {"y": error[1]}, table.groupby(level=0).mean().var())
        row = row.loc["y"]
        found.append(row["total"])
        held.append(row["total_low"] <= true <= row["total_high"])
    assert np.median(found) == pytest.approx(true, abs=0.07)
    assert 0.92 < np.mean(held) <= 0.99


def test_errors_of_predictors_come_from_the_rows_that_were_left_out(tmp_path):
    """Own rows are independent between tasks; what probes share cancels."""
    rng, groups = np.random.default_rng(0), 10
    common = rng.standard_normal(groups)
    write = {"params.yaml": "seeds: [1, 2]\n"}
    means: dict = {}
    for variant in ("mnli", "qqp", "ccg"):
        for seed in (1, 2):
            own = rng.standard_normal(groups)
            means.setdefault(variant, []).append(own)
            points = [{"metrics": {}, "step": 0, "fraction": 0,
                       "jackknife": {"main": [50.0] * groups}},
                      {"metrics": {}, "step": 9, "fraction": 1,
                       "jackknife": {"main": list(50 + own), "p_at_1": list(common)}}]  # fmt: skip
            record = {"variant": variant, "seed": seed, "state": "done",
                      "results": {"trajectory": points}}  # fmt: skip
            write[f"01_intermediate/{variant}/seed{seed}/record.json"] = json.dumps(record)
    for name, text in write.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = items.predictor_errors(tmp_path, ["mnli", "qqp", "ccg"])
    assert found["p_at_1"] == pytest.approx(0, abs=1e-12)
    spread = [np.var(np.mean(v, axis=0)) * (groups - 1) for v in means.values()]
    assert found["main"] == found["main_gain"] == pytest.approx(np.mean(spread))


def test_a_target_is_weak_only_where_that_is_certain():
    """By its estimate alone it would be left out with some seeds and not with others."""
    rng = np.random.default_rng(3)
    few = reliability.components(crossed(rng, np.zeros(9), 2))
    assert few["reliability"].iloc[0] < reliability.FLOOR < few["high"].iloc[0]
    assert reliability.weak(few) == {}
    many = reliability.components(crossed(rng, np.zeros(60), 4))
    assert list(reliability.weak(many)) == ["y"]


def test_disattenuation_restores_the_true_correlation():
    """rho / sqrt(r_x r_y), and nothing where the noise would be divided by noise."""
    x = pd.DataFrame({"total": np.nan, "reliability": [0.64]}, ["m"])
    y = pd.DataFrame({"total": np.nan, "reliability": [0.81, 0.4, np.nan]}, ["t", "weak", "new"])
    x, y = x.assign(total_high=np.nan), y.assign(total_high=np.nan)
    table = pd.DataFrame({"predictor": "m", "outcome": list(y.index), "rho": [0.36, 0.36, 0.36]})
    out = reliability.disattenuate(table, x, y)
    assert out["ceiling"].iloc[0] == pytest.approx(0.72)
    assert out["rho_corrected"].tolist() == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)
    high = reliability.disattenuate(table.assign(rho=0.9), x, y)
    assert high["rho_corrected"].iloc[0] == 1


def test_an_average_without_weak_targets(root, tmp_path):
    synthetic.write(root, tmp_path / "s")
    table = tables.outcomes(tmp_path / "s")
    rest = reliability.without(table, ["xnli"])
    assert "xnli" not in set(rest["target"]) and reliability.without(table, []) is table
    wide = table[table["target"] != "average"].pivot(index=["variant", "seed"], columns="target",
                                                     values="gain")  # fmt: skip
    mean = rest[rest["target"] == "average"].set_index(["variant", "seed"])["gain"]
    expected = wide[["udpos", "xquad", "tatoeba"]].mean(axis=1)
    pd.testing.assert_series_equal(mean.sort_index(), expected.sort_index(), check_names=False)


def test_share_of_the_way_from_chance_to_the_ceiling():
    table = pd.DataFrame({"target": ["xnli", "xquad", "average"], "gain": [20.0, 20.0, 20.0],
                          "score": [100.0, 50.0, 50.0]})  # fmt: skip
    assert reliability.share(table).tolist() == pytest.approx([30, 20, 20])
    assert reliability.share(table, "score").tolist() == pytest.approx([100, 50, 50])
    assert reliability.share(table.assign(gap=30.0), "gap").tolist() == pytest.approx([45, 30, 30])


def test_feldts_interval_at_another_level():
    table = crossed(np.random.default_rng(0), range(6), 3)
    wide, row = (reliability.components(table, alpha).loc["y"] for alpha in (0.05, 0.2))
    lost = 1 - row["reliability"]
    ends = [1 - f.ppf(q, 5, 10) * lost for q in (0.9, 0.1)]
    assert [row["low"], row["high"]] == pytest.approx(ends) and wide["low"] < row["low"]


# -- test items -----------------------------------------------------------------------------------

KINDS = ["xnli", "xquad", "udpos", "tatoeba", "bucc2018"]


@pytest.fixture(scope="module")
def predicted(root, tmp_path_factory):
    """A study whose predictions are there: right answers, and 'mnli' some of them spoiled."""
    folder = tmp_path_factory.mktemp("outputs") / "study"
    made = synthetic.study(root, folder, ["none", "mnli", "qqp"], KINDS, (1,))
    rng = np.random.default_rng(0)
    for variant in ("none", "mnli", "qqp"):
        for target in KINDS:
            part, card = folder / "02_transfer" / variant / "seed1" / "part1", tasks.get(target)
            for lang in ("de", "ru"):
                rows = sources.load(target, "test", lang, made.data, made.data.test_size)
                answers = spoiled(card, rows, 0.0 if variant == "none" else 0.4, rng)
                path = files.write_predictions(part / "predictions", target, lang, answers)
                text = {"target": target, "lang": lang, "n": len(rows), "split": "test",
                        "metrics": {card.metric: 1.0},
                        "predictions": path.relative_to(part).as_posix()}  # fmt: skip
                (part / "scores").mkdir(exist_ok=True)
                (part / "scores" / f"{target}.{lang}.json").write_text(json.dumps(text))
    return folder


def spoiled(card, rows, share, rng):
    wrong = rng.random(len(rows)) < share
    if card.kind == "pair":
        gold = [card.labels[i] for i in rows["label"]]
        return [card.labels[0] if w else g for g, w in zip(gold, wrong, strict=True)]
    if card.kind == "span":
        both = zip(rows["id"], rows["answers"], wrong, strict=True)
        return {i: "zzz" if w else a["text"][0] for i, a, w in both}
    if card.kind == "tags":
        return [["X"] * len(t) if w else t for t, w in zip(rows["tags"], wrong, strict=True)]
    if card.kind == "parallel":
        return [0 if w else i for i, w in enumerate(wrong)]
    gold = [(r["id"], g) for r in rows if r["side"] == "source" for g in r["gold"]]
    return [pair for pair, w in zip(gold, rng.random(len(gold)) < share, strict=True) if not w]


def test_every_kinds_predictions_are_read_item_by_item(predicted):
    found = items.influences(predicted)
    assert set(found) == set(KINDS)
    for target, table in found.items():
        assert abs(table.to_numpy().sum(0)).max() < 1e-9, target  # deviations from the mean
        error = np.sqrt(np.diag(items.covariance(table)))
        none, mnli = (error[table.columns.get_level_values(0).unique().get_loc(v)]
                      for v in ("none", "mnli"))  # fmt: skip
        assert none == pytest.approx(0, abs=1e-9) and 0.5 < mnli < 20, target


def test_the_error_of_a_share_is_the_binomial_one(predicted):
    """One language: 100 sqrt(p q / n); the other language asks the same questions."""
    (part,) = items.influences(predicted, ["xnli"]).values()
    wanted = params.load(predicted / "params.yaml").data
    rows = [sources.load("xnli", "test", lang, wanted, wanted.test_size) for lang in ("de", "ru")]
    assert set(rows[0]["id"]) == set(rows[1]["id"]) == set(part.index)
    right = []
    for lang, gold in zip(("de", "ru"), rows, strict=True):
        path = predicted / f"02_transfer/mnli/seed1/part1/predictions/xnli/test-{lang}.tsv"
        names = [tasks.get("xnli").labels[i] for i in gold["label"]]
        right.append(np.array(path.read_text().split()) == names)
    share = 100 * np.mean(right, axis=0)  # of each question, over languages
    expected = share.std() / np.sqrt(len(share))
    assert np.sqrt(items.covariance(part).loc["mnli", "mnli"]) == pytest.approx(expected)


def test_f1_errors_agree_with_resampled_items(predicted):
    """Linearised F1 against a bootstrap of sentences: within a fifth."""
    (part,) = items.influences(predicted, ["udpos"]).values()
    data = params.load(predicted / "params.yaml").data
    rng, scores = np.random.default_rng(1), []
    both = []
    for lang in ("de", "ru"):
        rows = sources.load("udpos", "test", lang, data, data.test_size)
        text = predicted / f"02_transfer/mnli/seed1/part1/predictions/udpos/test-{lang}.tsv"
        said = [b.splitlines() for b in text.read_text().strip("\n").split("\n\n")]
        both.append((said, rows["tags"]))
    for _ in range(150):
        draw = rng.integers(0, len(both[0][0]), len(both[0][0]))
        one = [metrics.tag_scores([a[i] for i in draw], [b[i] for i in draw])["f1_xtreme"]
               for a, b in both]  # fmt: skip
        scores.append(np.mean(one))
    error = np.sqrt(items.covariance(part).loc["mnli", "mnli"])
    assert error == pytest.approx(np.std(scores), rel=0.2)


def test_only_what_differs_between_tasks_is_error_between_tasks():
    """What test items do to all variants alike moves no rank."""
    common = pd.DataFrame(9.0, list("ab"), list("ab"))
    assert items.between_units(common, "ab") == pytest.approx(0)
    assert items.between_units(common + np.eye(2), "ab") == pytest.approx(1)
    assert np.isnan(items.between_units(common, "a"))


def test_lost_predictions_leave_a_target_out(predicted, tmp_path):
    assert items.influences(tmp_path) == {} if tmp_path.is_dir() else True
    for path in predicted.glob("02_transfer/*/seed1/part1/predictions/tatoeba/*"):
        path.unlink()
    assert "tatoeba" not in items.influences(predicted)


# -- floors ---------------------------------------------------------------------------------------


def test_cells_below_their_control_are_named(root, tmp_path):
    folder = tmp_path / "s"
    synthetic.write(root, folder, seeds=(1,))
    path = folder / "02_transfer/none/seed1/part1/record.json"
    tree = json.loads(path.read_text())
    tree["results"]["targets"]["xquad"]["controls"] = {
        "en": {"window": {"em_f1": 99.0}}, "de": {"window": {"em_f1": 32.0}, "usual": {"em_f1": 9}},
        "ru": {"window": {"em_f1": 34.0}},
    }  # fmt: skip
    path.write_text(json.dumps(tree))
    (row,) = floors.below_control(folder).to_dict("records")
    score = tables.outcomes(folder).query("target == 'xquad'").set_index("variant")["score"]
    assert (row["target"], row["control"], row["score"]) == ("xquad", "window", 33.0)
    low = [v for v in synthetic.VARIANTS if score[v] <= 33]
    assert row["below"] == ", ".join(low) and "none" in low and len(low) < len(score)


def test_a_task_that_did_not_learn_is_named(root, tmp_path):
    """ANLI at 39 % of three classes, n = 100: within two errors of 33."""
    folder = tmp_path / "s"
    synthetic.write(root, folder, seeds=(1,))  # main rises from 40 by 4 a place
    found = floors.not_learned(folder)
    size = tables.settings(folder)["intermediate"]["eval_size"]
    two = 200 * np.sqrt(0.25 / size)
    order = synthetic.VARIANTS
    expected = [v for v in order[1:-1] if 4 * order.index(v) <= 0.95 * two]
    assert expected and set(expected) <= set(found["variant"])
    assert "csqa" not in set(found["variant"]) and (found["floor"] >= 40).all()
    assert floors.chance(tasks.get("mnli")) == pytest.approx(100 / 3)
    assert floors.chance(tasks.get("csqa")) == 25 and floors.chance(tasks.get("xquad")) == 0
