"""Class names as data sets write them, made readable: "n01440764 tench, Tinca tinca" is a tench, "fire_truck (12)" a truck."""

from __future__ import annotations

import html
import re
import unicodedata

from shardmill.language.proper_names import is_common

MAX_WORDS, MAX_CHARACTERS = 6, 60
MAX_READ = 1_000
"""Characters of a text that are looked at: no name is as long, and what stands behind would only take time."""

_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‐": "-", "‑": "-"})
_WORDNET = re.compile(r"^n\d{8}(?!\d)[\s_:-]*")
# "001.Black_footed", "12) kite", "7_dog": but neither "18-wheeler" nor "3d printer".
_NUMBERING = re.compile(r"^(?:\d+\s*[.):_]\s*|0\d+[\s-]+|\d+\s+)(?=\D)")
_FOLDERS = re.compile(r"^/?(?:[a-z]/)?")
_IN_OR_OUT = re.compile(r"[/,]\s*(?:indoor|outdoor|interior|exterior|inside|outside)s?$", re.IGNORECASE)
_PARENTHESES = re.compile(r"\s*[(\[{][^()\[\]{}]*[)\]}]?\s*$")
_ALTERNATIVES = re.compile(r"\s*[,;/|]\s*")
_COUNT = re.compile(r"(?:\s*[:#=]\s*|\s+[x×]\s*|_|-)\d[\d,.]*$|(?P<plain>\s+\d[\d,.]*)$")
_SPACES = re.compile(r"[\s_+]+")
_STRAY = re.compile(r"[^\w\s'&.-]")
_EDGE = " \t\r\n.,;:!?\"'*•-–#"
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")


def clean(text: str) -> str:
    """The name in one line, case as it was: without marks, underscores, numbering, ids, remarks in parentheses and counts.

    Of names that stand for the same thing ("tench, Tinca tinca") the first is taken.
    """
    text = unicodedata.normalize("NFKC", html.unescape(text[:MAX_READ])).translate(_QUOTES)
    text = "".join(" " if unicodedata.category(mark) in ("Cc", "Cf", "Zl", "Zp") else mark for mark in text)
    text = _WORDNET.sub("", text.strip())
    text = _NUMBERING.sub("", text)
    text = _IN_OR_OUT.sub("", _FOLDERS.sub("", text))
    text = _without_end(text.replace("_", " ") if "_(" in text else text)
    text = next((each for each in _ALTERNATIVES.split(text) if each), "")
    text = _SPACES.sub(" ", _without_end(text))
    return text.strip(_EDGE)


def form_problem(name: str) -> str | None:
    """Why a cleaned text is no name by its form; None when it may be one."""
    letters = [mark for mark in name if mark.isalpha()]
    if not letters:
        return "no word"
    if not all(map(_LATIN.match, letters)):
        return "another script"
    if len(letters) == 1:
        return "one letter"
    if _STRAY.search(name):
        return "stray marks"
    if len(name) > MAX_CHARACTERS or len(name.split()) > MAX_WORDS:
        return "too long"
    return None


def _without_end(text: str) -> str:
    """The text without counts and remarks in parentheses behind it."""
    while True:
        shorter = _PARENTHESES.sub("", text)
        count = _COUNT.search(shorter)
        if count and (not count["plain"] or _is_countable(shorter[: count.start()])):
            shorter = shorter[: count.start()]
        if shorter == text or not shorter.strip(_EDGE):
            return text
        text = shorter


def _is_countable(name: str) -> bool:
    """Whether a number behind the name counts; behind a make's name it says which model."""
    last = re.split(r"[\s_]", name.strip())[-1]
    return last.islower() or is_common(last)
