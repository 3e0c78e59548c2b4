"""Several processes that train one model together, each on a GPU of its own (compute.workers).

The notebook's kernel is the first and the only one that measures, keeps states and updates weights.
In each step it sends the weights to the helpers, each takes its share of the batch, and the
gradients are summed in the first. torch.distributed alone: accelerate's notebook_launcher forks,
which a process that has touched its GPU must not do.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

PATIENCE = timedelta(days=7)  # helpers wait while the first one measures
GRACE = 60  # seconds in which the loss of a helper should have shown by itself


class Alone:
    """A team of one: nothing to send, nothing to collect."""

    rank, size = 0, 1

    def part(self, examples: np.ndarray) -> np.ndarray:
        """This process's share of a batch; the first process never has the smaller one."""
        return np.array_split(examples, self.size)[self.rank]

    def send(self, params, scale: float) -> float:
        return scale

    def collect(self, params, *numbers: float) -> tuple[float, ...]:
        return numbers


class Member(Alone):
    """One process of several; rank 0 is the kernel."""

    def __init__(self, rank: int, size: int, device: str, store):
        self.rank, self.size = rank, size
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)

    def send(self, params, scale: float) -> float:
        """The first one's weights and loss scale, in all."""
        number = params[0].new_tensor([scale])
        tensors = [number, *(p.detach() for p in params)]
        for work in [dist.broadcast(t, 0, async_op=True) for t in tensors]:
            work.wait()
        return number.item()

    def collect(self, params, *numbers: float) -> tuple[float, ...]:
        """Sums of all gradients and numbers, in the first; a head that none used keeps None."""
        total = torch.tensor(numbers, dtype=torch.float64, device=params[0].device)
        none = torch.zeros_like
        tensors = [total, *(none(p) if p.grad is None else p.grad for p in params)]
        for work in [dist.reduce(t, 0, async_op=True) for t in tensors]:
            work.wait()
        return tuple(total.tolist())


@dataclass
class Job:
    """What a helper needs to make the same model and draw the same batches."""

    rank: int
    meeting: str  # the file through which the processes find each other
    machine: object
    options: object
    outputs: dict
    sources: list[dict]
    rest: tuple  # of training.follow


@contextlib.contextmanager
def team(model, sources, machine, rest: tuple):
    """This process with its ``machine.workers - 1`` helpers, which run :func:`training.follow`.

    Raises RuntimeError with a helper's last words when one is lost; helpers never outlive this
    process (their standard input ends with it).
    """
    if machine.workers == 1:
        yield Alone()
        return
    folder = tempfile.TemporaryDirectory(prefix="midway-")
    meeting = os.path.join(folder.name, "meeting")
    store = dist.FileStore(meeting, machine.workers)
    made = [vars(s) | {"inputs": (s.inputs.features, s.inputs.cache)} for s in sources]
    helpers, logs, closing = [], [], threading.Event()
    try:
        for _ in range(machine.workers - 1):
            logs.append(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
            helpers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "midway.parallel"],
                    stdin=subprocess.PIPE, stdout=logs[-1], stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
            watch = threading.Thread(target=_watch, args=(helpers[-1], closing), daemon=True)
            watch.start()
        for rank, helper in enumerate(helpers, 1):
            job = Job(rank, meeting, machine, model.options, model.outputs, made, rest)
            with contextlib.suppress(BrokenPipeError):  # it ended: said below
                pickle.dump(job, helper.stdin)
                helper.stdin.flush()
        for rank, helper in enumerate(helpers, 1):
            while not store.check([f"ready {rank}"]):
                if helper.poll() is not None:
                    raise RuntimeError("a helper did not start")
                time.sleep(0.05)
        yield Member(0, machine.workers, machine.device, store)
        closing.set()
        dist.destroy_process_group()  # on GPUs all take part in that
        for helper in helpers:
            helper.wait(GRACE)
    except Exception as error:
        closing.set()
        time.sleep(0.5)  # the helper that began it ends before those that it takes along
        ended = [i for i, helper in enumerate(helpers) if helper.poll()]
        if not ended:  # its own fault, not a helper's
            raise
        logs[ended[0]].seek(0)
        said = [line.strip() for line in logs[ended[0]].read().splitlines() if line.strip()]
        last = said[-1] if said else f"exit code {helpers[ended[0]].returncode}"
        raise RuntimeError(f"training process {ended[0] + 1} was lost: {last}") from error
    finally:
        closing.set()
        for helper in helpers:
            helper.kill()
            helper.wait()
            with contextlib.suppress(BrokenPipeError):
                helper.stdin.close()
        for log in logs:
            log.close()
        folder.cleanup()
        if dist.is_initialized() and machine.device == "cpu":  # NCCL would wait for the lost one
            dist.destroy_process_group()


def _watch(helper, closing) -> None:
    """End this process when a helper is lost and a call on the GPU waits for it for ever."""
    if helper.wait() and not closing.wait(GRACE):
        print("a training process was lost", file=sys.stderr, flush=True)
        os._exit(1)


def main() -> None:
    """A helper: reads its job from standard input, whose end is its own."""
    job = pickle.load(sys.stdin.buffer)
    threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
    try:
        _help(job)
        code = 0
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        code = 1
    os._exit(code)  # a thread still waits for the end of standard input


def _help(job: Job) -> None:
    from midway import encoder, heads, training
    from midway.compute import Inputs

    machine = job.machine
    machine.prepare()
    if machine.device == "cuda":
        torch.cuda.set_device(job.rank)
    model = heads.Model(encoder.load(job.options), job.options, job.outputs, 0).to(machine.device)
    sources = [
        training.Source(**source | {"inputs": Inputs(features, model, machine, cache)})
        for source in job.sources
        for features, cache in [source["inputs"]]
    ]
    store = dist.FileStore(job.meeting, machine.workers)
    store.set(f"ready {job.rank}", "")
    member = Member(job.rank, machine.workers, machine.device, store)
    training.follow(model, sources, machine, member, *job.rest)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
