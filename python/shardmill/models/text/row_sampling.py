"""Sampling that depends on the row alone: each row of a batch has its own temperature, nucleus, seed, length and stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from shardmill.models.contract import Finish, Sampling

STOP_TAIL = 24
"""Stop strings are searched for in so many of the last tokens."""


class RowSampler(LogitsProcessor):
    """Turns greedy decoding into sampling that depends on a row's seed alone, whatever its batch.

    The arg max of log-probabilities plus Gumbel noise is a sample from them (Gumbel, 1954); the noise comes from a generator of
    the row's own.
    """

    def __init__(self, samplings: Sequence[Sampling], seeds: Sequence[int]):
        self._samplings = samplings
        self._generators = [torch.Generator().manual_seed(seed & 0x7FFFFFFFFFFFFFFF) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        for row, (sampling, generator) in enumerate(zip(self._samplings, self._generators, strict=True)):
            if sampling.temperature > 0:
                kept = _nucleus(scores[row].float() / sampling.temperature, sampling.top_p)
                uniform = torch.rand(len(kept), generator=generator).clamp_(1e-20, 1 - 1e-7).to(kept.device)
                scores[row] = (torch.log_softmax(kept, -1) - torch.log(-torch.log(uniform))).to(scores.dtype)
        return scores


def _nucleus(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """Nucleus sampling (Holtzman et al., 2020): scores (vocabulary,) with minus infinity for all but the smallest set of the most
    likely tokens whose probabilities add up to `top_p`.
    """
    if top_p >= 1:
        return scores
    ordered, order = torch.sort(scores, descending=True)
    before = torch.cumsum(torch.softmax(ordered, -1), -1) - torch.softmax(ordered, -1)
    return scores.masked_fill(torch.zeros_like(before, dtype=torch.bool).scatter(0, order, before >= top_p), float("-inf"))


class RowEnds(StoppingCriteria):
    """Ends each row at its own number of tokens or at one of its stop strings; `ends` has its length and the reason."""

    def __init__(self, tokenizer: Any, prompt_length: int, samplings: Sequence[Sampling]):
        self._tokenizer, self._prompt_length, self._samplings = tokenizer, prompt_length, samplings
        self.ends: dict[int, tuple[int, str]] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        length = input_ids.shape[1] - self._prompt_length
        for row, sampling in enumerate(self._samplings):
            if row in self.ends:
                continue
            if sampling.stop and self._stops(input_ids[row, self._prompt_length :][-STOP_TAIL:], sampling.stop):
                self.ends[row] = (length, "stop")
            elif length >= sampling.max_tokens:
                self.ends[row] = (length, "length")
        return torch.tensor([row in self.ends for row in range(len(self._samplings))], device=input_ids.device)

    def _stops(self, tail: torch.Tensor, stops: Sequence[str]) -> bool:
        text = self._tokenizer.decode(tail, skip_special_tokens=True)
        return any(stop in text for stop in stops)


def read_answer(tokenizer: Any, ids: Sequence[int], end_ids: Sequence[int], stops: Sequence[str]) -> tuple[str, Finish, int]:
    """The text of the tokens of a row, up to an end token or a stop string, how it ended, and how many tokens it took."""
    stopped = next((position for position, token in enumerate(ids) if token in end_ids), None)
    text = tokenizer.decode(ids if stopped is None else ids[:stopped], skip_special_tokens=True)
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    written = len(ids) if stopped is None else stopped + 1
    return text[: min(found)] if found else text, "length" if stopped is None and not found else "stop", written
