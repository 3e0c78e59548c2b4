"""Summary of a target's scores, and a check that they are complete."""

import numpy as np

from midway.study.errors import InputError


def summary(card, scored: dict) -> dict:
    """English score, zero-shot mean over the other languages, XTREME's mean over all."""
    main = {lang: r.metrics[card.metric] for lang, r in scored.items()}
    other = [v for lang, v in main.items() if lang != "en"]
    if not main:
        return {"languages": {}, "english": None, "zero_shot": None, "xtreme_mean": None}
    return {
        "languages": {lang: r.metrics for lang, r in scored.items()},
        "controls": {lang: r.controls for lang, r in scored.items() if r.controls},
        "english": main.get("en"),
        "zero_shot": float(np.mean(other)) if other else None,
        "xtreme_mean": float(np.mean(list(main.values()))),
    }


def check(results: dict, targets: list[str]) -> None:
    """InputError unless every target has a finite score (percent) or says what is missing.

    Examples
    --------
    >>> from midway import check
    >>> check({"xnli": {"languages": {"de": {"accuracy": 61.5}}, "missing": {}}}, ["xnli"])
    """
    for target in targets:
        found = results[target]
        if not found["languages"] and not found["missing"]:
            raise InputError(f"{target}: no scores, and no reason why they are missing")
        for lang, values in found["languages"].items():
            bad = [k for k, v in values.items() if v is not None and not np.isfinite(v)]
            if bad:
                raise InputError(f"{target} {lang}: {bad[0]} is not a finite number")
