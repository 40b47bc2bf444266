"""Helpers without knowledge of stages, runs or models."""
