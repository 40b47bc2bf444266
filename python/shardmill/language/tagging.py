"""Word classes for captions: a general tagger, corrected where captions differ from the news text it was made from.

Captions are full of words that are both noun and verb ("a dog watches a watch"); agreement and position tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from shardmill.language.appearance import COLORS, HUMANS, SHADES
from shardmill.language.caption_text import Token
from shardmill.language.general_english import general_lexicon, tagger
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import INVARIANT, PLURAL_ONLY, plural, singular
from shardmill.language.visibility import QUANTITIES, is_known, is_thing_in_ing, names_thing
from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "tagging.yaml")

NOUN, ADJECTIVE, VERB, GERUND, PARTICIPLE = "noun", "adjective", "verb", "gerund", "participle"
DETERMINER, NUMBER, PREPOSITION, CONJUNCTION, POSSESSIVE = "determiner", "number", "preposition", "conjunction", "possessive"
PRONOUN, ADVERB, MARK = "pronoun", "adverb", "mark"

_PENN = {
    "NN": NOUN, "NNS": NOUN, "NNP": NOUN, "NNPS": NOUN, "FW": NOUN, "JJ": ADJECTIVE, "JJR": ADJECTIVE, "JJS": ADJECTIVE,
    "VB": VERB, "VBP": VERB, "VBZ": VERB, "MD": VERB, "VBG": GERUND, "VBN": PARTICIPLE, "VBD": PARTICIPLE, "DT": DETERMINER,
    "PDT": DETERMINER, "PRP$": DETERMINER, "WP$": DETERMINER, "WDT": PRONOUN, "CD": NUMBER, "IN": PREPOSITION,
    "TO": PREPOSITION, "CC": CONJUNCTION, "POS": POSSESSIVE, "PRP": PRONOUN, "WP": PRONOUN, "EX": PRONOUN, "RB": ADVERB,
    "RBR": ADVERB, "RBS": ADVERB, "RP": ADVERB, "WRB": CONJUNCTION,
}  # fmt: skip
_FIXED = {
    word: kind
    for kind in (DETERMINER, NUMBER, PREPOSITION, CONJUNCTION, ADVERB, VERB, ADJECTIVE)
    for word in _LISTS.words(f"always_{kind}")
}
"""Words of one class in captions, whatever the general tagger says of them."""

# Nouns that are as often a verb in captions, by their base form.
_VERBS = _LISTS.words("verbs")
_PURPOSES = _LISTS.words("purposes")
_ACTIVITY_GEAR = _LISTS.words("gear")
_PLURAL_MODIFIERS = frozenset({"sports", "clothes", "glasses", "jeans", "arms", "goods", "news", "stairs", "gymnastics", "games"})
_SINGULAR_DETERMINERS = frozenset({"a", "an", "one", "each", "every", "another", "this"})
_PLURAL_DETERMINERS = word_set("several many few various multiple numerous both these those all some")
_AGES = word_set("old young elderly")
# After a portion or a vessel, "of" starts a name of its own: "bottle of water" names a bottle, and water.
_VESSELS = word_set("ball bar bottle bowl box can bale loaf spool cup glass")
_ALSO_NOUNS = _LISTS.words("also_nouns")
_SHADES = SHADES | word_set("baby powder forest hunter army steel brick lemon cherry wine hospital")
_COLORED = word_set("is are was were painted colored coloured in mostly bright light dark")
_DOERS = ("er", "or", "ist", "man", "woman")
_DOINGS = _LISTS.words("doings")
_COLOR_NOUNS = COLORS & _LISTS.words("color_nouns")
_BEFORE_TO = word_set(
    """
    next close attached belonging connected adjacent due back up according trip way road path door
    """
)


@dataclass
class Word:
    """A word, or several that the lexicon knows as one name, with its class in the caption."""

    text: str
    kind: str
    proper: bool = False
    listed: bool = False
    """The lexicon lists it: as one name where it is several words."""

    @property
    def many(self) -> bool:
        """Whether it is a plural noun."""
        last = self.text.rpartition(" ")[2]
        return last in PLURAL_ONLY or singular(last) != last


def tag(tokens: Sequence[Token]) -> list[Word]:
    """The words of a caption with their classes; names of several words that the lexicon knows are joined."""
    words = _joined(_general(tokens))
    determiner = ""
    for index, word in enumerate(words):
        before = words[index - 1] if index else None
        after = words[index + 1] if index + 1 < len(words) else None
        special = _special_kind(words, index)
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
        elif word.kind == NOUN and before and before.text == "to" and _is_infinitive(word, words[:index]):
            word.kind = VERB
        # "a man and a dog paddle across": several subjects have a verb without -s.
        # "a dog watches a watch": the first is the verb of the dog, the second has a determiner of its own.
        elif word.kind == NOUN and _is_noun(before) and _is_verb_of(words, index, determiner):
            word.kind, determiner = VERB, ""
        # The general tagger takes most words in -ing for nouns: "people skating" names no thing, "people and buildings" does.
        elif word.kind == NOUN and word.text.endswith("ing") and (not is_thing_in_ing(word.text) or _is_doing(before, word)):
            word.kind = GERUND
        elif word.kind == GERUND:
            # "a brick building" but "men building a wall", and "a building site" is a compound.
            word.kind = NOUN if is_thing_in_ing(word.text) and _starts_noun(before) and not _is_noun(after) else GERUND
        # "a bathroom sink", "the mother bear": after one thing, a verb would end in -s.
        elif word.kind == VERB and _is_noun(before) and _is_head(words, index, determiner):
            word.kind = NOUN
        elif word.kind == ADJECTIVE and word.listed and before and before.kind == NOUN and _ends_phrase(word, after):
            word.kind = NOUN  # "a tv remote"
        elif word.kind in (VERB, PARTICIPLE, ADJECTIVE) and word.text not in _FIXED:
            word.kind = _rescued(word, words[:index], after)
    return words


def _is_verb_of(words: Sequence[Word], index: int, determiner: str) -> bool:
    after = words[index + 1] if index + 1 < len(words) else None
    return _is_shared_verb(words, index) or _is_predicate(words[index - 1], words[index], after, determiner)


def _special_kind(words: Sequence[Word], index: int) -> str | None:
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
    # "a couple slices": a number.
    if word.text == "couple" and before in ("a", "the", "") and after is not None and after.kind == NOUN and after.many:
        return NUMBER
    return None


def _is_doing(before: Word | None, word: Word) -> bool:
    """Whether somebody does what also names a thing: "a man painting"."""
    return before is not None and word.text in _DOINGS and (_is_agent(before) or before.text.endswith(_DOERS))


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
    if word.many or word.text not in _VERBS or (index + 1 < len(words) and words[index + 1].kind == NOUN):
        return False
    start = index - 1
    while start and words[start - 1].kind in (DETERMINER, ADJECTIVE, NUMBER, NOUN):
        start -= 1
    joined = start > 1 and words[start - 1].text == "and" and words[start - 2].kind == NOUN
    return joined and _is_agent(words[index - 1]) and _is_agent(words[start - 2])


def _is_head(words: Sequence[Word], index: int, determiner: str) -> bool:
    """Whether a word after a noun is the head of its phrase and no verb: one thing's verb ends in -s, and takes an object."""
    modifier, word = words[index - 1], words[index]
    after = words[index + 1] if index + 1 < len(words) else None
    if index > 1 and words[index - 2].text == "of":
        return False  # "two cups of coffee stand"
    if word.many:
        return word.listed and singular(word.text) not in _VERBS and not modifier.many  # "long sleeve shirts"
    several = modifier.many or (modifier.text in INVARIANT and determiner not in _SINGULAR_DETERMINERS)
    if several or word.text.endswith("s") or not names_thing(word.text) or word.text in _FIXED:
        return False
    return determiner in _SINGULAR_DETERMINERS or (after is None or after.kind not in (DETERMINER, ADVERB))


