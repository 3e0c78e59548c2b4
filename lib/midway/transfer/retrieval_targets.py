"""Retrieval and mining targets of a ``targets.Run``: sentence vectors, no training."""

import numpy as np

from midway.data import sources
from midway.encoder import weights
from midway.encoder.device import Inputs
from midway.encoder.tokens import texts
from midway.evaluation import predict, retrieval

SWEEP_BYTES = 2**32  # half a million sentences in every layer of a large encoder would be 50 GB


def _vectors(run, lines) -> dict[int, np.ndarray]:
    """Sentence vectors by the untuned variant, each text encoded once: {layer: (n, size)}."""
    weights.restore(run.bare, {f"encoder.{n}": t for n, t in run.start.items()})
    unique = list(dict.fromkeys(lines))
    # XTREME and jiant cut retrieval texts at 512 pieces.
    longest = min(512, run.encoded.max_length)
    inputs = Inputs(texts(unique, run.encoded.tokenizer, longest), run.bare, run.machine, run.cache)
    run.tokens += int(inputs.features.lengths.sum())
    every = range(1, run.encoded.layers + 1)
    fits = 4 * len(every) * len(unique) * run.encoded.hidden_size <= SWEEP_BYTES
    layers = list(every) if run.study.transfer.layer_sweep and fits else [run.layer]
    found = predict.vectors(run.bare, inputs, run.machine, layers)
    place = {text: i for i, text in enumerate(unique)}
    rows = [place[text] for text in lines]
    return {layer: v[rows] for layer, v in found.items()}


def _about(run, **more) -> dict:
    """The choices that retrieval scores depend on; they differ between published results."""
    own = {"layer": run.layer, "pooling": run.study.encoder.pooling}
    return own | more


def parallel(run, card, lang: str, rivals):
    """Tatoeba: accuracy in the study's direction of search, for every layer."""
    rows = sources.load(card.name, "test", lang, run.study.data, run.study.data.test_size)
    foreign, english = (_vectors(run, rows[side][:]) for side in ("source", "target"))
    how = run.study.transfer.direction
    sweep = {k: retrieval.retrieval_accuracy(foreign[k], english[k]) for k in foreign}
    # As XTREME and jiant search: each English sentence looks for its translation.
    found = retrieval.nearest(english[run.layer], foreign[run.layer])
    return run.step.score(
        card.name,
        lang,
        n=len(rows),
        metrics=sweep[run.layer] | {"accuracy": sweep[run.layer][how]},
        main="accuracy",
        controls=rivals.evaluate(rows, lang) if rivals else {},
        predictions=run.write(card, lang, found.tolist()),
        extra=_about(run, direction=how, layers=sweep),
    )


def mining(run, card, lang: str, rivals):
    """BUCC: the margin threshold is fitted on dev and applied to test."""
    options = {
        "k": run.study.transfer.mining_neighbours,
        "memory_mb": run.study.compute.mining_memory_mb,
        "precision": "bf16" if run.machine.precision == "bf16" else "fp32",
        "device": run.machine.device,
    }
    mined: dict[str, dict[int, tuple]] = {}
    for split in ("dev", "test"):
        size = run.study.data.dev_size if split == "dev" else run.study.data.test_size
        rows = sources.load(card.name, split, lang, run.study.data, size).to_list()
        x, y = ([r for r in rows if r["side"] == side] for side in ("source", "target"))
        gold = {(r["id"], g) for r in x for g in r["gold"]}
        left, right = (_vectors(run, [r["text"] for r in side]) for side in (x, y))
        left = {k: v for k, v in left.items() if k in right}
        mined[split] = {
            k: (*retrieval.mine_bucc(left[k], right[k], x, y, **options), gold) for k in left
        }
    cuts = {k: retrieval.best_threshold(*found) for k, found in mined["dev"].items()}
    sweep = {
        k: retrieval.mining_scores(*found, cuts[k])
        for k, found in mined["test"].items()
        if k in cuts
    }
    pairs, values, _ = mined["test"][run.layer]
    kept = [p for p, v in zip(pairs, values, strict=True) if v >= cuts[run.layer]]
    return run.step.score(
        card.name,
        lang,
        n=len(rows),
        metrics=sweep[run.layer],
        main="f1",
        controls=rivals.evaluate(rows, lang) if rivals else {},
        predictions=run.write(card, lang, kept),
        extra=_about(run, threshold=cuts[run.layer], fitted_on="dev", layers=sweep),
    )
