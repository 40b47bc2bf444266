"""Training on one kind of data, and the test. Needs torch.

The losses are CLIP's (Radford et al., 2021: symmetric cross-entropy over a batch's similarities, as in open_clip) and that of
NegBench's fine-tuning (Alhamoud et al., 2025: cross-entropy over the similarities of a picture and its four options).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from teach.held_out import Question
from teach.towers import Towers
from teach.training_sets import TrainingSet

CAPTIONS, QUESTIONS = 64, 32
"""In a batch."""
RECALL_AT = 5


@dataclass(frozen=True)
class Plan:
    """How long and how fast a model learns, and where."""

    steps: int
    rate: float
    device: str = "cpu"


def contrastive_loss(pictures: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Each picture has to find its text in the batch, and each text its picture."""
    logits = scale * pictures @ texts.T
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def choice_loss(pictures: Tensor, options: Tensor, answers: Tensor, scale: Tensor) -> Tensor:
    """Each picture has to find its text among its question's options (N, 4, width)."""
    return functional.cross_entropy(scale * (pictures[:, None] * options).sum(2), answers)


class Batches:
    """Draws batches of one kind of data; pictures are numbers.

    Args:
        training_set: What is drawn from.
        towers: Whose tokens the texts become.
        seed: Of all draws.
    """

    def __init__(self, training_set: TrainingSet, towers: Towers, seed: int):
        self._rng = np.random.default_rng(seed)
        captions = [*training_set.captions, *training_set.negated]
        self._texts = towers.read_texts([text for _, text in captions])
        self._caption = {picture: place for place, (picture, _) in enumerate(training_set.captions)}
        self._negated: dict[int, list[int]] = {}
        for place, (picture, _) in enumerate(training_set.negated, len(training_set.captions)):
            self._negated.setdefault(picture, []).append(place)
        self._questions = list(training_set.questions)
        self._options = towers.read_texts([option for question in self._questions for option in question.options] or [""])

    def captions(self) -> tuple[list[int], Tensor]:
        """Different pictures, each with its caption or, half the time, with a negated one if there is any."""
        drawn = self._rng.permutation(list(self._caption))[:CAPTIONS].tolist()
        return drawn, self._texts[[self._text_of(picture) for picture in drawn]]

    def _text_of(self, picture: int) -> int:
        negated = self._negated.get(picture)
        return self._caption[picture] if negated is None or self._rng.random() < 0.5 else int(self._rng.choice(negated))

    def questions(self) -> tuple[list[int], Tensor, Tensor] | None:
        """Pictures, four options for each, and which are true; None if there are no questions."""
        if not self._questions:
            return None
        drawn = self._rng.permutation(len(self._questions))[:QUESTIONS].tolist()
        asked = [self._questions[number] for number in drawn]
        options = self._options.unflatten(0, (-1, 4))[drawn]
        return [question.picture for question in asked], options, torch.tensor([question.answer for question in asked])


def train(towers: Towers, batches: Batches, pictures: Tensor, plan: Plan) -> None:
    """Adjust both towers over as many batches of captions, and of questions if there are any."""
    towers.to(plan.device).train()
    optimizer = torch.optim.AdamW(towers.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=plan.steps, pct_start=0.1)
    for _ in range(plan.steps):
        optimizer.zero_grad()
        loss(towers, batches, pictures, plan.device).backward()
        optimizer.step()
        schedule.step()
    towers.eval()


def loss(towers: Towers, batches: Batches, pictures: Tensor, device: str) -> Tensor:
    """Of a batch of captions, and one of questions if there are any."""
    drawn, texts = batches.captions()
    asked = batches.questions()
    vectors = towers.encode_pictures(pictures[drawn + (asked[0] if asked else [])].to(device))
    total = contrastive_loss(vectors[: len(drawn)], towers.encode_texts(texts.to(device)), towers.scale())
    if asked is None:
        return total
    options = towers.encode_texts(asked[1].flatten(0, 1).to(device)).unflatten(0, (-1, 4))
    return total + choice_loss(vectors[len(drawn) :], options, asked[2].to(device), towers.scale())


@torch.no_grad()
def picture_vectors(towers: Towers, pictures: Tensor, device: str = "cpu") -> Tensor:
    """The vectors of all pictures."""
    towers.to(device).eval()
    return torch.cat([towers.encode_pictures(batch.to(device)) for batch in pictures.split(256)])


@torch.no_grad()
def text_vectors(towers: Towers, texts: Sequence[str], device: str = "cpu") -> Tensor:
    """The vectors of some texts."""
    towers.to(device).eval()
    return torch.cat([towers.encode_texts(batch.to(device)) for batch in towers.read_texts(texts).split(512)])


@dataclass(frozen=True)
class TestSet:
    """Held-out pictures, questions about them, and a query of each kind for each of them."""

    __test__ = False
    pictures: Tensor
    questions: Sequence[Question]
    plain: Sequence[str]
    negated: Sequence[str]


def evaluate(towers: Towers, test: TestSet, device: str = "cpu") -> dict[str, float]:
    """Percentages: questions answered right, and queries whose picture is among the five most similar."""
    vectors = picture_vectors(towers, test.pictures, device)
    texts = [option for question in test.questions for option in question.options]
    options = text_vectors(towers, texts, device).unflatten(0, (-1, 4))
    asked = vectors[[question.picture for question in test.questions]]
    right = (asked[:, None] * options).sum(2).argmax(1).cpu() == torch.tensor([question.answer for question in test.questions])
    figures = {"choice": 100 * float(right.float().mean())}
    for name, queries in (("negated", test.negated), ("plain", test.plain)):
        best = (text_vectors(towers, queries, device) @ vectors.T).topk(RECALL_AT, dim=1).indices.cpu()
        figures[name] = 100 * float((best == torch.arange(len(queries))[:, None]).any(1).float().mean())
    return figures
