"""How far a set of multiple-choice questions can be answered without seeing an image.

    python -m shardmill.negbench.blind data/runs/demo/datasets/negmcq.csv

Each baseline answers every question from the texts alone. A set that gives nothing away leaves each at 25 %.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import click
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from shardmill.language.named_objects import named_objects
from shardmill.language.polarity import AFFIRMED, NEGATED, polarity
from shardmill.negbench.blind_knowledge import OPTIONS, BlindQuestion, Truth, common_are_there, frequency_features, half_of
from shardmill.quality.caption_knowledge import CaptionKnowledge
from shardmill.quality.significance import MeasuredShare
from shardmill.quality.text_patterns import BUCKETS, TOKEN, hashed_features, masked
from shardmill.store.cells import parse_json_cell
from shardmill.util.console import TextConsole
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo

CHANCE = 0.25
TOLERANCE = 0.03
EPOCHS = 5
LEARNING_RATE, RATE_DECAY = 0.5, 0.6
OBJECT_PRIOR = "object prior"
FREQUENCY = "frequency and co-occurrence"
COMMON = "common objects are there"
WITH_OBJECTS = "words and objects"
KNOW_OBJECTS = frozenset({OBJECT_PRIOR, FREQUENCY, COMMON, WITH_OBJECTS})
"""Readers that go by which objects are named rather than by how."""

OptionFeatures = Callable[[BlindQuestion], list[NDArray[np.int64]]]


@dataclass(frozen=True)
class Baseline:
    """A blind reader and its share of right answers."""

    name: str
    right: MeasuredShare

    @property
    def beats_chance(self) -> bool:
        """Whether it is right surely more often than chance, and by more than three points."""
        return self.right.value > CHANCE + TOLERANCE and self.right.low > CHANCE


def read_questions(path: Path) -> list[BlindQuestion]:
    """The questions of a negmcq.csv. Without the column option_truths, what the options claim is read from their texts.

    Raises:
        UserError: If the table has no questions or is not a NegMCQ table.
    """
    questions = []
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            try:
                questions.append(_question(row, number))
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path}, question {number}: this is not a NegMCQ table ({error})") from error
    if not questions:
        raise UserError(f"{path} has no questions")
    return questions


def _question(row: dict[str, str], number: int) -> BlindQuestion:
    texts = tuple(row[f"caption_{index}"] for index in OPTIONS)
    stored = row.get("option_truths")
    truths = tuple(parse_json_cell(stored)) if stored else claims_of(texts)
    half = half_of(row.get("image_path") or row.get("row_id") or number)
    return BlindQuestion(texts, truths, int(row["correct_answer"]), half)


def claims_of(texts: Sequence[str]) -> tuple[Truth, ...]:
    """What each text says of the lexicon objects that more than one of them names; other objects cannot be compared."""
    named = Counter(entry.name for text in texts for entry in named_objects(text))
    names = sorted(name for name, count in named.items() if count > 1)
    polarities = [{name: polarity(text, name) for name in names} for text in texts]
    return tuple({name: way == AFFIRMED for name, way in own.items() if way in (AFFIRMED, NEGATED)} for own in polarities)


def blind_baselines(questions: Sequence[BlindQuestion], known: CaptionKnowledge | None = None) -> list[Baseline]:
    """All baselines over the questions. Those that learn are trained on one half and tested on the other.

    Args:
        questions: The questions.
        known: What readers know of the captions; without it, those that know how often objects are named are left out.
    """
    test = [question for question in questions if question.half]
    train = [question for question in questions if not question.half]
    position = Counter(question.answer for question in train).most_common(1)[0][0] if train else 0
    results = [
        _baseline("most frequent position", test, lambda question: position),
        _baseline("longest option", questions, lambda question: _extreme(question, 1)),
        _baseline("shortest option", questions, lambda question: _extreme(question, -1)),
        _baseline("odd one out", questions, odd_one_out),
    ]
    if train and test:
        results.append(_baseline("bag of words", test, LinearReader(train, words_without_objects).answer))
        results.append(_baseline(WITH_OBJECTS, test, LinearReader(train, words_with_objects).answer))
        results.append(_baseline(OBJECT_PRIOR, test, ObjectPrior(train).answer))
        if known is not None:
            results.append(_baseline(FREQUENCY, test, LinearReader(train, partial(frequency_features, known=known)).answer))
    if known is not None:
        results.append(_baseline(COMMON, questions, partial(common_are_there, known=known)))
    return results


def _baseline(name: str, questions: Sequence[BlindQuestion], answer: Callable[[BlindQuestion], int]) -> Baseline:
    right = sum(answer(question) == question.answer for question in questions)
    return Baseline(name, MeasuredShare.of(right, len(questions)))


def _extreme(question: BlindQuestion, sign: int) -> int:
    """The longest option (`sign` 1) or the shortest (-1); among equals the text's own hash decides."""
    lengths = [sign * len(text) for text in question.texts]
    return _draw(question, [index for index in OPTIONS if lengths[index] == max(lengths)])


