"""Launching the workers of a run."""
