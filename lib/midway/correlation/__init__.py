"""Notebooks 03 and 04: how predictors relate to outcomes, with uncertainty, choice and words.

Input: records of 01 and 02, published numbers, or any table. Output: correlations and sentences.
Tables of a study: ``tables``. A table of one's own: ``any_table``. What may be said: ``words``.
"""
