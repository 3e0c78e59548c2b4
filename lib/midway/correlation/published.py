"""Published numbers, recomputed, and beside ours; sources in ``published_data/README.md``.

Examples
--------
>>> from midway import published
>>> published.table2().loc["qqp", ["printed", "agrees"]].to_dict()
{'printed': 5.3, 'agrees': True}
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from midway.correlation.correlate import correlate
from midway.data import sources
from midway.study import tasks
from midway.study.params import Data

TARGETS = {
    "XNLI": "xnli", "PAWS-X": "pawsx", "POS": "udpos", "NER": "panx", "XQuAD": "xquad",
    "MLQA": "mlqa", "TyDiQA": "tydiqa", "BUCC": "bucc2018", "Tatoeba": "tatoeba",
}  # fmt: skip
QA = ("XQuAD", "MLQA", "TyDiQA")
VARIANTS = {
    "XLM-R": "none", "ANLI+": "anli", "QQP": "qqp", "SQuAD": "squad1", "HellaSwag": "hellaswag",
    "CCG": "ccg", "CosmosQA": "cosmosqa", "CSQA": "csqa", "Multi-task": "multi",
}  # fmt: skip


def read(name: str) -> pd.DataFrame:
    """One of the tables in ``published_data/``, as it stands there."""
    return pd.read_csv(Path(__file__).with_name("published_data") / f"{name}.csv")


def probing_runs() -> pd.DataFrame:
    """Pruksachatkun et al. 2020: 33 runs x (10 targets + 25 probes), indexed by (task, run)."""
    return read("pruksachatkun2020_runs").set_index(["int_task", "run"])


def split(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probes (predictors) and targets (outcomes) of a table with their column names."""
    return runs.filter(regex="_PRB$"), runs.filter(regex="_TRG$")


