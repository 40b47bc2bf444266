"""Tasks `edit_<type>`: an instruction for an image editor and the caption after the edit, by rules over the lexicon."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from shardmill.embedded.rules.phrases import capital, patterns
from shardmill.embedded.rules.propose import propose_negatives
from shardmill.embedded.rules.rewriting import (
    core,
    described,
    doing,
    elsewhere,
    gerund,
    listed,
    made_of,
    replaced,
    without,
)
from shardmill.language.actions import actions, is_human, verb_stem
from shardmill.language.appearance import COLORS, has_word, is_stuff, words_of
from shardmill.language.backgrounds import is_background
from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import fold, is_plural, plural, with_article
from shardmill.language.relations import mentions, relation

Values = Mapping[str, Any]
Answer = dict[str, Any]

_UNFIT = frozenset({"person", "building", "body", "part", "nature"})
_MAX_TRIES = 12


def add(values: Values, rng: random.Random) -> Answer:
    """{"caption", "verb"} -> an object that suits the scene, beside one that is there."""
    caption = str(values["caption"])
    present = extract_objects(caption)
    proposed = propose_negatives({"caption": caption, "objects": present, "count": 8}, rng)["objects"]
    fitting = [name for name in proposed if lexicon().entries[name].category not in _UNFIT] or proposed
    new = fitting[0] if fitting else "bench"
    anchors = [name for name in present if not is_background(name)]
    table = patterns("edits")["add"]
    anchor = rng.choice(anchors) if anchors else ""
    words = {"Verb": capital(values["verb"]), "thing": with_article(new), "the": f"the {_as_named(caption, anchor)}"}
    edit = rng.choice(table["edit"] if anchors else table["alone"]).format(**words)
    outputs = [text for text in table["output"] if anchors or "{it}" not in text]
    output = rng.choice(outputs).format(caption=core(caption), it=words["the"], **words)
    return {"edit": edit, "edited_object": new, "output": _ended(output, caption)}


def remove(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "verb"} -> the caption without it, or a caption that names the others."""
    caption, name = str(values["caption"]), str(values["object"])
    output = without(caption, name)
    others = [other for other in extract_objects(caption) if not _goes_with(other, name)]
    if output is None or any(not mentions(output, other) for other in others):
        output = _ended(listed(caption, (other for other in others if not is_stuff(caption, other))), caption)
    edit = _sentence(patterns("edits")["remove"], rng, values, caption)
    return {"edit": edit, "edited_object": name, "output": output}


def replace(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "verb"} -> the object replaced by another of its category."""
    caption, name = str(values["caption"]), str(values["object"])
    new, output = "", None
    for new in _alike(caption, name, rng):
        output = replaced(caption, name, new)
        if output is not None and mentions(output, new):
            break
    thing = plural(new) if is_plural(_as_named(caption, name)) else with_article(new)
    edit = _sentence(patterns("edits")["replace"][values["verb"]], rng, values, caption, thing=thing)
    return {"edit": edit, "edited_object": name, "new_object": new, "output": output or caption}


def color_alter(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "color", "verb"} -> the object in that colour."""
    caption, name, color = str(values["caption"]), str(values["object"]), str(values["color"])
    output = described(caption, name, color, COLORS) or f"{core(caption)}, the {_as_named(caption, name)} in {color}"
    edit = _sentence(patterns("edits")["color_alter"][values["verb"]], rng, values, caption, color=color)
    return {"edit": edit, "edited_object": name, "color": color, "output": output}


def appearance_alter(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "verb"} -> the object with a look that suits its category."""
    caption, name = str(values["caption"]), str(values["object"])
    entry = lexicon().find(name)
    looks = patterns("edits")["looks"]
    free = [look for look in looks.get(entry.category if entry else "any", looks["any"]) if not has_word(caption, words_of(look))]
    look = rng.choice(free or looks["any"])
    output = described(caption, name, look, frozenset()) or f"{core(caption)}, the {_as_named(caption, name)} {look}"
    edit = _sentence(patterns("edits")["appearance_alter"][values["verb"]], rng, values, caption, look=look)
    if is_plural(_as_named(caption, name)):
        edit = edit.replace("so that it looks", "so that they look")
    return {"edit": edit, "edited_object": name, "appearance": look, "output": output}


def material_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "material", "verb"} -> the object of that material."""
    caption, name, material = str(values["caption"]), str(values["object"]), str(values["material"])
    outputs = [output for output in made_of(caption, name, material) if mentions(output, name)]
    output = rng.choice(outputs) if outputs else f"{core(caption)}, the {_as_named(caption, name)} made of {material}"
    edit = _sentence(patterns("edits")["material_change"][values["verb"]], rng, values, caption, material=material)
    return {"edit": edit, "edited_object": name, "material": material, "output": output}


