"""Stages that several pipelines use, each with options for the columns that it reads."""
