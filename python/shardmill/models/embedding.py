"""Texts as vectors by a sentence-embedding model, such as all-MiniLM-L6-v2 or BAAI/bge-m3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shardmill.models.loading import device_of, loading
from shardmill.models.settings import require_model
from shardmill.util.errors import UserError

BATCH = 256


def embed(texts: Sequence[str], model: str) -> NDArray[np.float32]:
    """L2-normalised vectors (texts, width). Pooling, normalisation and prompts are those that the model's own files name.

    Args:
        texts: The texts.
        model: A folder, or an id on the hub, of a model for sentence-transformers.

    Raises:
        UserError: The model cannot be loaded.
    """
    require_model(model)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UserError(f"{error}; install what it needs with: pip install 'shardmill[transformers]'") from error
    if not texts:
        return np.empty((0, 1), dtype=np.float32)
    with loading(model):
        encoder = SentenceTransformer(model, device=device_of("auto"))
    vectors: NDArray[np.float32] = encoder.encode(
        list(texts), batch_size=BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )
    return vectors
