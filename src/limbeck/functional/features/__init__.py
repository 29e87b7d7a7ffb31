"""Losses between the features of pairs."""
