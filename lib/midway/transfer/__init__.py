"""Notebook 02: fine-tune an encoder on the nine XTREME tasks and score it in every language.

Input: an encoder of 01. Output: scores for each target and language, and predictions.
Baselines beside the scores: ``controls``. Scoring a folder of predictions: ``submission``.
"""
