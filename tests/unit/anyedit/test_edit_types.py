"""The edit types and what each can be applied to in a row."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from edit_rows import row_of
from shardmill.anyedit.by_template import FROM_PAIR, FROM_ROW, words
from shardmill.anyedit.edit_targets import settled, targets
from shardmill.anyedit.edit_types import ALIASES, CHAINED, DRAWN, TYPES, chosen_types, edit_type, type_name
from shardmill.anyedit.instruction_answers import ANSWERS
from shardmill.anyedit.instruction_form import VERBS
from shardmill.language.appearance import COLORS, MATERIALS
from shardmill.util.errors import UserError

DOG = row_of("A dog rides downhill on a red sled.")
BOXES = {"dog": {"score": 0.9, "boxes": [[10.0, 10.0, 110.0, 110.0]]}, "sled": {"score": 0.8, "boxes": [[300, 300, 400, 400]]}}
PICTURED = {**DOG, "detections": BOXES, "width": 512, "height": 512}


def objects(row: dict, kind: str) -> list[str]:
    return [target["object"] for target in targets(row, kind)]


def test_there_are_the_25_published_types_in_five_families() -> None:
    assert len(TYPES) == 25
    assert Counter(each.family for each in TYPES.values()) == {"local": 9, "global": 3, "camera": 4, "implicit": 2, "visual": 7}
    assert set(DRAWN) == TYPES.keys() - {"implicit_change"}
    assert len({each.human for each in TYPES.values()}) == 25


def test_every_type_has_somebody_who_writes_it() -> None:
    by_writer = {
        writer: {each.name for each in TYPES.values() if each.writer == writer} for writer in ("model", "template", "pair")
    }
    assert by_writer["model"] == ANSWERS.keys() == VERBS.keys()
    assert by_writer["template"] == FROM_ROW.keys()
    assert by_writer["pair"] <= FROM_PAIR.keys()
    assert set(CHAINED) == by_writer["model"] - {"textual_change"}


def test_aliases_mean_published_names() -> None:
    assert type_name("tone_transfer") == "tune_transfer"
    assert type_name("textual") == "textual_change"
    assert type_name("add") == "add"
    assert set(ALIASES.values()) <= TYPES.keys()
    assert edit_type("tone_transfer") is TYPES["tune_transfer"]


def test_unknown_types_are_told_with_a_hint() -> None:
    with pytest.raises(UserError, match="did you mean 'replace'"):
        edit_type("replcae")
    with pytest.raises(ValueError, match="cannot be drawn here"):
        chosen_types(("add", "implicit"), DRAWN)
    assert chosen_types(("textual", "textual_change", "add"), DRAWN) == ("textual_change", "add")


def test_types_apply_to_what_they_can_change() -> None:
    assert objects(DOG, "replace") == objects(DOG, "color_alter") == ["dog", "sled"]
    assert objects(DOG, "remove") == ["dog"]
    assert objects(row_of("A chair beside a lamp."), "material_change") == ["chair", "lamp"]
    assert targets(row_of("A dog sits on a lawn."), "action_change") == [{"object": "dog", "action": "sits"}]
    found = targets(row_of("A dog runs along a street."), "tune_transfer")
    assert [target["aspect"] for target in found] == ["weather", "time of day", "season"]
    assert targets(DOG, "implicit_change") == []


def test_the_only_thing_is_not_removed_nor_a_thing_with_its_parts_alone() -> None:
    assert targets(row_of("A dog sleeps."), "remove") == []
    assert targets(row_of("A dog with a wagging tail."), "remove") == []


@pytest.mark.parametrize("name", ["woman", "bride", "firefighter", "runner", "guitarist"])
def test_people_are_neither_replaced_nor_recolored(name: str) -> None:
    row = row_of(f"A {name} and a dog beside a vase and a flower.", input_objects=[name, "dog", "vase", "flower"])
    assert objects(row, "replace") == objects(row, "color_alter") == ["dog", "vase", "flower"]
    assert name in objects(row, "remove")


def test_places_are_no_objects_to_edit() -> None:
    row = row_of("A crab on the beach under a blue sky in a harbour.", input_objects=["crab", "beach", "sky", "harbour"])
    assert objects(row, "replace") == ["crab"]
    assert "beach" not in objects(row, "remove")


def test_neither_the_weather_nor_a_sunset_is_an_object_and_the_unknown_is_one_where_nothing_is_known() -> None:
    row = row_of("A zorkmid and a lamp in the rain at sunset.", input_objects=["zorkmid", "lamp", "rain", "sunset"])
    assert objects(row, "replace") == objects(row, "material_change") == ["lamp"]
    unknown = row_of("A zorkmid in the rain.", input_objects=["zorkmid", "rain"])
    assert objects(unknown, "replace") == ["zorkmid"]
    assert objects(unknown, "material_change") == []


def test_what_a_caption_names_twice_is_no_target() -> None:
    assert objects(row_of("A clock beside a small clock and a vase."), "color_alter") == ["vase"]


def test_what_holds_something_up_is_not_taken_away() -> None:
    assert objects(row_of("A cat on a sofa and a dog."), "remove") == ["cat", "dog"]
    assert objects(row_of("A man sits at a table with a candle."), "remove") == ["man", "candle"]
    assert objects(row_of("A woman rides a horse beside a fence."), "remove") == ["fence"]


def test_parts_are_neither_replaced_nor_removed() -> None:
    row = row_of("A bicycle with a wheel and a basket.")
    assert "wheel" not in [*objects(row, "replace"), *objects(row, "remove")]


@pytest.mark.parametrize(
    ("caption", "applies"),
    [
        ("A dog and a ball on a lawn.", True),
        ("A house with a fence.", False),
        ("A man surfing on a board.", False),
        ("A portrait of a dog.", False),
    ],
)
def test_only_what_can_be_elsewhere_gets_another_background(caption: str, applies: bool) -> None:
    assert bool(targets(row_of(caption), "background_change")) == applies


def test_animals_get_the_colors_of_animals() -> None:
    row = row_of("A cow beside a car.")
    assert {settled("color_alter", {"object": "cow"}, row, Random(seed))["color"] for seed in range(200)} == {
        "black", "white", "brown", "gray",
    }  # fmt: skip


def test_an_object_that_the_caption_does_not_name_is_no_target() -> None:
    assert objects({**DOG, "input_objects": ["dog", "sled", "unicorn"]}, "color_alter") == ["dog", "sled"]


def test_a_verb_is_a_target_only_of_who_does_it() -> None:
    assert targets(row_of("A lamp is on the table."), "action_change") == []
    assert targets(row_of("A woman waits until her marker runs dry."), "action_change") == [
        {"object": "woman", "action": "waits"}
    ]
    assert targets(row_of("A woman feeds a dog."), "action_change") == []
    assert targets(row_of("A woman waits for a bus."), "action_change") == []


def test_known_texts_are_changed_and_else_what_could_bear_one() -> None:
    row = row_of("a shop sign above a door", input_texts=["OPEN  LATE", "12345", "x" * 60, 'say "no"'])
    assert targets(row, "textual_change") == [{"text": "OPEN LATE"}]
    assert objects(row_of("A poster beside a door."), "textual_change") == ["poster"]
    assert targets(DOG, "textual_change") == []


def test_weather_and_seasons_do_not_change_indoors_nor_what_the_caption_tells() -> None:
    def aspects(caption: str) -> list[str]:
        return [target["aspect"] for target in targets(row_of(caption), "tune_transfer")]

    assert aspects("A cat sleeps in the kitchen.") == ["time of day"]
    assert aspects("A fox in the snow.") == ["time of day"]
    assert aspects("A plate of food.") == aspects("A portrait of a girl under a tree.") == []
    assert aspects("A fox in the snow at dawn in winter.") == []


def test_types_of_layout_need_boxes_and_the_size_of_the_picture() -> None:
    for kind in ("movement", "resize", "relation"):
        assert targets(DOG, kind) == []
        assert targets(PICTURED, kind)


def test_a_backdrop_is_not_moved_about() -> None:
    boxes = {"fog": {"score": 0.9, "boxes": [[10, 10, 110, 110]]}, "dog": {"score": 0.9, "boxes": [[200, 200, 300, 300]]}}
    row = row_of("A dog in the fog.", input_objects=["dog", "fog"], detections=boxes, width=512, height=512)
    for kind in ("movement", "resize"):
        assert objects(row, kind) == ["dog"]


def test_what_a_thing_is_made_of_is_no_thing_beside_it() -> None:
    assert objects(row_of("A dog beside a book made of denim."), "color_alter") == ["dog", "book"]
    assert "glass" in objects(row_of("A glass on a table."), "color_alter")


def test_pairs_say_what_they_are_built_on() -> None:
    assert {target["base"] for target in targets(DOG, "visual_depth")} == {"remove", "replace"}
    assert {target["base"] for target in targets(DOG, "visual_reference")} == {"replace"}
    row = row_of("A dog beside a chair.")
    assert targets(row, "visual_material_transfer") == [{"base": "replace", "object": "chair"}]


def test_new_colors_are_mostly_common_and_never_those_of_the_caption() -> None:
    drawn = Counter(settled("color_alter", {"object": "sled"}, DOG, Random(seed))["color"] for seed in range(2_000))
    assert "red" not in drawn
    common = sum(count for color, count in drawn.items() if color in words()["colours"]["common"])
    assert 0.75 < common / 2_000 < 0.85
    assert len(drawn) > 25


def test_new_materials_are_not_those_of_the_caption() -> None:
    row = row_of("A wooden chair beside a lamp.")
    drawn = {settled("material_change", {"object": "chair"}, row, Random(seed))["material"] for seed in range(500)}
    assert "wood" not in drawn and drawn == {"metal", "plastic", "wicker", "bamboo", "leather"}


def test_what_is_drawn_passes_for_a_color_or_a_material() -> None:
    assert {*words()["colours"]["common"], *words()["colours"]["rare"]} <= COLORS
    assert set(words()["materials"]) <= MATERIALS
