"""The same Grounding DINO for both libraries: a checkpoint of groundingdino-py as a model of transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)

UNUSED = re.compile(r"^bbox_embed|relative_position_index|swin\.layernorm")
"""Weights that are others' under a second name, not learned, or not used by a detector."""
STAGES = "model.backbone.conv_encoder.model.hidden_states_norms.stage"
RENAMED = [
    (r"^backbone\.0\.norm(\d)\.", lambda found: f"{STAGES}{int(found[1]) + 1}."),
    (r"^backbone\.0\.patch_embed\.proj\.", "model.backbone.conv_encoder.model.swin.embeddings.patch_embeddings.projection."),
    (r"^backbone\.0\.patch_embed\.norm\.", "model.backbone.conv_encoder.model.swin.embeddings.norm."),
    (r"^backbone\.0\.layers\.", "model.backbone.conv_encoder.model.swin.encoder.layers."),
    (r"(blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
    (r"(blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
    (r"(blocks\.\d+)\.attn\.proj\.", r"\1.attention.o_proj."),
    (r"(blocks\.\d+)\.attn\.(query|key|value)\.", lambda found: f"{found[1]}.attention.{found[2][0]}_proj."),
    (r"(blocks\.\d+)\.attn\.relative", r"\1.attention.relative_position_bias.relative"),
    (r"^transformer\.encoder\.layers\.(\d+)\.self_attn\.", r"model.encoder.layers.\1.deformable_layer.self_attn."),
    (r"^transformer\.encoder\.layers\.(\d+)\.norm1\.", r"model.encoder.layers.\1.deformable_layer.self_attn_layer_norm."),
    (r"^transformer\.encoder\.layers\.(\d+)\.norm2\.", r"model.encoder.layers.\1.deformable_layer.final_layer_norm."),
    (r"^transformer\.encoder\.layers\.(\d+)\.linear(\d)\.", r"model.encoder.layers.\1.deformable_layer.fc\2."),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.self_attn\.", r"model.encoder.layers.\1.text_enhancer_layer.self_attn."),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.linear(\d)\.", r"model.encoder.layers.\1.text_enhancer_layer.fc\2."),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.norm1\.", r"model.encoder.layers.\1.text_enhancer_layer.layer_norm_before."),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.norm2\.", r"model.encoder.layers.\1.text_enhancer_layer.layer_norm_after."),
    (r"^transformer\.encoder\.fusion_layers\.(\d+)\.", r"model.encoder.layers.\1.fusion_layer."),
    (r"fusion_layer\.gamma_v", "fusion_layer.vision_param"),
    (r"fusion_layer\.gamma_l", "fusion_layer.text_param"),
    (r"layer_norm_v\.", "layer_norm_vision."),
    (r"layer_norm_l\.", "layer_norm_text."),
    (r"fusion_layer\.attn\.(values_|out_|)v_proj\.", r"fusion_layer.attn.\1vision_proj."),
    (r"fusion_layer\.attn\.(values_|out_|)l_proj\.", r"fusion_layer.attn.\1text_proj."),
    (r"^transformer\.decoder\.layers\.(\d+)\.cross_attn\.", r"model.decoder.layers.\1.encoder_attn."),
    (r"^transformer\.decoder\.layers\.(\d+)\.norm1\.", r"model.decoder.layers.\1.encoder_attn_layer_norm."),
    (r"^transformer\.decoder\.layers\.(\d+)\.ca_text\.", r"model.decoder.layers.\1.encoder_attn_text."),
    (r"^transformer\.decoder\.layers\.(\d+)\.catext_norm\.", r"model.decoder.layers.\1.encoder_attn_text_layer_norm."),
    (r"^transformer\.decoder\.layers\.(\d+)\.norm2\.", r"model.decoder.layers.\1.self_attn_layer_norm."),
    (r"^transformer\.decoder\.layers\.(\d+)\.linear(\d)\.", r"model.decoder.layers.\1.fc\2."),
    (r"^transformer\.decoder\.layers\.(\d+)\.norm3\.", r"model.decoder.layers.\1.final_layer_norm."),
    (r"^transformer\.decoder\.layers\.(\d+)\.self_attn\.", r"model.decoder.layers.\1.self_attn."),
    (r"^transformer\.decoder\.ref_point_head\.", "model.decoder.reference_points_head."),
    (r"^transformer\.decoder\.bbox_embed\.", "model.decoder.bbox_embed."),
    (r"^transformer\.decoder\.norm\.", "model.decoder.layer_norm."),
    (r"^transformer\.enc_out_bbox_embed\.", "model.encoder_output_bbox_embed."),
    (r"^transformer\.enc_output", "model.enc_output"),
    (r"^transformer\.level_embed", "model.level_embed"),
    (r"^transformer\.tgt_embed\.", "model.query_position_embeddings."),
    (r"^bert\.", "model.text_backbone."),
    (r"^input_proj\.", "model.input_proj_vision."),
    (r"^feat_map\.", "model.text_projection."),
]  # fmt: skip


def to_transformers(source: Path, target: Path) -> None:
    """Write the checkpoint of `tiny_detectors.build_groundingdino_py` in `source` as a transformers model into `target`."""
    state = torch.load(source / "weights.pth", weights_only=True)["model"]
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=224, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig.from_pretrained(source / "bert"), d_model=256, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=20,
        num_feature_levels=4, disable_custom_kernels=True, fusion_droppath=0.1,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config).eval()
    mapped = dict(_rename(name, value) for name, value in _split(state).items())
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in mapped and not UNUSED.search(name)]
    assert not missing, missing
    left = model.load_state_dict({name: value for name, value in mapped.items() if name in wanted}, strict=False)
    assert not [name for name in left.missing_keys if not UNUSED.search(name)]
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(source / "bert")
    GroundingDinoProcessor(GroundingDinoImageProcessor(), tokenizer).save_pretrained(target)


def _rename(name: str, value: Any) -> tuple[str, Any]:
    for pattern, new in RENAMED:
        name = re.sub(pattern, new, name)
    return name, value


def _split(state: dict[str, Any]) -> dict[str, Any]:
    """Joined projections of query, key and value as three."""
    found = {}
    for name, value in state.items():
        joined = re.match(r"(.*)(\.qkv\.|\.in_proj_)(weight|bias)$", name)
        if joined is None:
            found[name] = value
            continue
        for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
            found[f"{joined[1]}.{part}.{joined[3]}"] = piece
        if joined[2] == ".in_proj_":
            out = f"{joined[1]}.out_proj."
            found.update({f"{joined[1]}.out_proj.{end}": state[out + end] for end in ("weight", "bias")})
    return found
