"""The pretrained encoder: loading, tokens, batches, heads, training, weights on disk.

Enters: the encoder's settings and rows. Leaves: a model, token batches, a trained encoder.
A new architecture: ``architectures``. What a training step does: ``training``.
"""
