"""Heads for aesthetic scores: linear layers over its normalised CLIP embedding.

LAION's predictors are such files of weights: https://github.com/LAION-AI/aesthetic-predictor (one layer) and
https://github.com/christophschuhmann/improved-aesthetic-predictor (five, for CLIP L/14, scores of about 1 to 10).
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from shardmill.util.errors import UserError


def head_digest(path: str) -> str:
    """A digest of the file of a head; "" if there is none."""
    file = Path(path).expanduser()
    return sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def read_head(path: str, width: int, relu: bool) -> Any:
    """A head from a state dict in a .pth or .safetensors file.

    Layers come in the order of the numbers in their names (`layers.0.weight`, `layers.2.weight`, ...), each with or without a
    bias.

    Args:
        path: The file.
        width: The width of the CLIP embedding.
        relu: Whether there is a ReLU between the layers.

    Returns:
        A torch module from embeddings (images, width) to scores (images, 1).

    Raises:
        UserError: If the file is not a state dict, has other layers than linear ones, or does not fit the width.
    """
    import torch

    state = _state(Path(path).expanduser())
    strange = [name for name, value in state.items() if not re.search(r"(^|\.)(weight|bias)$", name) or value.ndim > 2]
    if strange:
        raise UserError(f"the aesthetic head {path} has more than linear layers: {strange[0]}")
    names = sorted((name for name in state if name.endswith("weight")), key=_number)
    layers: list[Any] = []
    for name in names:
        weight, bias = state[name].float(), state.get(name.removesuffix("weight") + "bias")
        if weight.ndim != 2 or weight.shape[1] != width:
            raise UserError(f"the aesthetic head {path} is for another model: {name} is {tuple(weight.shape)}, not (…, {width})")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise UserError(f"the aesthetic head {path}: the bias of {name} has another width")
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if bias is not None:
                layer.bias.copy_(bias)
        layers += [layer, torch.nn.ReLU()] if relu else [layer]
        width = weight.shape[0]
    if not layers or width != 1:
        raise UserError(f"the aesthetic head {path} does not end in one number")
    return torch.nn.Sequential(*(layers[:-1] if relu else layers)).eval()


def _number(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _state(path: Path) -> dict[str, Any]:
    """Tensors by name. A .pth file may contain tensors only: none of its code is run."""
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"there is no aesthetic head {path}; give the path of a .pth or .safetensors file")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is not a checkpoint
        raise UserError(f"{path} is not a file of weights: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UserError(f"{path} is not a state dict: it holds more than tensors by name")
    return {str(name): value for name, value in loaded.items()}
