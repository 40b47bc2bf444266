"""Captions that show nothing: web pages write advice, questions, opinions and headlines beside their pictures."""

from __future__ import annotations

import re

from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "prose.yaml")
_ASKS = _LISTS.words("asks")
_TELLS = _LISTS.words("tells")
_MODALS = _LISTS.words("modals")
_ABILITIES = _LISTS.words("abilities")
_SEEN = re.compile(rf"\b(?:{'|'.join(_LISTS.phrases('seen'))})\b")
_REPORTS = _LISTS.words("reports")
_IDEAS = _LISTS.words("ideas")
_PERSONS = _LISTS.words("persons")
_VISUAL = _LISTS.words("visual")
_OPINIONS = re.compile(rf"\b(?:{'|'.join(map(re.escape, _LISTS.phrases('opinions')))})\b")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|'[a-z]+|[.!?:$]")
_QUOTED = re.compile(r'["“][^"”]{1,200}["”]')
_BEGINS = _LISTS.words("begins")
_FIRST_WORDS = 5
"""An idea that a caption is about is named this early."""
_MAX_CHARS = 400


def prose_problem(caption: str) -> str | None:
    """What a caption is that shows nothing: "question", "advice", "headline" or "idea"; None if it may describe a picture."""
    words = _WORD.findall(_QUOTED.sub(" ", caption[:_MAX_CHARS]).lower().replace("’", "'").replace(" 's", "'s"))
    text = " ".join(words)
    if not words or not _VISUAL.isdisjoint(words) or _SEEN.search(text):
        return None
    addressed = not _PERSONS.isdisjoint(words)
    modal = not _MODALS.isdisjoint(words)
    if words[0] in _ASKS and (words[-1] == "?" or words[0] in ("how", "why", "what", "if", "ever") or addressed):
        return "question"
    if words[0] in _TELLS and len(words) > 2 and words[1] not in ("this", "these"):
        return "advice"
    if addressed and (modal or not _ABILITIES.isdisjoint(words)):
        return "advice"
    # Who describes a picture begins with what it shows: "a man who will".
    if words[0] not in _BEGINS and (modal or not _REPORTS.isdisjoint(words)):
        return "headline"
    if _OPINIONS.search(text):
        return "idea"
    return "idea" if not _IDEAS.isdisjoint(words[:_FIRST_WORDS]) else None
