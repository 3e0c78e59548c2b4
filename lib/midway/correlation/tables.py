"""Tidy tables from the records of a study.

Reads ``outputs/<study>`` as plain JSON and goes on without what is unfinished or unreadable (then
named in ``table.attrs["skipped"]``), so that an answer can be had from half a study.

Examples
--------
>>> from midway import tables
>>> scores = tables.scores("outputs/mini")  # doctest: +SKIP
>>> gains = tables.gain_matrix(tables.outcomes("outputs/mini"))  # doctest: +SKIP
>>> tables.is_unit("mnli"), tables.is_unit("none")
(True, False)
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from midway.study import tasks, yamlfile
from midway.study.errors import InputError
from midway.study.params import split_dose

ORDER = ["none", *tasks.INTERMEDIATE, "multi"]
GROUPS = list(dict.fromkeys(card.group for card in tasks.TARGETS.values()))
OUTCOMES = [*tasks.TARGETS, *GROUPS, "average"]
RUN = ["variant", "dose", "seed"]
SCORES = [*RUN, "target", "lang", "metric", "value", "n", "split", "record"]
PREDICTORS = [*RUN, "step", "fraction", "predictor", "value", "target", "record"]
OUTCOME = [*RUN, "target", "score", "gain", "english", "english_gain", "xtreme"]


def settings(study_dir) -> dict:
    """The study's resolved parameters (``params.yaml``); {} when there are none yet."""
    path = Path(study_dir) / "params.yaml"
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; run the study first")
    return yamlfile.read(path) if path.exists() else {}


