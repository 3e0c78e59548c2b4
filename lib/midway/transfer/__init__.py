"""Notebook 02: carry an encoder to the nine XTREME tasks and score it in every language.

Enters: an encoder of 01. Leaves: scores for each target and language, and predictions.
Baselines beside the scores: ``controls``. Scoring a folder of predictions: ``submission``.
"""
