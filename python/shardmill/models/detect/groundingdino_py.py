"""Grounding DINO through groundingdino-py, the authors' own code: Swin-T and Swin-B by their configurations and checkpoints.

The package's wrapper around BERT does not run beside current transformers; `phrases.PhraseEncoder` replaces it.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from shardmill.models.detect.detector import PreparedDetection
from shardmill.models.detect.grounding_dino import DinoDetector, GroundingDinoSettings
from shardmill.models.loading import loading
from shardmill.models.settings import read_settings
from shardmill.models.weights import is_hub_name
from shardmill.util.errors import UserError

CONFIGS = {"swin-t": "GroundingDINO_SwinT_OGC.py", "swin-b": "GroundingDINO_SwinB_cfg.py"}


class GroundingDinoPySettings(GroundingDinoSettings):
    """Settings of groundingdino-py. `model` is a checkpoint: the path of a .pth file, or REPOSITORY:FILE on the hub."""

    shaping: ClassVar[tuple[str, ...]] = (*GroundingDinoSettings.shaping, "config", "bert")

    config: str = Field("swin-t", description="swin-t, swin-b, or the path of a configuration file of yours")
    bert: str | None = Field(default=None, description="a folder or hub id of the BERT, if not the configuration's")

    def identity(self) -> dict[str, str]:
        files = {"weights": Path(self.model).expanduser(), "config": Path(self.config).expanduser()}
        return {**super().identity(), **{name: _digest(path) for name, path in files.items() if path.is_file()}}

    def hub_models(self) -> dict[str, str | None]:
        """The repository of the checkpoint."""
        repository, colon, _ = self.model.partition(":")
        return {repository: self.revision} if colon and is_hub_name(repository) else {}


def _digest(path: Path) -> str:
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


class GroundingDinoPyDetector(DinoDetector):
    """Grounding DINO through groundingdino-py."""

    Settings = GroundingDinoPySettings
    settings: GroundingDinoPySettings

    def __init__(self, **settings: Any):
        wanted = read_settings(GroundingDinoPySettings, settings)
        try:
            import groundingdino.models.GroundingDINO.groundingdino as package
            import torch
            from groundingdino.models import build_model
            from transformers import GroundingDinoImageProcessor

            from shardmill.models.detect.phrases import PhraseEncoder, Phrases
        except ImportError as error:
            raise UserError(f"{error}; install what it needs with: pip install 'shardmill[vision]'") from error
        self._half = self._prepare(wanted)
        self._dtype = torch.float32  # the package creates masks and encodings in float32: half precision only by autocast
        package.BertModelWarper = PhraseEncoder
        checkpoint = _checkpoint(wanted)
        arguments = _arguments(wanted, self.device)
        with loading("its model", "groundingdino-py"):
            model = build_model(arguments)
        _load(model, checkpoint)
        with loading(wanted.model, "groundingdino-py"):
            self._model = model.to(self.device).eval()
        for layer in model.transformer.encoder.text_layers or ():
            layer.register_forward_pre_hook(_mask_by_row, with_kwargs=True)
        self._text = model.bert
        self._text.special = frozenset(model.specical_tokens)
        self._processor = GroundingDinoImageProcessor()
        self._phrases, self._pad = Phrases(model.tokenizer), model.tokenizer.pad_token_id or 0

    def _forget(self) -> None:
        del self._model, self._text

    def detect(self, prepared: PreparedDetection) -> tuple[Any, Any]:
        import torch

        from shardmill.models.detect.phrases import name_scores

        self._text.read(prepared.names)
        self._model.tokenizer = _TokenisedPassages(prepared.names, self._pad)
        device_type = self.device.partition(":")[0]
        with torch.autocast(device_type, self._half, enabled=self._half is not torch.float32):
            out = self._model(prepared.pixels, captions=[""] * len(prepared.names))
        return name_scores(out["pred_logits"], prepared.names), out["pred_boxes"]


def _mask_by_row(layer: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Repeat the text's attention mask for the heads of each row in turn, as nn.MultiheadAttention orders them.

    The package repeats all rows for each head in turn, which gives the rows of a batch one another's masks.
    """
    return inputs, {**named, "src_mask": named["src_mask"].repeat_interleave(layer.nhead, 0)}


class _TokenisedPassages:
    """Replaces the model's tokenizer: its input has been tokenised already."""

    def __init__(self, passages: Any, pad: int):
        self._passages, self._pad = passages, pad

    def __call__(self, captions: Any, **_: Any) -> Any:
        import torch
        from transformers import BatchEncoding

        from shardmill.models.detect.phrases import padded

        ids, mask = padded(self._passages, self._pad, "cpu")
        return BatchEncoding({"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": mask})


def _arguments(wanted: GroundingDinoPySettings, device: str) -> Any:
    import groundingdino
    from groundingdino.util.slconfig import SLConfig

    own = Path(wanted.config).expanduser()
    path = Path(groundingdino.__file__).parent / "config" / CONFIGS[wanted.config] if wanted.config in CONFIGS else own
    if not path.is_file():
        raise UserError(f"there is no configuration {wanted.config!r}: it is {', '.join(CONFIGS)} or the path of a file")
    arguments = SLConfig.fromfile(str(path))
    arguments.device = device
    arguments.use_checkpoint = arguments.use_transformer_ckpt = False
    if wanted.bert:
        arguments.text_encoder_type = wanted.bert
    return arguments


def _checkpoint(wanted: GroundingDinoPySettings) -> Path:
    """The path of the checkpoint, fetched from the hub if it is there."""
    path = Path(wanted.model).expanduser()
    if path.is_file():
        return path
    repository, _, name = wanted.model.partition(":")
    if not name:
        raise UserError(f"there is no checkpoint {wanted.model}; give the path of a .pth file, or REPOSITORY:FILE on the hub")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=wanted.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(f"{wanted.model} cannot be fetched: {' '.join(str(error).split())[:300]}") from error


def _load(model: Any, path: Path) -> None:
    import torch
    from groundingdino.util.misc import clean_state_dict

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        result = model.load_state_dict(clean_state_dict(state.get("model", state)), strict=False)
    except Exception as error:  # torch raises many types for a file that is not a checkpoint
        raise UserError(f"{path} is not a checkpoint of this configuration: {' '.join(str(error).split())[:400]}") from error
    missing = [name for name in result.missing_keys if "label_enc" not in name]
    if missing:
        raise UserError(f"{path} lacks {len(missing)} weights of this configuration, such as {missing[0]}; is config right?")
