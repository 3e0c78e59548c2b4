"""Scores as XTREME's own scorers compute them, nearest neighbours, features for controls.

Input: logits or sentence vectors, and gold rows. Output: predictions and scores in percent.
A new score: ``metrics``. Search among sentence vectors: ``retrieval``, ``neighbours``.
"""
