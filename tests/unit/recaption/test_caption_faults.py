"""What is no caption, whatever it is about."""

from __future__ import annotations

import pytest

from fuzz.guard import guarded
from shardmill.core.model_stages import whole_sentences
from shardmill.recaption.caption_faults import fault_of, without_opening
from shardmill.recaption.perspectives import perspectives, whole_items

PROMPT = perspectives()["detail"].prompt
GOOD = [
    "A white ferry with two decks leaves the harbour under grey clouds.",
    "ferry, harbour, gulls",
    "Calm and cool.",
    "No people are in sight; the street is empty.",
    "A man holds a sign that says 'SORRY WE ARE CLOSED'.",
    "A row of red, red and red doors, then a blue one.",
    "The sign reads 東京, below it hang three lanterns in a narrow alley at night.",
    "A very, very, very tall tower stands by the river.",
    "Two dogs run. Two cats sleep. Two birds fly.",
    "A café with wooden chairs, naïve paintings and a piñata.",
]
BAD = {
    "empty caption": ["", "   ", "...", "- , -"],
    "refusal": [
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I do not have eyes.",
        "I cannot see the image you mention.",
        "I am unable to view images.",
        "No image was provided.",
        "Please upload an image so that I can describe it.",
        "Sorry, I can't identify people.",
        "I don't have access to the picture.",
    ],
    "prompt echo": [
        PROMPT,
        f"You asked: {PROMPT}",
        "Say what it shows, where things are: a ferry.",
    ],
    "repetition loop": [
        "The dog is brown. The dog is brown. The dog is brown. The dog is brown.",
        "ferry, gull, ferry, gull, ferry, gull, ferry, gull",
        "a a a a a a",
        "The image is a photo of a dog and the image is a photo of a cat and the image is a photo of a cow",
        "A red bus with a red bus with a red bus with a red bus",
    ],
    "another script": ["这是一张狗的照片。", "Собака на пляже", "A собака на пляже бежит"],
}  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_a_caption_is_no_fault(text: str) -> None:
    assert fault_of(text, PROMPT) is None


@pytest.mark.parametrize(("fault", "text"), [(fault, text) for fault, texts in BAD.items() for text in texts])
def test_a_fault_has_its_reason(fault: str, text: str) -> None:
    assert fault_of(text, PROMPT) == fault


def test_the_script_may_be_another_or_any() -> None:
    assert fault_of("Собака на пляже", PROMPT, "CYRILLIC") is None
    assert fault_of("A dog on the beach", PROMPT, "CYRILLIC") == "another script"
    assert fault_of("这是一张狗的照片。", PROMPT, "any") is None


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("The image shows a narrow street.", "A narrow street."),
        ("This picture depicts two dogs.", "Two dogs."),
        ("The photo is of a tram.", "A tram."),
        ("In this image shows", "In this image shows"),
        ("The image has a calm mood.", "The image has a calm mood."),
        ("A painting shows a bridge.", "A painting shows a bridge."),
    ],
)
def test_openings_that_say_nothing_are_taken_away(text: str, rest: str) -> None:
    assert without_opening(text) == rest


def test_of_a_text_that_was_cut_the_whole_parts_are_used() -> None:
    assert whole_sentences('A dog runs. It is "brown." And the') == 'A dog runs. It is "brown."'
    assert whole_sentences("A dog runs on the") is None
    assert whole_items("dog, beach, red ba") == "dog, beach"
    assert whole_items("dog") is None


def test_hostile_text_takes_no_time_and_no_harm() -> None:
    hostile = {
        "a " * 200_000: "repetition loop",
        "x" * 1_000_000: None,
        "{{ 7 * 7 }} <script>": None,
        "\u202e\x00\ud800 dog": None,
        "🐕" * 1_000: "empty caption",
    }
    with guarded(seconds=10):
        assert {text: fault_of(text, PROMPT) for text in hostile} == hostile
