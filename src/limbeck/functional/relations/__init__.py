"""Comparisons of whole sets of features: kernels, moments, similarities."""
