"""Edit types that follow from where things stand in the picture: movement, resize, relation, outpaint.

Boxes are (x0, y0, x1, y1) in pixels of an image of `width` x `height`, the real size. Nothing moves to where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations
from random import Random
from typing import Any, NamedTuple

from shardmill.anyedit.by_template.words import made, words
from shardmill.anyedit.editable import is_afloat, is_movable, is_part, is_resizable
from shardmill.language.actions import is_animate
from shardmill.language.appearance import has_word
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold, is_plural, with_article
from shardmill.language.placement import is_handled, supports
from shardmill.language.relations import mentions
from shardmill.language.word_lists import word_set

SMALL = 0.10
"""Largest share of the image that a thing of `relation` may take (AnyEdit)."""
OUTPAINT_FROM, OUTPAINT_TO = 0.10, 0.50
"""Shares of the image that the crop of `outpaint` may take (AnyEdit)."""
SHRINK, GROW = 0.7, 1.3
"""The factors of `resize` (AnyEdit)."""
TINY, HUGE = 0.005, 0.60
"""Shares of the image below and above which a thing is neither moved nor resized: nobody could see the edit."""
ROOM = 0.5
"""Free space that `movement` wants on the side it goes to, as a share of the thing's own side."""
OVERLAP = 0.3
"""Largest part of the smaller of two boxes that may lie in the other where the two are put in relation."""
APART = 0.05
"""Centres that differ by less, as a share of the image's side, stand neither left nor right (above nor below) of each other."""

_FLYING = word_set("fly flies flying flown soar soars soaring air sky hover hovers hovering underwater aquarium")

OPPOSITE = {"left": "right", "right": "left", "upper": "down", "down": "upper"}


class LayoutBox(NamedTuple):
    """A box in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def area(self) -> float:
        return max(self.x1 - self.x0, 0.0) * max(self.y1 - self.y0, 0.0)


def candidates_movement(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{"object", "box"}] of things that stand once in the picture, with room on some side."""
    seen = [(name, box) for name, box in _loose(row) if TINY <= _share(row, box) <= HUGE]
    return [{"object": name, "box": list(box)} for name, box in seen if _roomy(row, name, box)]


def movement(row: Mapping[str, Any], target: Mapping[str, Any], rng: Random) -> dict[str, Any] | str:
    """Move a thing to a side where there is room for it; what has more room is likelier. No output: no caption says where."""
    room = _roomy(row, target["object"], LayoutBox(*target["box"]))
    if not room:
        return "no free space on any side"
    direction = rng.choices(list(room), list(room.values()))[0]
    pattern, where = rng.choice(words()["movement"]), rng.choice(words()["where"][direction])
    edit = pattern.format(the=_the(target["object"]), where=where)
    details = {"direction": direction, "boxes": [target["box"]], "free_space": round(room[direction], 1)}
    return made(edit, edited_object=target["object"], output=None, details=details)


def candidates_resize(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{"object", "box"}] of things that stand once in the picture and are neither tiny nor huge."""
    seen = [(name, box) for name, box in _loose(row) if TINY <= _share(row, box) <= HUGE]
    return [{"object": name, "box": list(box)} for name, box in seen if is_resizable(name)]


def resize(row: Mapping[str, Any], target: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """Enlarge a thing where the larger one fits around its centre, else shrink it; a small one is only enlarged."""
    box = LayoutBox(*target["box"])
    fits = _fits(row, box, GROW)
    factor = rng.choice((SHRINK, GROW)) if fits and _share(row, box) * SHRINK**2 >= TINY else GROW if fits else SHRINK
    pattern = rng.choice(words()["resize"]["larger" if factor > 1 else "smaller"])
    details = {"factor": factor, "boxes": [target["box"]], "resized_box": _scaled(box, factor)}
    edit = pattern.format(the=_the(target["object"]))
    return made(edit, edited_object=target["object"], output=None, details=details)


def candidates_relation(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{"kind", "object", "box", ...}] of things under 10 % of the image.

    Kind "alone": one thing, to another part of the image. "beside" and "swap": with "other" and "other_box".
    """
    small = [(name, box) for name, box in _loose(row) if 0 < _share(row, box) < SMALL]
    found: list[dict[str, Any]] = [{"kind": "alone", "object": name, "box": list(box)} for name, box in small]
    for (name, box), (other, other_box) in permutations(small, 2):
        if _overlap(box, other_box) > OVERLAP:
            continue
        pair = {"object": name, "box": list(box), "other": other, "other_box": list(other_box)}
        if _free_directions(row, name, box, other_box):
            found.append({"kind": "beside", **pair})
        if name < other and _held(row, box, other_box):
            found.append({"kind": "swap", **pair})
    return found


