"""Small random vision-language models of real architecture in folders, with their processors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from models.tiny import make_tokenizer

SIDE, PATCH = 56, 14
TEXT: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "max_position_embeddings": 2048, "initializer_range": 0.2,
}  # fmt: skip
EYES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2, "initializer_range": 0.2,
}  # fmt: skip


def tokenizer_with(**special: str) -> PreTrainedTokenizerFast:
    """A tokenizer with further special tokens, which are also its attributes."""
    plain = make_tokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain._tokenizer, bos_token="<|end|>", eos_token="<|stop|>", pad_token="<|pad|>", padding_side="left",
        model_max_length=2048, extra_special_tokens=special,
    )  # fmt: skip


def chat_template(picture: str) -> str:
    """A chat template of turns that are text or lists of pictures and text."""
    return (
        "{% for message in messages %}<|start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + picture + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|stop|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
    )


def ids_of(tokenizer: Any) -> dict[str, int]:
    """The ids of the special tokens, as configurations name them."""
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def save(model: Any, tokenizer: Any, path: Path) -> None:
    """Save a model that ends at its tokenizer's end."""
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.eval().save_pretrained(path)


def build_qwen2vl(path: Path) -> None:
    torch.manual_seed(0)
    names = {
        "vision_start": "<|vision_start|>",
        "vision_end": "<|vision_end|>",
        "image": "<|image_pad|>",
        "video": "<|video_pad|>",
    }
    tokenizer = tokenizer_with(**{f"{name}_token": token for name, token in names.items()})
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    rope = {"rope_type": "default", "type": "mrope", "mrope_section": [4, 6, 6], "rope_theta": 10_000.0}
    config = Qwen2VLConfig(
        text_config={**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope, **ids_of(tokenizer)},
        vision_config={
            "depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": PATCH,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "initializer_range": 0.2,
        },
        **ids, **ids_of(tokenizer),
    )  # fmt: skip
    save(Qwen2VLForConditionalGeneration(config), tokenizer, path)
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 64}
    pictures = Qwen2VLImageProcessor(size=size, patch_size=PATCH, merge_size=2, temporal_patch_size=2)
    template = chat_template("<|vision_start|><|image_pad|><|vision_end|>")
    Qwen2VLProcessor(pictures, tokenizer, Qwen2VLVideoProcessor(), chat_template=template).save_pretrained(path)


def build_llava(path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = tokenizer_with(image_token="<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, projection_dim=64, **EYES),
        text_config=LlamaConfig(vocab_size=len(tokenizer), head_dim=32, tie_word_embeddings=False, **TEXT, **ids_of(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-2, vision_feature_select_strategy="default", pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    save(LlavaForConditionalGeneration(config), tokenizer, path)
    weights = load_file(path / "model.safetensors")
    old = {name.replace("vision_tower.", "vision_tower.vision_model.", 1): value for name, value in weights.items()}
    save_file(old, path / "model.safetensors", metadata={"format": "pt"})  # as published weights name them
    pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    LlavaProcessor(
        pictures, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=chat_template("<image>\n"),
    ).save_pretrained(path)  # fmt: skip


def build_internvl(path: Path) -> None:
    torch.manual_seed(0)
    marks = {"start_image": "<img>", "end_image": "</img>", "context_image": "<IMG_CONTEXT>", "video": "<video>"}
    tokenizer = tokenizer_with(**{f"{name}_token": mark for name, mark in marks.items()})
    tokens = (SIDE // PATCH) ** 2 // 4
    config = InternVLConfig(
        vision_config={"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH], **EYES},
        text_config=Qwen2Config(vocab_size=len(tokenizer), tie_word_embeddings=False, **TEXT, **ids_of(tokenizer)),
        image_token_id=tokenizer.context_image_token_id, image_seq_length=tokens, downsample_ratio=0.5, tie_word_embeddings=False,
    )  # fmt: skip
    save(InternVLForConditionalGeneration(config), tokenizer, path)
    pictures = GotOcr2ImageProcessor(size={"height": SIDE, "width": SIDE}, crop_to_patches=True, min_patches=1, max_patches=12)
    InternVLProcessor(
        pictures, tokenizer, InternVLVideoProcessor(), image_seq_length=tokens, chat_template=chat_template("<IMG_CONTEXT>\n")
    ).save_pretrained(path)


BUILDERS: dict[str, Callable[[Path], None]] = {"qwen2vl": build_qwen2vl, "llava": build_llava, "internvl": build_internvl}
