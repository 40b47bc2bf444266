"""What stands around a word of a caption, and what class that makes it: agreement and position tell nouns from verbs."""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.language.appearance import COLORS, HUMANS, SHADES
from shardmill.language.general_english import general_lexicon
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import INVARIANT, PLURAL_ONLY, singular
from shardmill.language.visibility import names_thing
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
    VERB,
    Word,
)
from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "tagging.yaml")

# Nouns that are as often a verb in captions, by their base form.
MAYBE_VERBS = _LISTS.words("verbs")
_PLURAL_MODIFIERS = frozenset({"sports", "clothes", "glasses", "jeans", "arms", "goods", "news", "stairs", "gymnastics", "games"})
SINGULAR_DETERMINERS = frozenset({"a", "an", "one", "each", "every", "another", "this"})
_PLURAL_DETERMINERS = word_set("several many few various multiple numerous both these those all some")
_ALSO_NOUNS = _LISTS.words("also_nouns")
_SHADES = SHADES | word_set("baby powder forest hunter army steel brick lemon cherry wine hospital")
_COLORED = word_set("is are was were painted colored coloured in mostly bright light dark")
_DOERS = ("er", "or", "ist", "man", "woman")
_DOINGS = _LISTS.words("doings")
_MODALS = frozenset({"can", "could", "will", "would", "should", "might", "must"})
_WISHES = frozenset({"love", "need", "want", "hate"})
_COLOR_NOUNS = COLORS & _LISTS.words("color_nouns")
_BEFORE_TO = word_set(
    """
    next close attached belonging connected adjacent due back up according trip way road path door
    """
)


def special_kind(words: Sequence[Word], index: int) -> str | None:
    """The class of a word that has another one in captions than elsewhere, by what stands around it."""
    word = words[index]
    before = words[index - 1].text if index else ""
    after = words[index + 1] if index + 1 < len(words) else None
    # "a male in a hat", "an adult".
    if word.text in _ALSO_NOUNS and (after is None or after.kind not in (NOUN, ADJECTIVE, GERUND, CONJUNCTION)):
        return NOUN
    # "an adult and a child", but "a male and female lion".
    if word.text in _ALSO_NOUNS and [next_word.kind for next_word in words[index + 1 : index + 3]] == [CONJUNCTION, DETERMINER]:
        return NOUN
    # "light brown" names no lamp, "baby blue" no baby.
    if word.text in _SHADES and after is not None and after.text in COLORS:
        return ADJECTIVE
    if word.text in _COLOR_NOUNS and _is_color(words, index):
        return ADJECTIVE
    if word.text == "stands" and before == "the":
        return NOUN
    if _is_tin(words, index):
        return NOUN
    if _is_verb_here(words, index) or _is_misspelled_verb(words, index):
        return VERB
    # "a couple slices": a number.
    if word.text == "couple" and before in ("a", "the", "") and after is not None and after.kind == NOUN and after.many:
        return NUMBER
    return None


def _is_tin(words: Sequence[Word], index: int) -> bool:
    """Whether a can is one: "a spray can on a shelf", where nothing follows that anybody could do."""
    after = words[index + 1] if index + 1 < len(words) else None
    starts = index > 1 and words[index - 2].kind in (DETERMINER, ADJECTIVE, NUMBER)
    ends = after is None or after.kind in (PREPOSITION, MARK, CONJUNCTION)
    return words[index].text == "can" and starts and words[index - 1].kind == NOUN and ends and not is_agent(words[index - 1])


def _is_verb_here(words: Sequence[Word], index: int) -> bool:
    """Whether a word that is a noun elsewhere is a verb: "they can ski", "trees that light up", "fans love motorcycles"."""
    word, before = words[index], words[index - 1] if index else None
    after = words[index + 1] if index + 1 < len(words) else None
    if before is None or word.kind != NOUN or " " in word.text:
        return False
    if word.text in MAYBE_VERBS and before.kind == VERB and before.text in _MODALS:
        return True
    if word.text in MAYBE_VERBS and before.kind == ADVERB and before.text.endswith("ly") and index > 1:
        return words[index - 2].kind == NOUN and words[index - 2].many and not is_noun(after)  # "riders slowly hurdle down"
    if word.text in MAYBE_VERBS and before.text in ("that", "which", "who") and index > 1 and words[index - 2].kind == NOUN:
        return words[index - 2].many and not is_noun(after)
    wanted = after is not None and (after.kind == DETERMINER or (after.kind == NOUN and after.many))
    return word.text in _WISHES and is_noun(before) and wanted


