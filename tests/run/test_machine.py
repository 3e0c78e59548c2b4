"""One job per GPU, where a machine has several."""

import os
import threading
from types import SimpleNamespace

import pytest

from midway.run import machine

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


def visible():
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_jobs_get_different_gpus_and_give_them_back(two_gpus):
    assert machine.gpus(AUTO) == ["GPU-a", "GPU-b"]
    with machine.own_gpus(AUTO):
        assert visible() == "GPU-a"
        os.environ.pop("CUDA_VISIBLE_DEVICES")  # as another process sees the machine
        with machine.own_gpus(AUTO):
            assert visible() == "GPU-b"
        os.environ["CUDA_VISIBLE_DEVICES"] = "GPU-a"
    assert visible() is None
    with machine.own_gpus(AUTO):
        assert visible() == "GPU-a"


@pytest.mark.slow
def test_a_job_waits_for_a_gpu_that_others_hold(two_gpus):
    got = threading.Event()

    def third():
        with machine.own_gpus(AUTO):
            got.set()

    with machine.own_gpus(AUTO):
        os.environ.pop("CUDA_VISIBLE_DEVICES")
        with machine.own_gpus(AUTO):
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            waiting = threading.Thread(target=third)
            waiting.start()
            assert not got.wait(1.5)
            os.environ["CUDA_VISIBLE_DEVICES"] = "GPU-b"
        os.environ["CUDA_VISIBLE_DEVICES"] = "GPU-a"
    assert got.wait(10)
    waiting.join()


SET = {"": [], "-1": [], "3": ["3"], "0,2": ["0", "2"]}


@pytest.mark.parametrize(("given", "found"), SET.items())
def test_what_a_cluster_has_set_is_respected(two_gpus, monkeypatch, given, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert machine.gpus(AUTO) == found
    if len(found) < 2:
        with machine.own_gpus(AUTO):
            assert visible() == given


def test_a_study_on_the_cpu_asks_for_none(two_gpus):
    assert machine.gpus(SimpleNamespace(device="cpu")) == []
