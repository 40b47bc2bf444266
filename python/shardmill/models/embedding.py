"""Texts as vectors by a small sentence-embedding model, such as BAAI/bge-m3 or a MiniLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shardmill.models.loading import device_of, loading
from shardmill.models.settings import require_model
from shardmill.util.errors import UserError

BATCH, MAX_TOKENS = 256, 128


def embed(texts: Sequence[str], model: str) -> NDArray[np.float32]:
    """L2-normalised vectors (texts, width): the hidden state of the first token, as BERT-like embedding models are trained.

    `model` is a folder or an id on the hub. Raises UserError when it cannot be loaded.
    """
    require_model(model)
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise UserError(f"{error}; install what it needs with: pip install 'shardmill[transformers]'") from error
    device = device_of("auto")
    with loading(model):
        tokenizer = AutoTokenizer.from_pretrained(model)
        encoder = AutoModel.from_pretrained(model, dtype=torch.float32).to(device).eval()
    order = sorted(
        range(len(texts)), key=lambda index: len(texts[index])
    )  # texts of similar length share a batch: little padding
    found: list[Any] = [None] * len(texts)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            inputs = tokenizer(
                [texts[index] for index in indices], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
            ).to(device)
            states = torch.nn.functional.normalize(encoder(**inputs).last_hidden_state[:, 0], dim=-1)
            for index, vector in zip(indices, states.cpu().numpy(), strict=True):
                found[index] = vector
    return np.stack(found) if found else np.empty((0, 1), dtype=np.float32)
