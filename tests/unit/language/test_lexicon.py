from __future__ import annotations

import re
from collections import Counter

import pytest

from shardmill.language.lexicon import Lexicon, lexicon
from shardmill.language.nouns import fold, is_mass, is_plural, plural

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
SHAPES = frozenset({
    "person", "quadruped", "bird", "fish", "insect", "snake", "tree", "bush", "flower", "fruit", "round", "box",
    "bottle", "cup", "bowl", "plate", "tool", "car", "truck", "bus", "train", "plane", "boat", "bicycle", "chair",
    "table", "sofa", "bed", "lamp", "screen", "building", "house", "tower", "sign", "ball", "hat", "shirt", "trousers",
    "shoe", "bag", "umbrella", "instrument", "book", "phone", "clock", "rock", "mountain", "cloud", "water", "ground",
    "food", "stick", "kite", "bridge", "fence", "door", "window", "wheel", "cloth", "heart", "star",
})  # fmt: skip


@pytest.fixture(scope="module")
def words() -> Lexicon:
    return lexicon()


def test_the_lexicon_is_large_and_read_once(words: Lexicon) -> None:
    assert len(words.entries) >= 900
    assert lexicon() is words


def test_names_and_synonyms_belong_to_one_entry_each(words: Lexicon) -> None:
    counts = Counter(name for entry in words.entries.values() for name in entry.names)
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_name_finds_its_own_entry(words: Lexicon) -> None:
    lost = [name for entry in words.entries.values() for name in entry.names if words.exact(name) is not entry]
    assert lost == ["glasses"], "only the plural of glass is also a name of something else"


def test_names_are_lower_case_and_plurals_agree(words: Lexicon) -> None:
    for entry in words.entries.values():
        assert entry.name == entry.name.lower().strip()
        assert entry.plural == (plural(entry.name) if entry.number == "count" else entry.name)
        assert fold(entry.plural) == fold(entry.name)


def test_number_agrees_with_the_rules_of_english(words: Lexicon) -> None:
    for entry in words.entries.values():
        expected = "mass" if is_mass(entry.name) else "plural" if is_plural(entry.name) else "count"
        assert entry.number == expected, entry.name


def test_hypernyms_and_parts_are_known_words(words: Lexicon) -> None:
    known = set(words.entries) | {entry.category for entry in words.entries.values()}
    for entry in words.entries.values():
        assert set(entry.hypernyms) <= known - {entry.name}, entry.name
        assert set(entry.parts) <= set(words.entries) - {entry.name}, entry.name


def test_nothing_is_a_kind_of_itself(words: Lexicon) -> None:
    assert [entry.name for entry in words.entries.values() if entry.name in words.kinds(entry)] == []


def test_every_entry_is_seen_somewhere_and_can_be_painted(words: Lexicon) -> None:
    for entry in words.entries.values():
        assert entry.scenes, entry.name
        assert entry.shape in SHAPES, entry.name
        assert re.fullmatch(r"#[0-9a-f]{6}", entry.color), entry.name


def test_every_shape_is_used(words: Lexicon) -> None:
    assert {entry.shape for entry in words.entries.values()} == SHAPES


def test_every_scene_has_at_least_twenty_objects(words: Lexicon) -> None:
    assert len(words.scenes) >= 25
    assert [scene for scene in words.scenes if len(words.in_scene(scene)) < 20] == []
    assert words.in_scene("inside a black hole") == ()


@pytest.mark.parametrize("name", COCO)
def test_coco_classes_are_in_the_lexicon(words: Lexicon, name: str) -> None:
    assert words.exact(name) is not None


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("The Dogs", "dog"), ("small brown dog", "dog"), ("a couch", "sofa"), ("automobiles", "car"), ("two bikes", "bicycle"),
        ("smartphone", "cell phone"), ("an old wooden rowing boat", "rowing boat"), ("cup of tea", "cup"),
        ("policemen", "police officer"),
        ("group of women", "woman"), ("pair of scissors", "scissors"), ("hot dogs", "hot dog"),
        ("fluffy teddy bear", "teddy bear"),
    ],
)  # fmt: skip
def test_find_understands_caption_phrases(words: Lexicon, phrase: str, name: str) -> None:
    found = words.find(phrase)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("phrase", ["", "the", "quixotry", "blue quixotry"])
def test_find_gives_none_for_what_it_does_not_know(words: Lexicon, phrase: str) -> None:
    assert words.find(phrase) is None


def test_kinds_are_closed(words: Lexicon) -> None:
    assert {"dog", "animal"} <= words.kinds(words.entries["puppy"])
    assert {"airplane", "aircraft", "vehicle"} <= words.kinds(words.entries["fighter jet"])


def test_parts_are_inherited(words: Lexicon) -> None:
    assert {"hand", "finger", "hair"} <= words.parts(words.entries["chef"])
    assert {"wheel", "tire"} <= words.parts(words.entries["taxi"])
