"""Constrained decoding for transformers: each row of a batch follows its own JSON schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import llguidance.hf
import numpy as np
import torch
from llguidance import LLMatcher
from transformers import LogitsProcessor

from shardmill.models.text.schemas import choices_of, closed_schema, guided


class Grammars:
    """Compiled schemas for one tokenizer."""

    def __init__(self, tokenizer: Any, vocab_size: int):
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab_size)
        self._grammars: dict[str, str] = {}

    def matcher(self, schema: Mapping[str, Any]) -> LLMatcher:
        """A fresh matcher for one answer. Raises ValueError for a schema that cannot be compiled."""
        closed = closed_schema(schema) or schema  # an open schema lets a model add fields without end
        text = json.dumps(closed)
        if text not in self._grammars:
            self._grammars[text] = self._compile(closed)
        return LLMatcher(self._tokenizer, self._grammars[text])

    def _compile(self, schema: Mapping[str, Any]) -> str:
        if words := choices_of(schema):
            grammar = LLMatcher.grammar_from_regex("|".join(re.escape(word) for word in words))
        else:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(guided(schema)))
        problem = LLMatcher.validate_grammar(grammar, self._tokenizer)
        if problem:
            raise ValueError(problem)
        return str(grammar)


class Constraint(LogitsProcessor):
    """Masks, for each row of a batch, the tokens that its schema does not allow; a row without a matcher is left as it is."""

    def __init__(self, matchers: Sequence[LLMatcher | None], end_ids: Sequence[int]):
        self._matchers, self._end_ids = matchers, list(end_ids)
        self._started = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self._started:  # the first call is for the prompt alone: no token has been generated yet
            for matcher, ids in zip(self._matchers, input_ids, strict=True):
                if matcher is not None and not matcher.is_stopped():
                    matcher.consume_token(int(ids[-1]))
        self._started = True
        for row, matcher in enumerate(self._matchers):
            if matcher is not None:
                self._mask(scores[row], matcher)
        return scores

    def _mask(self, scores: torch.Tensor, matcher: LLMatcher) -> None:
        if matcher.is_stopped():
            allowed = torch.zeros(len(scores), dtype=torch.bool)
            allowed[self._end_ids] = True
        else:
            # unpacked by NumPy: llguidance's own kernel for torch takes half a minute to compile
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")[: len(scores)]
            allowed = torch.from_numpy(bits.astype(bool))
        scores.masked_fill_(~allowed.to(scores.device), float("-inf"))
