"""Noise schedules, and steps along them."""
