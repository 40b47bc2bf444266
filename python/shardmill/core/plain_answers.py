"""Answers in plain words where JSON was asked for: a sentence, a list, a choice.

What models say around an answer ("Sure! Here is the caption:", a label, a note) is left out where that is certain. Where it is
not, nothing is guessed: the answer is malformed, and the model is asked again.
"""

from __future__ import annotations

import re

ITEM_MARK = re.compile(r"^\s*(?:[-*•·]\s|[-•·]|\(?\d{1,3}[.):])\s*")
EDGE = " \t\"'“”.*`"
MAX_ITEM_WORDS = 8
"""A longer piece of a comma list is prose, not an item."""
MAX_LABEL_WORDS = 4
OPENER = re.compile(
    r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|alright|great|no problem|got it|understood)\b"
    r"(?:\s*[!.,:;]+(?:\s+|$)|\s+[-–—]\s+|\s+(?=here\b)|\s*$)",
    re.IGNORECASE,
)
NAMING = (
    r"captions?|answers?|outputs?|results?|responses?|sentences?|questions?|texts?|descriptions?|paraphrases?|instructions?"
    r"|objects?|things|items?|lists?|names?|concepts?|verdict|choice|json|versions?|prompts?|edits?"
)
LABEL_WORDS = re.compile(
    rf"(?:{NAMING}|a|an|the|my|your|one|new|final|negated|negative|positive|revised|rewritten|rephrased|paraphrased|updated|modified"
    r"|edited|corrected|possible|visible|image|photo|picture|for|of|with|and|here|is|are|it|in|json|format|requested|you|go|that|i"
    r"|found|main|key|all|detected|would|be|could|this|below|following|as)$",
    re.IGNORECASE,
)
NAMING_WORD = re.compile(rf"\b(?:{NAMING}|here|below|following)\b", re.IGNORECASE)
LABEL = re.compile(r"[#>\s]*[*_]{0,3}([^\W\d][\w'’ -]{0,60}?)[*_]{0,3}:[*_]{0,3}(?:\s+|$)")
LEAD_IN = re.compile(
    rf"(?:the|these|my|final)\s+(?:\w+\s+){{0,3}}(?:{NAMING})\b[^.:,\n]{{0,40}}?\s(?:is|are|include)\b:?\s+", re.IGNORECASE
)
NOTE = re.compile(
    r"[(\[*_]{0,3}(?:note|notes|explanation|reasoning|rationale|justification)\b[^:\n]{0,20}:|i hope (?:this|that|it)\b"
    r"|let me know\b|feel free\b|(?:is|if) there(?: is| 's)? anything\b|please let me\b|would you like\b|do you want\b",
    re.IGNORECASE,
)
NOTE_BEHIND = re.compile(
    r"\s+(?:[(\[](?:Note|Explanation|Reason)\b.*|(?:\*\*)?(?:Note|Explanation|Reasoning|Rationale):.*|I hope (?:this|that|it) .*"
    r"|Let me know\b.*|Feel free to\b.*)$"
)
PREAMBLE = re.compile(
    r"(?:i|i['’](?:ve|ll|m|d)|we|let me|let['’]s|first|as requested|based on|the (?:user|task|caption|instruction|question))\b",
    re.IGNORECASE,
)
PROSE = re.compile(r"(?:i|it|there|this|that|we|you|they|let|here)\b", re.IGNORECASE)
WRAPS = ("***", "**", "__", "`", '"', "'", "“", "*", "_")


class Malformed(ValueError):
    """The answer cannot be read as what was asked for; the message says why."""


def sentence(text: str) -> str | None:
    """The sentence that a text gives; None if it gives none. Raises Malformed."""
    lines = _lines(text)
    if not lines:
        return None
    first = ITEM_MARK.sub("", lines[0], count=1) if ITEM_MARK.match(lines[0]) else lines[0]
    if len(lines) > 1 and PREAMBLE.match(first):
        raise Malformed(f"it is not clear what of the text is the answer: {first[:80]!r}")
    return _unwrapped(NOTE_BEHIND.sub("", first)) or None


def items(text: str) -> list[str]:
    """The items of a list in a text; empty when a piece is too long to be an item. Raises Malformed."""
    lines = [LEAD_IN.sub("", line, count=1) for line in _lines(text)]
    marked = [line for line in lines if ITEM_MARK.match(line)]
    if not lines:
        return []
    if len(lines) > 1 and marked:
        pieces = marked
    elif len(lines) > 1 and "," not in "".join(lines):
        pieces = lines
    else:
        pieces = _enumerated(lines[0])
    found = [ITEM_MARK.sub("", piece).strip(EDGE).removeprefix("and ").strip(EDGE) for piece in pieces]
    found = [item for item in found if item]
    if any(PROSE.match(item) for item in found):
        raise Malformed(f"prose instead of a list: {text[:80]!r}")
    return found if all(len(item.split()) <= MAX_ITEM_WORDS for item in found) else []


def choice_text(text: str) -> str:
    """A text without what is said before a choice."""
    lines = _lines(text)
    return _unwrapped(LEAD_IN.sub("", lines[0], count=1)) if lines else text


def _enumerated(line: str) -> list[str]:
    """The pieces of "a dog, a cat and a ball"."""
    *pieces, last = line.split(",")
    return [*pieces, *last.split(" and ")] if " and " in last.strip() else [*pieces, last]


def _lines(text: str) -> list[str]:
    """The non-empty lines, without what introduces the answer and what follows it. Raises Malformed for an unknown label."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    while lines:
        bare = _without_lead(lines[0])
        if bare == lines[0]:
            break
        lines[:1] = [bare] if bare else []
    if len(lines) > 1 and (lines[0].rstrip(" *").endswith(":") or lines[0].startswith("#")):
        del lines[0]
    end = next((number for number, line in enumerate(lines) if number and NOTE.match(line)), len(lines))
    return lines[:end]


def _without_lead(line: str) -> str:
    """The line without the first of the things that introduce an answer."""
    if found := OPENER.match(line):
        return line[found.end() :]
    if found := LABEL.match(line):
        words = found[1].replace("’", "'").replace("'s", " is").split()
        if all(map(LABEL_WORDS.match, words)) and NAMING_WORD.search(found[1]):
            return line[found.end() :]
        if len(words) <= MAX_LABEL_WORDS and line[found.end() :]:
            raise Malformed(f"it is not clear whether {found[0].strip()[:40]!r} is part of the answer")
    return line


def _unwrapped(line: str) -> str:
    """The line without the quotation marks, bold or code marks that are around all of it."""
    line = line.strip()
    while True:
        mark = next((mark for mark in WRAPS if line.startswith(mark)), "")
        end = "”" if mark == "“" else mark
        if not mark or len(line) <= len(mark + end) or not line.endswith(end) or mark in line[len(mark) : -len(end)]:
            return line if line.strip('"“”') else ""
        line = line[len(mark) : -len(end)].strip()
