from __future__ import annotations

from random import Random

import pytest

from shardmill.embedded.rules.extract import extract_objects
from shardmill.embedded.rules.judge import is_object_name, judge_objects


def test_the_names_that_pass_keep_their_form_and_order() -> None:
    values = {"caption": "a dog on the beach", "objects": ["Dogs", "happiness", "traffic light", "photo", "beach"]}
    assert judge_objects(values, Random(0)) == {"objects": ["Dogs", "traffic light", "beach"]}


@pytest.mark.parametrize(
    "name",
    ["dog", "the dogs", "cup of coffee", "18-wheeler", "jack-o'-lantern", "children's toys", "t-shirt", "café", "building",
     "parking lot", "picture frame", "fire station", "pair of scissors", "quokka", "orange"],
)  # fmt: skip
def test_names_of_visible_things_pass(name: str) -> None:
    assert is_object_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "12", "3d", "x", "red", "love", "success", "happiness", "creativity", "photo", "close-up", "front", "running",
     "no dog", "a man is", "dog in the", "and cat", "a man walking on a beach", "Output: dog", "<dog>", "dog.", "dog\ncat", "犬"],
)  # fmt: skip
def test_abstract_words_image_words_and_debris_do_not_pass(name: str) -> None:
    assert not is_object_name(name)


def test_the_judge_accepts_what_the_extraction_finds() -> None:
    caption = "A man with a cell phone feeds two ducks near a fire hydrant, stock photo"
    objects = extract_objects({"caption": caption}, Random(0))["objects"]
    assert objects == ["man", "cell phone", "duck", "fire hydrant"]
    assert judge_objects({"caption": caption, "objects": objects}, Random(0))["objects"] == objects
