"""Forked kernels, to the run that starts the process behind them and to the steps they serve.

That process is :mod:`midway.run.warm`.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

from midway.run import machine, warm
from midway.run.progress import environment
from midway.study.files import root

ADDRESS = "MIDWAY_WARM"  # environment variable with the socket's path


class Kernel:
    """A forked kernel, to its runner: as much of ``subprocess.Popen`` as Jupyter asks for."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int):
        self.connection, self.pid, self.returncode = connection, pid, None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.connection], [], [], 0)[0]:
            try:
                self.returncode = int(self.connection.recv(64) or -signal.SIGKILL)
            except OSError:
                self.returncode = -signal.SIGKILL
            self.connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (3600 if timeout is None else timeout)
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def fork(arguments: list[str], cwd: str, env: dict[str, str]) -> Kernel | None:
    """A kernel from the warm process, or None when there is none (yet)."""
    if not (address := os.environ.get(ADDRESS)):
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(10)
        connection.connect(address)
        request = json.dumps({"arguments": arguments, "cwd": cwd, "env": env}).encode()
        socket.send_fds(connection, [len(request).to_bytes(4, "big") + request], [1, 2])
        return Kernel(connection, int(connection.recv(warm.PID)))
    except (OSError, ValueError):  # not there yet, or not any more
        connection.close()
        return None


@contextlib.contextmanager
def forking(compute, profile: str | None):
    """Kernels of this run are forked from one process with the libraries (:mod:`midway.run.warm`).

    On Linux, for jobs of this machine without a GPU: there a start is a small part of a step.
    Not where the environment has an address already; an empty one turns it off.
    """
    other = profile not in (None, "local") or machine.gpus(compute)
    if other or sys.platform != "linux" or ADDRESS in os.environ:
        yield
        return
    place = "/tmp" if os.path.isdir("/tmp") else None  # a socket's path is limited
    with tempfile.TemporaryDirectory("", "midway-", place, ignore_cleanup_errors=True) as folder:
        address = f"{folder}/warm"
        env = environment(None) | machine.kernel_environment(compute.threads)
        process = subprocess.Popen(
            [sys.executable, warm.__file__, address], env=env, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            cwd=root(),  # as for any kernel
        )  # fmt: skip
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            process.kill()
            process.communicate()
