"""Notebook 01: train one variant on an English intermediate task and measure predictors meanwhile.

Input: a study, variant and seed. Output: a trained encoder and its trajectory of predictors.
A new predictor: ``predictors``.
"""
