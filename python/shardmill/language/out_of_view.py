"""What a caption names and its picture does not show: the camera one looks into, a likeness, a maker, what a sign says."""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.language.nouns import singular
from shardmill.language.word_classes import ADJECTIVE, DETERMINER, GERUND, MARK, NOUN, NUMBER, PARTICIPLE, POSSESSIVE, VERB, Word
from shardmill.language.word_context import is_agent, is_human_noun
from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "out_of_view.yaml")
_CAMERA = _LISTS.words("camera")
_TOWARDS_CAMERA = _LISTS.words("towards_camera")
_BESIDE = _LISTS.words("beside")
_LIKENED = _LISTS.words("likened")
_LIKEN = _LISTS.words("liken")
_LIKENESSES = _LISTS.words("likenesses")
_WORKS = _LISTS.words("works")
_MAKERS = _LISTS.words("makers")
_BEARERS = _LISTS.words("bearers")
_READS = _LISTS.words("reads")
_SAYS = _LISTS.words("says")
_IDIOMS = frozenset(tuple(phrase.split()) for phrase in _LISTS.phrases("idioms"))
_LONGEST_IDIOM = max(map(len, _IDIOMS))
# Data sets that write "person" for names write it for those of places too: "a show at person".
_OF_PLACES = word_set("at in for")
_BOOKS = word_set("book books manual magazine article documentary film movie story blog post poster video lecture talk")
_WITHIN_PHRASE = frozenset({DETERMINER, ADJECTIVE, NUMBER})
_SENTENCE_ENDS = frozenset(".!?;|")
_DISTANCES = word_set("mile kilometer kilometre km meter metre minute hour block yard foot away")
_CAPTION_WORDS = 12
"""Writing is rarely longer than this many words."""


def is_out_of_view(words: Sequence[Word], start: int, end: int) -> bool:
    """Whether the nouns from `start` to `end` name something that the picture does not show."""
    first = _phrase_start(words, start)
    before = words[first - 1].text if first else ""
    return (
        _is_camera(words, first, end)
        or _is_likeness(words, first, end)
        or (before == "by" and _is_maker(words, first, end))
        or (before == "from" and _is_far(words, first))
        or (before in _OF_PLACES and first == start and [word.text for word in words[start:end]] == ["person"])
        or (before == "about" and first > 1 and words[first - 2].text.rpartition(" ")[2] in _BOOKS)
        or (before == "for" and _is_for_whom(words, first, end))
        or _is_for_many(words, start, end)
        or _is_writing(words, first)
        or _is_idiom(words, end)
    )


def _phrase_start(words: Sequence[Word], start: int) -> int:
    """Where the noun phrase begins whose nouns begin at `start`."""
    while start and (words[start - 1].kind in _WITHIN_PHRASE or _describes(words, start - 1)):
        start -= 1
    if start > 1 and words[start - 1].kind == POSSESSIVE and words[start - 2].kind == NOUN:
        return _phrase_start(words, start - 2)
    return start


def _describes(words: Sequence[Word], at: int) -> bool:
    """Whether a participle describes the noun after it, as in "a wrestling ring"."""
    return words[at].kind in (GERUND, PARTICIPLE) and at > 0 and words[at - 1].kind in _WITHIN_PHRASE


def _text(words: Sequence[Word], at: int) -> str:
    return words[at].text if 0 <= at < len(words) else ""


def _is_camera(words: Sequence[Word], first: int, end: int) -> bool:
    if words[end - 1].text not in _CAMERA:
        return False
    before = _text(words, first - 1)
    if before == "of":
        return _text(words, first - 2) == "front"
    if before == "on" and words[first].kind == DETERMINER:
        return False  # "photographs on their camera"
    return before in _TOWARDS_CAMERA and not (before == "to" and _text(words, first - 2) in _BESIDE)


def _is_likeness(words: Sequence[Word], first: int, end: int) -> bool:
    before, earlier = _text(words, first - 1), _text(words, first - 2)
    if (
        _text(words, end) == "like"
        and end + 1 < len(words)
        and words[end + 1].kind == NOUN
        and _text(words, first) in ("a", "an")
    ):
        return True  # the gondola of "a gondola like boat"
    if before in _LIKEN:
        return True
    if before == "of":
        return earlier in _LIKENESSES and _text(words, first - 3) in ("in", "the", "a")
    if before == "like":
        # "vegetables like carrots" names some of them, "a gondola like boat" a boat; "a balloon like a cow" is no cow.
        after_noun = first > 1 and words[first - 2].kind == NOUN
        return not (after_noun and (words[first].kind == NOUN or (words[first - 2].many and words[end - 1].many)))
    if before != "as":
        return False
    # "an actor as a pirate" against "a dog sits as a train passes".
    follows = words[end].kind if end < len(words) else MARK
    return earlier in _LIKENED or (
        first > 1 and words[first - 2].kind == NOUN and follows != VERB and _text(words, end) not in ("is", "are")
    )


def _is_maker(words: Sequence[Word], first: int, end: int) -> bool:
    head = singular(words[end - 1].text.rpartition(" ")[2])
    if head in _MAKERS:
        return True
    if is_human_noun(head) and words[first].kind == NOUN and first > 1 and words[first - 2].text in ("is", "are"):
        return True  # "the ceramic piece on the table is by person"
    return is_human_noun(head) and any(word.text.rpartition(" ")[2] in _WORKS for word in words[max(0, first - 5) : first - 1])


def _is_far(words: Sequence[Word], first: int) -> bool:
    """Whether something is said to be away: "two miles from the beach"."""
    return any(singular(word.text) in _DISTANCES for word in words[max(0, first - 3) : first - 1])


def _is_for_whom(words: Sequence[Word], first: int, end: int) -> bool:
    """Whether a thing is for somebody: "shoes for women", "balls for dogs"."""
    if first < 2 or words[first - 2].kind != NOUN or is_human_noun(words[first - 2].text):
        return False
    head = words[end - 1]
    return head.many and (is_human_noun(head.text) or is_agent(head)) and words[first].kind not in (DETERMINER, NUMBER)


def _is_for_many(words: Sequence[Word], start: int, end: int) -> bool:
    """Whether a thing is for people of a kind: "a men's room", "women's shoes"; not what "the two men's" is."""
    head = words[end - 1]
    counted = start > 0 and words[start - 1].kind in (NUMBER, ADJECTIVE, POSSESSIVE)
    return not counted and head.many and is_human_noun(head.text) and end < len(words) and words[end].kind == POSSESSIVE


def _is_writing(words: Sequence[Word], first: int) -> bool:
    for at in range(first - 1, max(-1, first - 1 - _CAPTION_WORDS), -1):
        text = words[at].text
        if text in _SENTENCE_ENDS or text == "next" or words[at].kind == GERUND:
            return text in _SAYS or (text == "reading" and _is_read(words, at))
        if text in _SAYS or (text in _READS and _is_read(words, at)):
            return True
    return False


def _is_read(words: Sequence[Word], at: int) -> bool:
    """Whether a sign reads something, as against somebody who reads a book."""
    return at > 0 and words[at - 1].text.rpartition(" ")[2] in _BEARERS and words[at + 1].kind != DETERMINER


def _is_idiom(words: Sequence[Word], end: int) -> bool:
    return any(tuple(word.text for word in words[end - size : end]) in _IDIOMS for size in range(2, min(_LONGEST_IDIOM, end) + 1))
