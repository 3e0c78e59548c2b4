"""One job per GPU, where a machine has several."""

import os
import threading
from types import SimpleNamespace

import pytest

from midway.run import machine
from midway.run.status import Stop

AUTO = SimpleNamespace(device="auto")


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists two GPUs."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))


def test_steps_get_different_gpus_and_give_them_back(two_gpus):
    """In the environment of their kernels: two threads of a run have the process's in common."""
    assert machine.gpus(AUTO) == ["GPU-a", "GPU-b"]
    with machine.own_gpu(AUTO) as one, machine.own_gpu(AUTO) as two:
        assert one == {"CUDA_VISIBLE_DEVICES": "GPU-a"}
        assert two == {"CUDA_VISIBLE_DEVICES": "GPU-b"}
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with machine.own_gpu(AUTO) as again, machine.own_gpu(AUTO, wanted=False) as none:
        assert again == {"CUDA_VISIBLE_DEVICES": "GPU-a"} and none == {}


def test_a_gpu_named_twice_takes_two_steps(two_gpus, monkeypatch):
    """Small batches leave a large GPU idle most of the time."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,a,b")
    with machine.own_gpu(AUTO) as one, machine.own_gpu(AUTO) as two, machine.own_gpu(AUTO) as last:
        assert [e["CUDA_VISIBLE_DEVICES"] for e in (one, two, last)] == ["a", "a", "b"]


@pytest.mark.slow
def test_a_step_waits_for_a_gpu_that_others_hold(two_gpus):
    got, stop = [], Stop()

    def third(stop=None):
        with machine.own_gpu(AUTO, stop) as env:
            got.append(env)

    with machine.own_gpu(AUTO):
        with machine.own_gpu(AUTO):
            waiting = [threading.Thread(target=third, args=a) for a in ((), (stop,))]
            for thread in waiting:
                thread.start()
            stop.reason = "SIGINT"
            waiting[1].join(10)
            assert got == [{}]  # it is told to end, and does not wait for ever
    waiting[0].join(10)
    assert got[1]["CUDA_VISIBLE_DEVICES"] in ("GPU-a", "GPU-b")


SET = {"": [], "-1": [], "3": ["3"], "0,2": ["0", "2"]}


@pytest.mark.parametrize(("given", "found"), SET.items())
def test_what_a_cluster_has_set_is_respected(two_gpus, monkeypatch, given, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert machine.gpus(AUTO) == found
    if len(found) < 2:
        with machine.own_gpu(AUTO) as env:
            assert env == {}


def test_a_study_on_the_cpu_asks_for_none(two_gpus):
    assert machine.gpus(SimpleNamespace(device="cpu")) == []


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    """In a container or batch job the machine's cores would start too many jobs at once."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert machine.cores() == 1 == machine.environment()["cores"]
