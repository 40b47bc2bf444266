"""A pipeline of one file. From this folder:

shardmill launch colours.py:PIPELINE --input my.csv --run RUN [--model NAME]
"""

from __future__ import annotations

from pydantic import BaseModel

from shardmill import Pipeline, TextStage


class Colours(BaseModel):
    colours: list[str]


class CountColours(TextStage):
    """caption (text) -> colours (list): the colours that the caption names."""

    name, reads, adds = "count_colours", ("caption",), {"colours": "list"}
    prompt = "count_colours.md"
    answer = Colours


PIPELINE = Pipeline("colours", stages=[CountColours])
