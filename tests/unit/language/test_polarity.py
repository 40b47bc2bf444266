"""The polarity checker against its table of sentences, and each of its questions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import with_article
from shardmill.language.polarity import AFFIRMED, NEGATED, check_negated, check_polarity, cue, form, new_objects, polarity
from shardmill.language.relations import mentions, relation

TABLE = Path(__file__).parents[2] / "data" / "polarity_sentences.csv"


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("split", ["tune", "test"])
def test_every_sentence_of_the_table_is_read_as_it_is_labelled(split: str) -> None:
    wrong = [
        f"{row['sentence']} [{row['object']}: {row['polarity']}, read {read}]"
        for row in rows()
        if row["split"] == split and (read := polarity(row["sentence"], row["object"])) != row["polarity"]
    ]
    assert wrong == []


def test_the_table_is_large_and_holds_every_polarity() -> None:
    table = rows()
    assert len({row["sentence"] for row in table}) >= 220
    assert {row["polarity"] for row in table} == {"affirmed", "negated", "absent", "mixed"}
    held_back = {row["sentence"] for row in table if row["split"] == "test"}
    assert 3 * len(held_back) >= len({row["sentence"] for row in table})


def test_what_is_negated_by_the_table_has_a_cue_and_what_is_affirmed_has_none() -> None:
    table = rows()
    assert [row["sentence"] for row in table if row["polarity"] == "negated" and not cue(row["sentence"], row["object"])] == []
    assert [row["sentence"] for row in table if row["polarity"] == "affirmed" and cue(row["sentence"], row["object"])] == []


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A dog but no cat.", "no"),
        ("The picture doesn’t show a cat.", "not"),
        ("A cat cannot be seen.", "not"),
        ("A dog, not a cat.", "not"),
        ("A dog instead of a cat.", "instead of"),
        ("A cat is nowhere to be seen.", "nowhere"),
        ("A room devoid of cats.", "devoid of"),
        ("Neither a cat nor a dog.", "neither"),
        ("A dog and a cat-free garden.", "-free"),
        ("A dog and a cat.", None),
    ],
)
def test_the_cue_is_the_word_that_negates_the_object(sentence: str, expected: str | None) -> None:
    assert cue(sentence, "cat") == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A dog, but no cat.", "affirmation_first"),
        ("Without a cat, a dog sleeps.", "negation_first"),
        ("Instead of a cat there is a dog.", "negation_first"),
        ("A dog sleeps. There is no cat in the image.", "affirmation_first"),
        ("There is no cat.", "other"),
        ("A dog sleeps.", "other"),
    ],
)
def test_the_form_is_the_kind_of_object_named_first(sentence: str, expected: str) -> None:
    assert form(sentence, ["dog"], ["cat"]) == expected


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("A dog on a sofa, without a cat.", None),
        ("A hound on a couch, without cats.", None),
        ("No dog on a sofa, and no cat.", "dog is negated"),
        ("A dog on a sofa with a cat.", "cat is affirmed"),
        ("A dog on a sofa.", "cat is not named"),
        ("There is no cat.", "dog is not named"),
        ("There is a cat, and there is no cat beside the dog.", "cat is mixed"),
    ],
)
def test_a_negated_caption_is_checked_with_a_reason(sentence: str, reason: str | None) -> None:
    assert check_negated(sentence, ["dog", "sofa"], ["cat"]) == reason


def test_all_positives_are_asked_for_only_on_request() -> None:
    assert check_negated("A dog, no cat.", ["dog", "sofa"], ["cat"]) is None
    assert check_negated("A dog, no cat.", ["dog", "sofa"], ["cat"], require_all=True) == "sofa is not named"


def test_each_object_must_have_its_polarity() -> None:
    sentence = "A dog and a bird, but neither a cat nor a horse."
    assert check_polarity(sentence, {"dog": True, "bird": True, "cat": False, "horse": False}) is None
    assert check_polarity(sentence, {"dog": False}) == "dog is affirmed"
    assert check_polarity(sentence, {"cat": True}) == "cat is negated"
    assert check_polarity(sentence, {"sofa": True}) == "sofa is not named"


def test_new_objects_are_those_neither_allowed_nor_kin_nor_in_the_source() -> None:
    assert new_objects("A dog takes center stage in this picture, no cat in sight.", ["dog", "cat"]) == []
    assert new_objects("A dog runs with a red bicycle.", ["dog"]) == ["bicycle"]
    assert new_objects("The hound and a bike.", ["dog", "bicycle"]) == []
    assert new_objects("A dog eats a hot dog.", ["dog"]) == ["hot dog"]
    assert new_objects("A dog on a sofa.", ["dog"], source="A sofa with a dog.") == []


def test_words_that_look_like_objects_are_not_mentions() -> None:
    assert polarity("A dog can be seen.", "can") == "absent"
    assert polarity("There is no can on the table.", "can") == "negated"
    assert new_objects("The image does show what can be seen of a dog.", ["dog"]) == []


def test_every_pair_of_lexicon_objects_keeps_its_polarity_in_plain_sentences() -> None:
    names = [name for name in lexicon().entries if name not in {"lake", "water"}]
    wrong = []
    for first, second in zip(names, names[7:] + names[:7], strict=True):
        if relation(first, second) or mentions(first, second) or mentions(second, first):
            continue
        yes, no = with_article(first), with_article(second)
        for sentence in (
            f"{yes} without {no}.",
            f"This image features {yes}, but not {no}.",
            f"{yes} next to a lake. {no} is absent.",
            f"Neither {no} nor water is near {yes}.",
        ):
            problem = check_polarity(sentence, {first: True, second: False})
            if problem:
                wrong.append((sentence, problem))
    assert wrong == []


@pytest.mark.parametrize(
    ("sentence", "there", "absent"),
    [
        ("There is no animal like a cat.", "", "cat"),
        ("There is no lack of cats.", "cat", ""),
        ("A dog, not without a cat.", "cat", ""),
        ("A man without a shirt throwing a ball.", "ball", "shirt"),
        ("There is no cat and a dog.", "dog", "cat"),
        ("There is no cat or a dog.", "", "cat, dog"),
        ("No cat, a dog sleeps.", "dog", "cat"),
        ("With no cat a dog sleeps.", "dog", "cat"),
        ("A dog on a bench, a cat, nowhere to be seen.", "dog, bench", "cat"),
        ("Without a cat no dog sleeps.", "", "cat, dog"),
        ("The chair that should be here is missing.", "", "chair"),
        ("Cats, dogs, and birds are missing.", "", "cat, dog, bird"),
        ("In the park, the cat is missing.", "park", "cat"),
        ("A dog sleeps and a cat is missing.", "dog", "cat"),
        ("The cat on the sofa is missing.", "sofa", "cat"),
        ("In the image a cat is missing.", "", "cat"),
        ("There is no dog chasing a cat.", "", "cat, dog"),
        ("There is no cat and the dog sleeps.", "dog", "cat"),
        ("Dogs without cats and birds without trees.", "dog, bird", "cat, tree"),
        ("There are no cats, dogs or birds.", "", "cat, dog, bird"),
        ("There are no cats, two dogs and a bird.", "dog, bird", "cat"),
        ("The cat is missing a paw.", "cat", "paw"),
        ("There is a dog, but a cat is not.", "dog", "cat"),
        ("The cat is not missing.", "cat", ""),
        ("The cat does not appear in the image.", "", "cat"),
        ("The image does not feature a cat.", "", "cat"),
        ("The man does not appear to hold a cat.", "man", "cat"),
        ("The dog is not on a bench.", "dog", "bench"),
        ("The dog is not on the bench.", "dog, bench", ""),
        ("None of the following: cats, dogs.", "", "cat, dog"),
        ("Absent from the image is a cat.", "", "cat"),
        ("Not visible: a cat.", "", "cat"),
        ("A traffic light-free street.", "street", "traffic light"),
        ("Is there a cat? No.", "", "cat"),
        ("A cat or a dog? Neither.", "", "cat, dog"),
        ("Of cats there are none.", "", "cat"),
        ("Cats? The image does not show any.", "", "cat"),
        ("Neither is a cat.", "", "cat"),
        ("No dog on the bench.", "bench", "dog"),
        ("The cat is not among the animals.", "animal", "cat"),
        ("A cat does not accompany the dog.", "dog", "cat"),
        ("Without a dog a cat sleeps.", "cat", "dog"),
        ("The cat does not make the cut.", "", "cat"),
        ("A wireless mouse.", "mouse", ""),
        ("The image does not actually show any of the cats.", "", "cat"),
        ("There is no picture of a cat.", "", "cat"),
        ("A street with no dogs, cats or birds", "street", "dog, cat, bird"),
    ],
)
def test_the_scope_of_each_cue_ends_where_english_ends_it(sentence: str, there: str, absent: str) -> None:
    read = {name: polarity(sentence, name) for name in f"{there}, {absent}".split(", ") if name}
    assert [name for name, way in read.items() if way == AFFIRMED] == list(filter(None, there.split(", ")))
    assert [name for name, way in read.items() if way == NEGATED] == list(filter(None, absent.split(", ")))