def relation(row: Mapping[str, Any], target: Mapping[str, Any], rng: Random) -> dict[str, Any] | str:
    """Move a thing to another part of the image or to another side of a second thing, or swap the two."""
    box, the = LayoutBox(*target["box"]), _the(target["object"])
    other = target.get("other")
    boxes = [target["box"], target["other_box"]] if other else [target["box"]]
    if target["kind"] == "swap":
        direction = "swap"
        edit = rng.choice(words()["relation"]["swap"]).format(the=the, other=_the(other))
    elif target["kind"] == "beside":
        free = _free_directions(row, target["object"], box, LayoutBox(*target["other_box"]))
        if not free:
            return "no direction that is not true already"
        direction = rng.choice(free)
        pattern = rng.choice(words()["relation"]["beside"])
        edit = pattern.format(the=the, other=_the(other), relation=words()["relations"][direction])
    else:
        direction = rng.choice(_free_sides(row, target["object"], box))
        edit = rng.choice(words()["relation"]["alone"]).format(the=the, side=words()["sides"][direction])
    details = {"kind": target["kind"], "direction": direction, "target_object": other, "boxes": boxes}
    return made(edit, edited_object=target["object"], output=None, details=details)


def candidates_outpaint(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{"object", "box"}] of things that stand once in the picture and take 10 to 50 % of it."""
    return [{"object": name, "box": list(box)} for name, box in _single(row) if OUTPAINT_FROM <= _share(row, box) <= OUTPAINT_TO]


def outpaint(row: Mapping[str, Any], target: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """From a crop of the image around one thing (the input) back to the whole image (the output, of which the caption tells)."""
    box = LayoutBox(*target["box"])
    crop = [int(box.x0), int(box.y0), min(int(box.x1 + 0.999), row["width"]), min(int(box.y1 + 0.999), row["height"])]
    article = with_article(target["object"])
    return made(
        rng.choice(words()["outpaint"]).format(the=_the(target["object"])),
        edited_object=None,
        output=row["input"],
        edit_input=article[:1].upper() + article[1:],
        details={"object": target["object"], "crop_box": crop, "boxes": [target["box"]]},
    )


def _single(row: Mapping[str, Any]) -> Iterator[tuple[str, LayoutBox]]:
    """Things with one box that the caption names once, and as one, so that "the dog" can only be that one."""
    if not row.get("width") or not row.get("height"):
        return
    known = [name for name in row["input_objects"] if lexicon().find(name) is not None]
    for name in known or row["input_objects"]:
        boxes = ((row.get("detections") or {}).get(name) or {}).get("boxes") or []
        spans = mentions(row["input"], name)
        if len(boxes) != 1 or len(spans) != 1 or _is_setting(name) or is_part(name):
            continue
        start, end = spans[0]
        if is_plural(row["input"][start:end]) and not is_plural(name):
            continue
        box = _clamped(row, LayoutBox(*boxes[0]))
        if box.area > 0:
            yield name, box


def _loose(row: Mapping[str, Any]) -> Iterator[tuple[str, LayoutBox]]:
    """Such things that can stand elsewhere: nothing is on or in them, and nobody holds or wears them."""
    caption = row["input"]
    standing = ((name, box) for name, box in _single(row) if is_movable(name) and not supports(caption, name))
    return ((name, box) for name, box in standing if not is_handled(caption, name))


def _is_setting(name: str) -> bool:
    """Whether a name is that of a place or a wide thing, in which others stand: nobody moves a beach or the sky."""
    entry = lexicon().find(name)
    if entry is not None:
        return entry.name in lexicon().scenes or entry.shape in ("ground", "water", "cloud", "mountain")
    return fold(name) in lexicon().scenes or fold(name).rpartition(" ")[2] in lexicon().scenes


def _clamped(row: Mapping[str, Any], box: LayoutBox) -> LayoutBox:
    width, height = float(row["width"]), float(row["height"])
    return LayoutBox(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, width), min(box.y1, height))


def _share(row: Mapping[str, Any], box: LayoutBox) -> float:
    return float(box.area / (row["width"] * row["height"]))


def _roomy(row: Mapping[str, Any], name: str, box: LayoutBox) -> dict[str, float]:
    """Free pixels by direction, where they are enough; what stands on the ground goes neither up nor down."""
    across, down = ROOM * (box.x1 - box.x0), ROOM * (box.y1 - box.y0)
    free = {
        "left": (box.x0, across),
        "right": (row["width"] - box.x1, across),
        "upper": (box.y0, down),
        "down": (row["height"] - box.y1, down),
    }
    return {way: space for way, (space, wanted) in free.items() if space >= wanted and way in _ways(row, name)}


def _ways(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The directions in which a thing can be moved; an animal up and down only where it flies."""
    flies = not is_animate(name) or has_word(row["input"], _FLYING)
    return tuple(OPPOSITE) if is_afloat(name) and flies else ("left", "right")


