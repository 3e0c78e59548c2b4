"""Training speed: ours against transformers' Trainer with static padding, in one run.

Same model (lowest 6 layers, bottom 3 and embeddings frozen), same 640 NLI rows of mini, same 40
steps of the same 16 examples, one thread, same precision. The reference pads every example to 128
pieces, as XTREME's scripts do. Also printed: the largest difference between the losses of a step,
and the share of this machine's matrix-multiplication rate that our loop reaches (useful and padded
tokens both counted as computed).

    python benchmarks/training.py            # about two minutes on one core
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import io
import resource
import tempfile
import time
import warnings

import numpy as np
import torch
from torch import nn

from midway.data import mini
from midway.encoder import encoder, heads, training
from midway.encoder.batches import evaluation_batches, training_order
from midway.encoder.device import Inputs, setup
from midway.kinds import encode
from midway.study import params

STEPS, BATCH, WIDTH = 40, 16, 128
ENC = params.Encoder(layers=6, frozen_layers=3, frozen_embeddings=True, dropout=0.0)
PLAN = params.Training(steps=STEPS, batch_size=BATCH, lr=2e-4, head_lr=1e-3, decay=0.2)


def matmul_rate(dtype, seconds: float = 1.0) -> float:
    """FLOP/s of a 1024 x 384 x 1536 product, the encoder's own shape."""
    a, b = torch.randn(1024, 384, dtype=dtype), torch.randn(384, 1536, dtype=dtype)
    n, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        a @ b
        n += 1
    return 2 * 1024 * 384 * 1536 * n / (time.perf_counter() - begin)


def flops(model, tokens: int, train: bool) -> float:
    """Of the trained layers: forward 2 per weight and token, backward twice that again."""
    layers = model.encoder.encoder.layer[ENC.frozen_layers :]
    weights = sum(p.numel() for layer in layers for p in layer.parameters())
    return (6 if train else 2) * weights * tokens


def ours(machine, rows, cache):
    encoded = encoder.load(ENC)
    model = heads.Model(encoded, ENC, {"t": ("pair", 3)}, seed=1)
    features = encode(rows, "pair", (), encoded.tokenizer, WIDTH)
    begin, cpu = time.perf_counter(), time.process_time()
    inputs = Inputs(features, model, machine, cache)
    trunk = time.perf_counter() - begin
    begin = time.perf_counter()
    fit = training.fit(model, [training.Source("t", "pair", inputs)], PLAN, STEPS, 1, machine)
    return {
        "wall": time.perf_counter() - begin,
        "trunk": trunk,
        "cpu": time.process_time() - cpu,
        "losses": fit.losses,
        "tokens": fit.tokens,
        "model": model,
        "inputs": inputs,
    }


def reference(machine, rows):
    from transformers import Trainer, TrainingArguments

    encoded = encoder.load(ENC)
    model = heads.Model(encoded, ENC, {"t": ("pair", 3)}, seed=1)
    features = encode(rows, "pair", (), encoded.tokenizer, WIDTH)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, ids, mask, labels):
            logits = self.inner({"ids": ids, "mask": mask.bool()}, "t")
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class InOrder(Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    data = []
    for i in np.concatenate(list(training_order(features.lengths, BATCH, STEPS, 1))):
        s, label = features.sequences[i], features.labels[i]
        ids = np.full(WIDTH, model.pad)
        ids[: len(s)] = s
        data.append({"ids": ids, "mask": np.arange(WIDTH) < len(s), "labels": int(label)})
    wrapped = Wrapped()
    optimiser = torch.optim.AdamW(model.groups(PLAN.lr, PLAN.head_lr, 0.0))
    factor = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: training.schedule(s, STEPS, PLAN.warmup, PLAN.decay)
    )
    with tempfile.TemporaryDirectory() as out:
        args = TrainingArguments(
            out,
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            bf16=machine.precision == "bf16",
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            logging_strategy="steps",
            disable_tqdm=True,
            remove_unused_columns=False,
            seed=1,
            max_grad_norm=PLAN.max_grad_norm,
        )
        trainer = InOrder(wrapped, args, train_dataset=data, optimizers=(optimiser, factor))
        begin, cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train()
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    losses = [x["loss"] for x in trainer.state.log_history if "loss" in x]
    return {"wall": wall, "cpu": cpu, "losses": losses}


def inference(machine, made):
    model, inputs = made["model"], made["inputs"]
    lengths = inputs.features.lengths
    begin, padded = time.perf_counter(), 0
    with torch.inference_mode(), machine.autocast():
        for chosen in evaluation_batches(lengths, machine.eval_tokens):
            model(inputs.tensors(chosen), "t")
            padded += len(chosen) * lengths[chosen].max()
    return padded, time.perf_counter() - begin


def main():
    warnings.simplefilter("ignore")
    machine = setup(params.Compute())
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[machine.precision]
    rows = mini.load("mnli", "train", "en", STEPS * BATCH, 1)
    rate = matmul_rate(dtype)
    with tempfile.TemporaryDirectory() as folder:
        from pathlib import Path

        kept = ours(machine, rows, Path(folder))
        plain = ours(machine, rows, None)
        theirs = reference(machine, rows)
        padded, seconds = inference(machine, kept)
    n = STEPS * BATCH
    print(f"precision {machine.precision}, {machine.threads} thread, {STEPS} steps of {BATCH}")
    print(f"{'':34}{'examples/s':>11}{'core-s':>8}{'ratio':>7}{'loss, last 10':>15}{'apart':>8}")
    wall = theirs["wall"]
    for name, made in (
        ("Trainer, padded to 128", theirs),
        ("ours, trunk computed each time", plain),
        ("ours, trunk kept from before", kept),
    ):
        last = np.mean(made["losses"][-10:])
        rate_, ratio = n / made["wall"], wall / made["wall"]
        apart = np.abs(np.subtract(made["losses"], theirs["losses"])).max()
        print(f"{name:34}{rate_:11.1f}{made['cpu']:8.1f}{ratio:7.2f}{last:15.3f}{apart:8.3f}")
    print(f"making the trunk once: {kept['trunk']:.1f} s ({kept['trunk'] / kept['wall']:.2f} runs)")
    used = flops(kept["model"], kept["tokens"], True) / kept["wall"]
    print(f"matmul rate {rate / 1e9:.0f} GFLOP/s; training reaches {used / rate:.0%}", end="")
    print(f", inference {flops(kept['model'], padded, False) / seconds / rate:.0%}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
