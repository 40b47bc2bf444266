"""General English, as TextBlob has it: a tagger, its lexicon, and how common words are. Imported when it is used first."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache


@cache
def tagger() -> Callable[[list[str]], list[list[str]]]:
    """Words -> pairs of a word and its class in the Penn Treebank. Loading it takes 0.1 s and 20 MB."""
    from textblob.en import parser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the files of its lexicon to the garbage collector
        parser.find_tags(["a", "dog"])
    find_tags: Callable[[list[str]], list[list[str]]] = parser.find_tags
    return find_tags


@cache
def general_lexicon() -> Mapping[str, str]:
    """Word -> its class; names have their capital."""
    from textblob.en import lexicon

    tagger()  # which loads the lexicon
    words: Mapping[str, str] = lexicon
    return words


@cache
def common_words() -> Mapping[str, int]:
    """Word -> how often a million words of books have it."""
    from textblob.en import spelling

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return dict(spelling.items())
