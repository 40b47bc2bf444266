"""Devices, dtypes and failures of models that are loaded through torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shardmill.models.failures import OUT_OF_MEMORY, failure_message
from shardmill.util.errors import ModelDied, UserError


def device_of(wanted: str) -> str:
    """The device to load a model on; `auto` is a GPU where there is one. Raises UserError for one that is not there."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(f"device {wanted!r} is unknown; use cuda, cpu or auto") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"there is no device {wanted!r} here; give the worker a GPU, or set device: auto")
    return wanted


def dtype_of(wanted: str, auto: Any) -> Any:
    """The torch dtype of a setting; `auto` for the word auto. Raises UserError for what is not a floating-point type."""
    import torch

    if wanted == "auto":
        return auto
    dtype = getattr(torch, wanted, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise UserError(f"dtype {wanted!r} is not a floating-point type; use bfloat16, float16 or float32")
    return dtype


@contextmanager
def loading(model: str, engine: str = "transformers") -> Iterator[None]:
    """Turns errors while weights are loaded into UserError, or into ModelDied when the device fails."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, ImportError, KeyError, SafetensorError) as error:
        raise UserError(f"{engine} cannot load {model}: {' '.join(str(error).split())[:600]}") from error
    except RuntimeError as error:
        if any(sign in str(error) for sign in (*OUT_OF_MEMORY, "CUDA")):
            raise ModelDied(failure_message(f"{engine} with {model}", str(error))) from error
        raise UserError(f"{engine} cannot load {model}: {' '.join(str(error).split())[:600]}") from error


def end_tokens_of(model: Any, tokenizer: Any) -> tuple[list[int], int]:
    """The tokens that end an answer of a language model, and the one that batches are padded with."""
    ends = model.generation_config.eos_token_id
    ids = [*ends] if isinstance(ends, (list, tuple)) else [tokenizer.eos_token_id if ends is None else ends]
    return ids, ids[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
