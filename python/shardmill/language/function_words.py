"""Closed classes of English words, which bound noun phrases and clauses where no parser is at hand.

"Function words" are those that carry grammar instead of content (Huddleston & Pullum, The Cambridge Grammar of the English
Language, chapter 1): articles, auxiliaries, prepositions, conjunctions, pronouns. The verbs and adverbs of captions are
here too, for the same use: a noun phrase ends before them.
"""

from __future__ import annotations

from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "function_words.yaml")

DEFINITE = word_set("the this that these those his her its their our your my")
DETERMINERS = DEFINITE | word_set("a an any some one two three four five another each every either")
AUXILIARIES = _LISTS.words("auxiliaries")
SINGULAR = word_set("is was has does")
"""Verbs whose subject is one thing."""
VERBS = AUXILIARIES | _LISTS.words("verbs")
SEEN = _LISTS.words("seen")
"""What a thing does, or is, when it is in the picture."""
APPEARS = word_set("appear appears appeared appearing exist exists figure feature occur show come")
ADVERBS = _LISTS.words("adverbs")
PRONOUNS = _LISTS.words("pronouns")
PREPOSITIONS = _LISTS.words("prepositions")
JOINS = _LISTS.words("joins")
"""Words that begin another clause, or an exception."""
RELATIVES = word_set("that which who")
MEDIA = word_set("image photo photograph picture video scene frame clip footage shot view sight setting film snapshot")
"""The picture itself: "visible in the image" says that a thing is there."""
SENTENCE_ENDS = word_set(". ; ! ? ( ) [ ]")
PAUSES = word_set(": - ,") | SENTENCE_ENDS
