"""Negated captions by rule: true to the caption, in the form that was asked for, and readable."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from shardmill.embedded.rules.caption_text import kind, lower_first, usable
from shardmill.embedded.rules.negate import caption_negated
from shardmill.embedded.rules.phrases import patterns
from shardmill.language.polarity import check_negated, cue, form

CAPTIONS = {
    "A dog sits on a sofa next to a lamp.": ["dog", "sofa", "lamp"],
    "a young man riding a bicycle down the street": ["man", "bicycle", "street"],
    "Portrait of a woman with glasses": ["woman", "glasses"],
    "Two horses graze in a field.": ["horse", "field"],
    "<PERSON> arrives at the theater with an umbrella": ["umbrella"],
    "London bus crossing a bridge": ["bus", "bridge"],
    "BMW parked beside a tree": ["tree"],
    "Water flows over rocks, near a wooden bridge": ["water", "rock", "bridge"],
    "A table is set. There are plates and cups.": ["table", "plate", "cup"],
    "A boat sails without a flag on the lake": ["boat", "lake"],
    "IMG_20391 | stock photo of a kite": ["kite"],
    "собака на диване": ["dog", "sofa"],
    "dog " * 60: ["dog"],
    "Beautiful Sunset Over The Mountain": ["sunset", "mountain"],
    "train": ["train"],
}
NEGATIVES = ["cat", "elephants", "people", "pizza", "snow", "traffic light", "hourglass", "scissors"]
FORMS = ["affirmation_first", "negation_first"]


def negated(caption: str, objects: list[str], negative: str, wanted: str, seed: int) -> str:
    values = {"caption": caption, "objects": objects, "negative": negative, "form": wanted}
    return str(caption_negated(values, random.Random(seed))["caption"])


@pytest.mark.parametrize("wanted", FORMS)
@pytest.mark.parametrize("negative", NEGATIVES)
def test_every_caption_object_and_form_passes_the_checker(negative: str, wanted: str) -> None:
    wrong = []
    for caption, objects in CAPTIONS.items():
        for seed in range(40):
            text = negated(caption, objects, negative, wanted, seed)
            problem = check_negated(text, objects, [negative])
            if problem or form(text, objects, [negative]) != wanted or not text[0].isupper() or text[-1] != ".":
                wrong.append((text, problem))
    assert wrong == []


@pytest.mark.parametrize("wanted", FORMS)
def test_cues_vary_and_none_dominates(wanted: str) -> None:
    texts = [negated("a dog on a sofa", ["dog", "sofa"], "cat", wanted, seed) for seed in range(400)]
    cues = Counter(cue(text, "cat") for text in texts)
    assert len(cues) >= 5
    assert cues.most_common(1)[0][1] < 0.5 * len(texts)


@pytest.mark.parametrize("wanted", FORMS)
def test_each_form_has_at_least_twenty_patterns_for_each_kind_of_caption(wanted: str) -> None:
    table = patterns("negated_captions")[wanted]
    assert len({*table["any"], *table["phrase"]}) >= 20
    assert len({*table["any"], *table["clause"]}) >= 20


def test_the_same_seed_gives_the_same_caption() -> None:
    first = [negated("a dog on a sofa", ["dog"], "cat", "negation_first", seed) for seed in range(20)]
    assert first == [negated("a dog on a sofa", ["dog"], "cat", "negation_first", seed) for seed in range(20)]
    assert len(set(first)) > 5


def test_a_good_caption_is_kept_word_for_word() -> None:
    for seed in range(50):
        text = negated("A dog sits on a sofa.", ["dog", "sofa"], "cat", "negation_first", seed)
        assert "dog sits on a sofa" in text


def test_names_and_acronyms_keep_their_capitals() -> None:
    for seed in range(50):
        assert "BMW parked" in negated("BMW parked beside a tree", ["tree"], "cat", "negation_first", seed)
        assert "London bus" in negated("London bus on a bridge", ["bus"], "cat", "negation_first", seed)
    assert lower_first("The dog") == "the dog"
    assert lower_first("A dog") == "a dog"
    assert lower_first("Dogs in a park") == "dogs in a park"
    assert lower_first("Paris at night") == "Paris at night"
    assert lower_first("Young Frankenstein poster") == "Young Frankenstein poster"


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("<PERSON> walks a dog.", "A person walks a dog"),
        ("Actor <PERSON> with a dog", "Actor with a dog"),
        ("a photo of <PERSON> and <PERSON>", "a photo of a person and another person"),
        ("the <PERSON> house", "the person house"),
        ("  “A dog &amp; a cat.” ", "A dog & a cat"),
        ("A street with no cars", "A street with no cars"),
        ("A DOG SLEEPS IN BOSTON", "a dog sleeps in Boston"),
        ("a frog , singing on a princess 's christmas tree", "a frog, singing on a princess's Christmas tree"),
        ("kites over a beach ... # sunset - 14600135", "kites over a beach sunset"),
        ("Freestanding bathtub (listing no. 48813)", "Freestanding bathtub"),
        ("Freestanding bathtub, no. 48813", "Freestanding bathtub"),
        ("dog_1.jpg on https://example.org", None),
        ("A leafless tree beside a stainless steel sink", "A leafless tree beside a stainless steel sink"),
        ("📷 <b>Sunrise</b> at the beach 🌅 with my dog", "Sunrise at the beach with my dog"),
        ("HUGE SALE ON DOGS", None),
        ("A bake sale with scones.", "A bake sale with scones"),
        ("Hats with price tags", "Hats with price tags"),
        ("a mug on a shelf royalty - free stock photo", "a mug on a shelf"),
        ("犬とソファ dog", None),
        ("dog " * 61, None),
    ],
)
def test_captions_are_cleaned_or_refused(caption: str, text: str | None) -> None:
    assert usable(caption) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog sits on a sofa", "clause"),
        ("The dog that sits on a sofa", "any"),
        ("a young man riding a bicycle", "phrase"),
        ("a dog naps on a rug", "any"),
        ("a man ties his tie", "any"),
        ("two elephants spray water on each other", "any"),
        ("young man with a dog", "any"),
        ("a batter at the plate as the umpire looks on", "any"),
        ("People are waiting for the bus", "clause"),
        ("Photo of a dog", "any"),
        ("A dog. It sleeps", "any"),
    ],
)
def test_a_sentence_is_told_from_a_noun_phrase(text: str, expected: str) -> None:
    assert kind(text) == expected


@pytest.mark.parametrize(
    ("negative", "wrong"),
    [
        ("dogs", (" a dogs", "dogs is", "dogs appears", "without dogs is")),
        ("water", (" a water", "waters", "water are", "water appear ")),
        ("hourglass", (" a hourglass", "hourglasses is", "hourglass are")),
        ("people", (" a people", "people is", "peoples", "people appears")),
    ],
)
def test_articles_and_verbs_agree_with_the_object(negative: str, wrong: tuple[str, ...]) -> None:
    for wanted in FORMS:
        for seed in range(150):
            text = negated("a lamp on a desk", ["lamp", "desk"], negative, wanted, seed).lower()
            assert not [part for part in wrong if part in text], text


def test_a_caption_that_names_the_negative_is_replaced_by_its_objects() -> None:
    text = negated("A dog and a cat on a sofa", ["dog", "sofa"], "cat", "affirmation_first", 3)
    assert check_negated(text, ["dog", "sofa"], ["cat"], require_all=True) is None


def test_one_thing_is_not_said_to_be_nowhere() -> None:
    texts = [negated("a dog on a sofa", ["dog", "sofa"], "cat", wanted, seed) for wanted in FORMS for seed in range(200)]
    assert not [text for text in texts if "cat is nowhere" in text.lower() or "cat is absent" in text.lower()]


def test_acronyms_have_their_plural() -> None:
    texts = [negated("a dog on a sofa", ["dog", "sofa"], "tv", wanted, seed) for wanted in FORMS for seed in range(60)]
    assert any("TVs" in text for text in texts) and not any("TVS" in text for text in texts)


def test_what_is_cut_off_is_left_out() -> None:
    text = negated("A bus with an advertisement on the", ["bus", "advertisement"], "cat", FORMS[0], 1)
    assert " on the" not in text