def _scaled(box: LayoutBox, factor: float) -> list[float]:
    x, y = box.centre
    across, down = factor * (box.x1 - box.x0) / 2, factor * (box.y1 - box.y0) / 2
    return [round(side, 1) for side in (x - across, y - down, x + across, y + down)]


def _fits(row: Mapping[str, Any], box: LayoutBox, factor: float) -> bool:
    x0, y0, x1, y1 = _scaled(box, factor)
    return x0 >= 0 and y0 >= 0 and x1 <= row["width"] and y1 <= row["height"]


def _free_sides(row: Mapping[str, Any], name: str, box: LayoutBox) -> list[str]:
    """The halves of the image in which a thing's centre is not and could be."""
    x, y = box.centre
    sides = ["left" if x >= row["width"] / 2 else "right", "upper" if y >= row["height"] / 2 else "down"]
    return [side for side in sides if side in _ways(row, name)]


def _held(row: Mapping[str, Any], box: LayoutBox, other: LayoutBox) -> list[str]:
    """The directions in which a thing stands from another, by their centres."""
    (x, y), (other_x, other_y) = box.centre, other.centre
    across, down = APART * row["width"], APART * row["height"]
    found = ["left"] if x < other_x - across else ["right"] if x > other_x + across else []
    return found + (["upper"] if y < other_y - down else ["down"] if y > other_y + down else [])


def _free_directions(row: Mapping[str, Any], name: str, box: LayoutBox, other: LayoutBox) -> list[str]:
    """Directions from another thing to which one can be moved: the opposite of those in which it stands clearly."""
    return [OPPOSITE[way] for way in _held(row, box, other) if OPPOSITE[way] in _ways(row, name)]


def _overlap(box: LayoutBox, other: LayoutBox) -> float:
    across = min(box.x1, other.x1) - max(box.x0, other.x0)
    down = min(box.y1, other.y1) - max(box.y0, other.y0)
    return max(across, 0.0) * max(down, 0.0) / max(min(box.area, other.area), 1e-9)


def _the(name: Any) -> str:
    return f"the {name}"
