"""What the bench of vision models needs: photos, models of real size with random weights, and the original loops.

A random model costs as much time per image as a trained one. The tokenizers are small, of the test helpers; what a text encoder
computes depends on its widths and on the number of tokens, and the names here have as many tokens as common names do.

The loops are spared what does not belong to their idea: the gradients that NegBench keeps, Antidote's second resizing, and the
phrases of more boxes than a trained model finds. Their Grounding DINO is Swin-T as ours, by transformers, without a CUDA kernel.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from tokenizers import AddedToken, processors

from models.tiny import make_tokenizer
from models.tiny_detectors import bert_tokenizer
from models.tiny_diffusion import clip_tokenizer, t5_tokenizer
from shardmill.models.contract import DetectRequest

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

KINDS = [
    *("red", "blue", "green", "white", "black", "yellow", "small", "large", "old", "new", "round", "square", "wooden"),
    *("metal", "glass", "paper", "striped", "plain", "broken", "empty", "open", "folded", "painted", "wet", "shiny"),
]
THINGS = [
    *("dog", "cat", "table", "lamp", "bridge", "kite", "apple", "bench", "boat", "horse"),
    *("train", "window", "bottle", "cup", "chair", "umbrella", "bicycle", "clock", "hat", "box"),
]
VOCABULARY = [f"{kind} {thing}" for kind in KINDS for thing in THINGS]
SIZES = [(640, 480), (640, 427), (480, 640), (640, 480), (500, 375), (640, 360), (612, 612), (427, 640)]
"""4:3, 3:2, 3:4, 4:3, smaller 4:3, 16:9, square, 2:3."""
MAX_PHRASES = 20
"""Boxes with a phrase in the original loop: random weights score hundreds of boxes high, trained ones a handful."""
ORIENTATIONS = {3: 6, 7: 8, 11: 3}
"""Of each 16 images, those with an EXIF orientation, and which."""


def photos(folder: Path, count: int) -> list[str]:
    """The paths of so many new JPEG files in `folder`, about as large in bytes as photos of their size."""
    folder.mkdir(parents=True)
    with multiprocessing.get_context("fork").Pool() as pool:  # drawing one takes 10 ms
        return pool.map(partial(_photo, folder), range(count), chunksize=16)


def _photo(folder: Path, number: int) -> str:
    rng = Random(number)
    size = width, height = SIZES[number % len(SIZES)]
    image = Image.merge("RGB", [Image.linear_gradient("L").resize(size), Image.effect_noise(size, 12), Image.new("L", size, 90)])
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.randrange(width), rng.randrange(height)
        draw.ellipse((x, y, x + width // 4, y + height // 4), fill=tuple(rng.randrange(256) for _ in range(3)))
    image = Image.blend(image, Image.effect_noise(size, 40).convert("RGB"), 0.2)
    exif = Image.Exif()
    if number % 16 in ORIENTATIONS:
        exif[0x0112] = ORIENTATIONS[number % 16]
    path = folder / f"{number}.jpg"
    image.save(path, quality=90, exif=exif)
    return str(path)


def save_owl(path: Path) -> Path:
    """An OWL-ViT-base-patch32 with its processor in the folder `path`."""
    from transformers import OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessor, OwlViTProcessor

    torch.manual_seed(0)
    tokenizer = make_tokenizer([f"a photo of a {name}" for name in VOCABULARY], vocab_size=600)
    tokenizer.padding_side, tokenizer.model_max_length = "right", 16
    tokenizer.add_special_tokens({"eos_token": "<|highest|>"})  # the text encoder reads its result at the highest id
    end = ("<|highest|>", tokenizer.eos_token_id)
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
    ends = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8, **ends}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = OwlViTConfig(
        text_config=text, vision_config={"image_size": 768, "patch_size": 32, **vision}, projection_dim=512
    )  # fmt: skip
    model = OwlViTForObjectDetection(config).eval()
    shift = model.class_head.logit_shift  # so that, as with trained weights, few boxes reach a score that counts
    torch.nn.init.normal_(shift.weight, std=0.03)
    torch.nn.init.constant_(shift.bias, -3.5)
    model.save_pretrained(path)
    OwlViTProcessor(OwlViTImageProcessor(size={"height": 768, "width": 768}), tokenizer).save_pretrained(path)
    return path


def save_grounding_dino(path: Path) -> Path:
    """A Grounding DINO with Swin-T and BERT-base with its processor in the folder `path`."""
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    tokenizer.add_tokens([AddedToken(word, single_word=True) for word in (*KINDS, *THINGS)])
    swin = SwinConfig(
        image_size=224, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=BertConfig(vocab_size=30522), d_model=256, encoder_layers=6, decoder_layers=6,
        encoder_ffn_dim=2048, decoder_ffn_dim=2048, encoder_attention_heads=8, decoder_attention_heads=8, num_queries=900,
        num_feature_levels=4,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).eval().save_pretrained(path)
    GroundingDinoProcessor(GroundingDinoImageProcessor(), tokenizer).save_pretrained(path)
    return path


def save_sd3(path: Path, t5: bool) -> Path:
    """A Stable Diffusion 3 medium in the folder `path`, in bfloat16: 6 GB, and 10 GB more with T5."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel

    torch.manual_seed(0)
    first, second = clip_tokenizer(), clip_tokenizer(pad="!")
    of_t5 = T5Config(
        vocab_size=32128, d_model=4096, d_ff=10240, d_kv=64, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
    )  # fmt: skip
    with _made_in(torch.bfloat16):
        StableDiffusion3Pipeline(
            transformer=SD3Transformer2DModel(
                sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
                num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536, pooled_projection_dim=2048,
                pos_embed_max_size=192,
            ),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=AutoencoderKL(
                sample_size=1024, block_out_channels=(128, 256, 512, 512), layers_per_block=2, norm_num_groups=32,
                latent_channels=16, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609, scaling_factor=1.5305,
            ),
            text_encoder=CLIPTextModelWithProjection(_clip(first, 768, 12, 12, "quick_gelu")).eval(),
            tokenizer=first,
            text_encoder_2=CLIPTextModelWithProjection(_clip(second, 1280, 32, 20, "gelu")).eval(),
            tokenizer_2=second,
            text_encoder_3=T5EncoderModel(of_t5).eval() if t5 else None,
            tokenizer_3=t5_tokenizer() if t5 else None,
        ).save_pretrained(path)  # fmt: skip
    return path


