"""Keeps a server's API key out of messages and logs: what a server says of an error often repeats the key that it was sent."""

from __future__ import annotations

import re
from functools import lru_cache

MIN_SECRET = 8
"""A shorter key is no secret: local servers are given "-", "EMPTY" and the like, which are parts of ordinary text."""
MAX_WORD = 12
"""A key made only of words up to this length ("not-needed", "lm-studio") is no secret either."""
REPLACEMENT = "[key]"


def is_secret(key: str | None) -> bool:
    """Whether a key is worth hiding: long enough, and more than a few words.

    >>> [is_secret(key) for key in ("-", "EMPTY", "no-key-required", "sk-a8Xk2")]
    [False, False, False, True]
    """
    if key is None or len(key) < MIN_SECRET:
        return False
    words = re.split(r"[\W_]+", key)
    return not all(word.isalpha() and len(word) <= MAX_WORD for word in words if word)


def redact(text: str, key: str | None) -> str:
    """A message without the key, also where the key is escaped (as in JSON, a URL or HTML) or cut off after its beginning."""
    return _pattern(key).sub(REPLACEMENT, text) if key is not None and is_secret(key) else text


@lru_cache(maxsize=64)
def _pattern(key: str) -> re.Pattern[str]:
    """Matches the first characters of a key, each plain or escaped, and all that follows up to a blank or a quotation mark."""
    return re.compile("".join(_any_form(character) for character in key[:MIN_SECRET]) + r"[^\s\"'<>]*")


def _any_form(character: str) -> str:
    code = f"{ord(character):x}"
    either_case = f"(?i:{code})"
    escapes = (
        rf"\\+u00{either_case}",
        rf"\\+x{either_case}",
        f"%{either_case}",
        f"&#x0*{either_case};",
        f"&#0*{ord(character)};",
    )
    return rf"(?:\\*{re.escape(character)}|{'|'.join(escapes)})"
