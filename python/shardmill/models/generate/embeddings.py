"""Weighted prompts as the embeddings that Stable Diffusion 3 and XL generate from.

The vector of each token is multiplied by the weight of its words; the pooled vector is that of the plain prompt. Where all
weights are 1, the result is what the pipeline's own `encode_prompt` gives, except that nothing is cut off: what CLIP cannot take
at once goes through it in chunks, whose vectors are concatenated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardmill.models.generate.prompt_weights import Fragments, fragments

MAX_CHUNKS = 8
"""CLIP chunks of a prompt: 600 tokens."""
T5_LENGTHS = (256, 512)
LONGEST = 20_000
"""A prompt of more characters is refused before it is tokenised."""


class PromptTooLong(ValueError):
    """The prompt has more tokens than the model takes; the message says how many."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as one tokenizer's ids, without those for its begin and end, and a weight for each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PromptText:
    """A text as the tokens of each text encoder."""

    clip: tuple[Tokens, ...]
    t5: Tokens | None


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A prompt and its negative (None: zeros). Only those of one `shape` (CLIP chunks, T5 length) can share a batch."""

    prompt: PromptText
    negative: PromptText | None
    shape: tuple[int, int]


def check_length(prompt: str) -> None:
    """Raises PromptTooLong for what no model takes."""
    if len(prompt) > LONGEST:
        raise PromptTooLong(f"{len(prompt)} characters; a model takes {LONGEST} at most")


def is_sd3(pipe: Any) -> bool:
    """Whether it is a Stable Diffusion 3 pipeline for text to image."""
    return type(pipe).__name__ == "StableDiffusion3Pipeline"


def takes_weights(pipe: Any) -> bool:
    """Whether `WeightedPrompts` knows how the pipeline reads its prompts."""
    return is_sd3(pipe) or type(pipe).__name__ == "StableDiffusionXLPipeline"


class WeightedPrompts:
    """The text encoders of a pipeline. `prepare` is for one thread, `encode` may run in another."""

    def __init__(self, pipe: Any):
        self._pipe = pipe
        pairs = [(pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)]
        self._clip = [(tokenizer, encoder) for tokenizer, encoder in pairs if encoder is not None]
        self._is_sd3 = is_sd3(pipe)
        self._t5 = (pipe.tokenizer_3, pipe.text_encoder_3) if self._is_sd3 and pipe.text_encoder_3 is not None else None
        self._empty_is_zero = not self._is_sd3 and bool(pipe.config.force_zeros_for_empty_prompt)

    def prepare(self, prompt: str, negative: str) -> PreparedPrompt:
        """Tokens of a prompt and its negative, both with weight marks. Raises PromptTooLong."""
        texts = [self._text(prompt)]
        if negative.strip() or not self._empty_is_zero:
            texts.append(self._text(negative))
        chunks = max(
            -(-len(tokens.ids) // _room(tokenizer))
            for text in texts
            for tokens, (tokenizer, _) in zip(text.clip, self._clip, strict=True)
        )
        if chunks > MAX_CHUNKS:
            raise PromptTooLong(f"more than {MAX_CHUNKS} times the tokens that CLIP takes at once")
        needed = max(len(text.t5.ids) + 1 if text.t5 else 0 for text in texts)
        length = next((length for length in T5_LENGTHS if needed <= length), 0)
        if not length:
            raise PromptTooLong(f"{needed} tokens of T5, which takes {T5_LENGTHS[-1]}")
        return PreparedPrompt(texts[0], texts[1] if len(texts) == 2 else None, (max(chunks, 1), length))

    def encode(self, prepared: Sequence[PreparedPrompt]) -> dict[str, Any]:
        """The embeddings of prompts of one shape, a row for each, by the names under which the pipeline takes them."""
        import torch

        negatives = [each.negative for each in prepared if each.negative]
        with torch.no_grad():
            hidden, pooled = self._embed([*(each.prompt for each in prepared), *negatives], *prepared[0].shape)
            rows = len(prepared)
            order = iter(range(rows, rows + len(negatives)))
            rows_of = [next(order) if each.negative else None for each in prepared]
            return {
                "prompt_embeds": hidden[:rows],
                "pooled_prompt_embeds": pooled[:rows],
                "negative_prompt_embeds": _taken(hidden, rows_of),
                "negative_pooled_prompt_embeds": _taken(pooled, rows_of),
            }

    def _text(self, prompt: str) -> PromptText:
        check_length(prompt)
        parts = fragments(prompt)
        clip = tuple(_tokens(tokenizer, parts) for tokenizer, _ in self._clip)
        return PromptText(clip, _tokens(self._t5[0], parts) if self._t5 else None)

    def _embed(self, texts: Sequence[PromptText], chunks: int, t5_length: int) -> tuple[Any, Any]:
        """Hidden states (texts, tokens, width) and pooled vectors (texts, width)."""
        import torch

        encoded = [self._through_clip(index, [text.clip[index] for text in texts], chunks) for index in range(len(self._clip))]
        hidden = torch.cat([states for states, _ in encoded], dim=-1)
        if not self._is_sd3:
            return hidden, encoded[-1][1]
        last = self._through_t5([text.t5 for text in texts if text.t5], t5_length)
        if last is None:  # Stable Diffusion 3 without T5 was trained with zeros in its place
            last = hidden.new_zeros(len(texts), t5_length, self._pipe.transformer.config.joint_attention_dim)
        # T5 is wider than the two CLIPs together: these are padded to its width, and all tokens are concatenated
        hidden = torch.nn.functional.pad(hidden, (0, last.shape[-1] - hidden.shape[-1]))
        return torch.cat([hidden, last], dim=1), torch.cat([pooled for _, pooled in encoded], dim=-1)

    def _through_clip(self, index: int, texts: Sequence[Tokens], chunks: int) -> tuple[Any, Any]:
        tokenizer, encoder = self._clip[index]
        room = _room(tokenizer)
        parts = [
            _framed(tokenizer, Tokens(text.ids[start : start + room], text.weights[start : start + room]))
            for text in texts
            for start in range(0, chunks * room, room)
        ]
        out, rows = self._forward(encoder, [part.ids for part in parts], output_hidden_states=True)
        # the last layer but one, as both pipelines use it
        hidden = out.hidden_states[-2][rows].to(encoder.dtype)
        hidden = hidden * hidden.new_tensor([part.weights for part in parts])[..., None]
        return hidden.reshape(len(texts), -1, hidden.shape[-1]), out[0][rows[::chunks]]

    def _through_t5(self, texts: Sequence[Tokens], length: int) -> Any:
        if self._t5 is None:
            return None
        tokenizer, encoder = self._t5
        parts = []
        for text in texts:
            fill = length - len(text.ids) - 1
            ids = (*text.ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * fill)
            parts.append(Tokens(ids, (*text.weights, 1.0, *[1.0] * fill)))
        out, rows = self._forward(encoder, [part.ids for part in parts])
        hidden = out[0][rows].to(encoder.dtype)
        return hidden * hidden.new_tensor([part.weights for part in parts])[..., None]

    def _forward(self, encoder: Any, ids: Sequence[tuple[int, ...]], **options: Any) -> tuple[Any, list[int]]:
        """The output of an encoder for the distinct ones among `ids`, and the row of each in it.

        Negative prompts are mostly all the same, and so are the empty chunks.
        """
        import torch

        unique = {each: row for row, each in enumerate(dict.fromkeys(ids))}
        given = torch.tensor(list(unique), device=self._pipe._execution_device)  # noqa: SLF001 (diffusers has no other name for it)
        return encoder(given, **options), [unique[each] for each in ids]


def _room(tokenizer: Any) -> int:
    return int(tokenizer.model_max_length) - 2


def _framed(tokenizer: Any, tokens: Tokens) -> Tokens:
    """A chunk with begin, end and padding, of the length that CLIP takes."""
    fill = _room(tokenizer) - len(tokens.ids)
    ids = (tokenizer.bos_token_id, *tokens.ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * fill)
    return Tokens(ids, (1.0, *tokens.weights, 1.0, *[1.0] * fill))


def _taken(rows: Any, rows_of: Sequence[int | None]) -> Any:
    """The rows at these indices; zeros for None."""
    import torch

    return torch.stack([torch.zeros_like(rows[0]) if index is None else rows[index] for index in rows_of])


def _tokens(tokenizer: Any, parts: Fragments) -> Tokens:
    """Tokens as the joined text has them: words are not split where a weight begins."""
    text = "".join(text for text, _ in parts)
    by_letter = [weight for text, weight in parts for _ in text]
    if tokenizer.is_fast:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return Tokens(tuple(encoded.input_ids), tuple(_weight(text, by_letter, *span) for span in encoded.offset_mapping))
    ids: list[int] = []
    weights: list[float] = []
    for word in re.finditer(r"\S+", text):
        of_word = tokenizer(word[0], add_special_tokens=False, verbose=False).input_ids
        ids += of_word
        weights += [_weight(text, by_letter, *word.span())] * len(of_word)
    return Tokens(tuple(ids), tuple(weights))


def _weight(text: str, by_letter: Sequence[float], start: int, end: int) -> float:
    """The weight of a token: that of its letters, or their mean where a weight begins or ends within it."""
    weights = [by_letter[index] for index in range(start, end) if not text[index].isspace()]
    if not weights:
        return by_letter[start] if start < len(by_letter) else 1.0
    return weights[0] if len({*weights}) == 1 else sum(weights) / len(weights)
