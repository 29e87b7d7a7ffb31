"""Clips that can be seen and heard: the official layouts of four data sets on disk, and what makes them unpaired."""