def read_records(
    study_dir, step: str, but=(), doses: bool = True
) -> tuple[list[tuple[Path, dict]], list[str]]:
    """Finished records of one step of the study's variants and seeds; and what was skipped.

    A record's ``dose`` is its share of the variant's training; ``variant`` is without it.
    doses: whether others than 1 count; but: folders of steps, e.g. 02_transfer/mnli/seed1/part1,
    that are left out (out of date).
    """
    known = settings(study_dir)
    variants, seeds = known.get("intermediate", {}).get("variants"), known.get("seeds")
    found, skipped = [], []
    for path in sorted((Path(study_dir) / step).glob("**/record.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            record["variant"], record["dose"] = split_dose(record["variant"])
            variant, seed = record["variant"], record["seed"]
            record["results"], record["state"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            skipped.append(f"{path.relative_to(study_dir)}: incomplete or damaged ({error!r})")
            continue
        asked = (not variants or variant in variants) and (not seeds or seed in seeds)
        asked &= path.parent.relative_to(study_dir).as_posix() not in but
        asked &= doses or record["dose"] == 1
        if record["state"] == "done" and asked:
            found.append((path, record))
    return found, skipped


def scores(study_dir, doses: bool = False, but=()) -> pd.DataFrame:
    """One row per variant, seed, target, language and metric, of finished and running parts.

    ``doses``: of encoders from within the training as well, ``dose`` being their share of it.
    Where a part is finished, only the languages in its record count; values are percent.
    """
    study_dir = Path(study_dir)
    done, skipped = read_records(study_dir, "02_transfer", but)
    parts = {path.parent: record["results"]["targets"] for path, record in done}
    rows = []
    for path in sorted(study_dir.glob("02_transfer/*/seed*/*/scores/*.json")):
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            if "target" not in tree:  # what training left for the scores of this part
                continue
            target, lang, metrics = tree["target"], tree["lang"], tree["metrics"]
            variant, dose = split_dose(path.parts[-5])
            seed = int(path.parts[-4].removeprefix("seed"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            skipped.append(f"{path.relative_to(study_dir)}: incomplete or damaged ({error!r})")
            continue
        kept = parts.get(path.parents[1])
        gone = path.parents[1].relative_to(study_dir).as_posix() in but or dose != 1 and not doses
        if gone or kept is not None and lang not in kept.get(target, {}).get("languages", {}):
            continue
        rest = tree.get("n"), tree.get("split"), path.relative_to(study_dir).as_posix()
        rows += [[variant, dose, seed, target, lang, *item, *rest] for item in metrics.items()]
    table = pd.DataFrame(rows, columns=SCORES).astype({"value": float, "seed": int})
    table.attrs["skipped"] = skipped
    return table


def outcomes(study_dir, by: str = "target", doses: bool = False, but=()) -> pd.DataFrame:
    """Zero-shot scores (mean over non-English languages) and gains over ``none``, same seed.

    by 'target': XTREME's targets, and 'average' where all of the study's targets are finished;
    'group': XTREME's groups; 'language': mean over the targets that have the language.
    ``gain`` compares the languages that both have; ``english`` is the English score; ``xtreme``
    the mean over all languages, English too. Percent; only finished parts. ``doses``: as in
    :func:`scores`; 'average' is over the targets that doses are carried to.
    """
    done, skipped = read_records(study_dir, "02_transfer", but, doses)
    main: dict = {}
    for _, record in done:
        for target, result in record["results"]["targets"].items():
            metric, languages = tasks.get(target).metric, result.get("languages", {})
            values = {k: m[metric] for k, m in languages.items() if m.get(metric) is not None}
            if values:
                main[record["variant"], record["dose"], record["seed"], target] = values
    rows = []
    for (*run, target), values in main.items():
        base = main.get(("none", 1.0, run[-1], target), {})
        if by == "language":
            for lang, v in values.items():
                cells = [*run, lang, v, v - base.get(lang, np.nan), *[np.nan] * 3]
                rows.append([*cells, target])
            continue
        other = [lang for lang in values if lang != "en"]
        both = [values[k] - base[k] for k in other if k in base]
        english = values.get("en", np.nan)
        score, whole = _mean([values[k] for k in other]), _mean(list(values.values()))
        gained = english - base.get("en", np.nan)
        name = tasks.get(target).group if by == "group" else target
        rows.append([*run, name, score, _mean(both), english, gained, whole, target])
    types = dict.fromkeys(OUTCOME[4:], float)
    table = pd.DataFrame(rows, columns=[*OUTCOME, "source"]).astype(types)
    if by == "target":
        transfer = settings(study_dir).get("transfer", {})
        asked = (doses and transfer.get("dose_targets")) or transfer.get("targets")
        asked = asked or set(table["target"])
        part = table[table["target"].isin(asked)].assign(target="average")
        mean = _whole_mean(part, {"average": set(asked)})
        table = pd.concat([table[OUTCOME], mean]) if len(mean) else table[OUTCOME]
    else:
        table = _whole_mean(table, table.groupby("target")["source"].agg(set))
    keys = [(variant_place(v), s, d, place(OUTCOMES)(t)) for v, d, s, t in
            zip(*(table[k] for k in [*RUN, "target"]), strict=True)]  # fmt: skip
    table = table.iloc[sorted(range(len(table)), key=keys.__getitem__)].reset_index(drop=True)
    table.attrs["skipped"] = skipped
    return table


def predictors(study_dir, doses: bool = False, but=()) -> pd.DataFrame:
    """Every predictor at every checkpoint: variant, seed, step, fraction, predictor, value.

    ``dose`` is that of the encoder that was kept at this checkpoint, else nan. ``target`` is set
    for those that belong to one target only (logme; of other doses than 1 with ``doses``).
    ``main`` is the task's main score, ``main_gain`` the same less its value before training.
    docs/metrics.md has all.
    """
    rows = []
    done, skipped = read_records(study_dir, "01_intermediate", but)
    for path, record in done:
        name = path.relative_to(study_dir).as_posix()
        points = record["results"].get("trajectory", [])
        summary = record["results"].get("summary", {})
        start = (points or [{}])[0].get("metrics", {}).get("main")
        for i, point in enumerate(points):
            metrics = dict(point["metrics"])
            if start is not None and metrics.get("main") is not None:
                metrics["main_gain"] = metrics["main"] - start
            metrics["train_size"] = summary.get("train_size")
            dose = point.get("dose", np.nan)
            if i == len(points) - 1:
                dose, metrics["steps_to_90"] = 1.0, summary.get("steps_to_90")
            run = [record["variant"], dose, record["seed"], point["step"], point["fraction"]]
            known = [(k, v) for k, v in metrics.items() if v is not None]
            rows += [[*run, *item, None, name] for item in known]
    done, more = read_records(study_dir, "02_transfer", but, doses)
    for path, record in done:
        name = path.relative_to(study_dir).as_posix()
        for target, result in record["results"]["targets"].items():
            if result.get("logme") is not None:
                run = [record["variant"], record["dose"], record["seed"], 0, record["dose"]]
                rows.append([*run, "logme", result["logme"], target, name])
    types = dict.fromkeys(["value", "fraction", "dose"], float)
    table = pd.DataFrame(rows, columns=PREDICTORS).astype(types)
    table.attrs["skipped"] = [*skipped, *more]
    return table


def is_unit(variant: str) -> bool:
    """Whether a variant is trained, and no control or other recipe; multi is composed of units."""
    return variant != "none" and "+" not in variant


def families(variants) -> pd.Series:
    """The family of each variant's task by its card (itself where it has none); None for multi."""
    cards = {v: tasks.INTERMEDIATE.get(v.split("+")[0]) for v in variants}
    return pd.Series({v: c and (c.family or c.name) for v, c in cards.items()}, dtype=object)


def gain_matrix(outcomes: pd.DataFrame, value: str = "gain") -> pd.DataFrame:
    """Variants x targets in XTREME's group order, mean over seeds; nan where unfinished."""
    table = outcomes.pivot_table(index="variant", columns="target", values=value, dropna=False)
    table = table.dropna(axis=1, how="all")
    table = table.loc[sorted(table.index, key=variant_place)]
    return table[sorted(table, key=place(OUTCOMES))]


def language_table(scores: pd.DataFrame, target: str) -> pd.DataFrame:
    """Variants x languages of one target, English first, main score, mean over seeds."""
    metric = tasks.get(target).metric
    part = scores[(scores["target"] == target) & (scores["metric"] == metric)]
    table = part.pivot_table(index="variant", columns="lang", values="value")
    languages = [lang for lang in tasks.get(target).languages if lang in table]
    languages.sort(key=lambda lang: lang != "en")  # trained in; the others are zero-shot
    return table.loc[sorted(table.index, key=variant_place), languages]


def costs(study_dir, doses: bool = False) -> pd.DataFrame:
    """CPU seconds of every finished 01 and 02 job: variant, seed, step, cpu_s, wall_s, tokens.

    ``doses``: as in :func:`scores`.
    """
    rows = []
    for step in ("01_intermediate", "02_transfer"):
        for _, r in read_records(study_dir, step, doses=doses)[0]:
            cost, run = r.get("cost", {}), [r[k] for k in RUN]
            rows.append([*run, step, *(cost.get(k) for k in ("cpu_s", "wall_s", "tokens"))])
    return pd.DataFrame(rows, columns=[*RUN, "step", "cpu_s", "wall_s", "tokens"])


def _mean(values):
    return float(np.mean(values)) if len(values) else np.nan


def _whole_mean(table, wanted):
    """Mean over sources, only of runs that have all of them: others would be another mean."""
    rows = []
    for (*run, target), part in table.groupby([*RUN, "target"], sort=False):
        if set(part["source"]) == wanted[target]:
            english = part[["english", "english_gain"]].mean()  # retrieval has no English score
            mean = part[["score", "gain", "xtreme"]].mean(skipna=False)
            named = dict(zip(RUN, run, strict=True)) | {"target": target}
            rows.append(named | english.to_dict() | mean.to_dict())
    return pd.DataFrame(rows, columns=OUTCOME)


def overall(names) -> str:
    """The outcome that stands for all targets: their average, or the only target."""
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else "average"


def place(order):
    """A key that sorts names as in ``order``, unknown ones last."""
    return lambda name: (order.index(name) if name in order else len(order), str(name))


def variant_place(name: str):
    """A key that sorts variants as in ``ORDER``, recipes of one task after it."""
    base, _, rest = name.partition("+")
    return place(ORDER)(base)[0], rest
