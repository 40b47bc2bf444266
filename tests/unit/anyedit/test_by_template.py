"""Edits that are made without a model: numbers and grammar of counting, directions of the layout, wrappers of a finished pair."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

import pytest

from shardmill.anyedit.by_template import CANDIDATES, FROM_PAIR, FROM_ROW, words
from shardmill.anyedit.by_template.counting import candidates_counting, counting
from shardmill.anyedit.by_template.layout import relation
from shardmill.anyedit.by_template.sentences import VIEWS
from shardmill.anyedit.editable import materials_of
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import is_plural
from shardmill.language.numbers import numbers_in
from shardmill.language.relations import mentions
from shardmill.language.rewriting import third_person

SEEDS = range(40)


def row_of(caption: str, width: int = 0, height: int = 0, **boxes: list[list[float]]) -> dict[str, Any]:
    return {
        "input": caption,
        "input_objects": extract_objects(caption),
        "input_verbs": [],
        "input_texts": [],
        "detections": {name.replace("_", " "): {"score": 0.9, "boxes": each} for name, each in boxes.items()},
        "width": width or None,
        "height": height or None,
    }


def outputs(caption: str) -> dict[int, str]:
    """{number left: output} of all that counting makes of a caption that counts one thing."""
    row = row_of(caption)
    (target,) = candidates_counting(row)
    found = {}
    for seed in range(60):
        made = counting(row, target, Random(seed))
        assert isinstance(made, dict)
        found[made["details"]["number_after"]] = made["output"]
    return found


@pytest.mark.parametrize(
    ("caption", "left", "output"),
    [
        ("four kayaks float on a lake", 2, "two kayaks float on a lake"),
        ("Four kayaks float on a lake", 3, "Three kayaks float on a lake"),
        ("4 kayaks float on a lake", 3, "3 kayaks float on a lake"),
        ("FOUR KAYAKS FLOAT", 3, "THREE KAYAKS FLOAT"),
        ("Twenty-one boats lie in the harbor", 20, "Twenty boats lie in the harbor"),
        ("A plate with 12 cookies", 11, "A plate with 11 cookies"),
        ("Two dogs run on the beach.", 1, "A dog runs on the beach."),
        ("two giraffes standing in a field", 1, "a giraffe standing in a field"),
        ("Two small dogs are playing in a park", 1, "A small dog is playing in a park"),
        ("Two old umbrellas lie in the sand", 1, "An old umbrella lies in the sand"),
        ("The two dogs sleep", 1, "The dog sleeps"),
        ("These two dogs sleep", 1, "This dog sleeps"),
        ("A man walks his two dogs", 1, "A man walks his dog"),
        ("There are two knives on a plate.", 1, "There is a knife on a plate."),
        ("Three men sit on a bench and talk", 1, "A man sits on a bench and talks"),
        ("Two cows stand near a fence and eat grass", 1, "A cow stands near a fence and eats grass"),
        ("Two dogs in a park run", 1, "A dog in a park runs"),
        ("Two people have a picnic", 1, "A person has a picnic"),
        ("Two sheep stand on a hill", 1, "A sheep stands on a hill"),
        ("2 cats sleep on a sofa", 1, "1 cat sleeps on a sofa"),
        ("A man holds two umbrellas.", 1, "A man holds an umbrella."),
        ("A cat and two dogs run", 1, "A cat and a dog run"),
        ("Two dogs and a cat run", 1, "A dog and a cat run"),
        ("Two fire trucks pass", 1, "A fire truck passes"),
        ("Two cups of coffee stand on a table", 1, "A cup of coffee stands on a table"),
        ("A farmer stands in front of two pigs", 1, "A farmer stands in front of a pig"),
        ("Two women cross a street", 1, "A woman crosses a street"),
        ("WARDROBE with 3 DOORS", 1, "WARDROBE with 1 DOOR"),
        ("A man with two dogs.", 0, "A man."),
        ("A girl sits beside two ponies", 0, "A girl sits"),
        ("A cat and two dogs", 0, "A cat"),
    ],
)
def test_counting_keeps_the_grammar(caption: str, left: int, output: str) -> None:
    assert outputs(caption)[left] == output


@pytest.mark.parametrize(
    ("caption", "never"),
    [
        ("Three dogs chase their tails", {1, 0}),  # "their"
        ("Three women wear hats", {1, 0}),  # each her own
        ("A woman watches three dogs run", {1, 0}),
        ("On the bench sit three cats", {1, 0}),
        ("Three dogs run and bark", {1, 0}),  # "bark" may be a noun
        ("Three dogs play with each other", {3, 2, 1, 0}),
        ("A man with three dogs on leashes", {1, 0}),  # what would be left of the leashes?
        ("THREE DOGS RUN", {1, 0}),
        ("Three dogs open a box", {1, 0}),  # the tagger takes "open" for an adjective
        ("Three women set a table", {1, 0}),
        ("Three police officers on horseback patrol the street", {1, 0}),
        ("A stack of three pancakes", {1, 0}),
        ("Three runners meet on a path", {1, 0}),
        ("Three chairs around a table", {1, 0}),
        ("Three identical dogs sit in the sun", {1, 0}),
    ],
)
def test_what_english_cannot_say_for_sure_is_not_said(caption: str, never: set[int]) -> None:
    row = row_of(caption)
    left = {
        made["details"]["number_after"]
        for target in candidates_counting(row)
        for seed in SEEDS
        if isinstance(made := counting(row, target, Random(seed)), dict)
    }
    assert not left & never


@pytest.mark.parametrize(
    "caption",
    [
        "A dog runs on the beach",
        "One dog runs on the beach",
        "A bus number 7 stops",
        "Two or three dogs run",
        "More than two dogs run",
        "One of two dogs runs",
        "Two slices of pizza",
        "Two orange cats, one asleep",
        "Both of the two dogs sleep",
        'A sign that says "two dogs"',
        "A 2 door car",
        "Two dogs face two other dogs",
        "Two glasses of water beside two glasses",
        "At 10:30 2.5 dogs",
        "",
    ],
)
def test_what_counts_nothing_is_no_target(caption: str) -> None:
    assert candidates_counting(row_of(caption)) == []


def test_counting_adds_up_and_names_what_it_edits() -> None:
    caption = "A bus number 7 passes 12 cars beside three trees"
    row = row_of(caption)
    targets = candidates_counting(row)
    assert [(target["object"], target["count"]) for target in targets] == [("car", 12), ("tree", 3)]
    wordings = set()
    for target in targets:
        for seed in SEEDS:
            made = counting(row, target, Random(seed))
            details = made["details"]
            assert details["number_before"] - details["remove_number"] == details["number_after"] >= 0
            assert made["output"] != caption
            assert made["edited_object"] in made["edit"] and made["edited_object"] in caption
            said = {number.value for number in numbers_in(made["edit"])}
            assert said <= {details["number_before"], details["remove_number"], details["number_after"]}
            assert len(said) >= 1 and not re.search(r"[{}]", made["edit"])
            wordings.add(re.sub(r"\w+", lambda word: word[0] if not numbers_in(word[0]) else "#", made["edit"]))
    assert len(wordings) > 8


def test_edits_tell_the_counted_things_from_others_of_their_kind() -> None:
    row = row_of("Three brown dogs play beside a white dog")
    (target,) = candidates_counting(row)
    assert all("brown dogs" in counting(row, target, Random(seed))["edit"] for seed in SEEDS)


@pytest.mark.parametrize(
    ("verb", "third"),
    [("run", "runs"), ("watch", "watches"), ("fly", "flies"), ("play", "plays"), ("are", "is"), ("Have", "Has"), ("go", "goes")],
)
def test_verbs_agree_with_one_thing(verb: str, third: str) -> None:
    assert third_person(verb) == third


WIDE = row_of(
    "A dog sits beside a chair near a ball",
    1000,
    400,
    dog=[[600, 20, 700, 120]],
    chair=[[100, 50, 460, 380]],
    ball=[[300, 300, 340, 340]],
)
"""The dog is right of the middle and above it, the ball left of it and below; in a square of 512 both would be elsewhere."""


def test_things_move_only_to_where_they_are_not() -> None:
    sides: dict[str, set[str]] = {}
    for target in CANDIDATES["relation"](WIDE):
        for seed in SEEDS:
            made = relation(WIDE, target, Random(seed))
            key = f"{target['kind']} {target['object']} {target.get('other', '')}".strip()
            sides.setdefault(key, set()).add(made["details"]["direction"])
            assert made["edited_object"] == target["object"] and made["output"] is None
            assert made["details"]["target_object"] == target.get("other")
    assert sides == {
        "alone dog": {"left"},
        "alone ball": {"right", "upper"},
        "beside dog ball": {"left"},
        "beside ball dog": {"right", "upper"},
        "swap ball dog": {"swap"},
    }


def test_relation_says_the_direction_that_it_writes_down() -> None:
    for target in CANDIDATES["relation"](WIDE):
        for seed in SEEDS:
            made = relation(WIDE, target, Random(seed))
            table = words()["sides" if target["kind"] == "alone" else "relations"]
            assert target["kind"] == "swap" or table[made["details"]["direction"]] in made["edit"]


def test_relation_takes_small_things_by_the_real_size_of_the_image() -> None:
    """100 x 100 pixels are 2.5 % of 1000 x 400, and 16 % of 250 x 250."""
    small = row_of("A dog on grass", 1000, 400, dog=[[0, 0, 100, 100]])
    large = row_of("A dog on grass", 250, 250, dog=[[0, 0, 100, 100]])
    assert [target["object"] for target in CANDIDATES["relation"](small)] == ["dog"]
    assert CANDIDATES["relation"](large) == []


def test_what_stands_on_one_height_goes_neither_above_nor_below() -> None:
    row = row_of("A dog and a ball on grass", 1000, 400, dog=[[100, 100, 180, 180]], ball=[[500, 105, 560, 165]])
    targets = [target for target in CANDIDATES["relation"](row) if target["kind"] == "beside"]
    directions = {relation(row, target, Random(seed))["details"]["direction"] for target in targets for seed in SEEDS}
    assert directions == {"left", "right"}


def test_things_in_one_place_are_not_put_in_relation() -> None:
    row = row_of("A ball on a box", 1000, 400, ball=[[100, 100, 150, 150]], box=[[95, 95, 160, 160]])
    assert {target["kind"] for target in CANDIDATES["relation"](row)} == {"alone"}


@pytest.mark.parametrize("kind", ["movement", "resize", "relation", "outpaint"])
def test_layout_needs_a_picture_and_a_thing_that_stands_there_once(kind: str) -> None:
    boxes = [[10.0, 10.0, 110.0, 110.0]] if kind == "relation" else [[10.0, 10.0, 260.0, 260.0]]
    assert CANDIDATES[kind](row_of("A dog on grass", 600, 600, dog=boxes)) != []
    assert CANDIDATES[kind](row_of("A dog on grass")) == []
    assert CANDIDATES[kind](row_of("A dog on grass", dog=boxes)) == []
    assert CANDIDATES[kind](row_of("A dog on grass", 600, 600)) == []
    assert CANDIDATES[kind](row_of("A dog on grass", 600, 600, dog=[*boxes, [300.0, 300.0, 420.0, 420.0]])) == []
    assert CANDIDATES[kind](row_of("Dogs on grass", 600, 600, dog=boxes)) == []
    assert CANDIDATES[kind](row_of("A dog and a dog on grass", 600, 600, dog=boxes)) == []
    assert CANDIDATES[kind](row_of("A dog on grass", 600, 600, dog=[[700.0, 10.0, 900.0, 20.0]])) == []
    assert CANDIDATES[kind](row_of("A dog at a city zoo by a river", 600, 600, city_zoo=boxes, river=boxes)) == []


def test_movement_goes_where_there_is_room() -> None:
    row = row_of("A dog on grass", 600, 300, dog=[[0, 100, 200, 280]])
    (target,) = CANDIDATES["movement"](row)
    made = [FROM_ROW["movement"](row, target, Random(seed)) for seed in SEEDS]
    assert {each["details"]["direction"] for each in made} == {"right"}
    kite = row_of("A kite over grass", 600, 300, kite=[[0, 100, 200, 280]])
    made += [FROM_ROW["movement"](kite, target, Random(seed)) for target in CANDIDATES["movement"](kite) for seed in SEEDS]
    assert {each["details"]["direction"] for each in made} == {"right", "upper"}
    assert all(any(where in each["edit"] for where in words()["where"][each["details"]["direction"]]) for each in made)
    assert CANDIDATES["movement"](row_of("A kite over grass", 600, 300, kite=[[0, 0, 600, 180]])) != []
    assert CANDIDATES["movement"](row_of("A dog on grass", 600, 300, dog=[[0, 0, 600, 180]])) == []
    assert CANDIDATES["movement"](row_of("A dog on grass", 600, 300, dog=[[0, 0, 600, 300]])) == []


@pytest.mark.parametrize(
    "caption",
    ["A man sits on a bench", "A woman holds an umbrella", "A boy in a jacket", "A fence by a road", "A bathroom with a toilet"],
)
def test_what_is_held_worn_or_fixed_is_not_moved(caption: str) -> None:
    name = extract_objects(caption)[-1]
    row = row_of(caption, 600, 600, **{name: [[200.0, 200.0, 300.0, 300.0]]})
    assert CANDIDATES["movement"](row) == CANDIDATES["resize"](row) == CANDIDATES["relation"](row) == []


@pytest.mark.parametrize(
    ("box", "factors"),
    [
        ([200, 100, 400, 200], {0.7, 1.3}),
        ([0, 100, 200, 200], {0.7}),  # 1.3 times as wide it would leave the image
        ([300, 100, 330, 135], {1.3}),  # smaller nobody would see it
    ],
)
def test_resize_fits_into_the_image(box: list[float], factors: set[float]) -> None:
    row = row_of("A dog on grass", 600, 300, dog=[box])
    (target,) = CANDIDATES["resize"](row)
    made = [FROM_ROW["resize"](row, target, Random(seed)) for seed in SEEDS]
    assert {each["details"]["factor"] for each in made} == factors
    for each in made:
        x0, y0, x1, y1 = each["details"]["resized_box"]
        assert x0 >= 0 and y0 >= 0 and x1 <= 600 and y1 <= 300
        assert x1 - x0 == pytest.approx(each["details"]["factor"] * (box[2] - box[0]), abs=0.2)
        larger = any(word in each["edit"] for word in ("Enlarge", "larger", "Zoom in", "Scale up"))
        assert larger == (each["details"]["factor"] > 1)


def test_outpaint_goes_from_a_crop_back_to_the_whole_picture() -> None:
    row = row_of("An old chair on grass", 600, 300, chair=[[-3.2, 40.4, 299.7, 250.2]])
    (target,) = CANDIDATES["outpaint"](row)
    made = FROM_ROW["outpaint"](row, target, Random(0))
    assert (made["edit_input"], made["output"], made["edited_object"]) == ("A chair", row["input"], None)
    assert made["details"]["crop_box"] == [0, 40, 300, 251]
    for box in ([0, 0, 100, 100], [0, 0, 500, 290]):
        assert CANDIDATES["outpaint"](row_of("A chair on grass", 600, 300, chair=[box])) == []


def test_rotation_agrees_with_the_two_views() -> None:
    row = row_of("A man sits on a stool beside a chair, two lamps and a ball in the sand")
    assert [target["object"] for target in CANDIDATES["rotation_change"](row)] == ["chair"]
    found = Counter()
    for seed in range(200):
        details = FROM_ROW["rotation_change"](row, {"object": "chair", "category": "chair"}, Random(seed))["details"]
        first, second = (VIEWS.index(view) for view in details["views"])
        turned = details["degrees"] if details["direction"] == "clockwise" else -details["degrees"]
        assert (second - first) * 45 % 360 == turned % 360 and 0 < details["degrees"] <= 180
        found[details["direction"]] += 1
    assert min(found.values()) > 60


def test_styles_are_many_and_never_the_one_of_the_caption() -> None:
    styles = words()["styles"]
    assert len(set(styles)) == len(styles) >= 30
    row = row_of("A mosaic of a fish on a painting.")
    made = [FROM_ROW["style_change"](row, {}, Random(seed)) for seed in range(300)]
    drawn = {each["details"]["style"] for each in made}
    assert len(drawn) > 20 and not any("painting" in style or style == "mosaic" for style in drawn)
    assert all(each["details"]["style"] in each["edit"] and each["details"]["style"] in each["output"] for each in made)
    assert all(each["output"].startswith("A mosaic of a fish on a painting, ") for each in made)


REPLACE = {
    "input": "A dog sits beside a red ball.",
    "edit": "Replace the ball with an orange cat.",
    "edited_object": "ball",
    "new_object": "orange cat",
    "output": "A dog sits beside an orange cat.",
    "boxes": [[1, 2, 3, 4]],
}
REMOVE = {
    "input": "A dog sits beside a red ball.",
    "edit": "Remove the dog",
    "edited_object": "dog",
    "output": "A red ball.",
}


@pytest.mark.parametrize("pair", [REPLACE, REMOVE], ids=["replace", "remove"])
@pytest.mark.parametrize("kind", ["sketch", "scribble", "segment", "depth", "bbox"])
def test_a_condition_image_is_given_to_a_finished_pair(kind: str, pair: dict[str, Any]) -> None:
    made = [FROM_PAIR[f"visual_{kind}"](pair, Random(seed)) for seed in SEEDS]
    assert len({each["edit"] for each in made}) > 4
    for each in made:
        assert "given" in each["edit"] and any(given in each["edit"] for given in words()["conditions"][kind])
        assert each["edit"].endswith(pair["edit"][1:].rstrip("."))
        assert (each["output"], each["edited_object"]) == (pair["output"], pair["edited_object"])
        assert each["details"]["condition"] == kind
        assert each["details"]["base"] == ("replace" if "new_object" in pair else "remove")
        assert each["details"]["boxes"] == pair.get("boxes", [])


def test_a_reference_image_stands_for_the_new_object() -> None:
    made = FROM_PAIR["visual_reference"](REPLACE, Random(0))
    assert made["output"] == "A dog sits beside a [V*]."
    assert "[V*]" in made["edit"] and "the ball" in made["edit"] and "cat" not in made["edit"]
    assert (made["details"]["ref_object"], made["details"]["category"]) == ("orange cat", "cat")
    assert isinstance(FROM_PAIR["visual_reference"](REMOVE, Random(0)), str)
    assert isinstance(FROM_PAIR["visual_reference"]({**REPLACE, "output": "A dog sits there."}, Random(0)), str)
    assert isinstance(FROM_PAIR["visual_reference"]({**REPLACE, "output": "An orange cat, an orange cat"}, Random(0)), str)


@pytest.mark.parametrize("kind", ["material_change", "visual_material_transfer"])
def test_a_material_is_new_and_named_after_the_thing(kind: str) -> None:
    pair = {**REPLACE, "input": "A dog sits beside two vases.", "edited_object": "vase"}
    drawn = set()
    for seed in range(200):
        made = FROM_PAIR[kind](pair, Random(seed))
        material = made["details"]["material"]
        drawn.add(material)
        assert made["output"] == f"A dog sits beside two vases made of {material}."
        assert "the vases" in made["edit"]
        assert (material in made["edit"]) == (kind == "material_change")
    assert drawn == set(materials_of("vase"))


@pytest.mark.parametrize(
    ("caption", "name"),
    [("A dog sits beside a rusty metal fence.", "fence"), ("A brown brick building stands there.", "building")],
)
def test_nothing_is_made_of_two_materials(caption: str, name: str) -> None:
    for seed in range(40):
        made = FROM_PAIR["visual_material_transfer"]({**REPLACE, "input": caption, "edited_object": name}, Random(seed))
        material = made["details"]["material"]
        assert "metal" not in made["output"] or material == "metal"
        assert "brick" not in made["output"] or material == "brick"


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("A man sits there.", "man"),  # people keep their material
        ("A cup of tea and a cup.", "cup"),  # which one?
        ("A dog's ball lies there.", "dog"),
        ("A house made of brick.", "house"),
        ("A brick building.", "brick building"),
        ("A skateboard.", "skateboard"),  # nobody says what it is made of
        ("A fish.", "ball"),
    ],
)
def test_a_material_that_cannot_be_named_is_refused(caption: str, name: str) -> None:
    assert isinstance(FROM_PAIR["material_change"]({**REPLACE, "input": caption, "edited_object": name}, Random(0)), str)


def test_every_pattern_of_the_words_can_be_filled_in() -> None:
    rows = [WIDE, row_of("Three dogs sit beside a chair", 600, 300, chair=[[50, 50, 300, 290]])]
    for kind, candidates in CANDIDATES.items():
        for row in rows:
            for target in candidates(row):
                for seed in SEEDS:
                    made = FROM_ROW[kind](row, target, Random(seed))
                    assert made == FROM_ROW[kind](row, target, Random(seed))
                    assert isinstance(made, dict) and not re.search(r"[{}]| {2}", made["edit"])
                    assert made["output"] is None or made["output"] != made.get("edit_input", row["input"])
                    named = made["edited_object"]
                    assert named is None or (mentions(made["edit"], named) and mentions(row["input"], named))


def test_what_is_said_of_one_thing_has_no_plural_left() -> None:
    for caption in ("Two wolves stand in snow", "Two shelves hang on a wall", "Two women sit in a park", "Two mice eat cheese"):
        one = outputs(caption)[1]
        assert not is_plural(" ".join(one.split()[:2])), one
