"""How Grounding DINO reads names: `a dog . a red kite .`, each name a block that its BERT reads on its own.

Tokens of a block attend only to their own block and have positions that count from its start (Liu et al., 2023, "sub-sentence
level text representation"), so BERT's output for a block depends on nothing else and can be kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

MAX_TOKENS = 256
"""As many text tokens as Grounding DINO takes."""
MAX_NAME_LENGTH = 48
KEPT_BLOCKS = 50_000

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Passage:
    """Names that are detected in one pass.

    `ids` are the token ids of the whole text, `spans` the positions [start, end) of each name's tokens. A name without a token,
    one that is all marks, has an empty span.
    """

    names: tuple[str, ...]
    ids: Ids
    spans: tuple[tuple[int, int], ...]


class Phrases:
    """Cuts lists of names into passages with the tokenizer of a BERT."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._start, self._end, self._stop = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "."])
        self._ids: dict[str, Ids] = {}

    def passages(self, names: Sequence[str], plain: Sequence[str]) -> list[Passage]:
        """As few passages as hold all names; `plain` has the text that the model is given for each."""
        passages_so_far: list[Passage] = []
        names_so_far: list[str] = []
        ids: list[int] = [self._start]
        spans: list[tuple[int, int]] = []
        for name, text in zip(names, plain, strict=True):
            tokens = self._tokens(text)
            if len(ids) + len(tokens) + 2 > MAX_TOKENS:
                passages_so_far.append(Passage(tuple(names_so_far), (*ids, self._end), tuple(spans)))
                names_so_far, ids, spans = [], [self._start], []
            names_so_far.append(name)
            spans.append((len(ids), len(ids) + len(tokens)))
            if tokens:
                ids += [*tokens, self._stop]
        return [*passages_so_far, Passage(tuple(names_so_far), (*ids, self._end), tuple(spans))]

    def _tokens(self, text: str) -> Ids:
        if text not in self._ids:
            if len(self._ids) > KEPT_BLOCKS:
                self._ids.clear()
            self._ids[text] = tuple(self._tokenizer(text[:400], add_special_tokens=False).input_ids[:MAX_NAME_LENGTH])
        return self._ids[text]


def padded(passages: Sequence[Passage], pad: int, device: Any) -> tuple[Any, Any]:
    """Token ids and attention mask (passages, longest) of a batch."""
    longest = max(len(passage.ids) for passage in passages)
    ids = torch.tensor([[*each.ids, *[pad] * (longest - len(each.ids))] for each in passages])
    mask = torch.tensor([[1] * len(each.ids) + [0] * (longest - len(each.ids)) for each in passages])
    return ids.to(device, non_blocking=True), mask.to(device, non_blocking=True)


def position_ids(passages: Sequence[Passage], longest: int, device: Any) -> Any:
    """The position ids (passages, longest) of tokens in their blocks: 0, 1, …, the full stop that ends a block has the last."""
    rows = []
    for passage in passages:
        row = [0] * longest
        for start, end in passage.spans:
            row[start : end + 1] = range(end - start + 1)
        rows.append(row)
    return torch.tensor(rows).to(device, non_blocking=True)


def name_scores(logits: Any, passages: Sequence[Passage]) -> Any:
    """Scores of names: the mean of the sigmoids over a name's own tokens, as the authors' code scores given token spans.

    Args:
        logits: Token logits (rows, boxes, tokens).
        passages: The passage of each row.

    Returns:
        Scores (rows, boxes, most names) in [0, 1]; 0 for a name without tokens.
    """
    max_names = max(1, *(len(passage.names) for passage in passages))
    weights = torch.zeros(len(passages), logits.shape[-1], max_names)
    for row, passage in enumerate(passages):
        for position, (start, end) in enumerate(passage.spans):
            weights[row, start:end, position] = 1 / max(1, end - start)
    return logits.float().sigmoid() @ weights.to(logits.device, non_blocking=True)


class PhraseEncoder(nn.Module):
    """Replaces the BERT inside a Grounding DINO and encodes every block only once.

    Its submodules have the names that BERT's have there (`embeddings`, `encoder`, `pooler`), so that checkpoints fit. `read`
    gives it the passages of the next forward pass: to read them back from `input_ids` would wait for the GPU.
    """

    def __init__(self, bert_model: Any):
        super().__init__()
        self.config = bert_model.config
        self.embeddings, self.encoder, self.pooler = bert_model.embeddings, bert_model.encoder, bert_model.pooler
        self._bert = [bert_model]  # in a list, so that it is not registered as a submodule: its weights would count twice
        self._blocks: OrderedDict[Ids, Any] = OrderedDict()
        self._rows: list[list[Ids]] = []
        self.special: frozenset[int] = frozenset()

    def read(self, passages: Sequence[Passage]) -> None:
        """Take the passages of the next forward pass."""
        self._rows = [self._cut(passage.ids) for passage in passages]

    def _cut(self, ids: Ids) -> list[Ids]:
        blocks: list[Ids] = []
        start = 0
        for position, token in enumerate(ids, start=1):
            if token in self.special:
                blocks.append(ids[start:position])
                start = position
        return blocks

    def forward(self, input_ids: Any, *_: Any, **__: Any) -> Any:
        """Hidden states (rows, tokens, width) of the passages that `read` was given; padding is zero."""
        wanted = dict.fromkeys(block for row in self._rows for block in row)
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.clear()
        missing = [block for block in wanted if block not in self._blocks]
        if missing:
            self._blocks.update(zip(missing, self._encode(missing, input_ids.device), strict=True))
        rows = [torch.cat([self._blocks[block] for block in row]) for row in self._rows]
        hidden = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        hidden = nn.functional.pad(hidden, (0, 0, 0, input_ids.shape[1] - hidden.shape[1]))
        return BaseModelOutput(last_hidden_state=hidden)

    def _encode(self, blocks: Sequence[Ids], device: Any) -> list[Any]:
        longest = max(map(len, blocks))
        ids = torch.tensor([[*block, *[0] * (longest - len(block))] for block in blocks], device=device)
        mask = torch.tensor([[1] * len(block) + [0] * (longest - len(block)) for block in blocks], device=device)
        hidden = self._bert[0](input_ids=ids, attention_mask=mask).last_hidden_state
        return [row[: len(block)].clone() for row, block in zip(hidden, blocks, strict=True)]
