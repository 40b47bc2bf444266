"""Verdicts on the captions of an image, and the list of texts that it is trained with."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from shardmill.core.stage import Reject
from shardmill.recaption.check_captions import CheckCaptions
from shardmill.recaption.merge_captions import MergeCaptions
from shardmill.util.errors import UserError

TEXTS = {
    "detail": "A white ferry with two decks passes a pier, followed by gulls.",
    "noun": "ferry, pier, gulls",
    "style": "A calm, cool morning mood.",
    "background": "Low hills under grey clouds.",
    "main": "A white two-deck ferry.",
}


def captions(**changes: str | None) -> list[dict[str, Any]]:
    said = {**TEXTS, **changes}
    return [
        {"perspective": name, "text": text, "prompt_id": "x", "finish": "stop", "tokens": 3, "attempts": 1}
        | ({} if text is not None else {"problem": "refusal"})
        for name, text in said.items()
    ]


def check(row: dict[str, Any], **options: Any) -> Any:
    return CheckCaptions(options).decide({"row_id": 1, "caption": None, **row}, Random(0))


def faults(row: dict[str, Any], **options: Any) -> dict[str, str | None]:
    return {f"{each['captioner']}/{each['perspective']}": each["fault"] for each in check(row, **options)["checked"]}


def test_good_captions_have_no_fault() -> None:
    assert set(faults({"captions": captions()}).values()) == {None}


@pytest.mark.parametrize(
    ("perspective", "text", "fault"),
    [
        ("background", "Low hills behind a ferry.", "names the main object"),
        ("style", "A calm photo of a pier.", "names an object"),
        ("style", "A calm scene with a gull.", "names an object"),
        ("main", "", "empty caption"),
        ("main", None, "refusal"),
        ("detail", "I'm sorry, I cannot see the image.", "refusal"),
        ("main", "Ferry, pier, gulls.", "near-duplicate"),
    ],
)
def test_a_faulty_caption_is_told_and_the_others_stand(perspective: str, text: str | None, fault: str) -> None:
    found = faults({"captions": captions(**{perspective: text})})
    assert found.pop(f"/{perspective}") == fault
    assert set(found.values()) == {None}


def test_what_an_image_shows_is_known_from_its_original_caption_too() -> None:
    said = [each for each in captions(style="Gloomy, with a lighthouse.") if each["perspective"] == "style"]
    assert faults({"captions": captions(style="Gloomy, with a lighthouse.")})["/style"] is None
    assert check({"captions": said, "caption": "A lighthouse at dusk"}) == Reject("no usable caption", "style: names an object")


def test_the_main_object_is_not_what_captions_call_it() -> None:
    said = captions(main="The main object is a ferry.", background="Low hills, no other object, behind a ferry.")
    assert faults({"captions": said})["/background"] == "names the main object"
    said = captions(main="The main object is a ferry.", background="Low hills and one small object far away.")
    assert faults({"captions": said})["/background"] is None


def test_captions_of_several_captioners_are_judged_together_but_by_what_each_has_seen() -> None:
    other = [each for each in captions(background="Hills behind a ferry.", main="A pier.") if each["perspective"] != "detail"]
    found = faults({"captions_a": captions(), "captions_b": other}, captioners=["a", "b"])
    assert found["b/background"] is None, "its own main object is the pier"
    assert found["b/noun"] == "near-duplicate"


def test_a_score_below_the_threshold_is_a_fault() -> None:
    row = {"captions": captions(), "clip_scores": {"detail": 0.31, "noun": 0.1, "style": 0.2}}
    found = faults(row, min_clip=0.2)
    assert [name for name, fault in found.items() if fault] == ["/noun"]
    assert found["/noun"] == "below the CLIP threshold"


def test_an_image_without_a_good_caption_is_rejected_with_all_reasons() -> None:
    outcome = check({"captions": captions(**dict.fromkeys(TEXTS))})
    assert isinstance(outcome, Reject) and outcome.reason == "no usable caption"
    assert "main: refusal" in outcome.detail


def merge(caption: str | None, checked: list[dict[str, Any]], **options: Any) -> Any:
    return MergeCaptions(options).decide({"row_id": 7, "image": "a b.jpg", "caption": caption, "checked": checked}, Random(0))


def checked(captioner: str = "", **texts: str | None) -> list[dict[str, Any]]:
    return [
        {"captioner": captioner, "perspective": name, "text": text, "fault": None if text else "refusal"}
        for name, text in texts.items()
    ]


def test_texts_stand_in_the_declared_order() -> None:
    made = merge(" A ferry trip ", checked(**TEXTS))
    assert made["texts"] == ["A ferry trip", *(TEXTS[name] for name in ("detail", "noun", "background", "main", "style"))]
    assert made["text_sources"] == ["original", "detail", "noun", "background", "main", "style"]


def test_a_missing_text_drops_the_image_or_is_padded_or_stops_the_stage() -> None:
    lacking = checked(**{**TEXTS, "style": None})
    assert merge("A ferry", lacking).reason == "no text: style"
    padded = merge("A ferry", lacking, missing="pad", pad_from=["sentence", "detail"])
    assert padded["texts"][-1] == TEXTS["detail"] and padded["text_sources"][-1] == "detail"
    assert merge(None, checked(noun="a"), missing="pad", pad_from=["detail"]).reason == "no text: original"
    with pytest.raises(UserError, match=r"row 7 \(a b.jpg\) has no usable text 'style'"):
        merge("A ferry", lacking, missing="fail")


def test_a_captioner_may_be_named_and_otherwise_the_first_that_has_a_text_counts() -> None:
    both = [*checked("a", detail=None, noun="x"), *checked("b", detail="from b", noun="y")]
    assert merge(None, both, texts=["detail", "noun", "b/noun"])["texts"] == ["from b", "x", "y"]
    assert merge(None, both, texts=["a/detail"]).reason == "no text: a/detail"


def test_a_text_may_not_be_named_twice() -> None:
    with pytest.raises(UserError, match="'noun' is in it twice"):
        MergeCaptions({"texts": ["noun", "noun"]})
