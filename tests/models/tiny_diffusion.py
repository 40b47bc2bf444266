"""Small random text-to-image pipelines of real architecture, made in a moment: the generator treats them as it does large ones.

CLIP reads `red` and `tram` as one token each, every other letter as one; T5 reads letters, and `▁` before each word.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

MERGES = [("r", "e"), ("re", "d</w>"), ("t", "r"), ("tr", "a"), ("tra", "m</w>")]
T5_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"()-"
CLIP_WIDTH, SD3_WIDTH = 32, 64


def clip_tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    """A CLIP tokenizer that gives any text a token, mostly one for each letter."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in MERGES)]
    vocab = {word: place for place, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=MERGES, model_max_length=77, pad_token=pad)


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer of letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in T5_LETTERS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=77)


def build_sd3(path: Path, t5: bool = True) -> Path:
    """A random Stable Diffusion 3 in the folder `path`."""
    torch.manual_seed(0)
    first, second = clip_tokenizer(), clip_tokenizer(pad="!")
    of_t5 = T5Config(vocab_size=128, d_model=SD3_WIDTH, d_ff=64, d_kv=16, num_layers=2, num_heads=4, dropout_rate=0.0)
    transformer = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=8,
        out_channels=8,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=SD3_WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=32,
    )
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(8),
        text_encoder=CLIPTextModelWithProjection(_clip_config(first)).eval(),
        tokenizer=first,
        text_encoder_2=CLIPTextModelWithProjection(_clip_config(second)).eval(),
        tokenizer_2=second,
        text_encoder_3=T5EncoderModel(of_t5).eval() if t5 else None,
        tokenizer_3=t5_tokenizer() if t5 else None,
    ).save_pretrained(path)
    return path


def build_sdxl(path: Path) -> Path:
    """A random Stable Diffusion XL in the folder `path`."""
    torch.manual_seed(0)
    first, second = clip_tokenizer(), clip_tokenizer(pad="!")
    StableDiffusionXLPipeline(
        unet=_unet(
            2 * CLIP_WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 1),
            projection_class_embeddings_input_dim=6 * 8 + CLIP_WIDTH,
        ),
        scheduler=EulerDiscreteScheduler(),
        vae=_vae(4),
        text_encoder=CLIPTextModel(_clip_config(first)).eval(),
        tokenizer=first,
        text_encoder_2=CLIPTextModelWithProjection(_clip_config(second)).eval(),
        tokenizer_2=second,
    ).save_pretrained(path)
    return path


def build_sd1(path: Path) -> Path:
    """A random Stable Diffusion 1 in the folder `path`: a pipeline that reads its prompts itself."""
    return _build_with_clip(StableDiffusionPipeline, path)


def build_pix2pix(path: Path) -> Path:
    """A random InstructPix2Pix in the folder `path`."""
    return _build_with_clip(StableDiffusionInstructPix2PixPipeline, path, in_channels=8)


def _build_with_clip(pipeline: type[DiffusionPipeline], path: Path, **unet: int) -> Path:
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    pipeline(
        unet=_unet(CLIP_WIDTH, **unet),
        scheduler=DDIMScheduler(),
        vae=_vae(4),
        text_encoder=CLIPTextModel(_clip_config(tokenizer)).eval(),
        tokenizer=tokenizer,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(path)
    return path


def _clip_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CLIP_WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=CLIP_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _vae(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
        shift_factor=0.06,
        scaling_factor=1.5,
    )


def _unet(width_of_text: int, **more: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=32,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        cross_attention_dim=width_of_text,
        **{"in_channels": 4, **more},
    )
