"""Midway: do the scores of an intermediate task tell how far its encoder will travel?"""

from pathlib import Path

__version__ = "0.1.0"

#: The project's root: the folder that holds notebooks/, params/ and Snakefile.
ROOT = Path(__file__).resolve().parents[2]
