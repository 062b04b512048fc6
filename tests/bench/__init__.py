"""Measurements, each a ratio in one run; figures in RESULTS.md."""
