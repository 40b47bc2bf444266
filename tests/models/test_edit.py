"""Image editing with a small random InstructPix2Pix: each image as the pipeline itself edits it, in its own size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from models.tiny_diffusion import build_pix2pix, build_sd1
from shardmill.models.contract import EditRequest, Reply
from shardmill.models.images import open_image
from shardmill.models.registry import open_model
from shardmill.util.errors import UserError

SETTINGS = {"kind": "diffusers", "steps": 2, "guidance": 5.0, "image_guidance": 1.5, "max_side": 64, "format": "png"}
SIZES = [(64, 48), (64, 48), (48, 64), (200, 100)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pix2pix(tmp_path_factory.mktemp("editors") / "pix2pix")


@pytest.fixture(scope="module")
def editor(weights: Path) -> Any:
    return open_model("edit", {**SETTINGS, "model": str(weights), "max_batch_size": 2})


def photo(path: Path, size: tuple[int, int]) -> Path:
    pixels = np.random.default_rng(sum(size)).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def requests(folder: Path, images: list[Path]) -> list[EditRequest]:
    texts = ["make the tram red", "remove the tram", "add a dog", "a red tram"]
    return [
        EditRequest(str(image), text, folder=str(folder / "out"), key=str(at), seed=at)
        for at, (image, text) in enumerate(zip(images, texts, strict=False))
    ]


def replies_of(model: Any, asked: list[EditRequest]) -> dict[str, Reply]:
    return {reply.key: reply for reply in model.stream(iter(asked))}


def test_an_image_is_edited_as_the_pipeline_itself_does(editor: Any, weights: Path, tmp_path: Path) -> None:
    images = [photo(tmp_path / f"{at}.png", size) for at, size in enumerate(SIZES)]
    replies = replies_of(editor, requests(tmp_path, images))
    assert [replies[str(at)].finish for at in range(4)] == ["stop"] * 4
    sizes = [(replies[str(at)].result.width, replies[str(at)].result.height) for at in range(4)]
    assert sizes == [(64, 48), (64, 48), (48, 64), (64, 32)]
    pipe = DiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    made = pipe(
        prompt="add a dog",
        image=Image.open(images[2]).convert("RGB"),
        num_inference_steps=2,
        guidance_scale=5.0,
        image_guidance_scale=1.5,
        generator=[torch.Generator("cpu").manual_seed(2)],
    ).images[0]
    ours = open_image(str(tmp_path / "out" / replies["2"].result.file))
    assert np.abs(np.asarray(ours).astype(int) - np.asarray(made.convert("RGB"))).max() <= 2


def test_what_was_edited_is_not_edited_again_and_another_source_is_another_image(editor: Any, tmp_path: Path) -> None:
    images = [photo(tmp_path / "a.png", (64, 48))]
    first = replies_of(editor, requests(tmp_path, images))["0"]
    assert replies_of(editor, requests(tmp_path, images))["0"].result == first.result
    photo(tmp_path / "a.png", (48, 48))
    assert replies_of(editor, requests(tmp_path, images))["0"].result.file != first.result.file


def test_an_image_that_stays_as_it_was_is_an_error_to_be_tried_again(
    editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [photo(tmp_path / "a.png", (64, 48))]
    monkeypatch.setattr(editor, "_run_pipeline", lambda batch: ([row.prepared.source for row in batch.rows], [False]))
    reply = replies_of(editor, requests(tmp_path, images))["0"]
    assert (reply.finish, reply.problem) == ("error", "image unchanged")


def test_an_image_that_cannot_be_read_is_unusable(editor: Any, tmp_path: Path) -> None:
    reply = replies_of(editor, requests(tmp_path, [tmp_path / "gone.png"]))["0"]
    assert (reply.finish, reply.problem) == ("unusable", "unreadable image")


def test_pipelines_of_another_kind_and_settings_that_they_lack_are_refused(weights: Path, tmp_path: Path) -> None:
    text_to_image = build_sd1(tmp_path / "sd1")
    with pytest.raises(UserError, match="StableDiffusionPipeline, which does not edit an image as a prompt says"):
        open_model("edit", {"kind": "diffusers", "model": str(text_to_image)})
    with pytest.raises(UserError, match="has no true_cfg_scale; leave the setting out"):
        open_model("edit", {"kind": "diffusers", "model": str(weights), "true_cfg": 4.0})
