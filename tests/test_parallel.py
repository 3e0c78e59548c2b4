"""Several processes that train together must give what one gives, and end together."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from midway import heads, params, training
from midway.compute import Inputs, setup
from test_training import MACHINE, PLAN, folder, make, weights  # noqa: F401  (a fixture)

TWO = replace(MACHINE, workers=2)
FROZEN = {"frozen_embeddings": True, "frozen_layers": 1, "dropout": 0.0}
pytestmark = pytest.mark.slow


def helpers() -> list[int]:
    """Process ids of this process's helpers."""
    mine = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True
    ).stdout.splitlines()
    return [int(line.split()[0]) for line in mine if "midway.parallel" in line]


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_two_processes_give_what_one_gives(folder, tmp_path):  # noqa: F811
    """Unequal shares of a batch add up to its gradient; a head whose turn it is not gets none."""
    plan = PLAN.model_copy(update={"batch_size": 5, "accumulation": 2})
    runs = []
    for machine in (MACHINE, TWO):
        made, (source,) = make(folder, **FROZEN)
        encoded = SimpleNamespace(
            model=made.encoder,
            tokenizer=SimpleNamespace(pad_token_id=made.pad),
            layers=made.depth,
            hidden_size=made.encoder.config.hidden_size,
            fingerprint=made.fingerprint,
        )
        model = heads.Model(encoded, made.options, {"t": ("pair", 2), "u": ("pair", 2)}, seed=1)
        inputs = Inputs(source.inputs.features, model, machine, tmp_path / "cache")
        both = [training.Source(name, "pair", inputs, share=0.5) for name in "tu"]
        seen = []
        at = {step: lambda s=step, seen=seen: seen.append(s) for step in (0, 4)}
        fit = training.fit(model, both, plan, 6, 1, machine, at=at)
        assert seen == [0, 4]  # measured in the first process only
        runs.append((fit, weights(model)))
    (one, before), (two, after) = runs
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-4)
    assert two.tokens == one.tokens
    for name, value in before.items():
        if not name.endswith("key.bias"):  # its gradient is 0, of which AdamW makes much
            torch.testing.assert_close(after[name], value, rtol=1e-3, atol=2e-5, msg=name)
    assert not helpers() and not torch.distributed.is_initialized()


def test_a_batch_smaller_than_the_team(folder):  # noqa: F811
    """The process that gets nothing adds nothing."""
    model, (source,) = make(folder)
    member = SimpleNamespace(part=lambda examples: np.array_split(examples, 2)[1])
    found = training._gradients(model, source, np.array([3]), PLAN, MACHINE, member, float)
    assert found == (0.0, 0) and all(p.grad is None for p in model.parameters())


def test_dropout_and_resuming(folder, tmp_path):  # noqa: F811
    """A run of two processes that was cut off continues to the same weights."""
    model, sources = make(folder)
    whole = training.fit(model, sources, PLAN, 9, 1, TWO)
    cut, sources = make(folder)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.fit(cut, sources, PLAN, 9, 1, TWO, at={5: stop}, save=tmp_path, save_every=3)
    assert not helpers()
    again, sources = make(folder)
    fit = training.fit(again, sources, PLAN, 9, 1, TWO, save=tmp_path, save_every=3)
    assert fit.resumed_from == 3 and fit.losses == whole.losses
    for name, value in weights(model).items():
        assert torch.equal(value, weights(again)[name])


def test_a_lost_process_ends_the_training_and_says_so(folder):  # noqa: F811
    model, sources = make(folder)

    def lose():
        os.kill(helpers()[0], signal.SIGKILL)

    with pytest.raises(RuntimeError, match="training process 1 was lost"):
        training.fit(model, sources, PLAN, 9, 1, TWO, at={2: lose})
    assert not helpers() and not torch.distributed.is_initialized()


def test_an_error_in_a_helper_is_named(folder, tmp_path):  # noqa: F811
    """Out of memory on one GPU of four: the message is that GPU's, not the broken line's."""
    model, sources = make(folder)
    model.options = params.Encoder(kind="path", path=str(tmp_path / "gone"))
    with pytest.raises(RuntimeError, match="training process 1 was lost.*gone"):
        training.fit(model, sources, PLAN, 9, 1, TWO)


def test_helpers_do_not_outlive_the_first_process(tmp_path, folder):  # noqa: F811
    """kill -9 of a kernel must not leave processes on other GPUs."""
    code = (
        "import sys, pathlib; sys.path.insert(0, 'tests'); import time, test_parallel as t\n"
        f"model, sources = t.make(pathlib.Path({str(folder)!r}))\n"
        "def wait():\n"
        "    print(t.helpers()[0], flush=True); time.sleep(60)\n"
        "t.training.fit(model, sources, t.PLAN, 9, 1, t.TWO, at={2: wait})\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    helper = int(first.stdout.readline())
    first.kill()
    first.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{helper}"), 10)


def test_a_call_that_waits_for_a_lost_process_is_ended(folder):  # noqa: F811
    """On GPUs a sum with a lost process never returns: the step must fail, not hang."""
    code = (
        "import os, sys, pathlib; sys.path.insert(0, 'tests'); import time, test_parallel as t\n"
        "t.training.parallel.GRACE = 0.5\n"
        f"model, sources = t.make(pathlib.Path({str(folder)!r}))\n"
        "def hang():\n"
        "    os.kill(t.helpers()[0], 9); time.sleep(60)\n"
        "t.training.fit(model, sources, t.PLAN, 9, 1, t.TWO, at={2: hang})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1 and "a training process was lost" in done.stderr


def test_more_workers_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with pytest.raises(Exception, match=r"compute.workers: 2, but torch sees 1 GPU"):
        setup(params.Compute(workers=2))
