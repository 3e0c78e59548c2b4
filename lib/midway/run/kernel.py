"""Jupyter kernels over IPC, forked from a process that has the libraries loaded if there is one.

Every step needs torch, transformers and pandas (six core-seconds of imports). A run on one machine
imports them once, in the standard library's fork server, and forks its kernels from there. Only
libraries are imported there: a kernel imports Midway's own code itself, as it is when it starts.
The fork server imports this module, so that it imports only the standard library itself.
"""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver") if sys.platform == "linux" else None
SERVER: Any = multiprocessing.forkserver._forkserver
LOCK = threading.Lock()  # multiprocessing looks at all children whenever it starts one
# What an ordinary kernel runs: it does not import from the working directory.
BOOT = """import os, sys
sys.path[:] = [p for p in sys.path if p not in ("", ".")]
from midway.run import kernel
kernel.end_with(int(os.environ["JPY_PARENT_PID"]))
kernel.serve()
"""
UNANSWERED = 70  # exit code of a kernel that could not answer its client
# Variables that change what a kernel computes, or which code it imports: not taken from the user.
DECIDING = (
    "PYTHON", "IPYTHON", "JUPYTER_CONFIG", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_",
    "RAYON_", "TOKENIZERS_", "ATEN_", "ONEDNN_", "DNNL_", "MPLBACKEND", "MATPLOTLIBRC",
)  # fmt: skip


def environment(root: Path, threads: int) -> dict[str, str]:
    """Environment of a kernel: fixed where results depend on it, else as in this process."""
    lib = str(Path(__file__).resolve().parents[2])
    paths = [lib, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    names = "OMP MKL OPENBLAS NUMEXPR RAYON".split()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(DECIDING)}
    return kept | {f"{n}_NUM_THREADS": str(threads) for n in names} | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's advice, useless without a display
        "MIDWAY_ROOT": str(root),
        "MIDWAY_RUNNER": str(os.getpid()),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what ipykernel sets
        # glibc: keep freed memory up to these sizes (bytes) instead of faulting it in again
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
    }  # fmt: skip


def end_with(parent: int) -> None:
    """End this process when its parent ends (Linux; elsewhere ipykernel looks now and then)."""
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# -- the fork server ------------------------------------------------------------------------------


@contextlib.contextmanager
def forking(env: dict[str, str]):
    """Fork kernels inside this block; only the main thread may enter it.

    On Linux only, and not where an option of this interpreter (-O) would reach the kernels.
    """
    if not FORKS or sys.flags.optimize:
        yield
        return
    FORKS.set_forkserver_preload(["midway.run.preload"])
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(env)  # also for a server that replaces a killed one
        multiprocessing.forkserver.ensure_running()
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        if SERVER._forkserver_pid is not None:
            with contextlib.suppress(OSError):
                os.kill(SERVER._forkserver_pid, signal.SIGKILL)  # its kernels end with it
            with contextlib.suppress(OSError):
                SERVER._stop()  # waits for its end, so that its processor time counts as ours


def fork(arguments: list[str], cwd: str, env: dict[str, str], log: str) -> "Forked | None":
    """A kernel from the fork server, or None when there is none."""
    with contextlib.suppress(OSError, EOFError), LOCK:
        if FORKS and SERVER._forkserver_pid is not None:
            return Forked(arguments, cwd, env, log)
    return None


@contextlib.contextmanager
def _no_main():
    """Keep multiprocessing from running the program that called us again in each kernel."""
    main = sys.modules["__main__"]
    kept = {k: main.__dict__.pop(k) for k in ("__spec__", "__file__") if k in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(kept)


class Forked:
    """The part of the ``Popen`` interface that Jupyter needs, for a forked kernel."""

    stdin = stdout = stderr = None
    pid: Any

    def __init__(self, arguments, cwd, env, log):
        main = {p for p in ("", os.getcwd()) if p not in env["PYTHONPATH"].split(os.pathsep)}
        path = [*env["PYTHONPATH"].split(os.pathsep), *(p for p in sys.path if p not in main)]
        request = arguments, cwd, env, log, list(dict.fromkeys(path))
        self.process = FORKS.Process(target=become, args=request, daemon=True)
        with _no_main():
            self.process.start()
        self.pid, self.returncode = self.process.pid, None

    def poll(self) -> int | None:
        with LOCK:
            if self.returncode is None and (code := self.process.exitcode) is not None:
                self.returncode = -signal.SIGKILL if code == 255 else code  # 255: with its server
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        multiprocessing.connection.wait([self.process.sentinel], timeout)
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def become(arguments, cwd, env, log, path) -> None:
    """Start the kernel in the forked process."""
    preload = sys.modules.get("midway.run.preload")
    os.setsid()  # interrupts go to the group of a kernel
    end_with(parent := os.getppid())
    for target, name, mode in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_APPEND)):
        fd = os.open(name, mode | os.O_CREAT, 0o600)
        os.dup2(fd, target)
        os.close(fd)
    os.dup2(1, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(cwd)
    if preload is None or not preload.SAFE:  # threads of the fork server are lost in its forks
        argv = [sys.executable, "-c", BOOT, *arguments]
        os.execve(argv[0], argv, env | {"JPY_PARENT_PID": str(parent)})
    os.environ.clear()
    os.environ.update(env)
    sys.path[:] = [os.fsdecode(os.fsencode(p)) for p in path]  # the run may have another encoding
    for name in [n for n in sys.modules if n.partition(".")[0] in ("midway", "__mp_main__")]:
        del sys.modules[name]
    multiprocessing.set_start_method(None, force=True)  # both as in a process of its own
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # random does so itself
    sys.argv = ["ipykernel_launcher", *arguments, f"--IPKernelApp.parent_handle={parent}"]
    serve()


def serve() -> None:
    """Run ipykernel. A cell that leaves no usable stdout fails; a kernel that cannot answer ends.

    After an error in its own code ipykernel only logs it, and its client would wait for ever.
    """
    from ipykernel.ipkernel import IPythonKernel

    streams = {}
    execute = IPythonKernel.do_execute

    async def do_execute(self, *args, **kwargs):
        streams.update({n: streams.get(n, getattr(sys, n)) for n in ("stdout", "stderr")})
        reply = await execute(self, *args, **kwargs)
        for name, stream in streams.items():
            try:
                getattr(sys, name).flush()
            except Exception as error:
                setattr(sys, name, stream)
                if reply["status"] == "ok":
                    text = f"the cell left a sys.{name} that cannot be written to ({error})"
                    reply = {"status": "error", "ename": "OSError", "evalue": text, "traceback": []}
        return reply

    def ending(handle):
        async def handled(*args, **kwargs):
            try:
                return await handle(*args, **kwargs)
            except Exception as error:
                with contextlib.suppress(OSError):
                    os.write(2, f"\n{type(error).__name__}: {error}\n".encode())
                os._exit(UNANSWERED)

        return handled

    IPythonKernel.do_execute = do_execute
    IPythonKernel.execute_request = ending(IPythonKernel.execute_request)
    IPythonKernel.dispatch_shell = ending(IPythonKernel.dispatch_shell)
    runpy.run_module("ipykernel_launcher", run_name="__main__")
