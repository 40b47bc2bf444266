"""Word classes for captions: a general tagger, corrected where captions differ from the news text it was made from.

Captions are full of words that are both noun and verb ("a dog watches a watch"); agreement and position tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from shardmill.language.caption_text import Token
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import ARTICLES, PLURAL_ONLY, plural, singular
from shardmill.language.visibility import is_known, is_visible_word

NOUN, ADJECTIVE, VERB, GERUND, PARTICIPLE = "noun", "adjective", "verb", "gerund", "participle"
DETERMINER, NUMBER, PREPOSITION, CONJUNCTION, POSSESSIVE = "determiner", "number", "preposition", "conjunction", "possessive"
PRONOUN, ADVERB, MARK = "pronoun", "adverb", "mark"

_PENN = {
    "NN": NOUN, "NNS": NOUN, "NNP": NOUN, "NNPS": NOUN, "FW": NOUN, "JJ": ADJECTIVE, "JJR": ADJECTIVE, "JJS": ADJECTIVE, "VB": VERB,
    "VBP": VERB, "VBZ": VERB, "MD": VERB, "VBG": GERUND, "VBN": PARTICIPLE, "VBD": PARTICIPLE, "DT": DETERMINER, "PDT": DETERMINER,
    "PRP$": DETERMINER, "WP$": DETERMINER, "WDT": PRONOUN, "CD": NUMBER, "IN": PREPOSITION, "TO": PREPOSITION, "CC": CONJUNCTION,
    "POS": POSSESSIVE, "PRP": PRONOUN, "WP": PRONOUN, "EX": PRONOUN, "RB": ADVERB, "RBR": ADVERB, "RBS": ADVERB, "RP": ADVERB,
    "WRB": CONJUNCTION,
}  # fmt: skip


def _fixed() -> dict[str, str]:
    words = {
        DETERMINER: "a an the this that these those some any every each no another both all several many few various multiple "
        "numerous his her its their my your our half",
        NUMBER: "one two three four five six seven eight nine ten eleven twelve dozen hundred thousand million first-class",
        PREPOSITION: "in on at of with without from to by for near like into onto upon over under above below behind beside besides "
        "beneath underneath between among amongst amid amidst across along alongside around through throughout toward towards "
        "against past during inside outside off via per atop aboard within opposite w/ than",
        CONJUNCTION: "and or but & + while as that when where if because who which plus so",
        ADVERB: "up down out away together next very just only there here back not also too now then off-screen close along-side "
        "how why ahead",
        VERB: "is are was were be been has have had do does did can will would could should may might must seems appears sits stands "
        "wears holds eats looks gets goes makes takes comes lies runs contains includes consists depicts",
        ADJECTIVE: "red blue green yellow white black brown grey gray pink purple beige golden silver gold tan colorful colourful other "
        "different same own more most less new old young little small large big huge tiny tall short long front top bottom back "
        "side middle left right male female adult main several senior elderly baby-blue fresh raw hot cold wet dry wooden metal "
        "stainless ceramic plastic antique vintage free stock good great nice cute pretty beautiful lovely happy empty full open "
        "flat-screen close-up-of public giant mini modern various assorted living multi flat chinese japanese american indian african "
        "asian european british french italian mexican german english spanish russian korean caucasian hispanic professional "
        "digital electric electronic double single tropical floral stylish outdoor indoor commercial sunny rainy snowy".split(),
    }
    return {
        word: kind for kind, text in words.items() for word in (text if isinstance(text, list) else text.split())
    }


_FIXED = _fixed()
