"""The embedded editor: what it does to its own pictures is seen by the detector, and everything else stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardmill.embedded.scene import detect_objects, draw_scene
from shardmill.embedded.scene.changes import add, background, recolor, remove, replace
from shardmill.models.contract import EditRequest, Reply
from shardmill.models.images import open_image
from shardmill.models.registry import open_model

OBJECTS = [["dog", "sofa", "lamp"], ["car", "tree", "bicycle", "bench"], ["cup"], [("apple", 4), "bowl", "cat"]]
RED = (200, 40, 40)


def seen(image: Image.Image, *names: str) -> dict[str, int]:
    return {name: len(found.boxes) for name, found in detect_objects(image, names).items()}


def scenes() -> Iterator[tuple[Image.Image, str, list[str]]]:
    """Scenes with the name of their first object and those of the others."""
    for seed, objects in enumerate(OBJECTS * 3):
        names = [each if isinstance(each, str) else each[0] for each in objects]
        yield draw_scene(objects, seed), names[0], names[1:]


def test_a_removed_object_is_gone_with_its_label_and_nothing_else_is() -> None:
    for image, name, others in scenes():
        edited = remove(image, name)
        assert seen(edited, name) == {name: 0}
        assert seen(edited, *others) == seen(image, *others)
    for seed in range(8):  # sky and ground, whose border may run through a row of pixels
        inside = np.asarray(remove(draw_scene(["cup"], seed), "cup"))[8:-8, 8:-8]
        assert (inside == inside[:, :1]).all() and len(np.unique(inside.reshape(-1, 3), axis=0)) in (2, 3)


def test_an_added_object_is_there_and_covers_no_pixel_of_another() -> None:
    for seed, (image, name, others) in enumerate(scenes()):
        edited = add(image, "umbrella", seed)
        assert seen(edited, "umbrella") == {"umbrella": 1}
        assert seen(edited, name, *others) == seen(image, name, *others)
        pixels = np.asarray(image)
        changed = (np.asarray(edited) != pixels).any(axis=2)
        assert not (changed & (pixels != background(pixels)[:, None]).any(axis=2)).any()


def test_a_replaced_object_has_the_other_in_the_place_of_each_instance() -> None:
    for image, name, others in scenes():
        edited = replace(image, name, "horse")
        before = detect_objects(image, [name])[name].boxes
        after = detect_objects(edited, ["horse"])["horse"].boxes
        assert seen(edited, name, *others) == {name: 0, **seen(image, *others)}
        assert len(after) == len(before)


def test_a_recoloured_object_is_still_known_and_mostly_of_the_other_colour() -> None:
    for image, name, others in scenes():
        edited = recolor(image, name, RED)
        assert seen(edited, name, *others) == seen(image, name, *others)
        changed = (np.asarray(edited) != np.asarray(image)).any(axis=2)
        assert np.abs(np.asarray(edited)[changed].astype(int) - RED).max() <= 8
        assert changed.sum() > 40


def ask(folder: Path, image: Path, instruction: str, before: str, after: str, kind: str = "", seed: int = 0) -> Reply:
    request = EditRequest(str(image), instruction, before, after, kind, str(folder / "images"), "k", seed)
    return next(iter(open_model("edit", {"kind": "scene"}).stream([request])))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    draw_scene(["dog", "sofa", "lamp"], 3).save(path)
    return path


CAPTION = "A dog sleeps on a sofa next to a lamp."


@pytest.mark.parametrize(
    ("kind", "instruction", "after", "expected"),
    [
        ("remove", "Remove the lamp", "A dog sleeps on a sofa.", {"dog": 1, "sofa": 1, "lamp": 0}),
        ("add", "Put a ball on the floor", "A dog sleeps on a sofa next to a lamp and a ball.", {"ball": 1, "lamp": 1}),
        ("replace", "Turn the dog into a cat", "A cat sleeps on a sofa next to a lamp.", {"cat": 1, "dog": 0, "sofa": 1}),
        ("color_alter", "Make the sofa turquoise", "A dog sleeps on a turquoise sofa next to a lamp.", {"sofa": 1, "dog": 1}),
        ("", "Erase the lamp", "A dog sleeps on a sofa.", {"lamp": 0}),
    ],
)
def test_instructions_are_followed(
    tmp_path: Path, scene: Path, kind: str, instruction: str, after: str, expected: dict[str, int]
) -> None:
    reply = ask(tmp_path, scene, instruction, CAPTION, after, kind)
    image = open_image(str(tmp_path / "images" / reply.result.file))
    assert (reply.result.width, reply.result.height) == image.size == (320, 240)
    assert seen(image, *expected) == expected


@pytest.mark.parametrize(
    ("kind", "instruction", "after", "detail"),
    [
        ("style_change", "Make it a woodcut", "A woodcut of a dog on a sofa next to a lamp.", "style_change is none of add"),
        ("movement", "Move the dog left", "", "movement is none of add"),
        ("remove", "Remove the lamp", "", "the captions of both images are needed"),
        ("remove", "Remove the dog and the lamp", "A sofa.", "the captions differ in other objects: dog, lamp"),
        ("add", "Remove the lamp", "A dog sleeps on a sofa.", "the captions differ in other objects: lamp"),
        ("color_alter", "Make the dog happy", CAPTION, "neither an object nor its colour changes"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason(
    tmp_path: Path, scene: Path, kind: str, instruction: str, after: str, detail: str
) -> None:
    reply = ask(tmp_path, scene, instruction, CAPTION, after, kind)
    assert (reply.finish, reply.problem) == ("unusable", "edit that scene cannot make")
    assert reply.detail.startswith(detail) and not (tmp_path / "images").exists()


def test_an_object_that_the_picture_does_not_show_cannot_go(tmp_path: Path, scene: Path) -> None:
    reply = ask(tmp_path, scene, "Remove the cat", "A dog and a cat on a sofa.", "A dog on a sofa.", "remove")
    assert reply.detail.startswith("the image does not show the cat")


def test_photos_and_broken_files_are_unusable(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(photo)
    assert ask(tmp_path, photo, "Remove the lamp", CAPTION, "A dog sleeps on a sofa.").problem == "not a scene image"
    assert ask(tmp_path, tmp_path / "gone.png", "Remove the lamp", CAPTION, "A dog.").problem == "unreadable image"


def test_the_same_request_finds_its_image_and_another_picture_gets_another(tmp_path: Path, scene: Path) -> None:
    arguments = ("Put a ball on the floor", CAPTION, "A dog sleeps on a sofa next to a lamp and a ball.")
    first = ask(tmp_path, scene, *arguments)
    assert ask(tmp_path, scene, *arguments).result == first.result
    draw_scene(["dog", "sofa", "lamp"], 4).save(scene)
    assert ask(tmp_path, scene, *arguments).result.file != first.result.file
    assert ask(tmp_path, scene, *arguments, seed=1).result.file != first.result.file
