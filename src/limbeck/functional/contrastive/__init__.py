"""Contrast of a sample's own teacher row with others: in the batch, in a queue, in a memory, or by a critic."""
