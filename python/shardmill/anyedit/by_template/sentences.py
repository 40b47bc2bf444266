"""Edit types that are one sentence: style_change and rotation_change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from shardmill.anyedit.by_template.words import made, words
from shardmill.anyedit.editable import is_movable, is_turnable
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import is_plural
from shardmill.language.placement import is_handled, supports
from shardmill.language.relations import mentions

VIEWS = (
    "front", "front left side", "left side", "back left side", "back", "back right side", "right side", "front right side",
)  # fmt: skip
"""What the viewer sees of a thing as it turns clockwise, seen from above, by 45 degrees each time: first its front, then more
and more of its own left side."""
ROUND = ("round", "ball")


def style_change(row: Mapping[str, Any], target: Mapping[str, Any], rng: Random) -> dict[str, Any] | str:
    """Another style for the whole picture; none that the caption speaks of. `target` may name the "style"."""
    said = set(re.findall(r"[\w-]+", row["input"].lower()))
    free = [style for style in words()["styles"] if said.isdisjoint(style.split()[1:])]
    style = target.get("style") or (rng.choice(free) if free else None)
    if style is None:
        return "every style is named in the caption"
    edit = rng.choice(words()["style"]).format(style=style)
    output = f"{row['input'].rstrip(' .!')}, in the style of {style}"
    output = output.upper() if row["input"].isupper() else output
    return made(edit, edited_object=None, output=output, details={"style": style.partition(" ")[2]})


def candidates_rotation_change(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{"object", "category"}] of solid things that the caption names once."""
    found = []
    for name in row["input_objects"]:
        entry, spans = lexicon().find(name), mentions(row["input"], name)
        if entry is None or not is_turnable(name) or entry.number != "count" or entry.shape in ROUND or len(spans) != 1:
            continue
        if not is_movable(name) or supports(row["input"], name) or is_handled(row["input"], name):
            continue
        start, end = spans[0]
        if not is_plural(row["input"][start:end]):
            found.append({"object": name, "category": entry.name})
    return found


def rotation_change(row: Mapping[str, Any], target: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """Turn a thing from its front to another view, the shorter way round; a half turn goes either way."""
    steps = rng.randrange(1, len(VIEWS))
    clockwise = rng.random() < 0.5 if steps == len(VIEWS) // 2 else steps < len(VIEWS) // 2
    direction = "clockwise" if clockwise else "counterclockwise"
    degrees = 45 * min(steps, len(VIEWS) - steps)
    view = VIEWS[steps]
    edit = rng.choice(words()["rotation"]).format(
        the=f"the {target['object']}", direction=direction, degrees=degrees, view=f"its {view}"
    )
    details = {"category": target["category"], "views": [VIEWS[0], view], "direction": direction, "degrees": degrees}
    return made(edit, edited_object=target["object"], output=None, details=details)