def as_published(table: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """Published analysis: Spearman over rows, p by Student's t, Holm over targets x all columns.

    table: one row per point (a run, or a task's mean). Returns the target x probe cells: target,
    probe, n, rho, p, p_holm, significant. Holm's family is the displayed 10 x 35 matrix, which
    holds targets against targets, too.
    """
    from statsmodels.stats.multitest import multipletests

    probes, targets = split(table)
    columns = [*targets, *probes]
    result = spearmanr(table[columns])
    rho, p = (np.asarray(v)[: targets.shape[1]] for v in (result.statistic, result.pvalue))
    adjusted = multipletests(p.ravel(), method="holm")[1].reshape(p.shape)
    rows = [
        [t, c, len(table), rho[i, j], p[i, j], adjusted[i, j], adjusted[i, j] < alpha]
        for i, t in enumerate(targets) for j, c in enumerate(columns) if c in probes
    ]  # fmt: skip
    return pd.DataFrame(rows, columns="target probe n rho p p_holm significant".split())


def units_matter(alpha: float = 0.05, **options) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Number of significant target x probe cells (of 250) when the task is the unit.

    Returns a table (analysis, unit, n, correction, significant, cells) and three cell
    tables: 'runs' (as published), 'tasks' (the same statistics on means over runs) and 'ours'
    (permutation over tasks, max-T over the 250 cells, FDR beside it). ``options`` go to
    :func:`correlate.correlate`.
    """
    runs = probing_runs()
    mean = runs.groupby(level=0).mean().round(12)  # equal on paper is equal here: ties
    cells = {"runs": as_published(runs, alpha), "tasks": as_published(mean, alpha)}
    cells["ours"] = correlate(*split(runs), alpha=alpha, crossed=False, **options)
    each, means, ours = (cells[k] for k in ("runs", "tasks", "ours"))
    holm, n = "Holm over 10 x 35", ours["n"].max()
    rows = [
        ["as published", "run", len(runs), holm, each["significant"].sum()],
        ["the same on task means", "task", len(mean), holm, means["significant"].sum()],
        ["permutation", "task", n, "max-T over 250", (ours["p_maxt"] < alpha).sum()],
        ["permutation", "task", n, "FDR over 250", (ours["q_bh"] < alpha).sum()],
    ]
    table = pd.DataFrame(rows, columns=["analysis", "unit", "n", "correction", "significant"])
    return table.assign(cells=len(ours)), cells


def mean_by_probe(cells: pd.DataFrame) -> pd.Series:
    """Mean rho of each probe over the targets, highest first."""
    return cells.groupby("probe")["rho"].mean().sort_values(ascending=False)


def _by_target(raw: pd.DataFrame) -> pd.DataFrame:
    """Columns of a printed table under our names; QA is (F1 + EM) / 2."""
    columns = {t: [f"{t}_F1", f"{t}_EM"] if t in QA else [t] for t in TARGETS}
    return pd.DataFrame({TARGETS[t]: raw[names].mean(axis=1) for t, names in columns.items()})


def table2() -> pd.DataFrame:
    """X-STILTs v1 Table 2 by variant x XTREME target: absolute for 'none', else gain over it.

    ``average`` is recomputed; ``printed`` is the paper's; ``agrees`` within
    the rounding of nine cells of one decimal (0.06).
    """
    raw = read("xstilts_v1_table2")
    variant = raw["model"].map(VARIANTS) + np.where(raw["section"] == "With MLM", "+mlm", "")
    out = _by_target(raw)
    out = out.assign(average=out.mean(axis=1), printed=raw["Avg"])
    out["agrees"] = (out["average"] - out["printed"]).abs() < 0.06
    return out.set_index(variant.rename("variant"))


def averages() -> pd.DataFrame:
    """Every printed average of v1 that can be recomputed (20 rows): table, row, printed, average.

    ``agrees``: within 0.05, half a unit of the last printed digit; ``note`` says what else it is.
    """
    two = table2().rename_axis("row").reset_index()[["row", "printed", "average"]]
    raw = read("xstilts_v1_xtreme").dropna(subset="Avg")
    rest = raw[["model", "Avg"]].set_axis(["row", "printed"], axis=1)
    rest["average"] = _by_target(raw).mean(axis=1)
    table = pd.concat([two.assign(table="Table 2"), rest.assign(table="XTREME")])
    off, notes = (table["average"] - table["printed"]).abs(), ["", "rounding of the inputs"]
    table["agrees"] = off < 0.05 + 1e-9
    table["note"] = np.select([table["agrees"], off < 0.1], notes, "inconsistent as printed")
    return table[["table", "row", "printed", "average", "agrees", "note"]].reset_index(drop=True)


def rules_v1(**options) -> pd.DataFrame:
    """What v1's tables let one predict from: data size and updates, against gains (7 tasks)."""
    facts = read("xstilts_v1_tasks").set_index("variant")
    updates = facts["train_size"] * facts["epochs"] / facts["batch_size"]
    X = pd.DataFrame({"train_size": facts["train_size"], "updates": updates})
    return correlate(X, table2().loc[X.index, [*TARGETS.values(), "average"]], **options)


def why_not(params: dict, target: str | None = None) -> str:
    """Why a study's gains are not comparable with v1's, or '' when its settings match.

    target: one target's gains; None: the average over the study's.
    """
    encoder, data = params["encoder"], params["data"]
    asked: list = [target] if target in tasks.TARGETS else params["transfer"].get("targets", [])
    own = Data(**data) if data["source"] == "hub" else Data()
    other = ", ".join(t for t in asked if sources.note(tasks.get(t), own))
    name = str(encoder.get("name") or encoder.get("path"))
    packaged = encoder["kind"] == "packaged"
    sizes = {phase: params[phase].get("train_size") for phase in ("intermediate", "transfer")}
    reasons = {
        f"the hub's copy of {other} is not XTREME's own data": other,
        "the encoder is packaged, not XLM-R Large": packaged,
        f"the encoder is {name}": not packaged and "xlm-roberta-large" not in name,
        "layers cut or frozen": encoder.get("layers") or encoder.get("frozen_layers"),
        "the data are the miniature": data["source"] == "mini",
    } | {f"{phase} training on {size} examples": size for phase, size in sizes.items()}
    return "; ".join(reason for reason, holds in reasons.items() if holds)


def beside(outcomes: pd.DataFrame, params: dict) -> pd.DataFrame:
    """Published cells beside ours: variant, target, published, ours, seeds, gap, note.

    outcomes: ``tables.outcomes``. Row 'none' holds scores, the others gains over it. Published
    values are of dev sets; where a study is comparable at all the note says so.
    """
    reasons = {name: why_not(params, name) for name in [*TARGETS.values(), "average"]}
    cells = table2()[list(reasons)].rename_axis(columns="target").stack().rename("published")
    outcomes = outcomes.assign(ours=outcomes["gain"])
    outcomes["ours"] = outcomes["ours"].mask(outcomes["variant"] == "none", outcomes["score"])
    mine = outcomes.groupby(["variant", "target"])["ours"].agg(["mean", "count"])
    mine = mine.reindex(cells.index).set_axis(["ours", "seeds"], axis=1)
    table = cells.to_frame().join(mine.fillna({"seeds": 0}).astype({"seeds": int})).reset_index()
    known, why = table["seeds"] > 0, table["target"].map(reasons)
    table["gap"] = (table["ours"] - table["published"]).where(known & (why == ""))
    note = ("not comparable: " + why).where(why != "", "published on dev, ours on test")
    return table.assign(note=note.where(known, "not measured in this study"))
