from __future__ import annotations

from random import Random

import pytest

from shardmill.language import relations
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.relations import are_related, mentions, relation

RELATIONS = [
    ("dog", "dogs", "same"), ("The dog", "a dog", "same"), ("traffic light", "traffic lights", "same"),
    ("quixotry", "quixotries", "same"),
    ("sofa", "couch", "synonym"), ("settee", "couches", "synonym"), ("car", "automobile", "synonym"),
    ("bike", "bicycle", "synonym"),
    ("cellphone", "mobile phone", "synonym"), ("puppy", "dog", "hypernym"), ("puppies", "animal", "hypernym"),
    ("man", "person", "hypernym"), ("fireman", "people", "hypernym"), ("red car", "car", "hypernym"),
    ("red car", "vehicle", "hypernym"),
    ("red car", "automobile", "hypernym"), ("taxi", "car", "hypernym"), ("banana", "fruit", "hypernym"),
    ("banana", "food", "hypernym"),
    ("polar bear", "bear", "hypernym"), ("blue quixotry", "quixotry", "hypernym"), ("wine glass", "glass", "hypernym"),
    ("glasses", "eyeglasses", "synonym"), ("glasses", "sunglasses", "hypernym"), ("toy car", "car", "hypernym"),
    ("wheel", "car", "part"), ("red cars", "wheels", "part"), ("hand", "chef", "part"), ("cup of coffee", "coffee", "part"),
    ("tree", "leaves", "part"), ("bicycle", "handlebar", "part"), ("taxi", "tyre", "part"), ("house", "window", "part"),
    ("bird", "bird house", None), ("dog", "hot dog", None), ("dog", "cat", None), ("bear", "teddy bear", None),
    ("man", "woman", None), ("mother", "father", None),
    ("ferry", "rowing boat", None), ("quixotry", "dog", None), ("red car", "blue car", None), ("ferry", "anchor", None),
    ("car", "car park", None), ("fire", "fire hydrant", None), ("water", "water bottle", None), ("dog", "", None),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "expected"), RELATIONS)
def test_relation_holds_in_both_directions(a: str, b: str, expected: str | None) -> None:
    assert relation(a, b) == expected
    assert relation(b, a) == expected


def test_every_synonym_is_related_to_its_name() -> None:
    for entry in lexicon().entries.values():
        assert all(relation(entry.name, synonym) is not None for synonym in entry.synonyms), entry.name


def by_the_rules(a: str, b: str) -> bool:
    """Whether two names relate, asked rule by rule."""
    first, second = fold(a), fold(b)
    if first == second or set(lexicon().senses(first)) & set(lexicon().senses(second)):
        return True
    pairs = [(first, second), (second, first)]
    return any(relations._is_kind(*pair) or relations._has_part(*pair) for pair in pairs)


def test_the_quick_way_agrees_with_the_rules() -> None:
    rng = Random(0)
    listed = [name for entry in lexicon().entries.values() for name in (*entry.names, entry.plural)]
    made = [f"{rng.choice(('red', 'small brown', 'toy'))} {rng.choice(listed)}" for _ in range(300)]
    made += [f"{rng.choice(listed)} of {rng.choice(listed)}" for _ in range(300)]
    made += ["", " ", "of", " of ", "of tea", "a of b", "xyzzy", "big xyzzy", "Two Cats", "a pair of scissors"]
    pairs = [(a, b) for a in rng.sample(made, 20) for b in listed]
    pairs += [(rng.choice(listed + made), rng.choice(listed + made)) for _ in range(30_000)]
    pairs += [(entry.name, part) for entry in lexicon().entries.values() for part in (*entry.parts, *entry.hypernyms)]
    related = [pair for pair in pairs if by_the_rules(*pair)]
    assert [pair for pair in pairs if are_related(*pair)] == related
    assert 1_000 < len(related) < len(pairs) / 2


def named(text: str, name: str) -> list[str]:
    return [text[start:end] for start, end in mentions(text, name)]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("A dog and two Dogs", "dog", ["dog", "Dogs"]),
        ("a hot dog and a dog", "dog", ["dog"]),
        ("hot dogs on a grill", "dog", []),
        ("hot dogs on a grill", "hot dog", ["hot dogs"]),
        ("the bird house with birds", "bird", ["birds"]),
        ("two couches and a settee", "sofa", ["couches", "settee"]),
        ("two sofas", "couch", ["sofas"]),
        ("a polar bear", "bear", ["bear"]),
        ("teddy bears", "bear", []),
        ("a cat in a catalogue", "cat", ["cat"]),
        ("a cat-like dog", "cat", []),
        ("the dog's bone", "dog", ["dog"]),
        ("people and a person", "person", ["people", "person"]),
        ("a traffic  light", "traffic light", ["traffic  light"]),
        ("a traffic light", "light", []),
        ("three mice", "the mouse", ["mice"]),
        ("a red car and a car", "red car", ["red car"]),
        ("quixotries abound", "quixotry", ["quixotries"]),
        ("a c++ book", "c++", ["c++"]),
        ("", "dog", []),
        ("anything", "", []),
    ],
)
def test_mentions_finds_the_name_and_nothing_else(text: str, name: str, expected: list[str]) -> None:
    assert named(text, name) == expected


def test_every_entry_is_mentioned_by_its_name_plural_and_synonyms() -> None:
    for entry in lexicon().entries.values():
        for spelling in (entry.plural, *entry.names):
            assert named(f"Here: {spelling}.", entry.name) == [spelling]
