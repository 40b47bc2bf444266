"""Captioners, detectors and judges behind OpenAI-compatible servers: what is sent of an image, and what is made of answers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from faulty_server import FaultyServer, completion, fails
from shardmill.models.caption.openai import OpenAICaptioner
from shardmill.models.contract import CaptionRequest, DetectionResult, DetectRequest, Reply, Sampling, ScoreRequest, Scores
from shardmill.models.detect.openai import OpenAIDetector
from shardmill.models.images import UnreadableImage, pad_to_square
from shardmill.models.registry import model_identity
from shardmill.models.score.openai import OpenAIScorer
from shardmill.models.sent_images import SentImage, SentImageSettings
from shardmill.models.text import openai_endpoints
from shardmill.util.errors import UserError


def parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    return list(body["messages"][-1]["content"])


def sent_image(body: dict[str, Any]) -> Image.Image:
    url = parts(body)[0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


async def describe(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion(f"{sent_image(body).size}: {parts(body)[-1]['text']}"))


class Says:
    """Answers with these texts in turn, the last one from then on; a probe with the code that it asks for."""

    def __init__(self, *texts: str):
        self.texts = [*texts]

    async def __call__(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        if "code" in schema.get("properties", {}):
            return web.json_response(completion(json.dumps({"code": schema["properties"]["code"]["enum"][0]})))
        return web.json_response(completion(self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(openai_endpoints, "MIN_BACKOFF", 0.01)
    monkeypatch.setattr(openai_endpoints, "MAX_BACKOFF", 0.05)
    server = FaultyServer(describe)
    yield server
    server.end()


def photo(path: Path, size: tuple[int, int] = (400, 200), orientation: int | None = None) -> str:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    if orientation is not None:
        exif[0x0112] = orientation
    Image.linear_gradient("L").resize(size).convert("RGB").save(path, exif=exif)
    return str(path)


def where(server: FaultyServer, **settings: Any) -> dict[str, Any]:
    return {"model": "m", "base_urls": [server.url], **settings}


def by_key(replies: Iterator[Reply]) -> dict[str, Reply]:
    return {reply.key: reply for reply in replies}


def asked(server: FaultyServer) -> list[dict[str, Any]]:
    """The bodies of requests about images."""
    return [body for body in server.bodies if isinstance(body["messages"][-1]["content"], list)]


def test_a_captioner_sends_the_upright_image_before_the_prompt_and_counts_what_it_costs(
    server: FaultyServer, tmp_path: Path
) -> None:
    image = photo(tmp_path / "a.jpg", (400, 200), orientation=6)
    request = CaptionRequest(image, "What is it?", Sampling(0.5, 0.9, 40), key="1/0", seed=7)
    reply = by_key(OpenAICaptioner(**where(server, detail="low")).stream([request]))["1/0"]
    assert reply.result == "(200, 400): What is it?" and reply.finish == "stop"
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens, reply.usage.completion_tokens) == (100, 80, 10)
    body = server.bodies[-1]
    assert [part["type"] for part in parts(body)] == ["image_url", "text"] and parts(body)[0]["image_url"]["detail"] == "low"
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 40, 7) and "response_format" not in body


def test_what_a_photos_file_holds_besides_its_pixels_is_not_sent(server: FaultyServer, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.jpg")
    assert b"taken at home" in Path(image).read_bytes()
    by_key(OpenAICaptioner(**where(server)).stream([CaptionRequest(image, "?", key="a")]))
    assert b"taken at home" not in base64.b64decode(parts(server.bodies[-1])[0]["image_url"]["url"].partition(",")[2])
    assert not sent_image(server.bodies[-1]).getexif()


def test_pixels_and_tiles_are_bounded_also_for_a_single_request(server: FaultyServer, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.jpg", (3000, 1000))
    model = OpenAICaptioner(**where(server, max_pixels=750_000, tile_size=256))
    replies = by_key(model.stream([CaptionRequest(image, "?", key="a"), CaptionRequest(image, "?", key="b", max_tiles=3)]))
    assert replies["a"].result == "(1500, 500): ?"
    assert replies["b"].result == "(768, 256): ?"


@pytest.mark.parametrize(
    ("size", "tiles"), [((1600, 800), 1), ((800, 1600), 5), ((100, 3000), 7), ((300, 200), 2), ((5000, 10), 4)]
)
def test_no_larger_image_of_the_same_shape_fits_into_the_tiles(size: tuple[int, int], tiles: int) -> None:
    width, height = SentImage(size, Image.new("RGB", size), 512).size_in(tiles)
    assert -(-width // 512) * -(-height // 512) <= tiles
    scale = width / size[0] * 1.02 + 0.01
    larger = [round(side * scale) for side in size]
    assert (width, height) == size or -(-larger[0] // 512) * -(-larger[1] // 512) > tiles


def test_an_image_is_encoded_once_for_all_prompts_about_it(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    save = Image.Image.save
    image = photo(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "save", lambda self, *args, **options: saved.append("") or save(self, *args, **options))
    requests = [CaptionRequest(image, f"{number}?", key=str(number)) for number in range(7)]
    assert len(by_key(OpenAICaptioner(**where(server)).stream(requests))) == 7
    assert len(saved) == 1 and len({json.dumps(parts(body)[0]) for body in server.bodies}) == 1


def test_prompts_about_an_image_go_to_the_same_of_several_servers(server: FaultyServer, tmp_path: Path) -> None:
    other = FaultyServer(describe)
    images = [photo(tmp_path / f"{number}.png", (40 + number, 30)) for number in range(12)]
    model = OpenAICaptioner(model="m", base_urls=[server.url, other.url], max_in_flight=4)
    requests = [CaptionRequest(image, f"{prompt}?", key=f"{image} {prompt}") for image in images for prompt in range(4)]
    assert len(by_key(model.stream(requests))) == 48
    shown = [{sent_image(body).size for body in each.bodies} for each in (server, other)]
    assert shown[0] and shown[1] and not shown[0] & shown[1]
    other.end()


def test_an_image_that_cannot_be_read_costs_no_request_and_the_others_are_answered(server: FaultyServer, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    requests = [CaptionRequest(str(tmp_path / "bad.jpg"), "?", key="a"), CaptionRequest(photo(tmp_path / "b.png"), "?", key="b")]
    replies = by_key(OpenAICaptioner(**where(server)).stream(requests))
    assert replies["a"].finish == "unusable" and replies["a"].problem == "unreadable image" and "bad.jpg" in replies["a"].detail
    assert replies["b"].finish == "stop" and len(server.bodies) == 1


def test_an_image_of_a_few_pixels_height_is_sent_or_costs_its_own_row(tmp_path: Path) -> None:
    path = str(tmp_path / "narrow.png")
    Image.new("RGB", (70_000, 10)).save(path)
    sent = SentImageSettings().read_image(path)
    assert sent.original_size == (70_000, 10) and sent.width == 65_500
    with pytest.raises(UnreadableImage, match="70000 x 10 pixels are too narrow to be padded to a square"):
        pad_to_square(Image.new("RGB", (70_000, 10)))


def test_a_server_that_cannot_see_ends_the_run_or_rejects_the_row_as_for_text(server: FaultyServer, tmp_path: Path) -> None:
    server.handler = fails(401)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        by_key(OpenAICaptioner(**where(server)).stream([CaptionRequest(photo(tmp_path / "a.png"), "?", key="a")]))


def detect(server: FaultyServer, image: str, names: tuple[str, ...], **settings: Any) -> Reply:
    return by_key(OpenAIDetector(**where(server, **settings)).stream([DetectRequest(image, names, key="a")]))["a"]


def found(*objects: tuple[int, float, list[list[float]]]) -> str:
    return json.dumps({"objects": [{"number": number, "score": score, "boxes": boxes} for number, score, boxes in objects]})


def test_a_detector_answers_for_every_name_with_boxes_in_pixels_of_the_file(server: FaultyServer, tmp_path: Path) -> None:
    server.handler = Says("```json\n" + found((2, 4, []), (1, 95, [[100, 250, 500, 750]])) + "\n```")
    reply = detect(server, photo(tmp_path / "a.png", (4000, 2000)), ("dog", "traffic  light"))
    assert reply.result == {"dog": DetectionResult(0.95, ((400, 500, 2000, 1500),)), "traffic  light": DetectionResult(0.04)}
    text = parts(asked(server)[-1])[-1]["text"]
    assert "1. dog\n2. traffic light" in text and max(sent_image(asked(server)[-1]).size) < 1500


def test_boxes_in_pixels_of_a_padded_image_are_those_of_the_file(server: FaultyServer, tmp_path: Path) -> None:
    server.handler = Says(found((1, 80, [[50, 150, 150, 100]])))
    reply = detect(server, photo(tmp_path / "a.png", (200, 100)), ("dog",), square=True, coordinates="pixels")
    assert sent_image(asked(server)[-1]).size == (200, 200)
    assert reply.result["dog"].boxes == ((50, 50, 150, 100),)


def test_boxes_outside_the_image_or_without_area_are_clipped_or_dropped(server: FaultyServer, tmp_path: Path) -> None:
    server.handler = Says(found((1, 80, [[-50, 0, 1e9, 500], [10, 10, 10, 20], [2000, 0, 3000, 10]])))
    assert detect(server, photo(tmp_path / "a.png", (200, 100)), ("dog",)).result["dog"].boxes == ((0, 0, 200, 50),)


HOSTILE = [
    "no JSON",
    "{" * 5_000 + "}" * 5_000,
    found((1, 95, [])),
    found((1, 950, []), (2, 1, [])),
    found((1, 5, [[1, 2, 3]]), (2, 1, [])),
    '{"objects": [{"number": 1, "score": NaN, "boxes": []}, {"number": 2, "score": 1, "boxes": []}]}',
    '{"objects": "all"}',
    json.dumps({"objects": [{"number": 1, "score": 1, "boxes": []}] * 2_000}),
    "{" + " " * 200_000 + "}",
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_an_answer_without_the_form_is_an_error_and_the_next_try_is_at_another_temperature(
    server: FaultyServer, tmp_path: Path, answer: str
) -> None:
    server.handler = Says(answer, found((1, 95, []), (2, 1, [])))
    model = OpenAIDetector(**where(server))
    request = DetectRequest(photo(tmp_path / "a.png"), ("dog", "cat"), key="a")
    first, second = (by_key(model.stream([request]))["a"] for _ in range(2))
    assert (first.finish, first.problem, first.result) == ("error", "malformed answer", "") and len(first.detail) < 600
    assert second.finish == "stop" and second.result["dog"].score == 0.95
    assert [body["temperature"] for body in asked(server)] == [0, 0.7]


def test_a_judge_rates_each_text_and_nothing_that_is_empty(server: FaultyServer, tmp_path: Path) -> None:
    server.handler = Says(json.dumps({"ratings": [{"number": 3, "rating": 12.5}, {"number": 1, "rating": 100}]}))
    request = ScoreRequest(photo(tmp_path / "a.png"), ("a ramp", " ", "a\ndog"), key="a")
    reply = by_key(OpenAIScorer(**where(server)).stream([request]))["a"]
    assert reply.result == Scores((1.0, 0.0, 0.125)) and "3. a dog" in parts(asked(server)[-1])[-1]["text"]
    server.handler = Says(json.dumps({"ratings": [{"number": 1, "rating": 100}]}))
    assert by_key(OpenAIScorer(**where(server)).stream([request]))["a"].problem == "malformed answer"


def test_what_is_sent_of_an_image_shapes_answers_and_where_it_is_sent_does_not() -> None:
    def identity(**settings: Any) -> dict[str, str]:
        return model_identity("detect", {"kind": "openai", "model": "m", "base_urls": ["http://a/v1"], **settings})

    assert identity() == identity(base_urls=["http://b/v1"], max_in_flight=2)
    changed = (
        {"max_pixels": 90_000},
        {"square": True},
        {"max_tiles": 2},
        {"tile_size": 448},
        {"detail": "low"},
        {"min_score": 0.5},
    )
    assert all(identity(**settings) != identity() for settings in changed)
    with pytest.raises(UserError, match="no setting 'max_pixel'"):
        identity(max_pixel=3)
