"""A whole study's records with known truth, made without training anything.

Variant number i has merit i; ``main`` follows the merit exactly, gains follow it with noise, and
``cosine_gap`` is noise. Languages: English and two others (retrieval: the two others).
"""

import json
from pathlib import Path

import numpy as np
import yaml

from midway.run.record import Cost, ScoreRecord, StepRecord
from midway.study import params, tasks
from midway.study.files import digest

VARIANTS = ["none", *tasks.INTERMEDIATE, "multi"]
TARGETS = ["xnli", "udpos", "xquad", "tatoeba"]
LANGUAGES = ["en", "de", "ru"]
FRACTIONS = [0.0, 0.2, 0.5, 1.0]


def study(root, folder, variants=VARIANTS, targets=TARGETS, seeds=(1, 2), doses=(1.0,)):
    """The study's parameters; its resolved ``params.yaml`` is written to the folder."""
    changes = {
        "study": Path(folder).name,
        "seeds": list(seeds),
        "intermediate.variants": list(variants),
        "intermediate.doses": list(doses),
        "transfer.targets": list(targets),
        "transfer.targets_per_job": 9,
        "correlation.permutations": 999,
        "correlation.resamples": 199,
    }
    made = params.load(root / "params" / "smoke.yaml", changes)
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(made.fold(), allow_unicode=True)
    (Path(folder) / "params.yaml").write_text(text, encoding="utf-8")
    return made


def write(root, folder, variants=VARIANTS, targets=TARGETS, seeds=(1, 2), noise=1.0,
          transferred=None, doses=(1.0,)):  # fmt: skip
    """Write a finished study; ``transferred``: the variants whose 02 is finished (all).

    Gains at a dose are this share of those at the end; doses are among FRACTIONS.
    """
    folder = Path(folder)
    made = study(root, folder, variants, targets, seeds, doses)
    for seed in seeds:
        for variant in variants:
            rng = np.random.default_rng([seed, VARIANTS.index(variant.split("+")[0])])
            _intermediate(made, folder, variant, seed, rng)
            if transferred is None or variant in transferred:
                for dose in reversed(made.doses(variant)):
                    name = params.at_dose(variant, dose)
                    _transfer(made, folder, name, seed, targets, noise, rng)
    return made


def merit(variant: str) -> float:
    variant, dose = params.split_dose(variant)
    base, _, recipe = variant.partition("+")
    return 0.0 if "shuffled" in recipe else dose * VARIANTS.index(base)


def _metrics(variant, fraction, rng):
    value = 40 + fraction * 4 * merit(variant)
    out = {"cosine_gap": rng.uniform(0, 0.3), "p_at_1": rng.uniform(50, 90)}
    out |= {"probe_entailment_contrast": rng.normal(), "retrieval_probe": rng.uniform(50, 90)}
    if variant == "none":
        return out
    card = tasks.INTERMEDIATE.get(variant.split("+")[0])
    kind = card.kind if card else "pair"
    if kind in ("pair", "choice"):
        out |= {"accuracy": value, "macro_f1": value - 1}
    elif kind == "span":
        out |= {"em": value - 5, "f1": value + 5}
    else:
        out |= {"accuracy": value, "tag_f1": value - 2}
    if card and card.labels[:1] == ("entailment",):
        out["entailment_contrast"] = value / 200
    return out | {"main": value, "loss": 1 - value / 200, "ece": 0.1, "contrast": value / 50}


def _intermediate(made, folder, variant, seed, rng):
    fractions = [0.0] if variant == "none" else FRACTIONS
    trajectory = [
        {"step": int(40 * f), "fraction": f, "metrics": _metrics(variant, f, rng)}
        | ({"dose": f} if f in made.doses(variant) else {})
        for f in fractions
    ]
    card = tasks.INTERMEDIATE.get(variant.split("+")[0])
    results = {
        "task": variant,
        "train_n": 256,
        "steps": 0 if variant == "none" else 40,
        "label_shuffled": "+shuffled" in variant,
        "trajectory": trajectory,
        "summary": {"train_size": card.train_size if card else None, "steps_to_90": None},
    }
    _record(made, folder / "01_intermediate" / variant / f"seed{seed}", "01_intermediate",
            variant, seed, None, results)  # fmt: skip


def _transfer(made, folder, variant, seed, targets, noise, rng):
    part = folder / "02_transfer" / variant / f"seed{seed}" / "part1"
    results = {}
    for t in targets:
        card = tasks.get(t)
        languages = LANGUAGES if card.trains else LANGUAGES[1:]
        gain = merit(variant) * (1 + tasks_place(t)) / 2
        values = {}
        for lang in languages:
            score = 30 + gain + (variant != "none") * noise * rng.normal()
            values[lang] = {card.metric: score} | ({"em": score - 3} if card.kind == "span" else {})
            one = ScoreRecord(target=t, lang=lang, n=100, metrics=values[lang], main=card.metric)
            one.write(part / "scores" / f"{t}.{lang}.json")
        main = {lang: v[card.metric] for lang, v in values.items()}
        other = [v for lang, v in main.items() if lang != "en"]
        results[t] = {
            "english": main.get("en"),
            "zero_shot": float(np.mean(other)),
            "xtreme_mean": float(np.mean(list(main.values()))),
            "logme": merit(variant) / 10 if card.trains else None,
            "languages": values,
            "missing": {},
        }
    _record(made, part, "02_transfer", variant, seed, "part1", {"targets": results})


def tasks_place(target):
    return list(tasks.TARGETS).index(target) / 9


def _record(made, out, step, variant, seed, part, results):
    StepRecord(
        step=step, study=made.study, variant=variant, seed=seed, part=part,
        started="2026-01-01T00:00:00+00:00", finished="2026-01-01T00:01:00+00:00",
        params={}, hashes={}, key=digest({}), results=json.loads(json.dumps(results)), files={},
        environment={}, cost=Cost(wall_s=60.0, cpu_s=60.0, peak_rss_mb=500.0),
    ).write(out / "record.json")  # fmt: skip
