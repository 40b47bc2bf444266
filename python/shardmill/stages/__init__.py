"""Stages that several pipelines use."""
