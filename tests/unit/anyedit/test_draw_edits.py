"""Which edits a caption gets: different types that apply to it, rare ones first, the same at every run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from edit_rows import row_of
from shardmill.anyedit.draw_edits import DrawEdits
from shardmill.anyedit.edit_types import DRAWN
from shardmill.core.seeding import rng_of
from shardmill.core.stage import Context, Reject
from shardmill.util.errors import UserError

CAPTION = "Three dogs chase a red ball past a shop sign."


def drawn(stage: DrawEdits, row: dict[str, Any]) -> list[dict[str, Any]]:
    found = stage.accept(row, [])
    assert isinstance(found, list)
    return found


def kinds(stage: DrawEdits, rows: int = 400, caption: str = CAPTION) -> Counter[str]:
    return Counter(edit["edit_type"] for row_id in range(rows) for edit in drawn(stage, row_of(caption, row_id)))


def test_a_caption_gets_different_types_each_with_its_target_and_number() -> None:
    for row_id in range(50):
        edits = drawn(DrawEdits(), row_of(CAPTION, row_id))
        assert [edit["sub_id"] for edit in edits] == [0, 1, 2, 3]
        assert len({edit["edit_type"] for edit in edits}) == 4
        for edit in edits:
            assert set(edit) == {"sub_id", "edit_type", "target"}
            if edit["edit_type"] == "color_alter":
                assert edit["target"]["object"] in ("dog", "ball", "shop sign") and edit["target"]["color"] != "red"


def test_types_that_few_captions_allow_come_before_those_that_all_allow() -> None:
    found = kinds(DrawEdits())
    assert found["counting"] > 2 * found["add"]
    assert found["textual_change"] > 2 * found["replace"]
    plain = kinds(DrawEdits(), caption="A cat on a mat.")
    assert "counting" not in plain and "textual_change" not in plain


def test_every_type_that_applies_is_drawn_now_and_then() -> None:
    boxes = {
        "dog": {"score": 0.9, "boxes": [[10, 10, 60, 60]]},
        "ball": {"score": 0.9, "boxes": [[200, 200, 240, 240]]},
        "chair": {"score": 0.9, "boxes": [[250, 250, 500, 500]]},
    }
    stage, found = DrawEdits(), Counter[str]()
    for row_id in range(600):
        pictured = row_of("A dog with a ball sits beside a chair in a garden.", row_id, detections=boxes, width=512, height=512)
        found.update(edit["edit_type"] for edit in [*drawn(stage, pictured), *drawn(stage, row_of(CAPTION, row_id))])
    assert found.keys() == set(DRAWN)


def test_what_is_drawn_depends_on_the_row_and_the_seed_alone() -> None:
    one, other = DrawEdits(), DrawEdits()
    rows = [row_of(CAPTION, row_id) for row_id in range(40)]
    forwards = [drawn(one, row) for row in rows]
    assert forwards == [drawn(other, row) for row in reversed(rows)][::-1]
    assert forwards != [drawn(DrawEdits(context=Context(seed=1)), row) for row in rows]
    assert len({str(edits) for edits in forwards}) > 20


def test_fewer_types_than_asked_for_give_fewer_edits() -> None:
    stage = DrawEdits({"edits": 24, "types": ["add", "replace", "counting", "relation"]})
    assert sorted(edit["edit_type"] for edit in drawn(stage, row_of(CAPTION))) == ["add", "counting", "replace"]


def test_a_caption_that_no_type_applies_to_is_rejected() -> None:
    stage = DrawEdits({"types": ["action_change", "counting"]})
    assert stage.decide(row_of("A lamp on a table."), rng_of(0)) == Reject("no edit type applies")


def test_weights_favour_types_and_zero_leaves_one_out() -> None:
    found = kinds(DrawEdits({"edits": 1, "weights": {"add": 200, "counting": 0, "textual": 0}}))
    assert found["add"] > 300 and not found["counting"] and not found["textual_change"]


def test_options_take_aliases_and_refuse_what_is_no_type() -> None:
    assert DrawEdits({"types": ["tone_transfer", "textual"]}).options.types == ("tune_transfer", "textual_change")
    for options in ({"types": ["implicit_change"]}, {"types": []}, {"types": ["ad"]}, {"edits": 0}, {"weights": {"add": -1}},
                    {"weights": {"sub": 1}}):  # fmt: skip
        with pytest.raises(UserError, match="stage draw_edits"):
            DrawEdits(options)