def _ends_phrase(word: Word, after: Word | None) -> bool:
    plain = word.text in _FIXED or word.text in COLORS
    return not plain and (after is None or after.kind in (PREPOSITION, MARK, CONJUNCTION))


def is_human_noun(word: str) -> bool:
    """Whether a noun, in either number, names people."""
    entry = lexicon().exact(word)
    return word in HUMANS or (entry is not None and entry.category == "person")


def _general(tokens: Sequence[Token]) -> list[Word]:
    general = general_lexicon()
    tagged = tagger()([token.text for token in tokens])
    return [
        Word(token.text, _kind(token.text, penn), token.proper or (token.capital and _only_name(token.text, general)))
        for token, (_, penn) in zip(tokens, tagged, strict=True)
    ]


def _only_name(text: str, general: Mapping[str, str]) -> bool:
    """Whether the tagger's lexicon has the word as a proper name alone."""
    return text not in general and general.get(text.capitalize(), "").startswith("NNP") and not is_known(text)


def _kind(text: str, penn: str) -> str:
    if text in _FIXED:
        return _FIXED[text]
    if text == "'s" or text == "'":
        return POSSESSIVE
    if text[0].isdigit():
        return NUMBER
    if not text[0].isalpha():
        return MARK
    if text.endswith("proof") or ("-" in text and text.endswith(("ed", "ing", "style"))):
        return ADJECTIVE
    if "-" in text:
        last = text.rpartition("-")[2]
        return NOUN if is_known(text) or is_known(last) else ADJECTIVE
    return _PENN.get(penn, NOUN if penn[:1].isalpha() else MARK)


