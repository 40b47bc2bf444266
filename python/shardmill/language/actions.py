"""What the people and animals of a caption do, and who is a person."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shardmill.language.appearance import HUMANS, words_of
from shardmill.language.caption_text import tokens
from shardmill.language.function_words import AUXILIARIES
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.tagging import tag
from shardmill.language.word_classes import GERUND, NOUN, VERB
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "actions.yaml")

_PAST = _LISTS.mapping("irregular_verbs")
_NO_ACTIONS = AUXILIARIES | _LISTS.words("no_actions")
_SUBORDINATORS = _LISTS.words("subordinators")
"""After these, somebody or something else may be the one who acts."""
_PERSON_ENDINGS = re.compile(r"(?:man|woman|men|women|boy|girl|ist|ists|person|people|father|mother)$")
_DOINGS = _LISTS.words("doings")


@dataclass(frozen=True)
class Action:
    """Who does what: the object's name in the singular, and the verb as the caption has it, in lower case."""

    agent: str
    verb: str


def is_human(name: str) -> bool:
    """Whether a name is that of people, by the lexicon; one that it does not know by its words. A door is none, nor a flower."""
    entry = lexicon().find(name)
    if entry is not None:
        return entry.category == "person" or "person" in lexicon().kinds(entry)
    word = next(reversed(words_of(fold(name))), "")
    return word in HUMANS or (len(word) > 5 and _PERSON_ENDINGS.search(word) is not None) or _is_doer(word)


def is_animate(name: str) -> bool:
    """Whether a name is that of people or animals, which alone do things."""
    entry = lexicon().find(name)
    return is_human(name) or (entry is not None and entry.category == "animal")


def actions(caption: str) -> list[Action]:
    """What people and animals do in a caption, in its order; "is", "has" and the like are no actions."""
    found: list[Action] = []
    agent = None
    for word in tag(tokens(caption)):
        if word.text in _SUBORDINATORS:
            agent = None
        elif word.kind == NOUN and is_animate(word.text):
            agent = fold(word.text)
        elif word.kind in (VERB, GERUND) and agent and word.text not in _NO_ACTIONS:
            found.append(Action(agent, word.text))
    return found


def verb_stem(word: str) -> str:
    """A key that all forms of a verb share: "rides", "riding" and "ride" are "rid"."""
    word = word.lower()
    word = _PAST.get(word, word)
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("ches", "shes", "sses", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        word = word[:-1]
    elif word.endswith("ied"):
        word = word[:-3] + "y"
    elif word.endswith("ing") and len(word) > 4:
        word = _undoubled(word[:-3])
    elif word.endswith("ed") and not word.endswith("eed") and len(word) > 4:
        word = _undoubled(word[:-2])
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def has_verb(text: str, verb: str) -> bool:
    """Whether a text has a form of the verb."""
    return verb_stem(verb) in map(verb_stem, words_of(text))


def _is_doer(word: str) -> bool:
    """Whether an unknown word in -er is somebody who does what a verb says: a runner."""
    return word.endswith("er") and len(word) > 4 and _undoubled(word[:-2]).removesuffix("e") in _DOINGS


def _undoubled(stem: str) -> str:
    twice = len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz"
    return stem[:-1] if twice or stem in ("travell", "grill") else stem
