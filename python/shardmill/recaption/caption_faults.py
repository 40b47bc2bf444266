"""What a caption must not be, whatever it is about: empty, a refusal, its own prompt, a loop, or in another script."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

REFUSAL = re.compile(
    r"^\W*(?:i'?m |i am )?(?:sorry|apologi[sz]e)\b|\bas an? (?:ai|language model|assistant)\b|"
    r"\bi (?:can(?:no|')?t|am (?:not able|unable)|'?m (?:not able|unable)|do not|don't) (?:\w+ )?"
    r"(?:see|view|describe|analy[sz]e|help|assist|identify|provide|access|have)\b|"
    r"\b(?:no|without an?|not see an?y?) (?:image|picture|photo) (?:was |is |has been )?(?:provided|attached|given|uploaded)\b|"
    r"\bplease (?:provide|upload|share|attach)\b",
    re.IGNORECASE,
)
OPENING = re.compile(
    r"^(?:in )?(?:the|this) (?:image|picture|photo|photograph)(?: (?:here|provided|above))?,?\s+"
    r"(?:shows?|depicts?|displays?|features?|captures?|portrays?|presents?|contains?|is (?:a (?:photo|picture) )?of)\s+(?=\w)",
    re.IGNORECASE,
)
WORD = re.compile(r"\w+(?:['’]\w+)*")
MAX_LOOP_WORDS = 24
"""Words of the longest passage that is looked for in a loop."""
ECHO = 5
"""Words in a row that a caption and its prompt may not share."""
FOREIGN = 0.2
"""Share of letters of other scripts from which on a caption is in another script; a quoted sign or name is below."""


def fault_of(text: str, prompt: str, script: str = "LATIN") -> str | None:
    """Why a text is no caption; None when it may be one. `script` is a Unicode script, or "any"."""
    words = [word.lower() for word in WORD.findall(text)]
    if not words:
        return "empty caption"
    if REFUSAL.search(text):
        return "refusal"
    if _echoes(words, [word.lower() for word in WORD.findall(prompt)]):
        return "prompt echo"
    if _loops(words):
        return "repetition loop"
    if script != "any" and _foreign(text, script) > FOREIGN:
        return "another script"
    return None


def without_opening(text: str) -> str:
    """The text without an opening such as "The image shows", which says nothing."""
    found = OPENING.match(text)
    return text if found is None else text[found.end()].upper() + text[found.end() + 1 :]


def _echoes(words: list[str], prompt: list[str]) -> bool:
    asked = {tuple(prompt[at : at + ECHO]) for at in range(len(prompt) - ECHO + 1)}
    return any(tuple(words[at : at + ECHO]) in asked for at in range(len(words) - ECHO + 1))


def _loops(words: list[str]) -> bool:
    """A passage said three times in a row (four times if it is one or two words), or one thing over and over."""
    for size in range(1, min(MAX_LOOP_WORDS, len(words) // 3) + 1):
        times = 4 if size < 3 else 3
        if any(run >= (times - 1) * size for run in _runs(words, size)):
            return True
    passages = Counter(tuple(words[at : at + 6]) for at in range(len(words) - 5))
    return bool(passages) and max(passages.values()) >= 3


def _runs(words: list[str], size: int) -> Iterator[int]:
    """How many words in a row are the same as the word `size` places before, for each such run."""
    run = 0
    for at in range(size, len(words)):
        run = run + 1 if words[at] == words[at - size] else 0
        yield run


def _foreign(text: str, script: str) -> float:
    letters = [letter for letter in text if letter.isalpha()]
    own = sum(unicodedata.name(letter, "").startswith(script) for letter in letters)
    return 1 - own / len(letters) if letters else 0.0
