"""A caption as people and web pages write it, reduced to plain words."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

MAX_CHARS = 2_000
"""No caption names its objects later than this; the rest of a longer text is not read."""

_PERSON = re.compile(r"<\s*person\s*>", re.I)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_URL = re.compile(r"(?:https?://|www\.)\S+|\b[\w.-]+@[\w-]+\.\w+|\b[\w-]+\.(?:com|org|net|co\.uk)\b\S*", re.I)
# A hyphen between blanks, as some data sets write it: "tube - fed", "t - shirt".
_SPACED_HYPHEN = re.compile(
    r"(?<=[a-z]) - (?=(?:[a-z]{2,}ed|fed|length|sleeved?|free|sized|style|old|level|high|long|made|built|class|end|shirts?)\b)",
    re.I,
)
_FILE = re.compile(r"\S+\.(?:jpe?g|png|gif|webp|tiff?|bmp|svg|heic|pdf|psd|eps|mp4|mov)\b", re.I)
_CAMERA_NAME = re.compile(r"\b(?:img|dscn?|dscf|pict?|p|wp|pxl|screenshot)[_-]?\d[\d_-]*\b", re.I)
_HASHTAG = re.compile(r"#\w+")
_QUOTED = re.compile(r'["“”«»][^"“”«»]{1,200}["“”«»]')
_TOKEN = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*|'(?=\s)|\d[\d.,:/]*(?:-?[a-zA-Z]+\b)?|[.,;:!?()\[\]|/&+–—]|-(?=\s)")
_POSSESSIVE = re.compile(r"^(.+?)('s)$")
_SENTENCE_ENDS = frozenset(".!?|:")
_TITLE_SHARE = 0.6


class Token(NamedTuple):
    """One word in lower case.

    `proper`: it is written with a capital where plain English would not have one. `capital`: it is written with a capital.
    """

    text: str
    proper: bool
    capital: bool


def tokens(caption: str) -> list[Token]:
    """The words and punctuation marks of a caption, without markup, addresses, file names, tags, emojis and quoted writing.

    Empty for a caption that is not in Latin script.
    """
    text = _plain(caption)
    letters = [char for char in text if char.isalpha()]
    if sum(char < "\u0250" for char in letters) * 2 < len(letters):
        return []
    raw = [piece for match in _TOKEN.finditer(text) for piece in _pieces(match.group())]
    telling, shouted = _capitals_tell(raw), sum(word.isupper() for word in raw) * 2 > len(raw)
    found: list[Token] = []
    for word in raw:
        starts = not found or found[-1].text in _SENTENCE_ENDS
        capital = word[0].isupper()
        initials = not shouted and word.isupper() and 1 < len(word) < 4
        found.append(Token(word.lower(), capital and (initials or (telling and not starts)), capital))
    return found


def _plain(caption: str) -> str:
    text = caption[: MAX_CHARS + 1]
    if len(text) > MAX_CHARS:
        text = text[:MAX_CHARS].rpartition(" ")[0] or text[:MAX_CHARS]
    text = _PERSON.sub(" person ", html.unescape(text))
    text = text.replace("’", "'").replace("‘", "'")
    text = _SPACED_HYPHEN.sub("-", text)
    for noise in (_TAG, _URL, _FILE, _CAMERA_NAME):
        text = noise.sub(" ", text)
    text = _HASHTAG.sub(lambda match: f" | {match.group()[1:]} | ", text)
    return _QUOTED.sub(" , ", text)


def _pieces(token: str) -> list[str]:
    possessive = _POSSESSIVE.match(token)
    if possessive:
        return [possessive.group(1), "'s"]
    return [token]


def _capitals_tell(words: list[str]) -> bool:
    """Whether a capital marks a name here: not in a title, where most words have one, nor in shouting."""
    long = [word for word in words if len(word) > 3 and word[0].isalpha()]
    capital = sum(word[0].isupper() for word in long)
    return not (len(long) >= 2 and capital >= _TITLE_SHARE * len(long))
