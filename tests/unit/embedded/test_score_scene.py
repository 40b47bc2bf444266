"""The embedded scorer: the share of what a text names that the picture shows, and a little for colours and light."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from shardmill.embedded.scene import draw_scene
from shardmill.embedded.scene.scorer import BEST, LOOK, looks_of
from shardmill.models.contract import ScoreRequest, Scores
from shardmill.models.registry import model_identity, open_model


def scores(image: Path, *texts: str) -> tuple[float, ...]:
    (reply,) = open_model("score", {"kind": "scene"}).stream([ScoreRequest(str(image), texts, "one")])
    assert (reply.key, reply.finish) == ("one", "stop")
    assert isinstance(reply.result, Scores) and reply.result.aesthetic is None
    return reply.result.cosines


@pytest.fixture
def street(tmp_path: Path) -> Path:
    draw_scene(["dog", "car"], seed=1).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def test_a_text_scores_by_the_share_of_its_objects_that_are_seen(street: Path) -> None:
    found = scores(street, "A dog beside a car.", "A dog and a piano.", "A piano.", "Two dogs and an animal")
    assert found == pytest.approx((BEST, BEST / 2, 0.0, BEST))


def test_a_text_that_names_nothing_known_scores_nothing(street: Path) -> None:
    assert scores(street, "", "   ", "Lovely, truly lovely!", "flumph \ud800 \x00") == (0.0, 0.0, 0.0, 0.0)


def test_words_for_colours_and_light_count_a_little(street: Path) -> None:
    looks = looks_of(Image.open(street))
    missing = next(color for color in ("purple", "black", "red") if color not in looks)
    plain, wrong, other = scores(street, "a bright dog", f"a {missing} dog", f"a bright piano in {missing}")
    assert "bright" in looks
    assert plain == pytest.approx(BEST)
    assert wrong == pytest.approx(BEST / (1 + LOOK))
    assert other == pytest.approx(BEST * LOOK / (1 + 2 * LOOK))


def test_of_a_photo_only_colours_and_light_are_seen(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (128, 128, 128)).save(tmp_path / "photo.jpg")
    grey, gray, red, dog = scores(tmp_path / "photo.jpg", "All in grey.", "a gray dog", "a red, bright wall", "a dog")
    assert grey == pytest.approx(BEST)
    assert gray == pytest.approx(BEST * LOOK / (1 + LOOK))
    assert (red, dog) == (0.0, 0.0)


def test_pictures_are_answered_one_by_one_and_the_same_each_time(street: Path, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    asked = [
        ScoreRequest(str(tmp_path / "no.png"), ("a dog",), "no"),
        ScoreRequest(str(street), ("a dog", "a cat"), "yes"),
        ScoreRequest(str(street), (), "nothing"),
    ]
    model = open_model("score", {"kind": "scene"})
    first, second, third = model.stream(asked)
    assert (first.key, first.finish, first.problem) == ("no", "unusable", "unreadable image")
    assert (second.key, second.result.cosines) == ("yes", pytest.approx((BEST, 0.0)))
    assert third.result == Scores(())
    assert [*model.stream(asked)][1] == second


def test_the_lexicon_is_part_of_its_identity() -> None:
    assert {"kind", "lexicon"} == model_identity("score", {"kind": "scene"}).keys()
