"""Midway: do the scores of an intermediate task tell how far its encoder will travel?"""

import os
from pathlib import Path

__version__ = "0.1.0"

#: The project's root: the folder that holds notebooks/, params/ and Snakefile.
ROOT = Path(__file__).resolve().parents[2]


def root() -> Path:
    """The project: the folder of notebooks/, params/, outputs/ and Snakefile."""
    return Path(os.environ.get("MIDWAY_ROOT") or ROOT).resolve()
