"""The parts of a tiny MiniGPT-4 with random weights: a BLIP-2, a language model, and a checkpoint like the original's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    LlamaConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from models.tiny import build_llama

SEEN, HIDDEN, QUERIES, PIXELS = 64, 64, 8, 56


@dataclass(frozen=True)
class Parts:
    """What the settings `model`, `vision_encoder` and `projection` name."""

    model: str
    vision_encoder: str
    projection: str

    def settings(self) -> dict[str, str]:
        return asdict(self)


def build_minigpt4(folder: Path, seed: int = 0) -> Parts:
    """All parts in a folder, in float32; weights so large that another image, or another prompt, makes another text."""
    vision_encoder = build_vision_encoder(folder / "vision_encoder", seed)
    model = build_llama(folder / "llm", hidden_size=HIDDEN, seed=seed, initializer_range=0.2)
    projection = folder / "projection.pth"
    save_projection(projection, HIDDEN, SEEN, seed)
    return Parts(str(model), str(vision_encoder), str(projection))


def build_vision_encoder(path: Path, seed: int = 0) -> Path:
    """A whole BLIP-2, with a language model of its own that nobody wants, and its image processor."""
    torch.manual_seed(seed)
    size = {"hidden_size": SEEN, "intermediate_size": 2 * SEEN, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = Blip2VisionConfig(**size, image_size=PIXELS, patch_size=14, initializer_range=0.3)
    qformer = Blip2QFormerConfig(
        **size, encoder_hidden_size=SEEN, vocab_size=32, cross_attention_frequency=1, initializer_range=0.3
    )
    text = LlamaConfig(**size, num_key_value_heads=2, vocab_size=32)
    config = Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=31,
    )
    blip2 = Blip2ForConditionalGeneration(config).eval()
    torch.nn.init.normal_(blip2.query_tokens)
    blip2.save_pretrained(path)
    BlipImageProcessorPil(size={"height": PIXELS, "width": PIXELS}).save_pretrained(path)
    return path


def save_projection(path: Path, hidden: int, seen: int, seed: int = 0) -> None:
    """A checkpoint as MiniGPT-4's training writes it: more in it than the layer."""
    draw = torch.Generator().manual_seed(seed)
    layer = {
        "llama_proj.weight": torch.randn(hidden, seen, generator=draw) * 0.3,
        "llama_proj.bias": torch.randn(hidden, generator=draw),
        "query_tokens": torch.zeros(1, 32, 768),
    }
    torch.save({"model": layer, "optimizer": {"state": {}}, "config": {"run": {"task": "x"}}, "scaler": None, "epoch": 4}, path)
