"""Small random detectors of real architecture, with tokenizers of their own, and pictures to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTImageProcessor,
    OwlViTProcessor,
    PreTrainedTokenizerFast,
    SwinConfig,
)

from models.tiny import make_tokenizer

WORDS = [
    "a",
    "an",
    "the",
    "cat",
    "dog",
    "dogs",
    "bird",
    "house",
    "person",
    "car",
    "tree",
    "red",
    "blue",
    "remote",
    "control",
    "bicycle",
    "bottle",
    "cup",
    "shirt",
    "and",
    "on",
    "in",
    "of",
]
GROUNDED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
"""The ids that Grounding DINO expects its BERT to have."""


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that knows some words and spells the others."""
    free = iter(number for number in range(1, 1200) if number not in GROUNDED.values())
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,'"
    vocabulary = dict(GROUNDED)
    for token in [*WORDS, *letters, *("##" + letter for letter in letters if letter.isalnum())]:
        if token not in vocabulary:
            vocabulary[token] = next(free)
    vocabulary.update({f"[unused{number}]": number for number in free})
    tokenizer = Tokenizer(models.WordPiece(dict(sorted(vocabulary.items(), key=lambda item: item[1])), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    tokenizer.decoder = decoders.WordPiece()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **names, model_input_names=["input_ids", "token_type_ids", "attention_mask"]
    )


def build_owl(path: Path, version: int = 1) -> Path:
    """A random OWL-ViT (or OWLv2) in a folder, saved with its processor."""
    torch.manual_seed(version)
    tokenizer = make_tokenizer(["a photo of a dog"], vocab_size=300)
    tokenizer.padding_side, tokenizer.model_max_length = "right", 16
    tokenizer.add_special_tokens({"eos_token": "<|highest|>"})  # the text encoder reads its result at the highest id
    end = ("<|highest|>", tokenizer.eos_token_id)
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
    kinds: dict[int, tuple[Any, ...]] = {
        1: (OwlViTForObjectDetection, OwlViTConfig, OwlViTProcessor, OwlViTImageProcessor),
        2: (Owlv2ForObjectDetection, Owlv2Config, Owlv2Processor, Owlv2ImageProcessor),
    }
    kind, config, processor, image_processor = kinds[version]
    ends = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = kind(
        config(
            text_config={"vocab_size": len(tokenizer), "max_position_embeddings": 16, **small, **ends},
            vision_config={"image_size": 64, "patch_size": 16, **small},
            projection_dim=32,
            initializer_range=0.3,
        )
    )
    for part in (*model.modules(),):
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.normal_(part.weight, std=0.15)
    model.eval().save_pretrained(path)
    processor(image_processor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(path)
    return path


def build_grounding_dino(path: Path) -> Path:
    """A random Grounding DINO of the transformers library in a folder."""
    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    swin = SwinConfig(
        image_size=64, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        initializer_range=0.3,
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=64, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=64,
        decoder_ffn_dim=64, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=20, num_feature_levels=4,
        disable_custom_kernels=True,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config).eval()
    _speak_up(model, model.model.decoder.layer_norm)
    model.save_pretrained(path)
    size = {"shortest_edge": 96, "longest_edge": 192}
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer).save_pretrained(path)
    return path


def _speak_up(model: torch.nn.Module, last_norm: torch.nn.LayerNorm) -> None:
    """Fresh weights give boxes that do not move and scores that are all 0 or 1: make them differ."""
    for name, part in model.named_modules():
        if isinstance(part, torch.nn.Linear) and "bbox_embed" in name:
            torch.nn.init.normal_(part.weight, std=0.1)
    last_norm.weight.data.mul_(1 / last_norm.weight.numel() ** 0.75)


def build_groundingdino_py(path: Path) -> Path:
    """A configuration, a BERT and a random checkpoint for groundingdino-py; its Swin-T has a fixed size (31 M weights)."""
    import groundingdino.models.GroundingDINO.groundingdino as package
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig

    from shardmill.models.detect.phrases import PhraseEncoder

    torch.manual_seed(0)
    path.mkdir(parents=True)
    tokenizer = bert_tokenizer()
    tokenizer.save_pretrained(path / "bert")
    bert = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        initializer_range=0.3,
    )  # fmt: skip
    BertModel(bert).save_pretrained(path / "bert")
    values = {
        "batch_size": 1, "modelname": "groundingdino", "backbone": "swin_T_224_1k", "position_embedding": "sine",
        "pe_temperatureH": 20, "pe_temperatureW": 20, "return_interm_indices": [1, 2, 3], "backbone_freeze_keywords": None,
        "enc_layers": 1, "dec_layers": 2, "pre_norm": False, "dim_feedforward": 64, "hidden_dim": 256, "dropout": 0.0,
        "nheads": 4, "num_queries": 20, "query_dim": 4, "num_patterns": 0, "num_feature_levels": 4, "enc_n_points": 4,
        "dec_n_points": 4,
        "two_stage_type": "standard", "two_stage_bbox_embed_share": False,
        "two_stage_class_embed_share": False,
        "transformer_activation": "relu", "dec_pred_bbox_embed_share": True, "dn_box_noise_scale": 1.0,
        "dn_label_noise_ratio": 0.5, "dn_label_coef": 1.0, "dn_bbox_coef": 1.0, "embed_init_tgt": True,
        "dn_labelbook_size": 2000, "max_text_len": 256,
        "text_encoder_type": str(path / "bert"), "use_text_enhancer": True, "use_fusion_layer": True, "use_checkpoint": False,
        "use_transformer_ckpt": False, "use_text_cross_attention": True, "text_dropout": 0.0, "fusion_dropout": 0.0,
        "fusion_droppath": 0.1, "sub_sentence_present": True,
    }  # fmt: skip
    (path / "config.py").write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))
    arguments = SLConfig.fromfile(str(path / "config.py"))
    arguments.device = "cpu"
    package.BertModelWarper = PhraseEncoder
    model = build_model(arguments)
    _speak_up(model, model.transformer.decoder.norm)
    torch.save({"model": model.state_dict()}, path / "weights.pth")
    return path


def picture(path: Path, size: tuple[int, int] = (96, 64), seed: int = 0) -> Path:
    """A picture that differs from others: noise, and coloured shapes."""
    import random

    rng = random.Random(seed)
    image = Image.effect_noise(size, 60).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        draw.ellipse((x, y, x + size[0] // 3, y + size[1] // 3), fill=tuple(rng.randrange(256) for _ in range(3)))
    image.save(path, quality=95)
    return path
