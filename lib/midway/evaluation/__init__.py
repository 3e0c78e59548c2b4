"""From a model's outputs to answers, and from answers to scores as XTREME's own scorers give them.

Enters: logits or sentence vectors, and gold rows. Leaves: predictions and scores in percent.
A new score: ``metrics``. Search among sentence vectors: ``retrieval``, ``neighbours``.
"""
