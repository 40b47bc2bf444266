"""Which lexicon objects a text names."""

from __future__ import annotations

import re
from functools import cache

from shardmill.language.function_words import AUXILIARIES
from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.language.nouns import plural

_WORD = re.compile(r"\w+(?:['-]+\w+)*")
# Words that name objects elsewhere, in phrases about the picture itself.
_FIGURES_OF_SPEECH = re.compile(
    r"\b(?:(?:this|the|that|your) (?:image|photo|photograph|picture|video|frame|shot|clip|film)(?! frame)"
    r"|(?:cent(?:er|re) |the |on )stage|(?:the )?spotlights?|on the (?:one|other) hand|at hand|hand in hand"
    r"|signs? of|trace of|shadow of|eye[- ]catching|(?:the|our|your) eyes?|at first light|in (?:a|the) new light|brings? to light"
    r"|in frame|the star of|face to face)\b",
    re.IGNORECASE,
)


def named_objects(text: str) -> list[LexiconEntry]:
    """The lexicon entries that the text names, each once, in order; the longest name wins: a hot dog is no dog."""
    words = _WORD.findall(_FIGURES_OF_SPEECH.sub(" ; ", text).lower().replace("\u2019", "'"))
    index = _by_first_word()
    found: dict[str, LexiconEntry] = {}
    at = 0
    while at < len(words):
        for name, entry in index.get(words[at], ()):
            if tuple(words[at : at + len(name)]) == name:
                found.setdefault(entry.name, entry)
                at += len(name) - 1
                break
        at += 1
    return list(found.values())


@cache
def _by_first_word() -> dict[str, tuple[tuple[tuple[str, ...], LexiconEntry], ...]]:
    names: dict[str, dict[tuple[str, ...], LexiconEntry]] = {}
    for entry in lexicon().entries.values():
        for form in (entry.name, entry.plural, *entry.synonyms, *map(plural, entry.synonyms)):
            words = tuple(_WORD.findall(form.lower()))
            if len(words) == 1 and words[0] in AUXILIARIES:
                continue
            names.setdefault(words[0], {}).setdefault(words, entry)
    return {first: tuple(sorted(forms.items(), key=lambda form: -len(form[0]))) for first, forms in names.items()}
