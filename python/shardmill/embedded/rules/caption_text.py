"""Which captions a sentence can be built around: clean, short English prose."""

from __future__ import annotations

import re
from html import unescape

from shardmill.language.function_words import (
    ADVERBS,
    AUXILIARIES,
    DETERMINERS,
    JOINS,
    MEDIA,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVES,
    VERBS,
)
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import is_mass, is_plural
from shardmill.language.proper_names import capitalized, is_plain
from shardmill.language.scopes import scopes
from shardmill.language.word_lists import word_set

_MAX_WORDS = 60
_QUOTES = "\"'\u2018\u2019\u201c\u201d"
_PERSON = re.compile(r"<person>", re.IGNORECASE)
_WORD = re.compile("[\\w'\u2019-]+")
_DEBRIS = re.compile(
    r"https?:|www\.|\.(?:jpe?g|png|gif|com|org|net)\b|[|@{}\[\]<>=\\]|"
    r"\b(?:royalty|shutterstock|getty|alamy|free download|clip ?art|"
    r"pinterest|image \d+|photo \d+|\d+ of \d+|prices?(?! tags?\b)|coupon)\b|"
    r"(?<!for )(?<!on )(?<!bake )(?<!yard )(?<!garage )\bsale\b(?! -| signs?\b| posters?\b)",
    re.IGNORECASE,
)
# Marks, numbers of pictures and sizes of screens, which a caption reads as well without.
_CLUTTER = re.compile(
    r"\([^()]*\d{5,}[^()]*\)|(?:\b(?:no|nr|id|ref)\b[.:]? ?)?(?: - )?\b\d{5,}\b|"
    r"[#©®™*~]|\b(?:hd|4k|1080p?)\b|"
    r"\broyalty(?: ?-)? free\b(?: stock (?:photo|image|illustration)s?)?|"
    r"\bstock (?:photos?|images?|(?=vector))|(?<= )- \d+ of \d+\b|\.{2,}|…|--+",
    re.IGNORECASE,
)
# What is left of a phrase that somebody did not finish: "a bus with advertising on the".
_CUT_OFF = re.compile(
    r"(?:,? (?:in|on|at|of|with|to|from|by|for|and|near|under|over|beside|behind))*,? (?:an?|the|and|of)$", re.IGNORECASE
)
_BEFORE_MARK = re.compile(r" (?=[,.;:!?](?:\s|$)|['’]s\b)()")
_SHOUTED = 0.5
"""A caption with a larger share of capitals than this is written in capitals."""
_PLAIN = 0.8
"""A caption with a smaller share of letters and blanks than this is no sentence."""
_DECORATION = re.compile("<3|</?\\w+>|[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")
_NEGATION = re.compile("\\b(?:no|not|none|never|nor|neither|without|nothing)\\b|n['\u2019]t\\b", re.IGNORECASE)
_CLOSED = DETERMINERS | PREPOSITIONS | JOINS | PRONOUNS | ADVERBS | {"and", "or", "of"}
# Openers of captions that are plain words; what is not known to be one keeps its capital, for it may be a name.
_OPENERS = _CLOSED | word_set(
    "young old elderly senior adult beautiful pretty cute happy smiling little small tiny big large huge tall short long wide",
    "black white red blue green yellow brown orange pink purple gray grey dark bright colorful colourful vintage antique",
    "modern new wooden empty crowded busy abandoned traditional portrait photo picture image photograph illustration painting",
    "drawing view close close-up closeup aerial front rear back side top interior exterior group couple pair bunch row pile",
    "set many several few two three four five six seven eight nine ten dozens hundreds people male female delicious fresh",
    "homemade wild domestic sunny cloudy rainy snowy beautifully freshly various different single lone lots plenty tourists",
    "here detail shot scene",
)
_DETERMINED = DETERMINERS | word_set("several many few six seven eight nine ten")
_SUBORDINATES = RELATIVES | word_set("as while when where because")
_VIEWS = word_set("close close-up closeup portrait image pictured selfie collage shown display")
_NOT_VERBS = word_set("glasses jeans pants its his hers less across towards news series perhaps always sometimes yes")


