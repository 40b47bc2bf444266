"""Whether an answer declines a question because the thing that it asks about is not there."""

from __future__ import annotations

import re

from shardmill.language.relations import mentions

CANNOT = re.compile(
    r"\b(?:can ?not|can[’']t|could not|couldn[’']t|unable to|not able to|(?:im|not )possible to|no way to)\b", re.IGNORECASE
)
SHOW = r"(?:show|contain|have|include|feature|depict|exist|appear)"
SEEN = r"(?:present|visible|shown|seen|there|in|any|pictured|depicted)"
ABSENT = re.compile(
    rf"\b(?:there (?:is|are) (?:no|not|none)|there (?:isn|aren)[’']t|(?:is|are) (?:absent|missing|nowhere)|"
    rf"(?:do|does|did) not {SHOW}|(?:do|does)n[’']t {SHOW}|(?:is|are) not {SEEN}|(?:is|are)n[’']t {SEEN}|"
    rf"no such|without any|lacks?)\b",
    re.IGNORECASE,
)
CLAUSES = re.compile(r"(?<=[.!?])\s+|[,;]\s+(?:and|but|while|where)\s+")
OPENING = 240
"""An answer that declines does so at its beginning; further on it may speak of other things that are not there."""
YES, NO = re.compile(r"^\W*(?:yes|yeah|yep|correct)\b", re.IGNORECASE), re.compile(r"^\W*(?:no|nope)\b", re.IGNORECASE)


def declines(answer: str, name: str) -> bool:
    """Whether an answer says, near its beginning, that it cannot be given or that `name` is not there.

    >>> declines("There is no mirror in this image, so I cannot say.", "mirror")
    True
    >>> declines("The mirror reflects the window.", "mirror")
    False
    """
    opening = answer[:OPENING]
    if CANNOT.search(opening) or re.match(rf"^\W*no {re.escape(name)}\b", opening, re.IGNORECASE):
        return True
    return any(mentions(sentence, name) and ABSENT.search(sentence) for sentence in CLAUSES.split(opening))


def says_yes(answer: str, name: str) -> bool | None:
    """What an answer to "is there …?" says: yes, no, or neither (None)."""
    if NO.match(answer) or declines(answer, name):
        return False
    if YES.match(answer) or re.match(r"^\W*there (?:is|are)\b", answer, re.IGNORECASE):
        return True
    return None
