"""The pretrained encoder: loading, tokens, batches, heads, training, weights on disk.

Input: the encoder's settings and rows. Output: a model, token batches, a trained encoder.
A new architecture: ``architectures``. What a training step does: ``training``.
"""
