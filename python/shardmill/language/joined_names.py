"""Names of several words that the lexicon knows, as one word of a caption."""

from __future__ import annotations

from functools import cache

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import PLURAL_ONLY, plural, singular
from shardmill.language.visibility import is_known
from shardmill.language.word_classes import MARK, NOUN, PRONOUN, Word
from shardmill.language.word_context import MAYBE_VERBS, SINGULAR_DETERMINERS
from shardmill.language.word_lists import word_set

_AGES = word_set("old young elderly")
# After a portion or a vessel, "of" starts a name of its own: "bottle of water" names a bottle, and water.
_VESSELS = word_set("ball bar bottle bowl box can bale loaf spool cup glass")


def join_names(words: list[Word]) -> list[Word]:
    """The words with names of several words joined."""
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


def _phrase_size(words: list[Word], index: int, before: list[Word], phrases: dict[str, tuple[int, frozenset[str]]]) -> int:
    longest, texts = phrases[words[index].text]
    for size in range(min(longest, len(words) - index), 1, -1):
        run = words[index : index + size]
        if " ".join(word.text for word in run) in texts and not _reads_as_clause(run, before):
            return size
    return 1


def _may_do(word: Word) -> bool:
    """Whether a word names one who may do something: nobody reads "street parking meters" as what a street does."""
    entry = lexicon().exact(word.text)
    return word.kind == PRONOUN or (word.kind == NOUN and (entry is None or entry.category in ("person", "animal")))


def _reads_as_clause(run: list[Word], before: list[Word]) -> bool:
    """Whether words that the lexicon has as one name are a subject and its verb here.

    "a bus stops" is no bus stop, and a man washing machines has no washing machine.
    """
    previous = before[-1] if before else None
    if run[0].text.endswith("ing") and previous and (_may_do(previous) or previous.text in ("is", "are")):
        return True
    last = run[-1].text
    single = previous is not None and previous.text in SINGULAR_DETERMINERS
    return single and last not in PLURAL_ONLY and singular(last) != last and singular(last) in MAYBE_VERBS
