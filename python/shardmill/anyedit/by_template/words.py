"""The words of the templates, from `templates/anyedit/words.yaml`, and small ways to use them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import yaml

from shardmill.util.resources import resource_text
from shardmill.util.texts import cached

WORDS = "templates/anyedit/words.yaml"


@cached
def words() -> Mapping[str, Any]:
    """The file of words, read once."""
    loaded: dict[str, Any] = yaml.safe_load(resource_text(WORDS))
    return loaded


def words_digest() -> str:
    """What a stage that uses the words puts into its fingerprint."""
    return sha256(resource_text(WORDS).encode()).hexdigest()


def made(
    edit: str, *, edited_object: str | None, output: str | None, details: Mapping[str, Any], edit_input: str | None = None
) -> dict[str, Any]:
    """An instruction as the functions of this package return it; `edit_input` only where the input is not the row's."""
    instruction = {"edit": edit, "edited_object": edited_object, "output": output, "details": dict(details)}
    return instruction if edit_input is None else {**instruction, "edit_input": edit_input}
