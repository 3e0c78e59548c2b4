"""How long a training step of XLM-R Large takes on this machine's GPU, and its peak of memory.

Random weights and random pieces, a whole step (forward, back, clipping, AdamW), the mean of ten
after three; beside it the memory by the formula of `midway doctor` (for width 1024). Batches of
different sizes show whether the GPU or the processor that starts its kernels is the limit.

    python benchmarks/gpu.py                  # two minutes and 17 GB of GPU memory
    python benchmarks/gpu.py --width 64       # any machine: a narrow encoder of 24 layers
"""

import argparse
import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from midway.encoder import device, heads, training
from midway.run import cost
from midway.study import params

BATCHES = [(4, 32), (24, 32), (24, 64), (24, 256), (8, 384), (32, 256)]  # (texts, pieces)
STEPS, FIRST = 13, 3


def model(width: int) -> heads.Model:
    """24 layers with random weights and a head of three classes."""
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": 16}
    places = {"max_position_embeddings": 514, "type_vocab_size": 1}
    config = XLMRobertaConfig(vocab_size=250_002, num_hidden_layers=24, **sizes, **places)
    torch.manual_seed(0)
    encoded = SimpleNamespace(
        model=XLMRobertaModel(config, add_pooling_layer=False), fingerprint="", layers=24,
        tokenizer=SimpleNamespace(pad_token_id=1), hidden_size=width, max_length=512,
    )  # fmt: skip
    return heads.Model(encoded, params.Encoder(), {"t": ("pair", 3)}, seed=0)


def measure(net, machine, rows: int, pieces: int) -> tuple[float, float]:
    """Seconds of a step, and GB at most on the GPU."""
    ids = torch.randint(5, 250_000, (rows, pieces), device=net.device)
    batch = {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}
    batch["labels"] = torch.zeros(rows, dtype=torch.long, device=net.device)
    optimiser = torch.optim.AdamW(net.groups(1e-5, None, 0.01), fused=True)
    weights = [p for group in optimiser.param_groups for p in group["params"]]
    gpu = net.device.type == "cuda"
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    training._ready(net, machine)
    for step in range(STEPS):
        if step == FIRST:
            begin = time.perf_counter()
        with machine.autocast():
            logits = net(batch, "t")
        heads.loss(logits, batch, "pair").backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0).item()  # waits for the GPU, as the loop does
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    if gpu:
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - begin) / (STEPS - FIRST)
    return seconds, torch.cuda.max_memory_allocated() / 1e9 if gpu else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=1024, help="hidden size")
    width = parser.parse_args().width
    machine = device.setup(params.Compute(threads=4))
    name = torch.cuda.get_device_name() if machine.device == "cuda" else "no GPU"
    print(f"{name}, torch {torch.__version__}, 24 layers of width {width}, {machine.precision}")
    print(f"{'texts x pieces':16}{'checkpointing':>14}{'ms':>7}{'GB':>7}{'formula, 1024':>16}")
    file = Path(__file__).parents[1] / "params" / "xlmr_large.yaml"
    study = params.load(file, {"transfer.targets": ["tatoeba"]})
    for rows, pieces in BATCHES:
        for recompute in (False, True):
            net = model(width).to(machine.device)  # anew: checkpointing cannot be taken back
            own = dataclasses.replace(machine, recompute=recompute)
            seconds, used = measure(net, own, rows, pieces)
            phase = {"batch_size": rows, "max_length": pieces, "variants": ["none", "mnli"]}
            compute = study.compute.model_copy(update={"gradient_checkpointing": recompute})
            plan = study.intermediate.model_copy(update=phase | {"tasks": {}})
            changed = study.model_copy(update={"intermediate": plan, "compute": compute})
            need = cost.memory_gb(changed)["total"]
            shape = f"{rows} x {pieces}"
            print(f"{shape:16}{recompute!s:>14}{1000 * seconds:7.0f}{used:7.1f}{need:16.1f}")
            del net


if __name__ == "__main__":
    main()
