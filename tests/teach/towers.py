"""Two towers, one for pictures and one for texts: a small pair that is trained from scratch, and CLIP. Needs torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from teach.words import MAX_WORDS, split_words

WIDTH = 96
LEVELS = 16
"""Of each channel of a colour; so many tell the objects of `scene` apart."""
SPAN = 5
"""Words that a convolution sees at once."""


class Towers(nn.Module, ABC):
    """What is trained: unit vectors of pictures and texts, and the factor of their similarities."""

    @abstractmethod
    def read_pictures(self, files: Sequence[Path]) -> Tensor:
        """What the tower sees of pictures, one a row."""

    @abstractmethod
    def read_texts(self, texts: Sequence[str]) -> Tensor:
        """Tokens, one text a row."""

    @abstractmethod
    def encode_pictures(self, seen: Tensor) -> Tensor:
        """What was read to unit vectors."""

    @abstractmethod
    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Tokens to unit vectors."""

    @abstractmethod
    def scale(self) -> Tensor:
        """What similarities are multiplied by; at most 100, as in CLIP."""


class SmallTowers(Towers):
    """A bag of colours, and two convolutions over words.

    What is tested is what texts teach, so the tower of the pictures is as cheap as can be: it sees how much there is of each
    colour. That suffices, since `scene` draws each kind of object in a colour of its own.

    Args:
        words: The vocabulary; other words are all alike.
        pictures: What was read of those to train on; other colours than theirs are not seen.
    """

    def __init__(self, words: Sequence[str], pictures: Tensor):
        super().__init__()
        self.register_buffer("used", pictures.any(0).nonzero().flatten())
        self._number = {word: number for number, word in enumerate(words, 2)}
        self.colors = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(len(self.used), 2 * WIDTH), nn.LayerNorm(2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.words = nn.Embedding(len(words) + 2, WIDTH, padding_idx=0)
        self.dropout = nn.Dropout(0.1)
        self.neighbors = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, SPAN, padding=SPAN // 2) for _ in range(2))
        self.text_head = nn.Linear(WIDTH, WIDTH)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07)))

    @staticmethod
    def read_pictures(files: Sequence[Path]) -> Tensor:
        return torch.from_numpy(np.stack([color_counts(file) for file in files]))

    def read_texts(self, texts: Sequence[str]) -> Tensor:
        numbers = np.zeros((len(texts), MAX_WORDS), dtype=np.int64)
        for row, text in enumerate(texts):
            words = [self._number.get(word, 1) for word in split_words(text)]
            numbers[row, : len(words)] = words
        return torch.from_numpy(numbers)

    def encode_pictures(self, seen: Tensor) -> Tensor:
        return functional.normalize(self.colors(seen[:, self.used].float().log1p()), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        length = int((tokens > 0).sum(1).max())
        tokens = tokens[:, :length]
        padding = tokens == 0
        states = self.dropout(self.words(tokens)).transpose(1, 2)
        for layer in self.neighbors:
            states = (states + functional.relu(layer(states))) * ~padding[:, None]
        states = states.transpose(1, 2)
        mean = states.sum(1) / (~padding).sum(1, keepdim=True)
        return functional.normalize(self.text_head(mean), dim=1)

    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=100)


class ClipTowers(Towers):
    """CLIP with weights of its own.

    Args:
        name: A folder, or a model of the Hugging Face Hub such as openai/clip-vit-base-patch32.
    """

    def __init__(self, name: str):
        super().__init__()
        from transformers import CLIPModel, CLIPProcessor

        self.clip = CLIPModel.from_pretrained(name)
        self.processor: Any = CLIPProcessor.from_pretrained(name)
        image = self.processor.image_processor
        self.register_buffer("mean", torch.tensor(image.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(image.image_std).view(3, 1, 1), persistent=False)

    def read_pictures(self, files: Sequence[Path]) -> Tensor:
        options = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
        read = (self.processor.image_processor(Image.open(file).convert("RGB"), **options) for file in files)
        return torch.cat([each["pixel_values"].to(torch.uint8) for each in read])

    def read_texts(self, texts: Sequence[str]) -> Tensor:
        length = self.clip.config.text_config.max_position_embeddings
        options = {"padding": "max_length", "truncation": True, "max_length": length, "return_tensors": "pt"}
        made = self.processor.tokenizer(list(texts), **options)
        return torch.stack([made["input_ids"], made["attention_mask"]], dim=1)

    def encode_pictures(self, seen: Tensor) -> Tensor:
        found = self.clip.vision_model(pixel_values=(seen.float() / 255 - self.mean) / self.deviation)
        return functional.normalize(self.clip.visual_projection(found.pooler_output), dim=1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        found = self.clip.text_model(input_ids=tokens[:, 0], attention_mask=tokens[:, 1])
        return functional.normalize(self.clip.text_projection(found.pooler_output), dim=1)

    def scale(self) -> Tensor:
        return self.clip.logit_scale.exp().clamp(max=100)


def color_counts(file: Path) -> NDArray[np.int16]:
    """How many of a picture's pixels are of each colour, of every fourth pixel in both directions."""
    levels = np.asarray(Image.open(file).convert("RGB"))[::4, ::4].astype(np.int64) // (256 // LEVELS)
    codes = (levels[..., 0] * LEVELS + levels[..., 1]) * LEVELS + levels[..., 2]
    return np.bincount(codes.ravel(), minlength=LEVELS**3).astype(np.int16)
