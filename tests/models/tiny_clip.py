"""Small random CLIP and SigLIP models of real architecture, with tokenizers and processors of their own, and aesthetic heads."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from tokenizers import processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

from models.tiny import make_tokenizer

LENGTH = 24
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {"image_size": 64, "patch_size": 16, **SMALL}


def tokenizer(start: bool, length: int = LENGTH) -> PreTrainedTokenizerFast:
    """A tokenizer that ends each text, and with `start` begins it, as CLIP's does."""
    made = make_tokenizer(["a photo of a dog"], vocab_size=300)
    made.padding_side, made.model_max_length = "right", length
    made.add_special_tokens({"bos_token": "<|first|>", "eos_token": "<|highest|>"})
    special = [(token, made.convert_tokens_to_ids(token)) for token in ("<|first|>", "<|highest|>")]
    shape = "<|first|> $A <|highest|>" if start else "$A <|highest|>"
    made._tokenizer.post_processor = processors.TemplateProcessing(single=shape, special_tokens=special)
    return made


def build_clip(path: Path) -> Path:
    """A random CLIP in a folder, saved with its processor."""
    made = tokenizer(start=True)
    ends = {name: getattr(made, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    text = {"vocab_size": len(made), "max_position_embeddings": LENGTH, **SMALL, **ends}
    _save(path, CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)))
    image_processor = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    CLIPProcessor(image_processor, made).save_pretrained(path)
    return path


def build_siglip(path: Path, length: int = LENGTH) -> Path:
    """A random SigLIP, for texts of `length` tokens, in a folder, saved with its processor."""
    made = tokenizer(start=False, length=length)
    made.model_input_names = ["input_ids"]  # as its checkpoints say: padding is not masked
    text = {"vocab_size": len(made), "max_position_embeddings": length, "projection_size": 32, **SMALL}
    _save(path, SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)))
    SiglipProcessor(SiglipImageProcessor(size={"height": 64, "width": 64}), made).save_pretrained(path)
    return path


def _save(path: Path, model: Any) -> None:
    """Fresh weights hardly tell pictures apart: larger ones do."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Embedding)):
            torch.nn.init.normal_(part.weight, std=0.2)
    model.eval().save_pretrained(path)


def head_weights(width: int, *between: int, bias: bool = True, seed: int = 0) -> dict[str, torch.Tensor]:
    """The state dict of an aesthetic head; layers are numbered as in LAION's, with gaps for dropout."""
    generator = torch.Generator().manual_seed(seed)
    widths = [width, *between, 1]
    state = {}
    for at, (before, after) in enumerate(itertools.pairwise(widths)):
        state[f"layers.{2 * at}.weight"] = torch.randn(after, before, generator=generator)
        if bias:
            state[f"layers.{2 * at}.bias"] = torch.randn(after, generator=generator)
    return state