@cache
def _phrases() -> dict[str, tuple[int, frozenset[str]]]:
    """Lexicon names of several words, in both numbers, by their first word, with the length of the longest."""
    found: dict[str, set[str]] = {}
    for entry in lexicon().entries.values():
        for name in entry.names:
            spaced = name.replace("-", " ")
            for text in (name, spaced):
                if " " in text and not (" of " in text and text.split()[0] in _VESSELS) and text.split()[0] not in _AGES:
                    found.setdefault(text.split()[0], set()).update((text, plural(text)))
    for scene in lexicon().scenes:
        if " " in scene:
            found.setdefault(scene.split()[0], set()).update((scene, plural(scene)))
    return {first: (max(len(text.split()) for text in texts), frozenset(texts)) for first, texts in found.items()}


def _joined(words: list[Word]) -> list[Word]:
    phrases = _phrases()
    joined: list[Word] = []
    index = 0
    while index < len(words):
        size = _phrase_size(words, index, joined, phrases) if words[index].text in phrases else 1
        if size > 1:
            text = " ".join(word.text for word in words[index : index + size])
            joined.append(Word(text, NOUN, listed=True))
        else:
            word = words[index]
            word.listed = word.kind != MARK and is_known(word.text)
            joined.append(word)
        index += size
    return joined


def _phrase_size(words: list[Word], index: int, before: list[Word], phrases: dict[str, tuple[int, frozenset[str]]]) -> int:
    longest, texts = phrases[words[index].text]
    for size in range(min(longest, len(words) - index), 1, -1):
        run = words[index : index + size]
        if " ".join(word.text for word in run) in texts and not _reads_as_clause(run, before):
            return size
    return 1


def _reads_as_clause(run: list[Word], before: list[Word]) -> bool:
    """Whether words that the lexicon has as one name are a subject and its verb here.

    "a bus stops" is no bus stop, and a man washing machines has no washing machine.
    """
    previous = before[-1] if before else None
    if run[0].text.endswith("ing") and previous and (previous.kind in (NOUN, PRONOUN) or previous.text in ("is", "are")):
        return True
    last = run[-1].text
    single = previous is not None and previous.text in _SINGULAR_DETERMINERS
    return single and last not in PLURAL_ONLY and singular(last) != last and singular(last) in _VERBS


