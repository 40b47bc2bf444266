"""The export for AnyEdit's editing tools, read as their `return_parameters` reads an instruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from exported import anyedit, export, json_lines, parts
from shardmill.anyedit.tool_export import tool_record

WITH_OBJECT = ("color_alter", "remove", "appearance_alter", "material_alter", "add", "resize", "movement")
WITHOUT = ("background_change", "tone_transfer")


def parameters(record: dict[str, Any], image_path: str) -> tuple[str, ...]:
    """What the tools look up for the types that they know; KeyError where they would raise one."""
    common = (record["input"], record["output"], f"{image_path}/{record['image_file']}", record["edit"])
    kind = record["edit_type"]
    if kind in WITH_OBJECT:
        return (*common, record["edited object"])
    if kind == "replace":
        return (*common, record["edited object"], record["new object"])
    if kind == "counting":
        return (*common, record["edited object"], record["remove_number"])
    assert kind not in ("tune_transfer", "material_change", "textual_change", "implicit_change")
    return common


@pytest.mark.parametrize("images", ["copy", "reference"])
def test_the_tools_find_each_field_and_each_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Any) -> None:
    done = export(anyedit(), "anyedit-tools", tmp_path / "out", images=images)
    monkeypatch.chdir(tmp_path)
    total = 0
    for path in done.path.glob("*.jsonl"):
        for record in json_lines(path):
            assert record["edit_type"] == path.stem
            _, _, image, *_ = parameters(record, str(done.path) if images == "copy" else "")
            with Image.open(image) as opened:
                assert opened.size == (320, 240)
            total += 1
    assert total == parts(anyedit(), "judge_instructions").height > 10


@pytest.mark.parametrize(
    ("kind", "details", "name", "fields"),
    [
        ("tune_transfer", {"new_state": "dusk"}, "tone_transfer", {"new state": "dusk"}),
        ("material_change", {"edited_object": "vase", "material": "glass"}, "material_alter", {"edited object": "vase"}),
        ("replace", {"edited_object": "dog", "new_object": "cat"}, "replace", {"new object": "cat", "edited object": "dog"}),
        ("background_change", {"new_background": "a beach"}, "background_change", {"new background": "a beach"}),
        ("movement", {"edited_object": "ball"}, "movement", {"edited object": "ball"}),
        ("textual_change", {"old_text": "a", "new_text": "b"}, "textual", {}),
    ],
)
def test_types_and_fields_have_the_names_of_the_tools(
    kind: str, details: dict[str, Any], name: str, fields: dict[str, Any]
) -> None:
    row = {"edit": "e", "edit_input": "i", "output": "o", "edit_type": kind, "edited_object": None, "details": details}
    record = tool_record(row, "a.png")
    assert record["edit_type"] == name and fields.items() <= record.items()
    parameters(record, "images")
