"""Word classes for captions: a general tagger, corrected where captions differ from the news text it was made from.

Captions are full of words that are both noun and verb ("a dog watches a watch"); agreement and position tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.language.caption_text import Token
from shardmill.language.joined_names import join_names
from shardmill.language.nouns import singular
from shardmill.language.visibility import QUANTITIES, is_thing_in_ing
from shardmill.language.word_classes import (
    ADJECTIVE,
    ADVERB,
    CONJUNCTION,
    DETERMINER,
    FIXED,
    GERUND,
    MARK,
    NOUN,
    NUMBER,
    PARTICIPLE,
    POSSESSIVE,
    PREPOSITION,
    PRONOUN,
    VERB,
    Word,
    general_classes,
)
from shardmill.language.word_context import (
    ends_phrase,
    is_doing,
    is_head,
    is_infinitive,
    is_noun,
    is_verb_of,
    rescued,
    special_kind,
    starts_noun,
)
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "tagging.yaml")
_PURPOSES = _LISTS.words("purposes")
_ACTIVITY_GEAR = _LISTS.words("gear")


def tag(tokens: Sequence[Token]) -> list[Word]:
    """The words of a caption with their classes; names of several words that the lexicon knows are joined."""
    words = join_names(general_classes(tokens))
    determiner = ""
    for index, word in enumerate(words):
        before = words[index - 1] if index else None
        after = words[index + 1] if index + 1 < len(words) else None
        special = special_kind(words, index)
        if special is not None:
            word.kind = special
            continue
        # The determiner of the noun phrase at hand says its number: "a", "two".
        if word.kind in (DETERMINER, NUMBER):
            determiner = word.text
        elif word.kind in (PREPOSITION, CONJUNCTION, MARK, POSSESSIVE, PRONOUN):
            # "a group of people watches": one group.
            determiner = "of" if word.text == "of" and before and before.text in QUANTITIES else ""
        elif " " in word.text or word.kind == ADVERB:
            continue
        # "about to board" against "next to board games".
        elif word.kind == NOUN and before and before.text == "to" and is_infinitive(word, words[:index]):
            word.kind = VERB
        # "a man and a dog paddle across": several subjects have a verb without -s.
        # "a dog watches a watch": the first is the verb of the dog, the second has a determiner of its own.
        elif word.kind == NOUN and is_noun(before) and is_verb_of(words, index, determiner):
            word.kind, determiner = VERB, ""
        # The general tagger takes most words in -ing for nouns: "people skating" names no thing, "people and buildings" does.
        elif word.kind == NOUN and word.text.endswith("ing") and (not is_thing_in_ing(word.text) or is_doing(before, word)):
            word.kind = GERUND
        elif word.kind == GERUND:
            # "a brick building" but "men building a wall", and "a building site" is a compound.
            word.kind = NOUN if is_thing_in_ing(word.text) and starts_noun(before) and not is_noun(after) else GERUND
        # "a bathroom sink", "the mother bear": after one thing, a verb would end in -s.
        elif word.kind == VERB and is_noun(before) and is_head(words, index, determiner):
            word.kind = NOUN
        elif word.kind == ADJECTIVE and word.listed and before and before.kind == NOUN and ends_phrase(word, after):
            word.kind = NOUN  # "a tv remote"
        elif word.kind in (VERB, PARTICIPLE, ADJECTIVE) and word.text not in FIXED:
            word.kind = rescued(word, words[:index], after)
    return words


def makes_compound(words: Sequence[Word], index: int) -> bool:
    """Whether a gerund says what the noun after it is for, as in "a frying pan", and not what somebody does to it.

    It does at the beginning of a noun phrase alone: after a noun it is what somebody does ("a woman cutting boards").
    """
    word = words[index]
    if word.kind != GERUND or word.text not in _PURPOSES or index + 1 >= len(words):
        return False
    head = words[index + 1]
    if head.kind != NOUN or singular(head.text) not in _ACTIVITY_GEAR:
        return False
    return index == 0 or words[index - 1].kind in (DETERMINER, ADJECTIVE, NUMBER, POSSESSIVE, PREPOSITION, MARK, CONJUNCTION)