def is_verb_of(words: Sequence[Word], index: int, determiner: str) -> bool:
    """Whether a word after a noun is what that noun does: "a dog watches", "two men and a boy row"."""
    after = words[index + 1] if index + 1 < len(words) else None
    return _is_shared_verb(words, index) or _is_predicate(words[index - 1], words[index], after, determiner)


def _is_misspelled_verb(words: Sequence[Word], index: int) -> bool:
    """Whether an apostrophe stands in a verb: "a bird fly's over the lake"."""
    kinds = [word.kind for word in words[index + 1 : index + 3]]
    apart = kinds[:1] == [POSSESSIVE] and kinds[1:] in ([PREPOSITION], [DETERMINER], [ADVERB])
    return apart and index > 0 and words[index].text in MAYBE_VERBS and is_agent(words[index - 1])


def is_doing(before: Word | None, word: Word) -> bool:
    """Whether somebody does what also names a thing: "a man painting"."""
    return before is not None and word.text in _DOINGS and (is_agent(before) or before.text.endswith(_DOERS))


def _is_color(words: Sequence[Word], index: int) -> bool:
    """Whether a word that is a colour and a thing is the colour: "an orange and black cat", "the cat is orange"."""
    before = words[index - 1].text if index else ""
    after, second = (words[at].text if at < len(words) else "" for at in (index + 1, index + 2))
    if after in COLORS or after in ("colored", "coloured", "striped", "spotted", "tabby"):
        return True
    if after in ("and", "or", ",", "&", "/") and second in COLORS:
        return True
    if before in ("and", "or", ",", "&", "/") and index > 1 and words[index - 2].text in COLORS:
        return after == "" or words[index + 1].kind != PREPOSITION or index < 3 or words[index - 3].kind != PREPOSITION
    return before in _COLORED


def _is_shared_verb(words: Sequence[Word], index: int) -> bool:
    """Whether a word after the second of two subjects is their verb: "a cat and a monkey share a pillow"."""
    word = words[index]
    if word.many or word.text not in MAYBE_VERBS or (index + 1 < len(words) and words[index + 1].kind == NOUN):
        return False
    start = index - 1
    while start and words[start - 1].kind in (DETERMINER, ADJECTIVE, NUMBER, NOUN):
        start -= 1
    joined = start > 1 and words[start - 1].text == "and" and words[start - 2].kind == NOUN
    return joined and is_agent(words[index - 1]) and is_agent(words[start - 2])


def _is_predicate(subject: Word, word: Word, after: Word | None, determiner: str) -> bool:
    """Whether a word after a noun is the verb of it, by agreement: "a man ties", "two men tie", never "a man tie"."""
    stem = singular(word.text)
    several = subject.many or (subject.text in INVARIANT and determiner not in SINGULAR_DETERMINERS)
    if word.text != stem and word.text not in PLURAL_ONLY:  # it ends in -s: a plural noun, or a verb in the third person
        if determiner in SINGULAR_DETERMINERS:
            return not subject.many  # "a man ties": no noun phrase has both "a" and a plural head
        if _is_verb_alone(word.text) and is_agent(subject) and not subject.many:
            return True  # "football player readies"
        if stem not in MAYBE_VERBS or (subject.many and determiner != "of"):
            return False  # "dogs toys", "kitchen knives"
        if determiner and determiner not in _PLURAL_DETERMINERS and not determiner[0].isdigit():
            return True  # "the man ties a knot"
        # Bare, as headlines are: "man rides a bike" against "street signs".
        return is_agent(subject) or (after is not None and after.kind == DETERMINER)
    # Without -s it agrees with several things alone: "two men walk" against "sports car".
    takes_object = after is not None and after.kind == DETERMINER
    return several and subject.text not in _PLURAL_MODIFIERS and (word.text in MAYBE_VERBS or takes_object)


