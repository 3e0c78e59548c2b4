"""Notebook 01: train one variant on an English intermediate task and measure predictors on the way.

Enters: a study, variant and seed. Leaves: a trained encoder and its trajectory of predictors.
A new predictor: ``predictors``.
"""
