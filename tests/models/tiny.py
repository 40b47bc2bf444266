"""Small random language models of real architecture, made in a moment: engines treat them as they do large ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from shardmill.util.resources import resource_path

SPECIAL = ["<|end|>", "<|start|>", "<|stop|>", "<|pad|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|stop|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def sample_text() -> list[str]:
    """Text of the kind that prompts are made of: the bundled captions and templates."""
    captions = resource_path("data/samples/captions.csv").read_text(encoding="utf-8").splitlines()
    templates = resource_path("templates/negbench/extract_objects.md").parent.glob("*.md")
    return [*captions, *(line for path in sorted(templates) for line in path.read_text(encoding="utf-8").splitlines())]


def make_tokenizer(text: Iterable[str] | None = None, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template; it gives back any string as it was."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(sample_text() if text is None else text, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|end|>",
        eos_token="<|stop|>",
        pad_token="<|pad|>",
        padding_side="left",
        model_max_length=4096,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_llama(
    path: Path | str, *, family: str = "llama", hidden_size: int = 64, layers: int = 2, seed: int = 0, **config: Any
) -> Path:
    """A random model with its tokenizer in the folder `path`, in float32. vLLM takes no smaller heads on a CPU."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    values = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden_size // 32,
        "num_key_value_heads": hidden_size // 32,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }
    described = AutoConfig.for_model(family, **{**values, **config})
    AutoModelForCausalLM.from_config(described, dtype=torch.float32).eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Path(path)


def without_system_role(model: Path, path: Path) -> Path:
    """A copy of a model in the folder `path` whose chat template refuses a system role."""
    path.mkdir()
    for file in model.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    (path / "chat_template.jinja").write_text(refusing + (model / "chat_template.jinja").read_text())
    return path
