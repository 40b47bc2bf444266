from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from shardmill.language.lexicon import lexicon

SAMPLES = Path(__file__).parents[3] / "data" / "samples"
BROKEN = {"images/9001.png", "images/9002.png"}
MISSING = {"images/9003.png", "images/9004.png"}


class Row(NamedTuple):
    """One row of the sample and the line of the file on which it starts."""

    line: int
    image: str
    caption: str
    source: str


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    reader = csv.reader(io.StringIO((SAMPLES / "captions.csv").read_bytes().decode("utf-8"), newline=""), strict=True)
    assert next(reader) == ["filepath", "caption", "source"]
    found, line = [], reader.line_num + 1
    for image, caption, source in reader:
        found.append(Row(line, image, caption, source))
        line = reader.line_num + 1
    return found


@pytest.fixture(scope="module")
def scenes() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / "scenes.jsonl").read_text(encoding="utf-8").splitlines()]


def names(scene: dict[str, Any]) -> list[str]:
    return [item if isinstance(item, str) else item[0] for item in scene["objects"]]


def test_the_sample_is_large_and_mixes_human_captions_with_web_text(rows: list[Row]) -> None:
    sources = Counter(row.source for row in rows)
    assert len(rows) >= 440
    assert set(sources) == {"human", "web"}
    assert 0.3 <= sources["web"] / len(rows) <= 0.4


HARD_CAPTIONS = {
    "more than 150 words": (2, lambda text: len(text.split()) > 150),
    "3,000 characters": (1, lambda text: len(text) >= 3000),
    "quotes inside": (3, lambda text: '"' in text),
    "a line feed inside": (2, lambda text: re.search(r"(?<!\r)\n", text)),
    "a CR LF inside": (1, lambda text: "\r\n" in text),
    "emoji": (2, lambda text: re.search("[\U0001f300-\U0001faff]", text)),
    "Cyrillic": (1, lambda text: re.search("[\u0400-\u04ff]{3}", text)),
    "Chinese": (1, lambda text: re.search("[\u4e00-\u9fff]{3}", text)),
    "Arabic": (1, lambda text: re.search("[\u0600-\u06ff]{3}", text)),
    "a word for a missing value": (4, lambda text: text in ("None", "NA", "null", "nan")),
    "blanks around": (3, lambda text: text != text.strip()),
    "a negation": (4, lambda text: re.search(r"\b(no|not|nobody|without|isn't)\b", text, re.IGNORECASE)),
    "nothing": (2, lambda text: text == ""),
    "only punctuation": (1, lambda text: text and not re.search(r"\w", text) and text.isascii()),
    "a spreadsheet formula": (3, lambda text: text[:1] in ("=", "@")),
    "jinja braces": (2, lambda text: re.search(r"\{[{%].*[}%]\}", text)),
    "html tags": (2, lambda text: re.search(r"<(b|img)\b", text)),
    "html entities": (5, lambda text: re.search(r"&(#\d+|\w+);", text)),
    "a placeholder": (10, lambda text: "<PERSON>" in text),
    "only capitals": (3, lambda text: len(text) > 10 and text.upper() == text and re.search("[A-Z]", text)),
}  # fmt: skip


@pytest.mark.parametrize("kind", HARD_CAPTIONS)
def test_the_sample_has_captions_with(kind: str, rows: list[Row]) -> None:
    least, matches = HARD_CAPTIONS[kind]
    assert sum(bool(matches(row.caption)) for row in rows) >= least


def test_captions_are_distinct_but_for_two_wanted_duplicates_and_the_empty_ones(rows: list[Row]) -> None:
    repeated = Counter((row.image, row.caption) for row in rows)
    assert sorted(count for count in repeated.values() if count > 1) == [2, 2]
    captions = Counter(caption for _, caption in repeated if caption)
    assert set(captions.values()) == {1}


def test_two_images_have_two_different_captions(rows: list[Row]) -> None:
    images = Counter(image for image, _ in {(row.image, row.caption) for row in rows})
    assert sorted(count for count in images.values() if count > 1) == [2, 2]


def test_every_painted_image_is_used_and_every_row_has_one_but_for_the_broken_and_the_missing(
    rows: list[Row], scenes: list[dict[str, Any]]
) -> None:
    painted = [scene["image"] for scene in scenes]
    assert len(set(painted)) == len(painted)
    assert {row.image for row in rows} == {*painted, *BROKEN, *MISSING}


def test_every_object_and_scene_is_one_of_the_lexicon(scenes: list[dict[str, Any]]) -> None:
    assert {name for scene in scenes for name in names(scene)} <= set(lexicon().entries)
    assert {scene["scene"] for scene in scenes} <= set(lexicon().scenes)


def test_a_picture_shows_a_few_objects_none_of_them_listed_twice(scenes: list[dict[str, Any]]) -> None:
    assert all(1 <= len(names(scene)) <= 7 and len(set(names(scene))) == len(names(scene)) for scene in scenes)


def test_the_images_open_but_for_the_broken_and_the_missing(scenes: list[dict[str, Any]]) -> None:
    for scene in scenes:
        with Image.open(SAMPLES / scene["image"]) as picture:
            picture.load()
            assert (picture.mode, picture.size) == ("RGB", (320, 240))
    for image in BROKEN:
        with pytest.raises(OSError, match=r"truncated|cannot identify"), Image.open(SAMPLES / image) as picture:
            picture.load()
    assert not any((SAMPLES / image).exists() for image in MISSING)


def test_the_readme_lists_hard_rows_by_their_lines(rows: list[Row]) -> None:
    images = {row.line: row.image for row in rows}
    listed = re.findall(r"^\| (\d+) \| (\d{4}\.png) \|", (SAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) >= 45
    assert all(images[int(line)] == f"images/{image}" for line, image in listed)