def _is_predicate(subject: Word, word: Word, after: Word | None, determiner: str) -> bool:
    """Whether a word after a noun is the verb of it, by agreement: "a man ties", "two men tie", never "a man tie"."""
    stem = singular(word.text)
    several = subject.many or (subject.text in INVARIANT and determiner not in _SINGULAR_DETERMINERS)
    if word.text != stem and word.text not in PLURAL_ONLY:  # it ends in -s: a plural noun, or a verb in the third person
        if determiner in _SINGULAR_DETERMINERS:
            return not subject.many  # "a man ties": no noun phrase has both "a" and a plural head
        if stem not in _VERBS or (subject.many and determiner != "of"):
            return False  # "dogs toys", "kitchen knives"
        if determiner and determiner not in _PLURAL_DETERMINERS and not determiner[0].isdigit():
            return True  # "the man ties a knot"
        # Bare, as headlines are: "man rides a bike" against "street signs".
        return _is_agent(subject) or (after is not None and after.kind == DETERMINER)
    # Without -s it agrees with several things alone: "two men walk" against "sports car".
    takes_object = after is not None and after.kind == DETERMINER
    return several and subject.text not in _PLURAL_MODIFIERS and (word.text in _VERBS or takes_object)


def _is_agent(word: Word) -> bool:
    entry = lexicon().exact(word.text)
    return entry is not None and entry.category in ("person", "animal")


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


def _starts_noun(before: Word | None) -> bool:
    return before is not None and before.kind in (DETERMINER, ADJECTIVE, NUMBER, POSSESSIVE)


def _is_noun(word: Word | None) -> bool:
    return word is not None and word.kind == NOUN


def _is_infinitive(word: Word, before: Sequence[Word]) -> bool:
    names_goal = len(before) > 1 and before[-2].text in _BEFORE_TO
    return word.text in _VERBS and not (names_goal and word.listed)


def _rescued(word: Word, before: Sequence[Word], after: Word | None) -> str:
    """The class of a known object's name that the tagger took for a verb or an adjective."""
    previous = before[-1] if before else None
    if word.kind == VERB and previous is not None:
        # A noun phrase has begun and needs its head: "the light", "a white light".
        described = previous.kind == PARTICIPLE and len(before) > 1 and before[-2].kind in (DETERMINER, ADJECTIVE, NUMBER)
        if previous.kind == DETERMINER or described or (previous.kind in (ADJECTIVE, NUMBER, POSSESSIVE) and not _is_noun(after)):
            return NOUN
        if previous.kind == PREPOSITION and previous.text != "to":
            return NOUN  # "on stage"; "to stage" may be an infinitive
        if word.many and word.listed and previous.kind in (ADJECTIVE, NUMBER):
            return NOUN  # "two different bears fight"
        if word.many and previous.text == "and" and _is_noun(before[-2] if len(before) > 1 else None) and names_thing(word.text):
            return NOUN if after is None or after.kind == MARK else VERB  # "a tree and presents."
        # The object of a verb: "a man holds skis".
        if previous.kind in (VERB, GERUND) and word.listed and word.many:
            return NOUN
    # From here on adjectives and participles that name a thing where no noun follows: "a cold drink", "an orange".
    if not word.listed or _is_noun(after) or (after is not None and after.kind in (ADJECTIVE, DETERMINER)):
        return word.kind
    if previous is None or previous.kind in (DETERMINER, ADJECTIVE, NUMBER, POSSESSIVE, MARK, CONJUNCTION):
        return NOUN
    if previous.kind == PREPOSITION and (previous.text != "to" or (len(before) > 1 and before[-2].text in _BEFORE_TO)):
        return NOUN
    return word.kind


def is_plain_adjective(word: str) -> bool:
    """Whether a word is one of the common adjectives of captions: colours, sizes, ages, places of origin."""
    return _FIXED.get(word) == ADJECTIVE
