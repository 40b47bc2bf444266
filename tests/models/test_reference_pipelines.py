"""What the wrappers of vision models say beside the libraries' own high-level pipelines, for the same small random weights.

The other tests call a library's model one picture at a time; here even how pictures and texts are prepared and how raw outputs
become scores, boxes, words and images is the library's, or the authors', own code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer, pipeline

from models.tiny_clip import VISION, build_clip, build_siglip
from models.tiny_detectors import build_grounding_dino, build_owl, picture
from models.tiny_diffusion import build_sd3, build_sdxl
from models.tiny_minigpt4 import QUERIES, build_minigpt4
from shardmill.models.contract import CaptionRequest, DetectRequest, GenerateRequest, Reply, Sampling, ScoreRequest
from shardmill.models.images import open_image
from shardmill.models.registry import open_model

NAMES = ("cat", "red bird house", "bicycle")
SIZES = [(96, 64), (64, 96), (64, 64), (200, 60)]
SIGLIP_LENGTH = 64
"""Tokens to which the library's pipeline pads texts for any SigLIP."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    return [str(picture(folder / f"{number}.png", size, number)) for number, size in enumerate(SIZES)]


def replies(role: str, spec: dict[str, Any], requests: list[Any]) -> list[Reply]:
    """The replies of a model, in the order of the requests."""
    model = open_model(role, spec)
    found = {reply.key: reply for reply in model.stream(requests)}  # type: ignore[attr-defined]
    return [found[request.key] for request in requests]


def within(box: Iterable[float], size: tuple[int, int]) -> list[float]:
    """A box x0, y0, x1, y1, clipped to an image of this width and height."""
    return [min(max(side, 0), limit) for side, limit in zip(box, size * 2, strict=True)]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_cosines_are_the_scores_of_zero_shot_image_classification(tmp_path: Path, pictures: list[str], kind: str) -> None:
    build = {"clip": build_clip, "siglip": lambda path: build_siglip(path, SIGLIP_LENGTH)}[kind]
    folder = build(tmp_path / kind)
    classify = pipeline("zero-shot-image-classification", model=str(folder), device="cpu", dtype=torch.float32)
    texts = ("a cat", "a red bird on a house", "two dogs in a car")
    found = replies("score", {"kind": "clip", "model": str(folder)}, [ScoreRequest(path, texts, path) for path in pictures])
    for path, reply in zip(pictures, found, strict=True):
        theirs = {each["label"]: each["score"] for each in classify(path, candidate_labels=list(texts), hypothesis_template="{}")}
        logits = torch.tensor(reply.result.cosines) * classify.model.logit_scale.exp()
        ours = logits.softmax(0) if kind == "clip" else (logits + classify.model.logit_bias).sigmoid()
        assert ours.tolist() == pytest.approx([theirs[text] for text in texts], abs=1e-4)


