"""The captions that edits start from: cleaned, their things and verbs told, bad pictures out by their header."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shardmill.anyedit.select_captions import SelectCaptions, clean, verbs_of
from shardmill.core.stage import Context, Reject
from shardmill.models.images import UnreadableImage, open_image, size_of


def picture(path: Path, width: int, height: int, orientation: int = 1) -> Path:
    image = Image.new("RGB", (width, height), "red")
    exif = image.getexif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)
    return path


def selected(caption: str | None, folder: Path = Path("."), image: str | None = None, **options: Any) -> Any:
    stage = SelectCaptions(
        {"captions": "caption", "images": "image", **options}, Context(image_root=folder, run_folder=folder / "run")
    )
    return stage.accept({"row_id": 1, "caption": caption, "image": image, "generated_image": image, "texts": None}, [])


def test_a_caption_comes_out_with_what_it_names(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 300, 200)
    assert selected("  A dog runs past a <b>fire hydrant</b>\n on the beach. ", tmp_path, "a.jpg") == {
        "input": "A dog runs past a fire hydrant on the beach.",
        "input_objects": ["dog", "fire hydrant", "beach"],
        "input_verbs": ["runs"],
        "input_texts": [],
        "width": 300,
        "height": 200,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"A dog &amp; a cat"', "A dog & a cat"),
        ("“A dog”", "A dog"),
        ('"Stop" on a "Go" sign', '"Stop" on a "Go" sign'),
        ("A dog http://x.org/a?b", "A dog"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_markup_and_quotes_around_a_caption_go(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_verbs_are_doings_and_no_auxiliaries_or_compounds() -> None:
    assert verbs_of("A man is riding a bike while dogs run and run near a frying pan") == ["riding", "run"]
    assert verbs_of("A dog on grass") == []


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        (None, "empty caption"),
        ("", "empty caption"),
        ("NaN", "empty caption"),
        ("<br>", "empty caption"),
        ("A dog", "caption too short"),
        ("dog " * 41, "caption too long"),
        ("The meaning of true happiness", "no object named"),
        ("狗 在 海滩 上 跑步 很 快", "no object named"),
    ],
)
def test_captions_that_no_edit_can_start_from_are_rejected(caption: str | None, reason: str) -> None:
    assert selected(caption).reason == reason


@pytest.mark.parametrize(("width", "height", "out"), [(200, 100, True), (201, 100, False), (100, 201, False), (100, 200, True)])
def test_narrow_pictures_are_rejected(tmp_path: Path, width: int, height: int, out: bool) -> None:
    picture(tmp_path / "a.png", width, height)
    made = selected("A dog on grass", tmp_path, "a.png")
    assert (
        (made["width"], made["height"]) == (width, height) if out else made == Reject("image too narrow", f"{width} x {height}")
    )
    assert isinstance(selected("A dog on grass", tmp_path, "a.png", max_aspect=2.1), dict)


def test_a_picture_on_its_side_has_the_size_that_is_seen(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", 300, 200, orientation=6)
    assert size_of(str(path)) == open_image(str(path)).size == (200, 300)
    assert (selected("A dog on grass", tmp_path, "a.jpg")["width"]) == 200


def test_unreadable_pictures_are_rejected_and_missing_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("text.jpg", "empty.jpg", "nowhere.jpg", "a.tar::b.jpg", "."):
        made = selected("A dog on grass", tmp_path, name)
        assert isinstance(made, Reject) and made.reason == "unreadable image" and made.detail, name
    for image in (None, ""):
        made = selected("A dog on grass", tmp_path, image)
        assert (made["width"], made["height"]) == (None, None)


def test_only_the_header_of_a_picture_is_read(tmp_path: Path) -> None:
    """The lower half of the file is missing, which its header does not tell."""
    whole = picture(tmp_path / "a.png", 600, 500).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert size_of(str(tmp_path / "half.png")) == (600, 500)
    with pytest.raises(UnreadableImage):
        open_image(str(tmp_path / "half.png"))


def test_pictures_may_lie_in_archives(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.png", 60, 50).read_bytes()
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        member = tarfile.TarInfo("a.png")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    assert selected("A dog on grass", tmp_path, "all.tar::a.png")["height"] == 50


def test_painted_pictures_start_from_the_run_and_others_from_the_image_folder(tmp_path: Path) -> None:
    picture(tmp_path / "run" / "paint" / "a.png", 64, 48)
    assert selected("A dog on grass", tmp_path, "paint/a.png", images="generated_image")["width"] == 64
    assert isinstance(selected("A dog on grass", tmp_path, "paint/a.png"), Reject)


def test_the_options_say_which_columns_are_read() -> None:
    assert SelectCaptions().reads == ("scene_caption", "generated_image")
    options = {"captions": "caption", "images": "", "texts": "texts"}
    stage = SelectCaptions(options)
    assert stage.reads == ("caption", "texts")
    for cell in (json.dumps(["STOP", " STOP ", "", "exit only"]), ["STOP", "exit only"]):
        made = stage.accept({"row_id": 0, "caption": "A sign by a road", "texts": cell}, [])
        assert made["input_texts"] == ["STOP", "exit only"] and made["width"] is None
