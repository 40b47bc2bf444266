"""The embedded painter and detector: what is painted is found again from the pixels, and nothing else is."""

from __future__ import annotations

import io
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from shardmill.embedded.scene import NotAScene, detect_objects, draw_scene, layout
from shardmill.embedded.scene.palette import codes
from shardmill.embedded.scene.shapes import SHAPES
from shardmill.language.lexicon import lexicon
from shardmill.util.errors import UserError

NAMES = list(lexicon().entries)


def is_or_has(name: str, drawn: list[str]) -> bool:
    """The name is one of the painted objects, or a kind that one of them belongs to."""
    known = lexicon()
    return any(name == other or name in known.kinds(known.entries[other]) for other in drawn)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_every_object_has_a_colour_of_its_own_and_a_shape() -> None:
    assert len(set(codes().values())) == len(NAMES)
    assert {entry.shape for entry in lexicon().entries.values()} <= set(SHAPES)


def test_every_object_painted_alone_is_found() -> None:
    rng = Random(0)
    for seed, name in enumerate(rng.sample(NAMES, 200)):
        others = rng.sample(NAMES, 5)
        found = detect_objects(draw_scene([name], seed=seed), [name, *others])
        assert found[name].score > 0.5, name
        assert [other for other in others if found[other].score >= 0.1 and not is_or_has(other, [name])] == []


@pytest.mark.parametrize(
    "save", [{"format": "PNG"}, {"format": "JPEG", "quality": 90, "subsampling": 0}, {"format": "WEBP", "quality": 90}]
)
def test_what_is_drawn_is_detected(save: dict) -> None:
    rng = Random(1)
    absent = false = 0
    for seed in range(60):
        drawn = rng.sample(NAMES, rng.randint(1, 6))
        file = io.BytesIO()
        draw_scene(drawn, seed=seed).save(file, **save)
        found = detect_objects(Image.open(file), drawn + [name for name in rng.sample(NAMES, 10) if not is_or_has(name, drawn)])
        assert all(found[name].score > 0.5 for name in drawn)
        absent += len(found) - len(drawn)
        false += sum(finding.score >= 0.1 for name, finding in found.items() if name not in drawn)
    assert false <= 0.005 * absent


@pytest.mark.parametrize("seed", range(20))
def test_boxes_lie_where_the_objects_were_painted(seed: int) -> None:
    objects = ["dog", "car", ("apple", 3), "house"]
    picture = draw_scene(objects, seed=seed)
    found = detect_objects(picture, ["dog", "car", "apple", "house"])
    assert [len(found[name].boxes) for name in ("dog", "car", "apple", "house")] == [1, 1, 3, 1]
    for name, place in layout(objects, seed):
        assert max(overlap(place, box) for box in found[name].boxes) > 0.35
        assert any(place[0] - 3 <= (box[0] + box[2]) / 2 <= place[2] + 3 for box in found[name].boxes)


def test_a_kind_is_seen_in_any_of_its_members() -> None:
    found = detect_objects(draw_scene(["dog", "firefighter"], seed=1), ["animal", "person", "vehicle", "dogs", "a firefighter"])
    assert {name for name, finding in found.items() if finding.score > 0.5} == {"animal", "person", "dogs", "a firefighter"}


def test_a_name_that_the_lexicon_does_not_know_is_never_seen() -> None:
    assert detect_objects(draw_scene(["dog"], seed=1), ["flumph"])["flumph"].score == 0.0


def test_the_answer_for_a_name_does_not_depend_on_the_others() -> None:
    picture = draw_scene(["dog", "tree"], seed=4)
    together = detect_objects(picture, ["dog", "cat", "tree", "boat"], miss_rate=0.5, false_alarm_rate=0.5)
    assert together == {name: detect_objects(picture, [name], miss_rate=0.5, false_alarm_rate=0.5)[name] for name in together}


def test_errors_come_at_the_stated_rates() -> None:
    misses = alarms = 0
    for seed in range(300):
        found = detect_objects(draw_scene(["dog"], seed=seed), ["dog", "boat"], miss_rate=0.2, false_alarm_rate=0.1)
        misses += found["dog"].score < 0.1
        alarms += found["boat"].score > 0.25
    assert 35 <= misses <= 85
    assert 12 <= alarms <= 50


def test_the_same_seed_paints_the_same_picture() -> None:
    assert draw_scene(["dog", "tree"], seed=3).tobytes() == draw_scene(["dog", "tree"], seed=3).tobytes()
    assert draw_scene(["dog", "tree"], seed=3).tobytes() != draw_scene(["dog", "tree"], seed=4).tobytes()


def photo_like() -> Image.Image:
    image = Image.effect_noise((320, 240), 60).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 60, 200, 200), fill=(180, 120, 90))
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (320, 240), "white"),
        Image.new("RGB", (320, 240), (255, 255, 240)),
        Image.new("RGB", (20, 20), (255, 255, 240)),
        Image.linear_gradient("L").convert("RGB"),
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)),
        photo_like(),
    ],
)
def test_pictures_of_other_origin_are_refused(image: Image.Image) -> None:
    with pytest.raises(NotAScene):
        detect_objects(image, ["dog"])


def test_an_unknown_object_and_a_crowd_are_refused() -> None:
    with pytest.raises(UserError, match="flumph"):
        draw_scene(["flumph"], seed=0)
    with pytest.raises(UserError, match="at most 16"):
        draw_scene([("dog", 17)], seed=0)
