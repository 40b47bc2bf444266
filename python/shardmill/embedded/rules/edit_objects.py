"""Tasks `edit_add`, `edit_remove` and `edit_replace`: objects that come, go and change. Where no caption would be English, the
output is the caption, which no check lets pass.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from shardmill.embedded.rules.caption_text import kind
from shardmill.embedded.rules.phrases import capital, patterns
from shardmill.embedded.rules.wording import ended, sentence
from shardmill.language.appearance import has_word
from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.language.named_number import names_several
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import plural, with_article
from shardmill.language.relations import as_worded, mentions, relation
from shardmill.language.removal import without
from shardmill.language.rewriting import core, replaced
from shardmill.language.scene_words import is_indoors, is_outdoors
from shardmill.util.texts import cached

_RIDING, _RIDDEN = ("ride", "rides", "riding", "rider", "riders", "horseback"), ("horse", "donkey", "camel")
_GAME_KINDS = frozenset({"ball", "baseball", "baseball bat", "tennis racket"})

Values = Mapping[str, Any]
Answer = dict[str, Any]


def add(values: Values, rng: random.Random) -> Answer:
    """{"caption", "verb"} -> an object that people would put there, and where: the same in the instruction and the caption."""
    caption = str(values["caption"])
    chosen = _addition(caption, rng)
    if chosen is None:
        return {"edit": f"{capital(str(values['verb']))} a bench", "edited_object": "bench", "output": caption}
    anchor, where, new = chosen
    words = {"thing": with_article(new), "where": where, "the": f"the {as_worded(caption, anchor)}"}
    table = patterns("edits")["add"]
    edit = rng.choice(table["edit"]).format(Verb=capital(str(values["verb"])), **words)
    said_of = "output_of_phrase" if kind(core(caption)) == "phrase" else "output"
    output = rng.choice(table[said_of]).format(caption=core(caption), **words)
    return {"edit": edit, "edited_object": new, "output": ended(output, caption)}


def remove(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "verb"} -> the caption without it."""
    caption, name = str(values["caption"]), str(values["object"])
    edit = sentence(patterns("edits")["remove"], rng, values, caption)
    output = without(caption, name)
    return {"edit": edit, "edited_object": name, "output": ended(output, caption) if output else caption}


def replace(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "verb"} -> the object replaced by one that could stand for it."""
    caption, name = str(values["caption"]), str(values["object"])
    found = ((new, replaced(caption, name, new)) for new in _alike(caption, name, rng))
    new, output = next(((new, text) for new, text in found if text is not None and mentions(text, new)), ("", None))
    thing = plural(new) if names_several(caption, name) else with_article(new)
    edit = sentence(patterns("edits")["replace"][values["verb"]], rng, values, caption, thing=thing)
    return {"edit": edit, "edited_object": name, "new_object": new or name, "output": ended(output or caption, caption)}


def _addition(caption: str, rng: random.Random) -> tuple[str, str, str] | None:
    """(what is there, a preposition, what to add), None where nothing of the list suits the caption."""
    present = extract_objects(caption)
    anchors = [name for name in present if len(mentions(caption, name)) == 1]
    possible = [(name, entry) for name in anchors if (entry := _entry_of(name, caption)) is not None]
    if not possible:
        return None
    anchor, entry = rng.choice(possible)
    fitting = [
        new for new in entry["things"] if not mentions(caption, new) and all(relation(new, name) is None for name in present)
    ]
    return (anchor, rng.choice(entry["places"]), rng.choice(fitting)) if fitting else None


def _entry_of(name: str, caption: str) -> Mapping[str, Any] | None:
    """The first entry of the additions that is about such a thing."""
    found = lexicon().find(name)
    if found is None or found.category in ("body", "part"):
        return None
    kinds = {found.name, found.category, *lexicon().kinds(found)}
    for entry in patterns("additions"):
        is_seen = {True: is_outdoors, False: is_indoors}.get(entry.get("open"))
        if has_word(caption, entry.get("unless", ())):
            continue
        if not kinds.isdisjoint(entry["near"]) and (is_seen is None or is_seen(caption)):
            return dict(entry)
    return None


def _alike(caption: str, name: str, rng: random.Random) -> Iterator[str]:
    """Things that could stand for an object and that the caption does not name, in random order."""
    entry, present = lexicon().find(name), extract_objects(caption)
    if entry is None or (entry.category == "animal" and any(map(_is_of_body, present))):
        return  # no squirrel has a beak
    kinds = {entry.category, entry.name, *lexicon().kinds(entry)}
    if has_word(caption, patterns("swaps")["games"]) and not _GAME_KINDS.isdisjoint(kinds):
        return  # nobody pitches a balloon
    known = _stand_ins(entry)
    if not kinds.isdisjoint(_RIDDEN) and has_word(caption, _RIDING):
        known = [new for new in known if new in _RIDDEN]
    for new in rng.sample(known, len(known)):
        is_free = not mentions(caption, new) and all(relation(new, other) is None for other in present)
        if is_free and lexicon().entries[new].number == entry.number:
            yield new


def _is_of_body(name: str) -> bool:
    entry = lexicon().find(name)
    return entry is not None and entry.category == "body"


@cached
def _stand_ins(entry: LexiconEntry) -> list[str]:
    """What the lists let stand for a thing; for a kind of thing that is in none, what may stand for what it is a kind of."""
    lists = patterns("swaps")
    for each in (entry.name, *entry.hypernyms):
        found = [name for group in lists["groups"] if each in group for name in group]
        if listed := [*found, *lists["instead"].get(each, [])]:
            return [name for name in dict.fromkeys(listed) if name not in (each, entry.name)]
    is_class = any(entry.name in other.hypernyms for other in lexicon().entries.values())
    if is_class or entry.category not in lists["by_shape"]:
        return []
    alike = (other for other in lexicon().entries.values() if other.category == entry.category and other.shape == entry.shape)
    return [other.name for other in alike if other != entry and not set(other.scenes).isdisjoint(entry.scenes)]
