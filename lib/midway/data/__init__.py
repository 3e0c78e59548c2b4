"""Rows of any task, from the miniature, official files or the hub, in one schema for each kind.

Input: a task, split, language and the study's data settings. Output: a ``datasets.Dataset``.
A new file format: ``readers``. A new source: beside ``local`` and ``hub``. The miniature: ``mini``.
"""
