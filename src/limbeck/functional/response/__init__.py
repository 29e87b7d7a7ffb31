"""Losses on what student and teacher predict: distributions over classes and over vocabularies."""