def _draw(question: BlindQuestion, candidates: list[int]) -> int:
    return candidates[crc32("".join(question.texts).encode()) % len(candidates)]


def odd_one_out(question: BlindQuestion) -> int:
    """The option that agrees least with the others. Where three false options describe one false world, it is the fourth."""
    truths = question.truths
    agreements = [sum(agreement(truths[index], truths[other]) for other in OPTIONS if other != index) for index in OPTIONS]
    return _draw(question, [index for index in OPTIONS if agreements[index] == min(agreements)])


def agreement(first: Truth, second: Truth) -> int:
    """The number of objects that two options claim alike, less those that they claim differently."""
    return sum(1 if first[name] == second[name] else -1 for name in first.keys() & second.keys())


class LinearReader:
    """Logistic regression over hashed features of options, trained to recognize right ones.

    Args:
        train: Questions with their answers.
        features: The features of each option of a question.
    """

    def __init__(self, train: Sequence[BlindQuestion], features: OptionFeatures):
        self._weights: NDArray[np.float64] = np.zeros(BUCKETS)
        self._features = features
        known = [(features(question), question.answer) for question in train]
        rate = LEARNING_RATE
        for _ in range(EPOCHS):
            for options, answer in known:
                self._learn(options, answer, rate)
            rate *= RATE_DECAY

    def _learn(self, features: list[NDArray[np.int64]], answer: int, rate: float) -> None:
        """One step of gradient descent on the softmax over the four options."""
        scores = np.array([self._weights[buckets].sum() for buckets in features])
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        for index in OPTIONS:
            step = rate * ((index == answer) - shares[index]) / max(len(features[index]), 1)
            np.add.at(self._weights, features[index], step)

    def answer(self, question: BlindQuestion) -> int:
        """The option with the highest score."""
        return int(np.argmax([self._weights[buckets].sum() for buckets in self._features(question)]))


def words_without_objects(question: BlindQuestion) -> list[NDArray[np.int64]]:
    """The words and word pairs of each option. In pairs all objects are masked: "no dog" would measure the object prior."""
    names = sorted({name for truth in question.truths for name in truth})
    return [_words_and_pairs(text, masked(text, names)) for text in question.texts]


def words_with_objects(question: BlindQuestion) -> list[NDArray[np.int64]]:
    """The words and word pairs of each option as they are."""
    return [_words_and_pairs(text, text) for text in question.texts]


def _words_and_pairs(text: str, paired: str) -> NDArray[np.int64]:
    pairs = {f"{first} {second}" for first, second in pairwise(TOKEN.findall(paired.lower()))}
    return hashed_features({*TOKEN.findall(text.lower()), *pairs})


class ObjectPrior:
    """How often each object is present, learned from right answers (with one count added on each side); picks the likeliest
    option.
    """

    def __init__(self, train: Sequence[BlindQuestion]):
        present: defaultdict[str, list[int]] = defaultdict(lambda: [1, 2])
        for question in train:
            for name, claimed in question.truths[question.answer].items():
                present[name][0] += claimed
                present[name][1] += 1
        self._share = {name: seen / asked for name, (seen, asked) in present.items()}

    def answer(self, question: BlindQuestion) -> int:
        """The option whose claims are the likeliest."""
        return max(OPTIONS, key=lambda index: self._log_likelihood(question.truths[index]))

    def _log_likelihood(self, truth: Truth) -> float:
        shares = ((self._share.get(name, 0.5), claimed) for name, claimed in truth.items())
        return sum(math.log(share if claimed else 1 - share) for share, claimed in shares)


def table_of(baselines: Sequence[Baseline]) -> Table:
    """The baselines for a terminal."""
    table = Table("blind baseline", "right", "95 % interval", "questions", "")
    for each in baselines:
        right = each.right
        interval = f"{right.low:.1%} - {right.high:.1%}"
        table.add_row(each.name, f"{right.value:.1%}", interval, f"{right.n:,}", _comment(each))
    return table


def _comment(baseline: Baseline) -> str:
    if not baseline.beats_chance:
        return "no better than chance"
    if baseline.name in KNOW_OBJECTS:
        return "some objects give the answer away; use draw_questions.draw=pairs and create_mcq.balance=1"
    return "gives the answers away"


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="print JSON, for scripts")
def main(path: Path, as_json: bool) -> None:
    """Measure how far the questions of a negmcq.csv can be answered without the images; chance is 25 %."""
    try:
        baselines = blind_baselines(read_questions(path))
    except UserError as error:
        echo(f"shardmill: {error}", err=True, fg="red")
        sys.exit(2)
    if as_json:
        echo(json.dumps([_json(baseline) for baseline in baselines]))
    else:
        TextConsole().print(table_of(baselines))


def _json(baseline: Baseline) -> dict[str, object]:
    right = baseline.right
    return {"name": baseline.name, "accuracy": right.value, "n": right.n, "low": right.low, "high": right.high}


if __name__ == "__main__":
    main()
