"""The papermill engine of ``run.notebook``: kernels over IPC, whole saves, a true ending."""

import ast
import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine as PapermillEngine
from papermill.engines import NotebookExecutionManager

from midway.run import kernels, machine
from midway.study.errors import InputError, meant
from midway.study.files import root, write_atomic

SAVE_EVERY = 2.0  # seconds between saves of a running notebook
OUTPUT_BUDGET = 8_000_000  # characters of output that one executed notebook may hold
# The kernel asks Linux to be killed when its runner dies; ipykernel itself only polls, and cannot
# while native code runs. Elsewhere its poll is all there is.
BOOT = """
import os, runpy, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
except Exception:
    pass
if os.getppid() != int(os.environ["JPY_PARENT_PID"]):
    os._exit(1)
del sys.path[0]
runpy.run_module("ipykernel_launcher", run_name="__main__")
"""


def check_parameters(nb, given: dict) -> None:
    """Refuse a parameter that the notebook's parameter cell does not assign, or of another type."""
    cell = next((c for c in nb.cells if "parameters" in c.metadata.get("tags", [])), None)
    if cell is None:
        raise InputError("the notebook has no cell tagged 'parameters'")
    known = {}
    for node in ast.parse(cell.source).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            try:
                known[ast.unparse(target)] = ast.literal_eval(node.value)
            except (ValueError, TypeError):
                known[ast.unparse(target)] = None
    for name, value in given.items():
        if name not in known:
            raise InputError(f"unknown notebook parameter {name!r}; {meant(name, known)}")
        kind = type(known[name])
        numbers = isinstance(value, int) and kind is float
        if None not in (known[name], value) and type(value) is not kind and not numbers:
            raise InputError(
                f"notebook parameter {name!r}: found {value!r}, expected {kind.__name__}"
            )


def advice(text: str) -> str:
    """What to try when memory ran out."""
    if re.search(r"out of memory|can't allocate memory|MemoryError|bad_alloc", text):
        return " [memory: halve batch_size and double accumulation, or lower compute.eval_tokens]"
    return ""


