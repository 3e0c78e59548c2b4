"""Cost estimate of a study before it runs: optimiser steps, tokens, FLOPs, memory, hours.

Counted, not measured: examples from the cards (or the params), pieces per example from the official
English files under XLM-R's tokenizer (means over 300 rows, at most 384 pieces; QQP and
CCG, whose files are not open, are taken like MNLI and like POS of newspaper text), weights from
the encoder's shape. Forward 2 FLOPs per weight and token, backward twice that, gradient
checkpointing one more forward (Kaplan et al. 2020, 2001.08361, section 2.1; attention's own
products are added). A task without a measured size, such as one of your own, counts as USUAL.

Measured on one H200 (XLM-R Large with random weights, real texts of the tasks, bf16, torch 2.11;
docs/performance.md): a small batch does not wait for the GPU but for the processor that starts its
kernels. So a pass forward and back takes LAUNCH for each layer, or its FLOPs, whichever is longer.
"""

from midway.data import sources
from midway.encoder import checkpoints
from midway.study import repository, tasks
from midway.study.errors import InputError
from midway.study.files import read_json
from midway.study.params import Phase, Study
from midway.study.variants import split_variant

#: name -> layers, hidden, intermediate, vocabulary, width of the word embedding where it differs;
#: for an encoder that is not on this disk
SHAPES: dict[str, tuple[int, ...]] = {
    "xlm-roberta-large": (24, 1024, 4096, 250_002),
    "xlm-roberta-base": (12, 768, 3072, 250_002),
    "bert-base-multilingual-cased": (12, 768, 3072, 119_547),
    "multilingual-e5-small": (12, 384, 1536, 250_037),
    "multilingual-e5-base": (12, 768, 3072, 250_002),
    "multilingual-e5-large": (24, 1024, 4096, 250_002),
    "bge-m3": (24, 1024, 4096, 250_002),
    "xlm-v-base": (12, 768, 3072, 901_629),
    "rembert": (32, 1152, 4608, 250_300, 256),
    "mdeberta-v3-base": (12, 768, 3072, 251_000),
    "mmBERT-base": (22, 768, 1152, 256_000),
    "EuroBERT-210m": (12, 768, 3072, 128_256),
}
#: pieces per example, all sequences of an example together
PIECES = {
    "anli": 101, "mnli": 49, "qqp": 49, "squad1": 172, "squad2": 181, "hellaswag": 217, "ccg": 32,
    "cosmosqa": 469, "csqa": 111, "pawsx": 62, "udpos": 20, "panx": 14, "xquad": 171, "mlqa": 344,
    "tydiqa": 169, "xnli": 38, "bucc2018": 29, "tatoeba": 27,
}  # fmt: skip
#: official test rows over all languages (XTREME, table 1, and its files; POS and MLQA rounded)
TESTED = {
    "xnli": 75_150, "pawsx": 14_000, "udpos": 60_000, "panx": 200_000, "xquad": 13_090,
    "mlqa": 46_000, "tydiqa": 5_077, "bucc2018": 1_200_000, "tatoeba": 36_000,
}  # fmt: skip
#: TFLOP/s of dense bf16 (V100: fp16) by the vendor
PEAKS = {"H100": 989, "A100": 312, "RTX 4090": 165, "V100": 125, "L4": 121, "RTX 3090": 71}
REACHED = 0.12  # of the peak, measured: 8,192 tokens forward, back and AdamW in 126 ms on an H200
LAUNCH = 0.0045  # seconds per layer and pass, measured (3 to 5 ms); checkpointing: 0.008
#: TFLOP/s: 5,900 tokens a second of the packaged encoder (6 layers, 3 frozen)
PROCESSOR = {"2-core processor with bf16": 0.25}
ASSUMED = (
    "assumed: as fast as measured on one H200 (docs/performance.md), other cards by their peak; "
    "one run at a time; pieces per example as in the official English files under XLM-R's "
    "tokenizer; not counted: starts (6 to 30 s a step), measuring on the way, mining, queues"
)
USUAL = (100, 2_000)  # pieces per example, test rows per language: a task that is not above
OPEN = {"squad2": 130_319, "mnli": 392_702}  # training rows that v1's table 1 does not list