def action_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "action", "verb"} -> another action of that person or animal."""
    caption, name, old = str(values["caption"]), str(values["object"]), str(values["action"])
    known = patterns("edits")["actions"]["person" if is_human(name) else "animal"]
    before = {verb_stem(action.verb) for action in actions(caption)} | {verb_stem(old)}
    free = [action for action in known if verb_stem(action.split()[0]) not in before]
    new, output = "", None
    for new in rng.sample(free, len(free)):
        output = doing(caption, name, old, new)
        if output is not None:
            lost = [other for other in extract_objects(caption) if not mentions(output, other) and _is_loose(other)]
            output = f"{core(output)} beside {with_article(_as_named(caption, lost[0]))}" if lost else output
            break
    first, _, rest = new.partition(" ")
    words = {"action": new, "gerund": f"{gerund(first)} {rest}".strip()}
    edit = _sentence(patterns("edits")["action_change"][values["verb"]], rng, values, caption, **words)
    return {"edit": edit, "edited_object": name, "new_action": new, "output": _ended(output or caption, caption)}


def background_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "verb"} -> the same things at another place."""
    caption = str(values["caption"])
    places = patterns("edits")["places"]
    free = [
        pair for pair in places if not any(mentions(caption, word) or has_word(caption, (word,)) for word in pair[1].split()[1:])
    ]
    preposition, place = rng.choice(free or places)
    output, old = elsewhere(caption, preposition, place)
    edit = _sentence(patterns("edits")["background_change"][values["verb"]], rng, values, caption, place=place)
    return {"edit": edit, "new_background": place, "original_background": old, "output": _ended(output, caption)}


def tune_transfer(values: Values, rng: random.Random) -> Answer:
    """{"caption", "aspect", "verb"} -> the caption in another weather, at another time of day or in another season."""
    caption, aspect = str(values["caption"]), str(values["aspect"])
    states = patterns("edits")["states"][aspect]
    state, phrase = rng.choice([pair for pair in states if not has_word(caption, words_of(pair[0]))] or states)
    edit = _sentence(patterns("edits")["tune_transfer"][aspect][values["verb"]], rng, values, caption, state=state)
    return {"edit": edit, "new_state": state, "output": _ended(f"{core(caption)} {phrase}", caption)}


def textual_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "text", "verb"} -> the caption with a text in quotes, and another one of as many words."""
    caption, table = str(values["caption"]), patterns("edits")
    words = [str(word) for word in table["writings"]]
    old = str(values["text"]) if values["text"] is not None else rng.choice(words).upper()
    count = len(old.split())
    free = [word for word in words if word.casefold() not in old.casefold().split()]
    new = _in_case_of(old, " ".join(rng.choices(free, k=count) if count > len(free) else rng.sample(free, count)))
    the = f"the {_as_named(caption, str(values['object']))}" if values["object"] else ""
    pattern = rng.choice(table["bearing" if the else "written"])
    plain = core(caption).replace('"', "").replace("'" + old + "'", old)
    if re.search(rf"(?<!\w){re.escape(old)}(?!\w)", plain):  # the caption quotes the text itself
        told = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", "\0", plain, count=1).replace("{", "{{").replace("}", "}}")
        pattern, plain = told.replace("\0", "'{text}'"), ""
    before, after = (_ended(pattern.format(caption=plain, text=text, the=the), caption) for text in (old, new))
    edit = rng.choice(table["textual_change"][values["verb"]]).format(Verb=capital(values["verb"]), old=old, new=new)
    return {"input": before, "edit": edit, "output": after}


def _sentence(wordings: list[str], rng: random.Random, values: Values, caption: str, **words: str) -> str:
    """One of the wordings with the verb, the object as the caption names it, and the words."""
    the = f"the {_as_named(caption, str(values.get('object') or ''))}"
    return rng.choice(wordings).format(Verb=capital(str(values["verb"])), the=the, **words)


def _as_named(caption: str, name: str) -> str:
    """The object in the words and the number of the caption."""
    spans = mentions(caption, name) if name else []
    return caption[slice(*spans[0])].lower() if spans else name


def _alike(caption: str, name: str, rng: random.Random) -> Iterator[str]:
    """Things that could replace an object: of its category and scenes first, then what suits the caption."""
    entry, present = lexicon().find(name), extract_objects(caption)
    pool = [other for other in lexicon().entries.values() if entry is not None and _suits(other, entry)]
    found = [other.name for other in rng.sample(pool, len(pool))] if pool else []
    found += propose_negatives({"caption": caption, "objects": present, "count": _MAX_TRIES}, rng)["objects"]
    fit = (new for new in found if not is_human(new) and not mentions(caption, new) and relation(name, new) is None)
    yield from islice((new for new in fit if lexicon().entries[new].number == "count"), _MAX_TRIES)


def _suits(other: LexiconEntry, entry: LexiconEntry) -> bool:
    return other.category == entry.category and not set(other.scenes).isdisjoint(entry.scenes) and other.number == "count"


def _goes_with(other: str, name: str) -> bool:
    return relation(other, name) is not None or bool(mentions(name, other)) or fold(other) == fold(name)


def _is_loose(name: str) -> bool:
    """Whether a thing can be there by itself, without whoever carried it."""
    entry = lexicon().find(name)
    return entry is not None and entry.category not in ("part", "body", "nature") and not is_background(name)


def _ended(text: str, caption: str) -> str:
    """The text with a full stop if the caption has one."""
    return core(text) + "." if caption.rstrip().endswith(".") else core(text)


def _in_case_of(model: str, text: str) -> str:
    if model.isupper():
        return text.upper()
    return text.title() if model[:1].isupper() else text
