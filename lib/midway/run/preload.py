"""What every kernel needs, imported once by the fork server (midway.run.kernel)."""

import contextlib
import gc
import importlib
import os
import signal
import threading
from pathlib import Path

from midway.run.kernel import end_with

LIBRARIES = (  # not matplotlib_inline: imported outside a kernel, it does not register its figures
    "ipykernel.kernelapp", "pandas", "pydantic", "scipy.stats",
    "seaborn", "torch", "datasets", "transformers.models.bert.modeling_bert",
    "transformers.tokenization_utils_tokenizers",
)  # fmt: skip

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run
end_with(os.getppid())  # the run
for name in LIBRARIES:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def safe() -> bool:
    """True if no import has started threads, which a fork would lose (a GPU's driver does, too).

    Two libraries restart their threads: jemalloc (in pyarrow), and OpenBLAS if ``compute.threads``
    is above 1.
    """
    names = [Path(task, "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    others = len(names) - 1 - names.count("jemalloc_bg_thd")
    blas = os.environ.get("OPENBLAS_NUM_THREADS") != "1"
    return threading.active_count() == 1 and (blas or not others)


SAFE = safe()
gc.collect()
gc.freeze()  # garbage collection skips what has been imported