def _clip(tokenizer: Any, width: int, layers: int, heads: int, activation: str) -> Any:
    from transformers import CLIPTextConfig

    ends = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
        max_position_embeddings=77, projection_dim=width, hidden_act=activation, **ends,
    )  # fmt: skip


@contextmanager
def _made_in(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def as_negbench(folder: Path, asked: Sequence[DetectRequest]) -> Callable[[], float]:
    """NegBench's filter: 64 images at a time, opened one by one, texts encoded for each image, each box checked in Python."""
    from transformers import OwlViTForObjectDetection, OwlViTImageProcessorPil, OwlViTProcessor

    tokenizer = OwlViTProcessor.from_pretrained(folder).tokenizer
    processor = OwlViTProcessor(OwlViTImageProcessorPil.from_pretrained(folder), tokenizer)
    model = OwlViTForObjectDetection.from_pretrained(folder, dtype=torch.float32).to(DEVICE).eval()

    @torch.no_grad()
    def run() -> float:
        started = time.perf_counter()
        for start in range(0, len(asked), 64):
            batch = asked[start : start + 64]
            images = [Image.open(request.image).convert("RGB") for request in batch]
            texts = [[f"A photo of {name}" for name in request.names] for request in batch]
            inputs = processor(text=texts, images=images, truncation=True, return_tensors="pt").to(DEVICE)
            best = model(**inputs).logits.max(-1)
            for request, scores, labels in zip(batch, best.values.sigmoid(), best.indices, strict=True):
                seen = set()
                for score, label in zip(scores, labels, strict=True):
                    if score >= 0.1:
                        seen.add(request.names[label])
        return len(asked) / (time.perf_counter() - started)

    return run


def as_antidote(folder: Path, asked: Sequence[DetectRequest], short: int, long: int) -> Callable[[], float]:
    """Antidote's detection: one image at a time, once for the present objects and once for the absent ones."""
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = GroundingDinoForObjectDetection.from_pretrained(folder, dtype=torch.float32).to(DEVICE).eval()
    mean, deviation = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def pixels(file: str) -> Any:
        image = Image.open(file).convert("RGB")
        scale = min(short / min(image.size), long / max(image.size))
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        return (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - mean) / deviation

    def phrases(seen: Any, names: Sequence[str]) -> set[str]:
        text = tokenizer(" . ".join(names) + " .", return_tensors="pt").to(DEVICE)
        scores = model(pixel_values=seen[None].to(DEVICE), **text).logits.cpu().sigmoid()[0]
        boxes = scores[scores.max(-1).values > 0.25][:MAX_PHRASES]
        ids = text["input_ids"][0].tolist()
        return {tokenizer.decode([ids[place] for place in (box > 0.35).nonzero()[:, 0].tolist()]) for box in boxes}

    @torch.no_grad()
    def run() -> float:
        started = time.perf_counter()
        for request in asked:
            for names in (request.names[: len(request.names) // 2], request.names[len(request.names) // 2 :]):
                phrases(pixels(request.image), names)
        return len(asked) / (time.perf_counter() - started)

    return run


def as_antidote_generates(
    folder: Path, prompts: Sequence[str], negative: str, settings: dict[str, Any], target: Path
) -> Callable[[], float]:
    """Antidote's generation: one image per call, its file written before the next."""
    from diffusers import StableDiffusion3Pipeline

    dtype = torch.float16 if DEVICE == "cuda" else torch.float32
    without_t5 = {} if (folder / "text_encoder_3").is_dir() else {"text_encoder_3": None, "tokenizer_3": None}
    pipe = StableDiffusion3Pipeline.from_pretrained(folder, dtype=dtype, **without_t5).to(DEVICE)
    pipe.set_progress_bar_config(disable=True)

    def run() -> float:
        started = time.perf_counter()
        for number, prompt in enumerate(prompts):
            made = pipe(prompt, negative_prompt=negative, **settings)
            made.images[0].save(target / f"{number}.jpg")
        return len(prompts) / (time.perf_counter() - started)

    return run