class Kernel(AsyncKernelManager):
    """A kernel of the calling interpreter, whatever kernelspecs are installed or named."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Not the runtime folder of Jupyter: a socket's path is limited to about 100 characters.
        self.folder = tempfile.mkdtemp(
            prefix="midway-", dir="/tmp" if os.path.isdir("/tmp") else None
        )
        self.transport = "ipc"
        self.connection_file = f"{self.folder}/k.json"
        self.ip = f"{self.folder}/k"

    @property
    def kernel_spec(self):
        argv = [sys.executable, "-c", BOOT, "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")

    async def _async_launch_kernel(self, kernel_cmd, **kw):
        process = kernels.fork(kernel_cmd[3:], kw["cwd"], kw["env"])
        if process is None:
            return await super()._async_launch_kernel(kernel_cmd, **kw)
        self.provisioner.process = process
        self.provisioner.pid = self.provisioner.pgid = process.pid
        self._reconcile_connection_info(self.provisioner.connection_info)


class Manager(NotebookExecutionManager):
    """Keeps the notebook file: renamed into place whole, at cell ends, not too often."""

    def __init__(self, nb, path: Path, tick=None):
        super().__init__(nb, output_path=None, progress_bar=False, autosave_cell_every=0)
        self.path, self._tick, self.current = path, tick, None
        self._saved, self._dirty = 0.0, False
        for cell in nb.cells:
            cell.metadata.setdefault("papermill", {})

    def save(self, final: bool = False, **_):
        self._dirty = True
        if final or time.monotonic() - self._saved >= SAVE_EVERY:
            try:
                write_atomic(self.path, nbformat.writes(self.nb))
            except OSError as error:  # e.g. disk full: the last whole save stays, work goes on
                print(f"midway: {self.path}: not saved: {error}", file=sys.stderr)
            self._saved, self._dirty = time.monotonic(), False

    def tick(self):
        """About once a second while a cell runs."""
        if self._dirty:
            self.save()
        if self._tick:
            self._tick()

    def cell_start(self, cell, cell_index=None, **kwargs):
        super().cell_start(cell, cell_index)
        if cell.cell_type == "code":
            self.current = sum(c.cell_type == "code" for c in self.nb.cells[: cell_index + 1])

    def notebook_complete(self, **kwargs):
        """End time only; papermill would mark cells that never ran as completed."""
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()


class Client(PapermillNotebookClient):
    """papermill's client: bounded output, one retry at start, cells marked as they ended."""

    def execute(self, **kwargs):
        self.reset_execution_trackers()
        self._room, self._full = OUTPUT_BUDGET, False
        for attempt in (1, 2):
            self.km = self.create_kernel_manager()
            try:
                self.start_new_kernel(**kwargs)
                self.start_new_kernel_client()
                break
            except (RuntimeError, OSError) as error:
                self._stop()
                os.environ.pop(kernels.ADDRESS, None)  # the second is not forked
                if attempt == 2:
                    raise RuntimeError(f"no kernel could be started, twice: {error}") from error
            except BaseException:
                self._stop()
                raise
        try:
            self.papermill_execute_cells()
            self.set_widgets_metadata()
        finally:
            self._stop()
        return self.nb

    def _stop(self):
        if self.km is None:
            return
        process = getattr(self.km.provisioner, "process", None)
        manager = self.km
        with contextlib.suppress(Exception):
            self._cleanup_kernel()
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(10)
        shutil.rmtree(manager.folder, ignore_errors=True)

    def papermill_execute_cells(self):
        for index, cell in enumerate(self.nb.cells):
            self.nb_man.cell_start(cell, index)
            try:
                self.execute_cell(cell, index)
            except CellExecutionError as error:
                if error.ename == "SystemExit" and error.evalue in ("", "0", "None"):
                    self.nb_man.cell_complete(cell, index)
                    return  # a notebook may end itself early
                self.nb_man.cell_exception(cell, index)
                self.nb_man.cell_complete(cell, index)
                raise
            except BaseException as error:
                self.nb_man.cell_exception(cell, index)
                if isinstance(error, DeadKernelError):
                    raise DeadKernelError(self._last_words()) from None
                raise
            self.nb_man.cell_complete(cell, index)

    def _last_words(self) -> str:
        process = getattr(self.km and self.km.provisioner, "process", None)
        code = process.poll() if process else None
        if code is None:
            return "the kernel died"
        if code < 0:
            why = ": most often for want of memory" if code == -9 else ""
            return f"the kernel was killed by signal {-code}{why}"
        return f"the kernel ended by itself with exit code {code}"

    async def _async_poll_kernel_alive(self):
        while True:
            await asyncio.sleep(1)
            self.nb_man.tick()
            try:
                await self._async_check_alive()
            except DeadKernelError:
                self.task_poll_for_reply.cancel()
                return

    def output(self, outs, msg, display_id, cell_index):
        size = len(str(msg["content"]))
        if msg["msg_type"] != "error":
            self._room -= size
            if self._room < 0:
                if not self._full:
                    self._full = True
                    text = f"[output beyond {OUTPUT_BUDGET:,} characters is left out]\n"
                    outs.append(nbformat.v4.new_output("stream", name="stderr", text=text))
                return None
        last = outs[-1] if outs else {}
        added = super().output(outs, msg, display_id, cell_index)
        if added and len(outs) > 1 and added.output_type == "stream" == last.get("output_type"):
            if added.name == last.name:  # one stream, as on a terminal
                outs.pop()
                kept, line, tail = last.text.rpartition("\n")
                last.text = kept + line + overwrite(tail + added.text)
        return added


def overwrite(text: str) -> str:
    """What carriage returns leave of a text (progress bars); nbclient's own is quadratic."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return "\n".join(lines)


class Engine(PapermillEngine):
    """Registered with papermill under the name ``midway``."""

    @classmethod
    def execute_notebook(cls, nb, kernel_name, *, manager, threads=1, **_):
        manager.notebook_start()
        try:
            client = Client(
                manager,
                kernel_name=kernel_name,
                kernel_manager_class=Kernel,
                shutdown_kernel="immediate",
                startup_timeout=120,
                timeout=None,
            )
            client.execute(cwd=str(root()), env=machine.kernel_environment(threads))
        finally:
            manager.notebook_complete()
        return manager.nb
