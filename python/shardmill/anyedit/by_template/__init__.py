"""Instructions of the edit types that need no model: from the caption, the boxes of its objects, or a finished remove/replace.

`CANDIDATES[type](row)` are the possible targets of a row, [] when the type does not apply. `FROM_ROW[type](row, target, rng)` and
`FROM_PAIR[type](pair, rng)` return {"edit", "edited_object", "output", "details"} and sometimes "edit_input" (where the input is
not the row's caption), or a text: why it cannot be made. `row` has input, input_objects, detections, width, height; for `pair`
see `wrapping`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from shardmill.anyedit.by_template.counting import candidates_counting, counting
from shardmill.anyedit.by_template.layout import (
    candidates_movement,
    candidates_outpaint,
    candidates_relation,
    candidates_resize,
    movement,
    outpaint,
    relation,
    resize,
)
from shardmill.anyedit.by_template.sentences import candidates_rotation_change, rotation_change, style_change
from shardmill.anyedit.by_template.words import words, words_digest
from shardmill.anyedit.by_template.wrapping import (
    CONDITIONS,
    material_change,
    visual,
    visual_material_transfer,
    visual_reference,
)

Made = dict[str, Any] | str

CANDIDATES: dict[str, Callable[[Mapping[str, Any]], list[dict[str, Any]]]] = {
    "counting": candidates_counting,
    "movement": candidates_movement,
    "resize": candidates_resize,
    "relation": candidates_relation,
    "outpaint": candidates_outpaint,
    "rotation_change": candidates_rotation_change,
    "style_change": lambda row: [{}],
}
FROM_ROW: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], Random], Made]] = {
    "counting": counting,
    "movement": movement,
    "resize": resize,
    "relation": relation,
    "outpaint": outpaint,
    "rotation_change": rotation_change,
    "style_change": style_change,
}
FROM_PAIR: dict[str, Callable[[Mapping[str, Any], Random], Made]] = {
    **{f"visual_{kind}": visual(kind) for kind in CONDITIONS},
    "visual_reference": visual_reference,
    "visual_material_transfer": visual_material_transfer,
    "material_change": material_change,
}

__all__ = [
    "CANDIDATES", "FROM_PAIR", "FROM_ROW", "candidates_counting", "candidates_movement", "candidates_outpaint",
    "candidates_relation", "candidates_resize", "candidates_rotation_change", "counting", "material_change", "movement",
    "outpaint", "relation", "resize", "rotation_change", "style_change", "visual", "visual_material_transfer", "visual_reference",
    "words", "words_digest",
]  # fmt: skip
