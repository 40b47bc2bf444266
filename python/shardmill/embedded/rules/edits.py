"""Tasks `edit_<type>` about how things look and what they do, and what is written: by rules over the lexicon. Where no caption
would be English, the output is the caption, which no check lets pass.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from shardmill.embedded.rules.doing import doing
from shardmill.embedded.rules.phrases import capital, patterns
from shardmill.embedded.rules.wording import ended, sentence
from shardmill.language.appearance import has_word, words_of
from shardmill.language.lexicon import lexicon
from shardmill.language.named_number import names_several
from shardmill.language.nouns import is_mass, with_article
from shardmill.language.relations import as_worded, mentions
from shardmill.language.rewriting import colored, core, gerund, looking, made_of

Values = Mapping[str, Any]
Answer = dict[str, Any]


def color_alter(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "color", "verb"} -> the object in that colour."""
    caption, name, color = str(values["caption"]), str(values["object"]), str(values["color"])
    edit = sentence(patterns("edits")["color_alter"][values["verb"]], rng, values, caption, color=color)
    return {
        "edit": edit,
        "edited_object": name,
        "color": color,
        "output": ended(colored(caption, name, color) or caption, caption),
    }


def appearance_alter(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "verb"} -> the object with a look that suits its kind."""
    caption, name = str(values["caption"]), str(values["object"])
    looks = _of_kind(patterns("edits")["looks"], name)
    look = rng.choice([each for each in looks if not has_word(caption, words_of(each))] or looks)
    many = names_several(caption, name)
    one = f"{look} {name}" if is_mass(name) else f"{look} ones" if many else f"{with_article(look)} one"
    edit = sentence(patterns("edits")["appearance_alter"][values["verb"]], rng, values, caption, look=look, one=one)
    edit = edit.replace("so that it looks", "so that they look") if many else edit
    return {
        "edit": edit,
        "edited_object": name,
        "appearance": look,
        "output": ended(looking(caption, name, look) or caption, caption),
    }


def material_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "material", "verb"} -> the object of that material."""
    caption, name, material = str(values["caption"]), str(values["object"]), str(values["material"])
    outputs = [output for output in made_of(caption, name, material) if mentions(output, name)]
    edit = sentence(patterns("edits")["material_change"][values["verb"]], rng, values, caption, material=material)
    return {"edit": edit, "edited_object": name, "material": material, "output": ended(rng.choice(outputs or [caption]), caption)}


def action_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "action", "verb"} -> another action of that person or animal; all else of the caption stays."""
    caption, name, old = str(values["caption"]), str(values["object"]), str(values["action"])
    new, output = doing(caption, name, old, rng)
    first, _, rest = new.partition(" ")
    before = old if old.endswith("ing") else gerund(old.removesuffix("s"))
    words = {"action": new, "gerund": f"{gerund(first)} {rest}".strip(), "old": before}
    edit = sentence(patterns("edits")["action_change"][values["verb"]], rng, values, caption, **words)
    return {"edit": edit, "edited_object": name, "new_action": new, "output": ended(output or caption, caption)}


def textual_change(values: Values, rng: random.Random) -> Answer:
    """{"caption", "object", "text", "verb"} -> the caption with a text in quotes, and another one of as many words."""
    caption, table = str(values["caption"]), patterns("edits")
    words = [str(word) for word in _of_kind(table["writings"], str(values["object"] or ""))]
    old = str(values["text"]) if values["text"] is not None else rng.choice(words).upper()
    count = len(old.split())
    free = [word for word in words if word.casefold() not in old.casefold().split()]
    new = _in_case_of(old, " ".join(rng.choices(free, k=count) if count > len(free) else rng.sample(free, count)))
    the = f"the {as_worded(caption, str(values['object']))}" if values["object"] else ""
    pattern = rng.choice(table["bearing" if the else "written"])
    plain = core(caption).replace('"', "").replace("'" + old + "'", old)
    if re.search(rf"(?<!\w){re.escape(old)}(?!\w)", plain):  # the caption quotes the text itself
        told = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", "\0", plain, count=1).replace("{", "{{").replace("}", "}}")
        pattern, plain = told.replace("\0", "'{text}'"), ""
    before, after = (ended(pattern.format(caption=plain, text=text, the=the), caption) for text in (old, new))
    edit = rng.choice(table["textual_change"][values["verb"]]).format(Verb=capital(values["verb"]), old=old, new=new)
    return {"input": before, "edit": edit, "output": after}


def _of_kind(lists: Mapping[str, list[str]], name: str) -> list[str]:
    """The list of the first kind of a thing that has one, from the thing itself to its category."""
    entry = lexicon().find(name)
    kinds = [entry.name, *entry.hypernyms, entry.category] if entry is not None else []
    return next((lists[kind] for kind in kinds if kind in lists), lists["any"])


def _in_case_of(model: str, text: str) -> str:
    if model.isupper():
        return text.upper()
    return text.title() if model[:1].isupper() else text
