"""Kernels that need not import the libraries: forked from a process that already has.

``midway run`` starts ``python lib/midway/warm.py SOCKET`` beside Snakemake. Every step on this
machine needs torch, transformers and pandas (six core-seconds of imports); here they are imported
once. Only libraries are: Midway's own code is imported by each kernel itself, as it is by then.
Who finds no such process (a cluster's node, `midway audit`) starts a kernel in the ordinary way.

A request is one message on a connection of its own: JSON with arguments, folder and environment,
and the file descriptors for stdout and stderr. The answer is the kernel's process number, later
its exit code. The connection is the kernel's life line: closed by the runner, the kernel is killed;
closed by this process, the kernel is gone.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from pathlib import Path

LIBRARIES = (  # not matplotlib_inline: imported outside a kernel, it does not register its figures
    "ipykernel.kernelapp", "pandas", "pydantic", "scipy.stats",
    "seaborn", "torch", "datasets", "transformers.models.bert.modeling_bert",
    "transformers.tokenization_utils_tokenizers",
)  # fmt: skip
LARGEST = 2**20  # bytes of a request; an environment is some thousands
PID = 8  # bytes of a process number in an answer


def _request(connection: socket.socket) -> tuple[dict, list[int]]:
    data, fds, _, _ = socket.recv_fds(connection, LARGEST, 2)
    try:
        size = 4 + int.from_bytes(data[:4], "big")
        while len(data) < size and (more := connection.recv(LARGEST)):
            data += more
        return json.loads(data[4:]), fds
    except (OSError, ValueError):
        for fd in fds:
            os.close(fd)
        raise


def serve(address: str) -> dict | None:
    """Fork kernels until ``midway run`` closes stdin (or is gone) and the last kernel has ended.

    In a kernel, return what was asked for.
    """
    own, wanted = os.getpid(), True
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    events = selectors.DefaultSelector()
    events.register(listener, selectors.EVENT_READ)
    events.register(sys.stdin, selectors.EVENT_READ)
    alive: dict[int, socket.socket] = {}
    while alive or wanted:
        for key, _ in events.select():
            if key.fileobj is sys.stdin:
                events.unregister(sys.stdin)
                wanted = False
            elif key.fileobj is listener:
                connection, fds, pid = None, [], None
                try:
                    connection, _ = listener.accept()
                    connection.settimeout(5)
                    request, fds = _request(connection)
                    if not (pid := os.fork()):
                        for other in (listener, connection, *alive.values()):
                            other.close()
                        events.close()
                        return request | {"parent": own, "fds": fds}
                    pidfd = os.pidfd_open(pid)
                except (OSError, ValueError):  # this kernel cannot be; the others live on
                    if pid:
                        os.kill(pid, signal.SIGKILL)
                        os.waitpid(pid, 0)
                    if connection is None:
                        time.sleep(0.1)  # no descriptor is free
                    else:
                        connection.close()
                    continue
                finally:
                    for fd in fds if pid != 0 else ():
                        os.close(fd)
                with contextlib.suppress(OSError):
                    connection.send(f"{pid:{PID}}".encode())
                alive[pid] = connection
                events.register(connection, selectors.EVENT_READ, pid)
                events.register(pidfd, selectors.EVENT_READ, pid)
            elif isinstance(key.fileobj, socket.socket):  # nothing is sent there: its end is closed
                if key.fileobj is alive.get(key.data):  # or its kernel ended at the same time
                    events.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)
            else:
                events.unregister(key.fileobj)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(key.data, 0)[1])
                connection = alive.pop(key.data)
                with contextlib.suppress(KeyError):
                    events.unregister(connection)
                with contextlib.suppress(OSError):
                    connection.send(str(code).encode())
                connection.close()
    return None


def become(request: dict) -> None:
    """Be the kernel that was asked for."""
    os.setsid()  # interrupts go to the group of a kernel
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the parent
    if os.getppid() != request["parent"]:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for place, fd in enumerate([os.open(os.devnull, os.O_RDONLY), *request["fds"]]):
        os.dup2(fd, place)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # as in a process of its own; random does so itself
    parent = f"--IPKernelApp.parent_handle={request['parent']}"
    sys.argv = ["ipykernel_launcher", *request["arguments"], parent]
    runpy.run_module("ipykernel_launcher", run_name="__main__")


def main(address: str) -> None:
    """Import, then serve.

    Nothing is served where an import has started threads, which a fork would lose. Two start theirs
    again: jemalloc, which pyarrow brings, and OpenBLAS, where ``compute.threads`` is above 1.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    del sys.path[0]  # this script's folder
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    threads = [Path(task, "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    others = len(threads) - 1 - threads.count("jemalloc_bg_thd")
    if threading.active_count() > 1 or others and os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        return
    os.close(os.pidfd_open(os.getpid()))  # an old Linux has none: end here, nothing is served
    gc.collect()
    gc.freeze()  # what is imported stays: no collection need look at it again
    if request := serve(address):
        become(request)
        return
    with contextlib.suppress(OSError):  # the run was killed, and cannot do it itself
        os.unlink(address)
        os.rmdir(os.path.dirname(address))


if __name__ == "__main__":
    main(sys.argv[1])
