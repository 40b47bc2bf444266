"""What the texts of an edit instruction must look like, whatever its type; and the quoted texts in them. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shardmill.language.appearance import words_of
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.anyedit", "instruction_form.yaml")

VERBS: dict[str, tuple[str, ...]] = {
    "add": ("add", "place", "include", "put", "insert"),
    "remove": ("remove", "erase", "delete", "take out", "get rid of"),
    "replace": ("replace", "change", "alter", "swap", "exchange"),
    "color_alter": ("change", "alter", "turn", "recolor", "paint", "make"),
    "appearance_alter": ("make", "turn", "change"),
    "material_change": ("change", "alter", "turn", "make"),
    "action_change": ("change", "turn", "make", "have", "let"),
    "background_change": ("change", "alter", "turn", "replace", "swap", "set"),
    "tune_transfer": ("make", "change", "turn", "set"),
    "textual_change": ("change", "alter", "replace", "turn", "swap"),
}
"""The verbs that an instruction of each type is asked to begin with; one is drawn each time."""

_IMPERATIVES = frozenset(verb.split()[0] for verbs in VERBS.values() for verb in verbs) | _LISTS.words("further_imperatives")
_OPENERS = re.compile(r"^(?:please|now|then|also|next|finally)\b,?\s*", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\b(?:i(?:['’]?m| am) (?:sorry|unable|not able)|i (?:cannot|can['’]?t|won['’]?t)|as an ai|sorry,|unfortunately|"
    r"(?:here (?:is|are)|sure,|certainly|of course)[^.]*|note that|i (?:have|would|will|chose))\b",
    re.IGNORECASE,
)
_LABELS = re.compile(r"^\s*(?:edit|edited|output|input|caption|instruction|answer|new caption|result)\s*[:=]", re.IGNORECASE)
_OF_CAPTION = re.compile(
    r"\b(?:caption|description|sentence|(?:edited|new|updated|resulting|modified|original) (?:image|picture|photo|scene)|"
    r"(?:has|have) been (?:added|removed|replaced|changed|edited|altered)|(?:added|removed|erased) from the|no longer|"
    r"(?:is|are|was|were) (?:added|removed|replaced|erased|deleted))\b",
    re.IGNORECASE,
)
_MARKS = re.compile(r"[\[\]{}<>|\\\n\r\t*=#@]")
_SENTENCE_END = re.compile(r"[.!?](?=\s+\S)")
_QUOTES = str.maketrans("‘’‚‛“”„‟«»", '\'\'\'\'""""""')
_QUOTED = re.compile(r"(?<![\w'])(?:\"([^\"]+)\"|'(.+?)')(?!\w)")

MIN_EDIT, MAX_EDIT = 3, 25
MAX_MORE = 14
"""So many words may a caption be longer after the edit than before."""


def form_problem(edit: str, output: str, caption: str) -> str | None:
    """Why an instruction and its output caption are no such texts by their form alone; None when they are."""
    return next(_form_faults(edit, output, caption), None)


def _form_faults(edit: str, output: str, caption: str) -> Iterator[str]:
    for text in (edit, output):
        bare = without_quoted(text)
        if _REFUSAL.search(bare) and not _REFUSAL.search(caption):
            yield "preamble or refusal"
        if _LABELS.match(bare) or not set(_MARKS.findall(text)) <= set(caption):
            yield "stray marks"
        if _foreign(text, caption):
            yield "another script"
    if first_verb(edit) not in _IMPERATIVES or edit.rstrip().endswith("?"):
        yield "not an instruction"
    if not MIN_EDIT <= len(edit.split()) <= MAX_EDIT:
        yield "instruction too short or too long"
    if _SENTENCE_END.search(without_quoted(edit).rstrip()):
        yield "several sentences"
    if not 2 <= len(output.split()) <= len(caption.split()) + MAX_MORE or output.rstrip().endswith("?"):
        yield "output is not a caption"
    if plain(output) == plain(edit) or (_OF_CAPTION.search(without_quoted(output)) and not _OF_CAPTION.search(caption)):
        yield "output speaks of the edit"
    if plain(output) == plain(caption):
        yield "output same as input"


def first_verb(edit: str) -> str:
    """The word that an instruction begins with, after "please" and the like."""
    return next(iter(words_of(_OPENERS.sub("", edit))), "")


def plain(text: str) -> str:
    """A text for comparison: case, punctuation at the end, kinds of quotes and blanks do not count."""
    return " ".join(straight(text).casefold().split()).strip(" .!'\"")


def straight(text: str) -> str:
    """The text with straight quotes only."""
    return text.translate(_QUOTES)


def quoted(text: str) -> list[str]:
    """The quoted pieces of a text, in single or double, straight or curly quotes; the apostrophe of "Joe's" is no quote."""
    return [" ".join((match[1] or match[2]).split()) for match in _QUOTED.finditer(straight(text))]


def without_quoted(text: str) -> str:
    """The text without what stands in quotes, of which nothing is expected."""
    return _QUOTED.sub("''", straight(text))


def _foreign(text: str, caption: str) -> bool:
    letters = {letter for letter in text if letter.isalpha() and letter > "\u024f"}
    return not letters <= set(caption)
