"""How captions are named: by their perspective, and by the label of their captioner's stage where there are several."""

from __future__ import annotations

ORIGINAL = "original"
"""The caption that the input came with."""


def column_of(captioner: str) -> str:
    """The column with the captions of a captioner."""
    return f"captions_{captioner}" if captioner else "captions"


def text_name(captioner: str, perspective: str) -> str:
    """The name of a text: its perspective, with its captioner before it if that has a label."""
    return f"{captioner}/{perspective}" if captioner else perspective
