"""TaskWeb: does a real task's own score go with what the task gives to others?

Kim et al. 2023 (arXiv 2305.13256) carried 22 English tasks to 21 targets with 7 encoders (5
pretrained models, one of them trained in three ways) and 8 seeds. *Own score*: the untouched
encoder fine-tuned on 1,000 rows of the task. *Given*: the mean gain of the other tasks, in points,
when they start from the encoder trained on this task.

No task is its own target, so plain means of gains would compare tasks on different targets. Here
gain = source + target (least squares), and *given* is the source's part on the mean target.

Examples
--------
>>> from midway import taskweb
>>> taskweb.runs().shape[1], list(taskweb.runs().index.names)
(8, ['encoder', 'target', 'source'])
"""

from functools import lru_cache

import numpy as np
import pandas as pd

from midway.correlation import choice, published, reliability
from midway.correlation.correlate import correlate, stratified

OWN = {"own": "own score", "share": "own score as the share of the way from a guess to 100"}
ENCODERS = {
    "roberta": "RoBERTa", "gpt2m": "GPT-2 medium", "t5s": "T5 small", "t5b": "T5 base",
    "t5l": "T5 large", "t5b-pfeiffer": "T5 base, adapters", "t5b-bitfit": "T5 base, BitFit",
}  # fmt: skip


@lru_cache
def runs() -> pd.DataFrame:
    """Scores in percent: (encoder, target, source) x 8 seeds; source 'none' is the baseline."""
    return published.read("taskweb").set_index(["encoder", "target", "source"])


@lru_cache
def cards() -> pd.DataFrame:
    """Title, family, kind of score and score of a guess (percent) per task; families are ours."""
    return published.read("taskweb_tasks").set_index("task")


@lru_cache
def effects() -> pd.DataFrame:
    """``own``, ``share`` (both percent) and ``given`` (points) by (encoder, task, seed)."""

    def one(table):
        table = table.droplevel("encoder")
        own, rest = table.xs("none", level="source"), table.drop("none", level="source")
        gain = rest - own.reindex(rest.index.get_level_values("target")).to_numpy()
        source, target = (pd.get_dummies(gain.index.get_level_values(k)) for k in (1, 0))
        design, n = np.hstack([source, target]).astype(float), source.shape[1]
        given = pd.DataFrame(index=source.columns, columns=gain.columns, dtype=float)
        for seed, value in gain.items():
            there = value.notna().to_numpy()
            fit = np.linalg.lstsq(design[there], value[there], rcond=None)[0]
            given[seed] = fit[:n] + fit[n:].mean()
        guess = cards().loc[own.index, ["chance"]].to_numpy()
        columns = {"own": own, "share": 100 * (own - guess) / (100 - guess), "given": given}
        return pd.concat({k: v.loc[own.index].stack() for k, v in columns.items()}, axis=1)

    return runs().groupby(level="encoder").apply(one).rename_axis(["encoder", "task", "seed"])


def means() -> pd.DataFrame:
    """:func:`effects` averaged over seeds, by (encoder, task), with the task's ``family``."""
    table = effects().groupby(level=["encoder", "task"]).mean()
    return table.assign(family=table.index.get_level_values("task").map(cards()["family"]))


def per_encoder(**options) -> pd.DataFrame:
    """``correlate`` for each encoder over families, with reliabilities."""

    def one(part):
        part = part.droplevel("encoder")
        table = correlate(part[[*OWN]], part[["given"]], families=cards()["family"], **options)
        parts = reliability.components(part)
        return reliability.disattenuate(table, parts, parts)

    return (
        effects().groupby(level="encoder").apply(one).reset_index("encoder").reset_index(drop=True)
    )


def over_encoders(**options) -> pd.DataFrame:
    """The random-effects mean over encoders (``strata.stratified``), by predictor.

    All encoders have the same tasks, so tasks are permuted and left out in all of them at once;
    ``family_low``, ``family_high``: the interval when families are left out instead.
    """
    table = means()
    names = [f"{encoder}/{task}" for encoder, task in table.index]
    encoder, task = (pd.Series(table.index.get_level_values(k), names) for k in (0, 1))
    table = table.set_axis(names)
    X, Y = table[[*OWN]], table[["given"]]
    out = stratified(X, Y, encoder, items=task, **options).set_index("predictor")
    wide = stratified(X, Y, encoder, items=table["family"], permutations=99)
    wide = wide.set_index("predictor")[["low", "high"]]
    return out.join(wide.add_prefix("family_"))


def chosen() -> pd.DataFrame:
    """``choice.nested`` in each encoder: of two tasks of two families take one.

    ``saved``: points of mean gain by which taking the higher own score beats a coin.
    """

    def one(part):
        part = part.droplevel("encoder")
        return choice.nested(part[[*OWN]], part["given"], part["family"].to_dict(), fixed="")

    return means().groupby(level="encoder").apply(one).reset_index("encoder").reset_index(drop=True)


def answer() -> list[str]:
    """What published real tasks say about this project's question: two sentences, the same ones in
    README, notebook 04 and the report."""
    row = over_encoders().loc["own"]
    low, high = min(row["low"], row["family_low"]), max(row["high"], row["family_high"])
    way = "more" if low > 0 else "less" if high < 0 else ""
    known = f"goes with {way} help for" if way else "is not shown to go with the gains it gives to"
    first = (
        f"In TaskWeb ({row['n'] // row['strata']} real English tasks, {row['strata']} models) a "
        f"task's own score {known} other tasks: mean rho = {row['rho']:+.2f} (95 % interval "
        f"{row['low']:+.2f} to {row['high']:+.2f} with tasks as units, {row['family_low']:+.2f} to "
        f"{row['family_high']:+.2f} with families), single models from {row['lowest']:+.2f} to "
        f"{row['highest']:+.2f}."
    )
    spread = f"rho above {high:+.2f} or below {low:+.2f}"
    second = f"The wider interval excludes only {spread}"
    second += "" if way else ", so a relation in either direction remains possible"
    return [first, f"{second}; all targets are English, so it says nothing about other languages."]
