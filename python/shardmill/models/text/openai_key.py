"""Keys of servers: where they are kept, and how they are kept out of messages."""

from __future__ import annotations

import os
from pathlib import Path

from shardmill.util.errors import UserError


def read_key(variable: str) -> str | None:
    """The key in an environment variable, or in the file that the variable of that name with _FILE names; None without either.

    Raises UserError for a file that cannot be read, and for what cannot be a key.
    """
    key = os.environ.get(variable, "").strip()
    path = os.environ.get(f"{variable}_FILE")
    if not key and path:
        try:
            key = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{variable}_FILE names {path}, which cannot be read ({type(error).__name__})") from None
    if key and not is_key(key):
        raise UserError(f"what {variable} or {variable}_FILE gives is no key: a key is one line of plain characters")
    return key or None


def is_key(text: str) -> bool:
    """It can stand in the header of a request."""
    return text.isascii() and text.isprintable() and " " not in text


def hidden(body: bytes, key: str | None) -> bytes:
    """What a server said, without the key that it was given."""
    return body.replace(key.encode(), b"[key]") if key else body