def usable(caption: str) -> str | None:
    """The caption, cleaned and without its full stop, never in capitals; None if no sentence can be built around it."""
    text = " ".join(_DECORATION.sub("", _with_persons(unescape(caption))).split())
    text = " ".join(_CLUTTER.sub(" ", text).split())
    text = _BEFORE_MARK.sub("", text).strip(_QUOTES + " ").rstrip(".!?,;: -").strip()
    text = _CUT_OFF.sub("", text)
    words = _WORD.findall(text)
    if not 2 <= len(words) <= _MAX_WORDS or _DEBRIS.search(text):
        return None
    if sum(map(str.isupper, text)) > _SHOUTED * sum(map(str.isalpha, text)):
        text = text.lower()
    if text.islower():
        text = capitalized(text)
    plain = sum(letter.isascii() and (letter.isalpha() or letter == " ") for letter in text)
    if plain < _PLAIN * len(text):
        return None
    return text


def lower_first(text: str) -> str:
    """The text for the middle of a sentence: its first word in lower case if it is a plain word, not a name or an acronym."""
    first = _WORD.match(text)
    if first is None or not first[0].istitle():
        return text
    word = first[0].lower()
    known = word in _OPENERS or word in VERBS or lexicon().exact(word) is not None or is_plain(word)
    second = _WORD.search(text, first.end())
    named = second is not None and second[0].istitle() and word not in _CLOSED
    return text[:1].lower() + text[1:] if known and not named else text


def kind(text: str) -> str:
    """ "clause" for a whole sentence, "phrase" for a noun phrase with its article, "any" where it is not sure which."""
    words = [word.lower() for word in _WORD.findall(text)]
    whole = words[0] in _DETERMINED or words[0] == "there" or is_plural(words[0]) or is_mass(words[0])
    if not whole or re.search(r"[.!?;:]\s", text) or _negates(text):
        return "any"
    main = next((at for at, word in enumerate(words) if word in _SUBORDINATES), len(words))
    if any(_finite(words[at], words[at - 1]) for at in range(1, main)):
        return "clause"
    named = lower_first(text)[0].isupper() or any(word in MEDIA | _VIEWS for word in words[:4])
    return "any" if named or any(_maybe_verb(words, at) for at in range(1, len(words))) else "phrase"


def _finite(word: str, before: str) -> bool:
    if word in {"is", "are", "was", "were", "has", "have"}:
        return True
    if word not in VERBS or word in AUXILIARIES or before in DETERMINERS or before in PREPOSITIONS or before == "of":
        return False
    return word.endswith("s") and not word.endswith("ss") and lexicon().exact(word) is None


def _maybe_verb(words: list[str], at: int) -> bool:
    """Whether the word at `at` may be a verb. One that is not on the list looks like a noun, so any sign of it counts:
    an -s that is not a known plural, a new noun phrase with nothing to join it, a plain word after a plural noun.
    """
    word, before = words[at], words[at - 1]
    joined = before in _CLOSED or before in VERBS or before.endswith(("ing", "ed"))
    if word in _CLOSED - DETERMINERS or word.endswith(("ing", "ed")):
        return False
    if word in VERBS or (word in DETERMINERS and not joined):
        return True
    if word.endswith("s") and not word.endswith("ss") and word not in _NOT_VERBS and lexicon().exact(word) is None:
        return True
    return not joined and is_plural(before) and lexicon().exact(before) is not None


def _negates(text: str) -> bool:
    """Whether the caption has a negation of its own; a "leafless tree" does not count."""
    return any(not scope.cue.startswith("-") for scope in scopes(text)[1]) or _NEGATION.search(text) is not None


def _with_persons(text: str) -> str:
    """`<PERSON>` stands for a name: "a person", or nothing after a noun that says who it is ("actor <PERSON>")."""
    parts = _PERSON.split(text)
    built = parts[0]
    seen = 0
    for part in parts[1:]:
        before = _WORD.findall(built)[-1:] or [""]
        alone = not built.rstrip() or built.rstrip()[-1] in ",;:.(&-\"'" or before[0].lower() in _CLOSED | VERBS
        if alone and before[0].lower() not in DETERMINERS:
            name = "another person" if seen else "a person"
            built += name if built.strip() else name.capitalize()
            seen += 1
        elif alone:
            built += "person"
        else:
            built = built.rstrip()
        built += part
    return built
