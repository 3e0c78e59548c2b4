"""Midway: does a better score on an English intermediate task predict better zero-shot transfer?"""

__version__ = "0.1.0"
