"""The visible things that a caption names: noun phrases, cut down to the noun and what makes it a compound."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shardmill.language.caption_text import MAX_CHARS, tokens
from shardmill.language.nouns import fold, singular
from shardmill.language.out_of_view import is_out_of_view
from shardmill.language.polarity import MIXED, NEGATED, polarity
from shardmill.language.relations import mentions
from shardmill.language.spelling import corrected
from shardmill.language.tagging import makes_compound, tag
from shardmill.language.visibility import IMAGE_WORDS, PARTITIVES, PLACE_IN_IMAGE, TIMES, names_visible_thing
from shardmill.language.word_classes import ADJECTIVE, DETERMINER, GERUND, NOUN, NUMBER, POSSESSIVE, Word
from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "noun_phrases.yaml")

MAX_WORDS = 4
# A quick look for the letters of a negation; `scopes` decides.
_NEGATION = re.compile(
    r"\b(?:no|not|never|without|zero|sans|minus|lack|exclud|omit|leav|free|devoid|empty|clear|bare|void|absen|miss|gone"
    r"|nowhere|remov|hardly|barely|scarcely|neither|nor|none|nothing|instead|rather|out|invisible|unseen|fail|barren|strip)|n[\'’]t\b|less\b|[_-]free",
    re.I,
)

# What a thing is made of, or looks like: it describes the noun after it, unless the lexicon lists both as one name.
_MATERIALS = _LISTS.words("materials")
_DESCRIBING = _MATERIALS | PARTITIVES | TIMES
_PLACING = IMAGE_WORDS | PLACE_IN_IMAGE | word_set("item object thing product display arrangement")
_SPORTS_THAT_ARE_BALLS = frozenset({"baseball", "basketball", "football", "volleyball", "cricket", "softball"})
_KINDS_OF_SHOWS = _SPORTS_THAT_ARE_BALLS | word_set("rock metal country pop jazz folk video horror tv television")
# Of what stands before these nothing is in view: "table tennis", "rainbow colors", "a leopard print".
_SWALLOWING = word_set(
    "tennis hockey polo soccer golf rugby wrestling boxing racing fishing boarding color colour print stripe theme shape design",
    "service attraction",
)
_PARTITIVE_FORMS = PARTITIVES | {word + "s" for word in PARTITIVES} | {"bunches", "batches", "loaves", "halves", "series"}
_MODIFYING_PLURALS = frozenset({"sports", "clothes", "arms", "goods", "news", "games", "jeans", "farmers"})
# "a rainbow colored kite" shows no rainbow, "a wheelchair accessible beach" no wheelchair.
_LOOKING = word_set(
    "colored coloured shaped sized themed styled style inspired flavored flavoured accessible friendly powered proof linked"
)
_FINISHED = word_set(
    "paneled panelled floored tiled framed trimmed topped sided covered lined walled coated plated finished clad cased"
)
_BY_HAND = word_set(
    "built drawn painted made crafted written carved stitched knit knitted woven picked held thrown sewn lettered"
)
_REACHED = word_set("knee thigh ankle waist floor tea shoulder chest hip elbow calf shin")
_REACHING = word_set("high deep length long low")
_STARTERS = frozenset({DETERMINER, ADJECTIVE, NUMBER, POSSESSIVE})


def extract_objects(caption: str) -> list[str]:
    """The visible things that a caption names, as singular names in the order of the text, each once.

    Articles, numbers, colours, sizes and opinions are left out; compounds stay whole ("fire hydrant"). Misspelled words are
    corrected. What the caption says is absent ("no dog", "a room missing a door") is not named, nor what the picture does not
    show: the camera that somebody looks into, likenesses ("dressed as a bear"), what a sign says.
    Only the first `caption_text.MAX_CHARS` characters are read.
    """
    return named_things(caption).present


def denied_objects(caption: str) -> list[str]:
    """The visible things that a caption names and says are absent: "a room missing a door"."""
    return named_things(caption).denied


@dataclass(frozen=True)
class NamedThings:
    """The visible things that a caption names: those that it says are there, and those that it says are absent."""

    present: list[str]
    denied: list[str]


def named_things(caption: str) -> NamedThings:
    """What `extract_objects` and `denied_objects` return, in one reading."""
    text = corrected(caption[:MAX_CHARS])
    words = tag(tokens(text))
    names: dict[str, None] = {}
    for start, end in _noun_runs(words):
        run = words[start:end]
        if end < len(words) and (_is_counter(words, end) or _is_finish(run[-1], words[end])):
            run = run[:-1]
        if not run or is_out_of_view(words, start, start + len(run)):
            continue
        found = (_name(part, words) for part in _split(run))
        names.update(dict.fromkeys(name for name in found if name))
    said = {name: polarity(text, name) for name in names} if _NEGATION.search(text) else {}
    denied = [name for name in names if said.get(name) == NEGATED]
    hedged = [name for name in names if said.get(name) == MIXED and len(mentions(text, name)) == 1]  # "hardly any boats"
    return NamedThings([name for name in names if name not in denied and name not in hedged], denied)


def _is_counter(words: Sequence[Word], end: int) -> bool:
    """Whether the noun before `end` counts, places or describes another: "slice of", "front of", "rainbow colored"."""
    after, following = words[end].text, words[end + 1].text if end + 1 < len(words) else ""
    if after in _LOOKING:
        return following not in ("like", "as")  # "a cake shaped like a heart" is a cake
    return after == "of" and words[end - 1].text in _PARTITIVE_FORMS


def _is_finish(noun: Word, after: Word) -> bool:
    """Whether a noun says how something is made, or how far it reaches: "wood paneled", "hand drawn", "knee high"."""
    if noun.text in _REACHED and after.text in _REACHING:
        return True
    return (noun.text in _MATERIALS and after.text in _FINISHED) or (noun.text == "hand" and after.text in _BY_HAND)


def _noun_runs(words: Sequence[Word]) -> list[tuple[int, int]]:
    """Where nouns stand together, with a gerund before them that makes a compound ("frying pan")."""
    runs = []
    index = 0
    while index < len(words):
        start = index
        if makes_compound(words, index):
            index += 1
        while index < len(words) and words[index].kind == NOUN:
            index += 1
        if index > start:
            runs.append((start, index))
        else:
            index += 1
    return runs


def _split(run: Sequence[Word]) -> list[Sequence[Word]]:
    """Names that stand together without a comma: after a plural, and between what is and what is not a proper name."""
    parts: list[list[Word]] = []
    for word in run:
        previous = parts[-1][-1] if parts else None
        if previous is None or _ends_name(previous, word):
            parts.append([])
        parts[-1].append(word)
    return list(parts)


def _ends_name(word: Word, after: Word) -> bool:
    # "<person>", which CC12M writes for names, stands beside nouns without a comma: "actor <person> attends".
    if "person" in (word.text, after.text):
        return True
    # "Boston skyline" keeps the skyline; a name and a kind of thing are not one compound.
    if word.kind == NOUN and word.proper != after.proper and not after.listed:
        return True
    # A plural noun is the head of its phrase ("dogs cats" are two names): only a few plurals modify ("sports car").
    return word.many and word.kind == NOUN and not word.text.endswith(("ss", "us")) and word.text not in _MODIFYING_PLURALS


def _name(part: Sequence[Word], words: Sequence[Word]) -> str | None:
    """The name of one thing: without words that are no part of it at its end and at its start."""
    rest = list(part)
    # The head names nothing visible. Its modifier does where the lexicon lists it ("dog show": a dog), or where the head only
    # places or pictures it ("hotel room scene"); else nothing does.
    while rest and not _is_thing(rest[-1], words):
        head = rest.pop().text
        if singular(head) in _SWALLOWING:
            return None
        if rest and (rest[-1].text in _KINDS_OF_SHOWS or not (rest[-1].listed or singular(head) in _PLACING)):
            return None
    if not rest or (rest[-1].proper and not rest[-1].listed):
        return None
    kept = [rest.pop()]
    while rest and len(kept) < MAX_WORDS and _compounds(rest[-1], kept[0]):
        kept.insert(0, rest.pop())
    text = " ".join(word.text for word in kept)
    return _folded(text, kept[0], words)


def _is_thing(word: Word, words: Sequence[Word]) -> bool:
    if len(word.text) < 2:
        return False
    # "a baseball" is a thing, "play baseball" is not.
    if word.text in _SPORTS_THAT_ARE_BALLS:
        index = _index_of(word, words)
        return index > 0 and words[index - 1].kind in _STARTERS
    return names_visible_thing(word.text)


def _compounds(modifier: Word, head: Word) -> bool:
    """Whether a noun before the head belongs to the name; a head of several words is a whole name already."""
    if modifier.kind == GERUND:
        return True
    if " " in head.text or modifier.proper or len(modifier.text) < 2:
        return False
    return modifier.text not in _DESCRIBING


def _folded(text: str, first: Word, words: Sequence[Word]) -> str:
    """The singular name; glasses that nobody counts or fills are worn, and stay plural."""
    if text != "glasses":
        return fold(text)
    index = _index_of(first, words)
    before = words[index - 1] if index else None
    counted = before is not None and before.kind in (NUMBER, DETERMINER) and before.text not in ("his", "her", "the")
    filled = index + 1 < len(words) and words[index + 1].text == "of"
    return "glass" if counted or filled else text


def _index_of(word: Word, words: Sequence[Word]) -> int:
    return next(index for index, other in enumerate(words) if other is word)
