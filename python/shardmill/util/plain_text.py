"""Text for people from what programs wrote: safe to print, and short."""

from __future__ import annotations

import re

ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[@-Z\\-_]?")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(text: str) -> str:
    """Text of others for a terminal: characters that it would obey, that reorder a line or that have no bytes are shown escaped.

    The escapes are those of JSON, so that JSON stays what it is.

    >>> visible("a dog" + chr(27) + "]0;owned" + chr(7))
    'a dog\\u001b]0;owned\\u0007'
    """
    return HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text.replace("\r\n", "\n"))


def plain(text: str) -> str:
    """Text of a log without what a terminal would obey. Of a line that was rewritten in place, its last state stays.

    >>> plain("10 %" + chr(13) + "20 %" + chr(27) + "[31m!")
    '20 %!'
    """
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in ESCAPES.sub("", text).split("\n"))
    return CONTROLS.sub("", "\n".join(lines))
