"""Edit types that are built on a finished remove or replace: with a condition image, a reference image or a material.

`pair` is the accepted answer: "input" (the caption before), "edit", "edited_object", "new_object" (replace only), "output", and
where there are any "boxes" of the edited object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from shardmill.anyedit.by_template.words import made, words
from shardmill.anyedit.editable import materials_of
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.relations import as_worded, mentions
from shardmill.language.rewriting import made_of

CONDITIONS = ("sketch", "scribble", "segment", "depth", "bbox")
Pair = Mapping[str, Any]


def visual(kind: str) -> Callable[[Pair, Random], dict[str, Any] | str]:
    """The function for `visual_<kind>`: the pair's edit, to be read with a condition image of that kind."""
    assert kind in CONDITIONS, kind

    def wrapped(pair: Pair, rng: Random) -> dict[str, Any] | str:
        base = pair["edit"].strip().rstrip(".!")
        given = rng.choice(words()["conditions"][kind])
        edit = rng.choice(words()["visual"]).format(given=given, base=base[:1].lower() + base[1:])
        details = {
            "condition": kind,
            "base": "replace" if pair.get("new_object") else "remove",
            "base_edit": pair["edit"],
            "new_object": pair.get("new_object"),
            "boxes": pair.get("boxes") or [],
        }
        return made(edit, edited_object=pair["edited_object"], output=pair["output"], details=details)

    return wrapped


def visual_reference(pair: Pair, rng: Random) -> dict[str, Any] | str:
    """A replace whose new object is shown by a reference image: a placeholder stands for it in the edit and in the output."""
    new = pair.get("new_object")
    if not new:
        return "no new object to show by a reference image"
    token = words()["placeholder"]
    output = _with_token(pair["output"], new, token)
    if output is None:
        return "the output does not name the new object once"
    entry = lexicon().find(new)
    edit = rng.choice(words()["reference"]).format(the=_the(pair), token=token)
    details = {
        "condition": "reference",
        "placeholder": token,
        "ref_object": new,
        "category": entry.name if entry else fold(new),
        "base_edit": pair["edit"],
        "base_output": pair["output"],
    }
    return made(edit, edited_object=pair["edited_object"], output=output, details=details)


def material_change(pair: Pair, rng: Random) -> dict[str, Any] | str:
    """Another material for the pair's edited object."""
    return _of_material(pair, rng, "material")


def visual_material_transfer(pair: Pair, rng: Random) -> dict[str, Any] | str:
    """Another material for the pair's edited object, which a picture of the material shows."""
    return _of_material(pair, rng, "material_transfer")


def _of_material(pair: Pair, rng: Random, patterns: str) -> dict[str, Any] | str:
    caption, name = pair["input"], pair["edited_object"]
    said = set(re.findall(r"\w+", f"{caption} {name}".lower()))
    free = [material for material in materials_of(name) if said.isdisjoint((material, f"{material}en"))]
    if not free:
        return "nobody would say what it is made of"
    material = rng.choice(free)
    outputs = made_of(caption, name, material) if len(mentions(caption, name)) == 1 else []
    if not outputs:
        return "the caption has no place to name the material"
    token = words()["placeholder"]
    edit = rng.choice(words()[patterns]).format(the=_the(pair), material=material, token=token)
    details: dict[str, Any] = {"material": material, "base_edit": pair["edit"]}
    if patterns == "material_transfer":
        details |= {"condition": "material", "placeholder": token}
    return made(edit, edited_object=name, output=outputs[-1], details=details)


def _the(pair: Pair) -> str:
    """The edited object in the number of the caption: "the dogs"."""
    return f"the {as_worded(pair['input'], pair['edited_object'])}"


def _with_token(output: str, new: str, token: str) -> str | None:
    """The output with the placeholder for the only mention of the new object, whether named with or without its adjectives."""
    bare = re.sub(r"^(?:an?|the|some) ", "", new.strip(), flags=re.IGNORECASE)
    spans = [match.span() for match in re.finditer(rf"\b{re.escape(bare)}\b", output, re.IGNORECASE)] or mentions(output, bare)
    if len(spans) != 1:
        return None
    start, end = spans[0]
    before = re.sub(r"\b([Aa])n( )$", r"\1\2", output[:start])
    return before + token + output[end:]