def _sizes(study: Study) -> tuple[int, int, int, int]:
    """Layers, hidden size, intermediate size and weights of the word embedding."""
    enc, config = study.encoder, None
    if enc.kind == "path":
        config = checkpoints.check_folder(enc.folder, "encoder.path")
    elif enc.kind == "hub":
        config = read_json(repository.snapshot(*enc.place, "model") / "config.json")
    if not config:
        name = (enc.name or "multilingual-e5-small").rsplit("/", 1)[-1]
        sizes = SHAPES.get(name, SHAPES["xlm-roberta-large"])
    else:
        names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
        try:
            sizes = tuple(config[k] for k in names)
        except KeyError as error:
            key = "encoder.path" if enc.kind == "path" else "encoder.name"
            raise InputError(f"{key}: config.json has no {error.args[0]}") from None
        sizes += tuple(config[k] for k in ("input_embedding_size",) if config.get(k))
    layers, hidden, inner, vocabulary, width = (*sizes, sizes[1])[:5]
    return layers, hidden, inner, vocabulary * width


def shape(study: Study) -> tuple[int, int, int]:
    """Layers kept, hidden size, intermediate size."""
    sizes = _sizes(study)
    return study.encoder.layers or sizes[0], sizes[1], sizes[2]


def weights(study: Study) -> tuple[float, float]:
    """Weights of the layers that are trained, and of the frozen ones below (no embeddings)."""
    layers, h, inner = shape(study)
    one = 4 * h * h + 2 * h * inner
    frozen = study.encoder.frozen_layers
    return (layers - frozen) * one, frozen * one


def trained(study: Study) -> float:
    """Weights that training changes, embeddings included where they are not frozen."""
    embeddings = 0 if study.encoder.frozen_embeddings else _sizes(study)[3]
    return weights(study)[0] + embeddings


def _flops(study: Study, tokens: float, pieces: float, train: bool) -> float:
    top, low = weights(study)
    layers, h, _ = shape(study)
    attention = 4 * h * min(pieces, 384)  # per token and layer, forward
    top += (layers - study.encoder.frozen_layers) * attention / 2
    again = 1 if study.compute.gradient_checkpointing else 0
    trunk = 0 if study.compute.cache_trunk else 2 * low
    return tokens * ((6 + 2 * again if train else 2) * top + trunk)


def _phase(study: Study, phase: Phase, task: str, source: str) -> dict:
    """Steps, passes, tokens and FLOPs of training one task; ``source``: of its examples."""
    plan = study.training(phase, task)
    card = tasks.get(source)
    examples = plan.train_size or card.train_size or OPEN.get(source, 100_000)
    steps = plan.length(examples)
    pieces = min(PIECES.get(source, USUAL[0]), 4 * plan.max_length)
    tokens = steps * plan.batch_size * pieces
    made = {"steps": steps, "passes": steps * min(plan.accumulation, plan.batch_size)}
    return made | {"tokens": tokens, "flops": _flops(study, tokens, pieces, True)}


def estimate(study: Study) -> list[dict]:
    """One row per variant's training and per target model with its evaluation, for one seed.

    Keys: step, name, runs (how often per seed), steps, passes (micro-batches), tokens, flops (of
    one run).
    """
    rows = []
    for variant in study.intermediate.variants:
        base, suffixes = split_variant(variant)
        if base == "none":
            continue
        if base == "multi":
            each = [_phase(study, "intermediate", n, n) for n in tasks.INTERMEDIATE]
            own = study.training("intermediate", "multi")
            steps = own.steps or sum(e["steps"] for e in each)
            all_ = {k: sum(e[k] for e in each) for k in ("steps", "passes", "tokens")}
            made = {k: n * steps / all_["steps"] for k, n in all_.items()} | {"steps": steps}
            made["flops"] = _flops(study, made["tokens"], 128, True)
        else:
            made = _phase(study, "intermediate", base, base)
        if "mlm" in suffixes:
            made["flops"] *= 1.5
        rows.append({"step": "01_intermediate", "name": variant, "runs": 1, **made})
    trained = set()
    carried = [t for v in study.carried() for part in study.parts(v).values() for t in part]
    for target in study.transfer.targets:
        card = tasks.TARGETS[target]
        made = {"steps": 0, "passes": 0, "tokens": 0.0, "flops": 0.0}
        if card.trains and card.train_key not in trained:
            trained.add(card.train_key)
            made = _phase(study, "transfer", target, card.train_from or target)
        usual = TESTED.get(target, USUAL[1] * len(card.languages)) / len(card.languages)
        rows_each = study.data.test_size or usual
        pieces = PIECES.get(target, USUAL[0])
        tokens = rows_each * len(sources.evaluated(study, target)) * pieces
        made["tokens"] += tokens
        made["flops"] += _flops(study, tokens, pieces, False)
        rows.append({"step": "02_transfer", "name": target, "runs": carried.count(target), **made})
    return rows


