"""The papermill client behind midway.run.notebook: kernels over IPC, whole saves, a true ending."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import nbformat
import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager

from midway.run import kernel
from midway.run.status import Stop
from midway.study.files import write_atomic

SAVE_EVERY = 2.0  # seconds between saves of a running notebook
OUTPUT_BUDGET = 8_000_000  # characters of output that one executed notebook may hold
READ_ONLY = 0o444  # JupyterLab cannot save over an executed notebook


class Kernel(AsyncKernelManager):
    """A kernel of the calling interpreter; installed kernelspecs are ignored."""

    forked = True  # where there is a fork server
    provisioner: Any

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        place = "/tmp" if os.access("/tmp", os.W_OK) else None  # paths of sockets must be short
        self.folder = tempfile.mkdtemp(prefix=f"midway-{os.getuid()}-", dir=place)
        self.transport = "ipc"
        self.connection_file = f"{self.folder}/k.json"
        self.ip = f"{self.folder}/k"

    @property
    def kernel_spec(self):
        argv = [sys.executable, "-c", kernel.BOOT, "-f", "{connection_file}"]
        argv.append("--HistoryManager.enabled=False")
        return KernelSpec(argv=argv, display_name="Python 3", language="python")

    async def _async_launch_kernel(self, kernel_cmd, **kw):
        log = f"{self.folder}/log"
        own = {"IPYTHONDIR": f"{self.folder}/ipython"}  # no start-up code of the user
        kw["env"] = kw["env"] | own
        process = kernel.fork(kernel_cmd[3:], kw["cwd"], kw["env"], log) if self.forked else None
        if process is None:
            with open(log, "wb") as file:
                kw |= {"stdout": file, "stderr": file}
                return await super()._async_launch_kernel(kernel_cmd, **kw)
        self.provisioner.process = process
        self.provisioner.pid = self.provisioner.pgid = process.pid
        self._reconcile_connection_info(self.provisioner.connection_info)

    def said(self) -> str:
        """Last line that the kernel printed outside cells."""
        with contextlib.suppress(OSError):
            text = Path(self.folder, "log").read_text(encoding="utf-8", errors="replace")
            lines = [line for line in text.splitlines() if line.strip()]
            return f" ({lines[-1].strip()})" if lines else ""
        return ""

    def clear(self) -> None:
        process = getattr(self.provisioner, "process", None)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Manager(NotebookExecutionManager):
    """Save the notebook file atomically, at the end of cells and not too often."""

    def __init__(self, nb, path: Path, beat, stop: Stop):
        super().__init__(nb, output_path=None, progress_bar=False, autosave_cell_every=0)
        self.path, self.beat, self.stop = path, beat, stop
        self.error, self.current = None, None
        self._saved, self._dirty = 0.0, False

    def save(self, final: bool = False, **_):
        self._dirty = True
        if final or time.monotonic() - self._saved >= SAVE_EVERY:
            try:
                write_atomic(self.path, nbformat.writes(self.nb), READ_ONLY if final else None)
            except OSError as error:  # e.g. disk full: keep the last complete file and continue
                print(f"midway: {self.path}: not saved: {error}", file=sys.stderr)
            self._saved, self._dirty = time.monotonic(), False

    def tick(self):
        """About once a second while a cell runs."""
        if self._dirty:
            self.save()
        if self.beat:
            self.beat()

    def cell_start(self, cell, cell_index=0, **kwargs):
        super().cell_start(cell, cell_index)
        if cell.cell_type == "code":
            self.current = sum(c.cell_type == "code" for c in self.nb.cells[: cell_index + 1])

    def cell_exception(self, cell, cell_index=None, exception: Any = None, **kwargs):
        early = getattr(exception, "ename", "") == "SystemExit"
        if not (early and exception.evalue in ("", "0", "None")):  # a notebook may end itself
            self.error = exception
            super().cell_exception(cell, cell_index)

    def notebook_complete(self, **kwargs):
        """End time only; papermill would mark cells that never ran as completed."""
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()


class Client(PapermillNotebookClient):
    """papermill's client: bounded output, one retry at start, cells marked as they ended."""

    task_poll_for_reply: Any

    def execute(self, **kwargs):
        self.reset_execution_trackers()
        self._room, self._full = OUTPUT_BUDGET, False
        for attempt in (1, 2):
            self.km = manager = cast(Kernel, self.create_kernel_manager())
            manager.forked = attempt == 1
            try:
                self.start_new_kernel(**kwargs)
                self.start_new_kernel_client()
                self.papermill_execute_cells()
                return self.set_widgets_metadata()
            except (RuntimeError, OSError) as error:
                if self.nb_man.current:  # in a cell
                    raise
                if attempt == 2 or self.nb_man.stop:
                    text = f"no kernel could be started, twice: {error}{manager.said()}"
                    raise RuntimeError(text) from error
            finally:
                with contextlib.suppress(Exception):
                    self._cleanup_kernel()
                manager.clear()

    def execute_cell(self, cell, cell_index, **kwargs):
        try:
            if self.nb_man.stop:
                raise DeadKernelError
            return super().execute_cell(cell, cell_index, **kwargs)
        except CellExecutionError:
            raise
        except BaseException as error:
            self.nb_man.cell_exception(cell, cell_index)
            if isinstance(error, DeadKernelError):
                raise DeadKernelError(self._last_words()) from None
            raise

    async def _check_raise_for_error(self, cell, cell_index, exec_reply):
        await super()._check_raise_for_error(cell, cell_index, exec_reply)
        for asked in (exec_reply or {}).get("content", {}).get("payload") or []:
            if asked.get("source") == "ask_exit":  # exit() and quit() only send this request
                raise CellExecutionError("exit", "SystemExit", "exit() or quit() in a cell")

    def _last_words(self) -> str:
        process = getattr(self.km and self.km.provisioner, "process", None)
        code = process.poll() if process else None
        if code is None:
            return "the kernel died"
        if code < 0:
            why = ": most often for want of memory" if code == -9 else ""
            return f"the kernel was killed by signal {-code}{why}"
        if code == kernel.UNANSWERED:
            return f"the kernel could not answer{cast(Kernel, self.km).said()}"
        return f"the kernel ended by itself with exit code {code}"

    async def _async_poll_kernel_alive(self):
        while True:
            await asyncio.sleep(0.5)
            self.nb_man.tick()
            # What nbclient sends for an output widget can take the wake-up of a reply that arrives
            # meanwhile, and the cell would never end; asking for events wakes whoever waits.
            cast(Any, self.kc).shell_channel.socket.get(zmq.EVENTS)
            with contextlib.suppress(DeadKernelError):
                await self._async_check_alive()
                if not self.nb_man.stop:
                    continue
            self.task_poll_for_reply.cancel()  # ends the cell as if its kernel were dead
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
        last: Any = outs[-1] if outs else {}
        added = super().output(outs, msg, display_id, cell_index)
        if added and len(outs) > 1 and added.output_type == "stream" == last.get("output_type"):
            if added.name == last.name:  # one stream, as on a terminal
                outs.pop()
                kept, line, tail = last.text.rpartition("\n")
                last.text = kept + line + overwrite(tail + added.text)
        return added


def overwrite(text: str) -> str:
    """Apply carriage returns (progress bars) in linear time; nbclient's version is quadratic."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return "\n".join(lines)
