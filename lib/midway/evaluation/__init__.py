"""Scores as XTREME's own scorers compute them, nearest neighbours, features for controls.

Enters: logits or sentence vectors, and gold rows. Leaves: predictions and scores in percent.
A new score: ``metrics``. Search among sentence vectors: ``retrieval``, ``neighbours``.
"""