def memory_gb(study: Study) -> dict[str, float]:
    """Peak of a training job in GB: weights, AdamW's moments, activations and gradients.

    On an H200 six batches of XLM-R Large took 0.1 to 0.8 GB more than these.
    """
    low, changed = weights(study)[1], trained(study)
    layers, h, inner = shape(study)
    held = 4 * (changed + low + _sizes(study)[3] * study.encoder.frozen_embeddings)
    trains: list[tuple[Phase, str]] = [("intermediate", t) for t in _bases(study)]
    trains += [("transfer", t) for t in study.transfer.targets if tasks.get(t).trains]
    # bytes a token and layer, measured on XLM-R Large in bf16: 46 per hidden unit, 4 with
    # checkpointing
    per_layer = 4 * h if study.compute.gradient_checkpointing else 30 * h + 4 * inner
    each = per_layer * (layers - study.encoder.frozen_layers)
    # Gradients take the place of activations, unless they are kept from pass to pass; that of the
    # embeddings exists twice for a moment.
    twice = 0 if study.encoder.frozen_embeddings else 4 * _sizes(study)[3]
    peaks = [4 * changed + twice]
    for plan, task in ((study.training(*t), t[1]) for t in trains):
        peaks.append(_pass(plan, task) * each + 4 * changed * (plan.accumulation > 1))
    parts = {"weights": held, "AdamW": 8 * changed, "activations and gradients": max(peaks)}
    return {name: size / 1e9 for name, size in (parts | {"total": sum(parts.values())}).items()}


def _bases(study: Study) -> list[str]:
    """Intermediate tasks of which a study trains a variant."""
    bases = {split_variant(v)[0] for v in study.intermediate.variants}
    return [t for t in tasks.INTERMEDIATE if t in bases or "multi" in bases]


def _pass(plan, task: str) -> float:
    """The most pieces of one pass; an example of multiple choice has up to five sequences."""
    each = 5 if tasks.get(task).kind == "choice" else 1
    return plan.batch_size / plan.accumulation * plan.max_length * each


def _seconds(study: Study, row: dict, tflops: float, launch: bool = True) -> float:
    """Time of one run where ``tflops`` are reached; launch: on a GPU."""
    each = 0.008 if study.compute.gradient_checkpointing else LAUNCH
    started = row["passes"] * each * (shape(study)[0] - study.encoder.frozen_layers)
    return max(row["flops"] / 1e12 / tflops, started * launch)


def _number(value: float) -> str:
    """A number with enough decimals that a small cost is not shown as 0."""
    if value < 0.1 and value:
        return f"{value:.1g}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def text(study: Study, peak_tflops: float = 312.0, utilisation: float = REACHED) -> str:
    """The estimate as a table, with GPU-hours at a stated peak rate and utilisation."""
    if not peak_tflops > 0:
        raise InputError(f"--peak-tflops: {peak_tflops:g}; expected more than 0, e.g. 312")
    if not 0 < utilisation <= 1:
        raise InputError(f"--utilisation: {utilisation:g}; expected 0 to 1, e.g. {REACHED}")
    rate, rows = peak_tflops * utilisation, estimate(study)
    head = ("step", "task", "runs", "steps", "Mtokens", "PFLOP", "a run", "all")
    lines = ["{:16} {:22} {:>5} {:>8} {:>9} {:>10} {:>8} {:>8}".format(*head)]
    flops, total, longest = 0.0, 0.0, (0.0, "")
    for row in rows:
        runs, time = row["runs"] * len(study.seeds), _seconds(study, row, rate)
        flops, total = flops + runs * row["flops"], total + runs * time
        longest = max(longest, (time, f"{row['step']} {row['name']}"))
        lines.append(
            f"{row['step']:16} {row['name']:22} {runs:5} {row['steps']:8} "
            f"{row['tokens'] / 1e6:9.1f} {_number(row['flops'] / 1e15):>10} "
            f"{_time(time):>8} {_time(runs * time):>8}"
        )
    lines.append(
        f"all runs: {_number(flops / 1e15)} PFLOP, {_number(total / 3600)} GPU-hours at up to "
        f"{utilisation:.0%} of {peak_tflops:.0f} TFLOP/s (an estimate: counted, not measured)"
    )
    lines.append(f"longest run: {longest[1]}, {_time(longest[0])}")
    others = {name: peak * REACHED for name, peak in PEAKS.items()} | PROCESSOR
    each = {
        name: sum(r["runs"] * _seconds(study, r, tflops, name in PEAKS) for r in rows)
        for name, tflops in others.items()
    }
    said = (f"{name} {_time(time * len(study.seeds))}" for name, time in each.items())
    lines += [f"all runs on one machine: {', '.join(said)}", ASSUMED]
    need = memory_gb(study)
    parts = ", ".join(f"{k} {v:.1f}" for k, v in need.items() if k != "total")
    lines.append(f"memory of one training job: about {need['total']:.1f} GB ({parts})")
    return "\n".join(lines)
