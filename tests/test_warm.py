"""Forked kernels (their faults: tests/faults/test_steps.py)."""

import json
import os
import subprocess
import sys

import pytest

from midway import machine, warm
from toy import wait_for

KERNEL = """import json, os, sys
loaded = sorted({name.partition(".")[0] for name in sys.modules})
with open("seen.json", "w") as file:
    json.dump([loaded, sys.argv[1:], os.environ["MARK"]], file)
sys.exit(3)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_a_kernel_has_the_libraries_but_none_of_midways_code(tmp_path, monkeypatch):
    """What a step computes must come from the files as they are when it starts."""
    (tmp_path / "ipykernel_launcher.py").write_text(KERNEL)  # plays the kernel
    env = machine.kernel_environment(1)
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
    address = tmp_path / "warm"
    command = [sys.executable, warm.__file__, address]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE) as server:
        wait_for(lambda: address.exists() or server.poll() is not None, 120)
        assert server.poll() is None, "an import has started threads: no kernel would be forked"
        monkeypatch.setenv(warm.ADDRESS, str(address))
        kernel = warm.fork(["-f", "a b.json"], str(tmp_path), env | {"MARK": "own"})
        assert kernel.wait(20) == 3 == kernel.poll()
    loaded, arguments, mark = json.loads((tmp_path / "seen.json").read_text())
    assert {"torch", "transformers", "datasets", "pandas", "seaborn"} <= set(loaded)
    assert "midway" not in loaded
    assert arguments[:2] == ["-f", "a b.json"] and mark == "own"


def test_without_such_a_process_there_is_no_forked_kernel(tmp_path, monkeypatch):
    """A missing or dead one must cost a step its quick start, not its life."""
    monkeypatch.delenv(warm.ADDRESS, raising=False)
    assert warm.fork([], str(tmp_path), {}) is None
    monkeypatch.setenv(warm.ADDRESS, str(tmp_path / "nobody"))
    assert warm.fork([], str(tmp_path), {}) is None
