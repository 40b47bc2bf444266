"""MiniGPT-4's vision encoder: the vision tower and Q-Former of a BLIP-2 checkpoint, and the one layer that MiniGPT-4 trained."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from transformers import AutoConfig, AutoImageProcessor, Blip2Config, Blip2PreTrainedModel, Blip2QFormerModel, Blip2VisionModel

from shardmill.models.images import UnreadableImage, open_image
from shardmill.models.settings import require_model
from shardmill.util.errors import UserError

THREADS = 4
"""Threads that decode images; a language model answers more slowly than they do."""
KEPT = 64
"""Images whose visual tokens are kept, each half a megabyte at most."""
WEIGHT, BIAS = "llama_proj.weight", "llama_proj.bias"


class Blip2VisionEncoder(Blip2PreTrainedModel):
    """Pixels (images, 3, height, width) in, the Q-Former's hidden states (images, query tokens, its size) out, in float32."""

    config_class = Blip2Config
    main_input_name = "pixel_values"
    _keep_in_fp32_modules_strict = ["qformer", "query_tokens"]
    _keys_to_ignore_on_load_unexpected = [r"^(?!vision_model\.|qformer\.|query_tokens$)"]

    def __init__(self, config: Blip2Config):
        super().__init__(config)
        self.vision_model = Blip2VisionModel._from_config(config.vision_config)  # noqa: SLF001 (the constructor that keeps the dtype)
        self.query_tokens = torch.nn.Parameter(torch.zeros(1, config.num_query_tokens, config.qformer_config.hidden_size))
        self.qformer = Blip2QFormerModel._from_config(config.qformer_config)  # noqa: SLF001
        self.post_init()

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        vision_states = self.vision_model(pixel_values=pixel_values.to(self.vision_model.dtype)).last_hidden_state
        queries = self.query_tokens.expand(len(vision_states), -1, -1)
        query_states: torch.Tensor = self.qformer(query_embeds=queries, encoder_hidden_states=vision_states).last_hidden_state
        return query_states


class VisionEncoder(torch.nn.Module):
    """Pixels in, visual tokens (images, query tokens, the language model's size) out."""

    def __init__(self, tower: Blip2VisionEncoder, projection: torch.nn.Linear):
        super().__init__()
        self.tower, self.projection = tower, projection

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        visual: torch.Tensor = self.projection(self.tower(pixel_values))
        return visual


class VisualTokenCache:
    """Visual tokens by the path of their image: images are decoded ahead in threads, encoded on demand, the last ones kept.

    `preprocess` turns an opened image into pixels and runs in the threads; `encode` turns pixels into visual tokens. An image is
    encoded alone, so that its tokens do not depend on its neighbours. Made for one stream: files may change before the next.
    """

    def __init__(self, preprocess: Callable[[Any], Any], encode: Callable[[Any], Any]):
        self._preprocess, self._encode = preprocess, encode
        self._decoders = ThreadPoolExecutor(THREADS, "read-images")
        self._decoding: dict[str, Future[Any]] = {}
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def __enter__(self) -> VisualTokenCache:
        return self

    def __exit__(self, *raised: object) -> None:
        self._decoders.shutdown(cancel_futures=True)

    def expect(self, path: str) -> None:
        """Begin to decode an image that will be needed."""
        if path not in self._kept and path not in self._decoding:
            self._decoding[path] = self._decoders.submit(self._open, path)

    def tokens(self, path: str) -> Any:
        """The visual tokens of an image. Raises UnreadableImage."""
        if path not in self._kept:
            self.expect(path)
            found = self._decoding.pop(path).result()
            self._kept[path] = found if isinstance(found, UnreadableImage) else self._encode(found)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(path)
        if isinstance(self._kept[path], UnreadableImage):
            raise self._kept[path]
        return self._kept[path]

    def _open(self, path: str) -> Any:
        try:
            return self._preprocess(open_image(path))
        except UnreadableImage as error:
            return error


def load_vision_encoder(where: str, projection: torch.nn.Linear, dtype: Any, device: Any) -> VisionEncoder:
    """The vision encoder on a device; the vision tower has the type `dtype`. Raises UserError for an incomplete checkpoint."""
    tower, info = Blip2VisionEncoder.from_pretrained(where, dtype=dtype, output_loading_info=True)
    if lacking := sorted(info["missing_keys"]):
        raise UserError(f"vision_encoder: {where} has no {lacking[0]} ({len(lacking)} weights are missing); is it BLIP-2?")
    return VisionEncoder(tower, projection).to(device).eval()


def read_vision_config(where: str) -> Blip2Config:
    """The configuration of a BLIP-2 checkpoint. Raises UserError for a model of another type."""
    require_model(where)
    config = AutoConfig.from_pretrained(where, trust_remote_code=False)
    if not isinstance(config, Blip2Config):
        raise UserError(f"vision_encoder: {where} is a {config.model_type} model; name a BLIP-2 checkpoint")
    return config


def load_processor(where: str, config: Blip2Config) -> Any:
    """The image processor of the vision encoder. Raises UserError if its images are not of the vision tower's size."""
    processor = AutoImageProcessor.from_pretrained(
        where, backend="pil", trust_remote_code=False
    )  # the original resizes with Pillow too
    made, taken = (processor.size["height"], processor.size["width"]), config.vision_config.image_size
    if made != (taken, taken):
        raise UserError(
            f"vision_encoder: {where} makes images of {made[0]} x {made[1]} pixels; its tower takes {taken} x {taken}"
        )
    return processor


def load_projection(where: str, qformer_size: int, hidden: int) -> torch.nn.Linear:
    """MiniGPT-4's layer from the Q-Former's size to the language model's size `hidden`, from an original checkpoint.

    In float32, as it was trained. Raises UserError for any other file, and for a layer that does not fit.
    """
    path = find_projection(where)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is not a pickle, or holds more than tensors, can raise nearly anything
        raise UserError(f"projection: {where} is not a MiniGPT-4 checkpoint: {' '.join(str(error).split())[:300]}") from error
    found = content.get("model") if isinstance(content, dict) else None
    weight, bias = (found.get(WEIGHT), found.get(BIAS)) if isinstance(found, dict) else (None, None)
    if not isinstance(weight, torch.Tensor) or not isinstance(bias, torch.Tensor):
        raise UserError(f"projection: {where} is not a MiniGPT-4 checkpoint: it has no {WEIGHT} and {BIAS} under the key 'model'")
    shapes = tuple(weight.shape), tuple(bias.shape)
    if shapes != ((hidden, qformer_size), (hidden,)):
        raise UserError(
            f"projection: {where} has a weight of shape {shapes[0]} and a bias of {shapes[1]}; this vision encoder "
            f"and language model need {(hidden, qformer_size)} and {(hidden,)}: it was trained with other parts"
        )
    layer = torch.nn.Linear(qformer_size, hidden)
    layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return layer


def find_projection(where: str) -> Path:
    """The file of a projection: a path, or `repo_id:filename` on the hub. Raises UserError if there is none."""
    path = Path(where).expanduser()
    if path.is_file():
        return path
    repo, _, name = where.partition(":")
    if not name or repo.count("/") != 1 or repo.startswith((".", "/", "~")):
        raise UserError(
            f"projection: there is no file {where}; name a MiniGPT-4 checkpoint (*.pth), or repo_id:filename on the hub"
        )
    try:
        return Path(hf_hub_download(repo, name))
    except (OSError, ValueError) as error:
        raise UserError(f"projection: cannot get {name} of {repo}: {' '.join(str(error).split())[:300]}") from error
