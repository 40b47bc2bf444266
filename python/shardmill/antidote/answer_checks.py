"""Whether an answer declines a question because the thing that it asks about is not there."""

from __future__ import annotations

import re

from shardmill.language.relations import mentions

OPENING = 240
"""An answer that declines does so at its beginning; further on it may speak of other things that are not there."""
CLAUSES = re.compile(r"(?<=[.!?])\s+|[,;]\s+(?:and|but|while|where|although|though)\s+")

UNABLE = (
    r"(?:can ?not|can't|could not|couldn't|am not able to|'m not able to|are not able to|am unable to|'m unable to|are unable to)"
)
TELL = r"(?:answer|say|tell|determine|know|describe|identify|judge|comment|provide|give)"
CANNOT = re.compile(
    rf"\b(?:I|we|one)\s*{UNABLE} (?:\w+ ){{0,2}}{TELL}\b|\b(?:it is|it's) (?:not possible|impossible) to (?:\w+ )?{TELL}\b|"
    rf"\b(?:there is|there's) no way (?:to|of) {TELL}|"
    r"\b(?:can ?not|can't|could not|couldn't) be (?:answered|determined|told|said)\b|"
    r"\bunanswerable\b",
    re.IGNORECASE,
)
"""That nobody could answer, whatever it is about."""

THING = "\N{OBJECT REPLACEMENT CHARACTER}"
SMALL = r"(?:(?!around|on|in|of|the|near|behind|with|by|at|from|for|to|and|or)[\w'-]+ ){0,2}"
"""Words that may stand between "no" and the thing: adjectives, and none that begins something else."""
SHOW = r"(?:show|contain|have|has|include|feature|depict|display|see|find|spot|detect|notice|observe|make out)"
HERE = r"(?:present|visible|shown|seen|there|here|pictured|depicted|included|in (?:this|the) (?:image|picture|photo|scene|frame))"
NOT = r"(?:not|n't|never)"
ABSENT = re.compile(
    rf"\b(?:no|not any|without|lacks?|lacking|free of|devoid of) (?:(?:a|an|any) )?{SMALL}{THING}|"
    rf"(?:\b(?:not|never)|n't) (?:\w+ ){{0,2}}?{SHOW} (?:(?:a|an|any|the) )?{SMALL}{THING}|"
    rf"{THING}\S* (?:\w+ )?(?:is|are|was|were|does|do|did|to be|seems?|appears?)\s?{NOT}?(?: \w+){{0,3}}? "
    r"(?:absent|missing|nowhere)\b|"
    rf"{THING}\S* (?:is|are|was|were|does|do|did)(?: not|n't)(?: (?!in\b)\w+){{0,3}}? (?:{HERE}|exist|appear)\b|"
    rf"{THING}\S* (?:is|are) (?:absent|missing|nowhere)\b|"
    rf"\b(?:isn't|aren't|is not|are not) (?:a|an|any) {SMALL}{THING}",
    re.IGNORECASE,
)
NONE = re.compile(
    r"\b(?:there (?:is|are) none|there (?:isn't|aren't|is not|are not) (?:any|one|such)\b|"
    rf"none (?:is|are) {HERE}|no such (?:object|thing|item)|"
    r"nothing of the (?:kind|sort))",
    re.IGNORECASE,
)
YES = re.compile(r"^\W*(?:yes|yeah|yep|correct)\b|\banswer is yes\b", re.IGNORECASE)
NO = re.compile(r"^\W*(?:no|nope|none)\b|\banswer is no\b", re.IGNORECASE)
THERE = re.compile(
    rf"\bthere(?: is| are|'s) (?:(?:a|an|the|some) )?{SMALL}{THING}|{THING}\S* (?:is|are) {HERE}|"
    rf"\b(?:shows?|contains?|has|have|includes?|features?|depicts?|displays?|see) (?:(?:a|an|the|some) )?{SMALL}{THING}",
    re.IGNORECASE,
)


def declines(answer: str, name: str | None = None) -> bool:
    """Whether an answer says, near its beginning, that it cannot be given or that `name` is not there.

    >>> declines("There is no mirror in this image, so I cannot say.", "mirror")
    True
    >>> declines("The mirror reflects the window.", "mirror")
    False
    """
    opening = answer[:OPENING].translate({0x2019: "'"})
    if CANNOT.search(opening) or NONE.search(opening):
        return True
    return name is not None and any(ABSENT.search(clause) for clause in CLAUSES.split(_marked(opening, name)))


def affirms(text: str, name: str) -> bool:
    """Whether a text speaks of a thing without saying that it is not there."""
    clauses = CLAUSES.split(_marked(text.translate({0x2019: "'"}), name))
    return any(THING in clause and not ABSENT.search(clause) for clause in clauses)


def says_yes(answer: str, name: str) -> bool | None:
    """What an answer to "is there …?" says: yes, no, or neither (None)."""
    if YES.search(answer):
        return True
    if NO.search(answer) or declines(answer, name):
        return False
    return True if THERE.search(_marked(answer.translate({0x2019: "'"}), name)) else None


def _marked(text: str, name: str) -> str:
    """The text with one sign in place of each mention of the thing."""
    for start, end in sorted(mentions(text, name), reverse=True):
        text = text[:start] + THING + text[end:]
    return text