def _is_verb_alone(word: str) -> bool:
    """Whether general English has a word in -s as a verb, and no such thing can be seen."""
    return general_lexicon().get(word) == "VBZ" and not names_thing(word)


def is_head(words: Sequence[Word], index: int, determiner: str) -> bool:
    """Whether a word after a noun is the head of its phrase and no verb: one thing's verb ends in -s, and takes an object."""
    modifier, word = words[index - 1], words[index]
    after = words[index + 1] if index + 1 < len(words) else None
    if index > 1 and words[index - 2].text == "of":
        return False  # "two cups of coffee stand"
    if word.many:
        if determiner in SINGULAR_DETERMINERS:
            return False  # "a dog barks"
        return word.listed and singular(word.text) not in MAYBE_VERBS and not modifier.many  # "long sleeve shirts"
    several = modifier.many or (modifier.text in INVARIANT and determiner not in SINGULAR_DETERMINERS)
    if several or word.text.endswith("s") or not names_thing(word.text) or word.text in FIXED:
        return False
    return determiner in SINGULAR_DETERMINERS or (after is None or after.kind not in (DETERMINER, ADVERB))


def ends_phrase(word: Word, after: Word | None) -> bool:
    """Whether an adjective after a noun may be the head of its phrase, since nothing follows in it: "a tv remote"."""
    plain = word.text in FIXED or word.text in COLORS
    return not plain and (after is None or after.kind in (PREPOSITION, MARK, CONJUNCTION))


def is_infinitive(word: Word, before: Sequence[Word]) -> bool:
    """Whether a word after "to" is a verb: "about to board" against "next to board games"."""
    names_goal = len(before) > 1 and before[-2].text in _BEFORE_TO
    return word.text in MAYBE_VERBS and not (names_goal and word.listed)


def rescued(word: Word, before: Sequence[Word], after: Word | None) -> str:
    """The class of a known object's name that the tagger took for a verb or an adjective."""
    previous = before[-1] if before else None
    if word.kind == VERB and previous is not None:
        # A noun phrase has begun and needs its head: "the light", "a white light".
        described = previous.kind == PARTICIPLE and len(before) > 1 and before[-2].kind in (DETERMINER, ADJECTIVE, NUMBER)
        if previous.kind == DETERMINER or described or (previous.kind in (ADJECTIVE, NUMBER, POSSESSIVE) and not is_noun(after)):
            return NOUN
        if previous.kind == PREPOSITION and previous.text != "to":
            return NOUN  # "on stage"; "to stage" may be an infinitive
        if word.many and word.listed and previous.kind in (ADJECTIVE, NUMBER):
            return NOUN  # "two different bears fight"
        if word.many and previous.text == "and" and is_noun(before[-2] if len(before) > 1 else None) and names_thing(word.text):
            return NOUN if after is None or after.kind == MARK else VERB  # "a tree and presents."
        # The object of a verb: "a man holds skis".
        if previous.kind in (VERB, GERUND) and word.listed and word.many:
            return NOUN
    # From here on adjectives and participles that name a thing where no noun follows: "a cold drink", "an orange".
    if not word.listed or is_noun(after) or (after is not None and after.kind in (ADJECTIVE, DETERMINER)):
        return word.kind
    if previous is None or previous.kind in (DETERMINER, ADJECTIVE, NUMBER, POSSESSIVE, MARK, CONJUNCTION):
        return NOUN
    if previous.kind == PREPOSITION and (previous.text != "to" or (len(before) > 1 and before[-2].text in _BEFORE_TO)):
        return NOUN
    return word.kind


def is_agent(word: Word) -> bool:
    """Whether a noun names a person or an animal."""
    entry = lexicon().exact(word.text)
    return entry is not None and entry.category in ("person", "animal")


def is_human_noun(word: str) -> bool:
    """Whether a noun, in either number, names people."""
    entry = lexicon().exact(word)
    return word in HUMANS or (entry is not None and entry.category == "person")


def starts_noun(before: Word | None) -> bool:
    """Whether a word begins a noun phrase that needs its noun."""
    return before is not None and before.kind in (DETERMINER, ADJECTIVE, NUMBER, POSSESSIVE)


def is_noun(word: Word | None) -> bool:
    """Whether there is a word, and it is a noun."""
    return word is not None and word.kind == NOUN
