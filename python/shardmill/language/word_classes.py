"""What class a word of a caption is of, by itself: a general tagger, and the words that have one class in captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shardmill.language.caption_text import Token
from shardmill.language.general_english import general_lexicon, tagger
from shardmill.language.nouns import PLURAL_ONLY, singular
from shardmill.language.visibility import is_known
from shardmill.language.word_lists import word_lists

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
FIXED = {
    word: kind
    for kind in (DETERMINER, NUMBER, PREPOSITION, CONJUNCTION, ADVERB, VERB, ADJECTIVE)
    for word in _LISTS.words(f"always_{kind}")
}
"""Words of one class in captions, whatever the general tagger says of them."""


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


def general_classes(tokens: Sequence[Token]) -> list[Word]:
    """The words of a caption with the classes that the general tagger gives them."""
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
    if text in FIXED:
        return FIXED[text]
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


def is_plain_adjective(word: str) -> bool:
    """Whether a word is one of the common adjectives of captions: colours, sizes, ages, places of origin."""
    return FIXED.get(word) == ADJECTIVE
