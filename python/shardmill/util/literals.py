"""Python literals from data, as older files and models write lists and objects."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import Any


def read_literal(text: str) -> Any:
    """The value of a Python literal; nothing is evaluated.

    Python joins texts without a comma between them, and numpy prints lists without commas: `['dog' 'sofa']` is refused, since it
    would be read as the list of "dogsofa". The caller bounds the length of the text.

    Raises:
        ValueError: If it is no literal, or has such texts.
    """
    try:
        value = ast.literal_eval(text.strip())
        before = None
        for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
            if token.type in (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT):
                continue
            if token.type == before == tokenize.STRING:
                raise ValueError(f"texts without a comma between them, as numpy prints lists: {text[:80]!r}")
            before = token.type
    except (SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError) as error:
        raise ValueError(f"not a Python literal: {text[:80]!r}") from error
    return value
