from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardmill.language.caption_text import MAX_CHARS
from shardmill.language.noun_phrases import extract_objects

BENCH = Path(__file__).parents[2] / "bench" / "extract_objects.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_extract_objects", BENCH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("style", ["human", "web"])
def test_objects_of_labelled_captions_are_found(bench: ModuleType, style: str) -> None:
    result = bench.score([row for row in bench.read_gold() if row["style"] == style])
    assert result.precision >= 0.88
    assert result.recall >= 0.88


def test_the_labels_name_only_what_their_caption_says(bench: ModuleType) -> None:
    rows = bench.read_gold()
    assert len(rows) >= 240
    strangers = [(row["caption"], name) for row in rows for name in row["objects"] if name.lower() not in row["caption"].lower()]
    assert strangers == []


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("Two small dogs and a cat.", ["dog", "cat"]),
        ("a man and woman", ["man", "woman"]),
        ("a group of people", ["person"]),
        ("a bunch of bananas", ["banana"]),
        ("a slice of pizza", ["pizza"]),
        ("a cup of coffee", ["cup", "coffee"]),
        ("a bowl of fruit", ["bowl", "fruit"]),
        ("the front of a house", ["house"]),
        ("a couple of dogs", ["dog"]),
        ("a couple sitting on a park bench", ["couple", "park bench"]),
        ("a pair of scissors", ["scissors"]),
        ("a traffic light above a fire hydrant", ["traffic light", "fire hydrant"]),
        ("a dog, the dogs and another DOG", ["dog"]),
    ],
)  # fmt: skip
def test_names_come_in_order_without_quantities_and_each_once(caption: str, objects: list[str]) -> None:
    assert extract_objects(caption) == objects


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("a dog watches a watch", ["dog", "watch"]),
        ("A man ties a tie", ["man", "tie"]),
        ("Two men shake hands", ["man", "hand"]),
        ("A bus stops at a bus stop", ["bus", "bus stop"]),
        ("A giraffe eats leaves off of a tree", ["giraffe", "leaf", "tree"]),
        ("an orange cat beside an orange on a plate", ["cat", "orange", "plate"]),
        ("Children play baseball in a field", ["child", "field"]),
        ("A baseball lies in the sand", ["baseball", "sand"]),
        ("eggs in a frying pan", ["egg", "frying pan"]),
        ("a man frying eggs", ["man", "egg"]),
    ],
)  # fmt: skip
def test_words_that_are_noun_and_verb_are_told_apart(caption: str, objects: list[str]) -> None:
    assert extract_objects(caption) == objects


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("the man's hat", ["man", "hat"]),
        ("children’s toys", ["child", "toy"]),
        ("girls' shoes on a shelf", ["girl", "shoe", "shelf"]),
        ("<PERSON> rides a horse", ["person", "horse"]),
        ("<b>bread</b> &amp; butter", ["bread", "butter"]),
        ("DOG RUNNING ON BEACH", ["dog", "beach"]),
        ("lamp IMG_2041.JPG https://example.com/cat.png", ["lamp"]),
        ("#dog #blessed", ["dog"]),
        ("poster saying \"buy a car\"", ["poster"]),
        ("two glasses of water", ["glass", "water"]),
        ("a man wearing glasses", ["man", "glasses"]),
        ("Stock photo, close-up view of a lemon", ["lemon"]),
    ],
)  # fmt: skip
def test_web_debris_is_read_through(caption: str, objects: list[str]) -> None:
    assert extract_objects(caption) == objects


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("a beach with no dog", ["beach"]),
        ("a plate without any big spoons, next to a fork", ["plate", "fork"]),
        ("no dogs on the beach", ["beach"]),
    ],
)  # fmt: skip
def test_what_the_caption_says_is_absent_is_not_named(caption: str, objects: list[str]) -> None:
    assert extract_objects(caption) == objects


@pytest.mark.parametrize("caption", ["", " \n\t", "🐶", "赤い車と犬", "собака и кошка", "123 456", "love and happiness", "..."])
def test_a_caption_that_names_nothing_gives_nothing(caption: str) -> None:
    assert extract_objects(caption) == []


@pytest.mark.parametrize("unit", ["dog cat ", "(", "a-", "<", '"', "&", "a'", "x" * 50, "犬", "#"])
def test_a_megabyte_costs_no_more_than_its_beginning(unit: str) -> None:
    def cost(characters: int) -> float:
        start = time.process_time()
        extract_objects(unit * (characters // len(unit)))
        return time.process_time() - start

    extract_objects("a dog")
    assert cost(1_000_000) < 10 * cost(MAX_CHARS) + 0.5  # read whole, it would cost hundreds of times as much


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_clean_names(text: str) -> None:
    names = extract_objects(text)
    assert len(set(names)) == len(names)
    assert all(name and name == name.strip().lower() for name in names)


def test_importing_the_package_loads_no_tagger() -> None:
    code = "import sys, shardmill, shardmill.language; sys.exit('textblob' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0
