"""A model backend of one file: a text model that answers by looking words up. From this folder:

shardmill launch colours.py:PIPELINE --input my.csv --run RUN --model keyword_model.py:KeywordModel
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from shardmill import Model, Reply

WORDS = ("red", "green", "blue", "yellow", "black", "white", "brown", "grey", "orange", "pink", "purple")


class KeywordModel(Model):
    """Lists the words of the prompt's values that are in `words`.

    A backend is a subclass of Model with a `role` and a method `stream`. Its settings are the keywords of `__init__`; they
    come from the pipeline file, a model file, or `--set STAGE.model.words=[...]`.
    """

    role = "text"

    def __init__(self, words: list[str] | None = None):
        self._words = set(words or WORDS)

    def stream(self, requests: Iterable[Any]) -> Iterator[Reply]:
        """Take requests one by one and give a reply to each, in any order."""
        for request in requests:
            text = " ".join(map(str, request.chat.values.values())).lower()
            found = [word for word in re.findall(r"[a-z]+", text) if word in self._words]
            field = next(iter(request.schema["properties"]))
            yield Reply(request.key, json.dumps({field: found}))