@pytest.mark.parametrize("relu", [False, True])
def test_aesthetic_scores_are_those_of_the_predictor_that_others_use(tmp_path: Path, pictures: list[str], relu: bool) -> None:
    """simple-aesthetics-predictor runs LAION's heads on transformers' CLIP, with the widths and dropouts of their authors."""
    from aesthetics_predictor import AestheticsPredictorV2Linear, AestheticsPredictorV2ReLU
    from transformers import CLIPVisionConfig

    folder = build_clip(tmp_path / "clip")
    processor, clip = AutoProcessor.from_pretrained(folder), pipeline("zero-shot-image-classification", str(folder)).model
    kind = AestheticsPredictorV2ReLU if relu else AestheticsPredictorV2Linear
    predictor = kind(CLIPVisionConfig(**VISION, projection_dim=24)).eval()
    seen = {name: value for name, value in clip.state_dict().items() if name.startswith("vis")}
    assert not predictor.load_state_dict(seen, strict=False).unexpected_keys
    for layer in predictor.layers:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.3)
    torch.save({f"layers.{name}": value for name, value in predictor.layers.state_dict().items()}, tmp_path / "head.pth")
    spec = {"kind": "clip", "model": str(folder), "aesthetic": str(tmp_path / "head.pth"), "aesthetic_relu": relu}
    found = replies("score", spec, [ScoreRequest(path, (), path) for path in pictures])
    for path, reply in zip(pictures, found, strict=True):
        pixels = processor(images=open_image(path), return_tensors="pt").pixel_values
        with torch.inference_mode():
            theirs = predictor(pixel_values=pixels, return_dict=True).logits
        assert reply.result.aesthetic == pytest.approx(float(theirs), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("version", [1, 2])
def test_owl_boxes_and_scores_are_those_of_zero_shot_object_detection(tmp_path: Path, pictures: list[str], version: int) -> None:
    folder = build_owl(tmp_path / "owl", version)
    detect = pipeline("zero-shot-object-detection", model=str(folder), device="cpu", dtype=torch.float32)
    spec = {"kind": "owlvit", "model": str(folder), "query": "{name}", "box_score": 0.0}
    found = replies("detect", spec, [DetectRequest(path, NAMES, path) for path in pictures])
    for path, reply in zip(pictures, found, strict=True):
        size = open_image(path).size
        every = detect(path, candidate_labels=[*NAMES], threshold=0.0)
        for name in NAMES:
            theirs = max((each for each in every if each["label"] == name), key=lambda each: each["score"])
            box = within(theirs["box"].values(), size)
            assert reply.result[name].score == pytest.approx(theirs["score"], abs=2e-5)
            if box[0] < box[2] and box[1] < box[3]:  # the library's boxes are whole numbers, and may be outside of the picture
                assert reply.result[name].boxes[0] == pytest.approx(box, abs=1.01)


def test_grounding_dino_scores_names_as_the_authors_evaluate_and_its_boxes_are_the_librarys(
    tmp_path: Path, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name's score is the mean over its tokens, as in the authors' evaluation on COCO, with their own map of tokens."""
    import transformers.models.grounding_dino.modeling_grounding_dino as library
    from groundingdino.util.vl_utils import build_captions_and_token_span, create_positive_map_from_span
    from transformers import GroundingDinoForObjectDetection

    from models.test_detectors import AuthorsText

    folder = build_grounding_dino(tmp_path / "dino")
    spec = {"kind": "grounding-dino", "model": str(folder), "short_side": 96, "long_side": 192, "size_step": 1, "box_score": 0.0}
    found = replies("detect", spec, [DetectRequest(path, NAMES, path) for path in pictures])
    monkeypatch.setattr(library, "generate_masks_with_special_tokens_and_transfer_map", AuthorsText.masks)
    waves = library.encode_sinusoidal_position_embedding
    monkeypatch.setattr(library, "encode_sinusoidal_position_embedding", lambda at, **more: waves(at.float(), **more))
    processor = AutoProcessor.from_pretrained(folder)
    model = GroundingDinoForObjectDetection.from_pretrained(folder, dtype=torch.float32).eval()
    text, spans = build_captions_and_token_span(NAMES, force_lowercase=True)
    positive = create_positive_map_from_span(processor.tokenizer(text), [spans[name] for name in NAMES])
    for path, reply in zip(pictures, found, strict=True):
        image = open_image(path)
        inputs = processor(images=image, text=text, return_tensors="pt")
        with torch.inference_mode():
            out = model(**inputs)
        (grounded,) = processor.post_process_grounded_object_detection(
            out, inputs.input_ids, threshold=0.0, text_threshold=0.9, target_sizes=[image.size[::-1]]
        )
        scores = torch.nn.functional.pad(out.logits[0].sigmoid(), (0, 256 - out.logits.shape[-1])) @ positive.T
        for name, theirs in zip(NAMES, scores.T, strict=True):
            assert reply.result[name].score == pytest.approx(float(theirs.max()), abs=3e-5)
            box = within(grounded["boxes"][theirs.argmax()].tolist(), image.size)
            assert reply.result[name].boxes[0] == pytest.approx(box, abs=0.05)


def test_minigpt4_writes_what_blip2_of_the_library_writes_with_its_projection(tmp_path: Path, pictures: list[str]) -> None:
    """MiniGPT-4 is a BLIP-2 with another language model and one layer between: so the library's BLIP-2 can be one."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, BlipImageProcessorPil

    parts = build_minigpt4(tmp_path)
    tokenizer, llm = AutoTokenizer.from_pretrained(parts.model), AutoModelForCausalLM.from_pretrained(parts.model)
    config = Blip2Config.from_pretrained(parts.vision_encoder)
    together = Blip2Config(
        vision_config=config.vision_config.to_dict(),
        qformer_config=config.qformer_config.to_dict(),
        text_config=llm.config.to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.pad_token_id,
    )
    blip2 = Blip2ForConditionalGeneration(together).eval()
    layer = torch.load(parts.projection, weights_only=True)["model"]
    eyes = Blip2ForConditionalGeneration.from_pretrained(parts.vision_encoder).state_dict()
    eyes = {name: value for name, value in eyes.items() if not name.startswith("language")}
    blip2.load_state_dict(eyes, strict=False)
    blip2.language_model.load_state_dict(llm.state_dict())
    blip2.language_projection.load_state_dict({name: layer[f"llama_proj.{name}"] for name in ("weight", "bias")})
    processor = BlipImageProcessorPil.from_pretrained(parts.vision_encoder)  # it resizes as the authors' transforms do
    prompts = ["Describe this image in detail.", "What is in it?"]
    asked = [CaptionRequest(path, prompt, Sampling(max_tokens=12), f"{path} {prompt}") for path in pictures for prompt in prompts]
    found = replies("caption", {"kind": "minigpt4", **parts.settings()}, asked)
    for request, reply in zip(asked, found, strict=True):
        before = tokenizer.encode("###Human: <Img>", add_special_tokens=False)
        after = tokenizer.encode(f"</Img> {request.prompt} ###Assistant:", add_special_tokens=False)
        ids = torch.tensor([[tokenizer.bos_token_id, *before, *[tokenizer.pad_token_id] * QUERIES, *after]])
        pixels = processor(images=open_image(request.image), return_tensors="pt").pixel_values
        with torch.inference_mode():
            out = blip2.generate(
                pixel_values=pixels, input_ids=ids, max_new_tokens=12, do_sample=False, eos_token_id=tokenizer.eos_token_id
            )
        written = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert reply.result == written.split("###")[0].strip()
    assert len({reply.result for reply in found}) > len(asked) // 2


@pytest.mark.parametrize("family", ["sd3", "sdxl"])
def test_images_are_those_of_a_plain_call_of_the_pipeline(tmp_path: Path, family: str) -> None:
    from diffusers import DiffusionPipeline

    folder = {"sd3": build_sd3, "sdxl": build_sdxl}[family](tmp_path / family)
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    spec = {"kind": "diffusers", "model": str(folder), "width": 64, "height": 64, "steps": 2, "guidance": 5.0, "format": "png"}
    pairs = [("a red tram in the rain", "fog"), ("two boats", ""), ("A café (old) at 3 o'clock", "no people, grey sky")]
    asked = [GenerateRequest(*pair, str(tmp_path), str(seed), seed) for seed, pair in enumerate(pairs)]
    for request, reply in zip(asked, replies("generate", spec, asked), strict=True):
        plainly = pipe(
            request.prompt,
            negative_prompt=request.negative or None,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            width=64,
            height=64,
            num_inference_steps=2,
            guidance_scale=5.0,
        ).images[0]
        with Image.open(tmp_path / reply.result.file) as image:
            assert np.abs(np.asarray(image).astype(int) - np.asarray(plainly).astype(int)).max() <= 2
