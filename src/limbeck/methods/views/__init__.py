"""Methods that ask student and teacher about other inputs than those of the batch."""
