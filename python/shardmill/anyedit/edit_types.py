"""The edit types of AnyEdit: 25 published names, their families, who writes their instructions, and what they need of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shardmill.util.errors import UserError, did_you_mean

Family = Literal["local", "global", "camera", "implicit", "visual"]
Writer = Literal["model", "template", "pair", "stage"]


@dataclass(frozen=True)
class EditType:
    """One type of edit.

    `writer`: "model" asks a text model, "template" is made by rules, "pair" wraps a model-written instruction of type remove or
    replace, "stage" has a stage of its own. `targets` names the function of `edit_targets` that lists what the type can be
    applied to in a row. `weight` is how readily the type is drawn where it applies: what few captions allow is drawn first.
    """

    name: str
    family: Family
    writer: Writer
    human: str
    targets: str
    weight: float = 1.0

    @property
    def is_local(self) -> bool:
        """Whether the edit is of one object, which the published record names then."""
        return self.family == "local"


_ALL = (
    EditType("add", "local", "model", "adding an object", "anything"),
    EditType("remove", "local", "model", "removing an object", "removable"),
    EditType("replace", "local", "model", "replacing an object with another", "replaceable"),
    EditType("color_alter", "local", "model", "changing the colour of an object", "colorable"),
    EditType("appearance_alter", "local", "model", "changing how an object looks", "alterable"),
    EditType("material_change", "local", "model", "changing the material of an object", "solid"),
    EditType("action_change", "local", "model", "changing what a person or animal does", "actions", 2.0),
    EditType("textual_change", "local", "model", "changing a written text", "writings", 6.0),
    EditType("counting", "local", "template", "changing the number of objects", "counting", 8.0),
    EditType("background_change", "global", "model", "changing the background", "foregrounds"),
    EditType("tune_transfer", "global", "model", "changing the weather, the time of day or the season", "aspects"),
    EditType("style_change", "global", "template", "changing the style of the picture", "anything"),
    EditType("movement", "camera", "template", "moving an object", "movement", 1.5),
    EditType("resize", "camera", "template", "resizing an object", "resize", 1.5),
    EditType("outpaint", "camera", "template", "extending the picture beyond its frame", "outpaint", 4.0),
    EditType("rotation_change", "camera", "template", "turning an object", "rotation_change", 1.5),
    EditType("implicit_change", "implicit", "stage", "showing what an event leads to", "nothing"),
    EditType("relation", "implicit", "template", "changing where two objects are to each other", "relation", 4.0),
    EditType("visual_sketch", "visual", "pair", "editing by a sketch", "pairs", 0.4),
    EditType("visual_scribble", "visual", "pair", "editing by a scribble", "pairs", 0.4),
    EditType("visual_segment", "visual", "pair", "editing by a segmentation map", "pairs", 0.4),
    EditType("visual_depth", "visual", "pair", "editing by a depth map", "pairs", 0.4),
    EditType("visual_bbox", "visual", "pair", "editing by a bounding box", "pairs", 0.4),
    EditType("visual_reference", "visual", "pair", "replacing an object by that of another picture", "replacements"),
    EditType("visual_material_transfer", "visual", "pair", "taking a material from another picture", "material_pairs"),
)
TYPES: dict[str, EditType] = {each.name: each for each in _ALL}
"""Every published type by its name."""

ALIASES = {
    "tone_transfer": "tune_transfer",
    "textual": "textual_change",
    "material_alter": "material_change",
    "material_transfer": "visual_material_transfer",
    "bbox": "visual_bbox",
    "scribble": "visual_scribble",
    "implicit": "implicit_change",
}
"""Other names of types, as AnyEdit's own code has them."""

DRAWN = tuple(each.name for each in _ALL if each.writer != "stage")
"""The types that are drawn for a caption; implicit changes have a stage of their own."""

CHAINED = tuple(each.name for each in _ALL if each.writer == "model" and each.name != "textual_change")
"""The types of a chain: written by a model from a caption alone, which their output can be again."""


def type_name(name: str) -> str:
    """The published name of a type or of an alias. Raises ValueError with a hint for an unknown one."""
    found = ALIASES.get(name, name)
    if found not in TYPES:
        raise ValueError(f"no edit type {name!r}; {did_you_mean(name, [*TYPES, *ALIASES])}")
    return found


def chosen_types(names: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The published names of types that an option lists, each once. Raises ValueError for one that is not allowed there."""
    found = tuple(dict.fromkeys(map(type_name, names)))
    for name in found:
        if name not in allowed:
            raise ValueError(f"{name} cannot be drawn here; possible are {', '.join(allowed)}")
    if not found:
        raise ValueError("at least one edit type is needed")
    return found


def edit_type(name: str) -> EditType:
    """The type of a row. Raises UserError for a name that is none."""
    try:
        return TYPES[type_name(name)]
    except ValueError as error:
        raise UserError(str(error)) from error
