"""The sweeps of entropic transport: how they start, how far they go, and what the gradient of their end is."""
