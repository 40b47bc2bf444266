"""How far a set of multiple-choice questions can be answered without seeing a picture.

    python -m shardmill.quality.blind data/runs/demo/datasets/negmcq.csv

Each baseline answers every question from the texts alone; a set that gives nothing away leaves it at 25 %.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shardmill.language.named_objects import named_objects
from shardmill.language.polarity import AFFIRMED, NEGATED, polarity
from shardmill.language.relations import mentions
from shardmill.store.cells import parse_json_cell
from shardmill.util.errors import UserError

OPTIONS = range(4)
CHANCE = 0.25
TOLERANCE = 0.03
WORD = re.compile(r"[a-z']+|_")
BUCKETS = 1 << 16
EPOCHS = 5

Truth = dict[str, bool]


@dataclass(frozen=True)
class BlindQuestion:
    """Four texts, what each claims, and which is right. `half` splits the set for baselines that learn."""

    texts: tuple[str, ...]
    truths: tuple[Truth, ...]
    answer: int
    half: int


@dataclass(frozen=True)
class Baseline:
    """A blind reader's share of right answers over n questions, with its 95 % Wilson interval."""

    name: str
    accuracy: float
    n: int
    low: float
    high: float

    @property
    def gives_away(self) -> bool:
        """The questions give themselves away to it: surely more than chance, by more than three points."""
        return self.accuracy > CHANCE + TOLERANCE and self.low > CHANCE


def read_questions(path: Path) -> list[BlindQuestion]:
    """The questions of a negmcq.csv. What the options claim is read from the texts where the table has no option_truths.

    Raises UserError for a table that is not one.
    """
    questions = []
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            try:
                texts = tuple(row[f"caption_{index}"] for index in OPTIONS)
                stored = row.get("option_truths")
                truths = tuple(parse_json_cell(stored)) if stored else claims_of(texts)
                image = row.get("row_id") or row.get("image_path") or str(number)
                questions.append(BlindQuestion(texts, truths, int(row["correct_answer"]), crc32(image.encode()) & 1))
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path}, question {number}: no NegMCQ table ({error})") from error
    if not questions:
        raise UserError(f"{path} has no questions")
    return questions


def claims_of(texts: Sequence[str]) -> tuple[Truth, ...]:
    """What each text says of the lexicon objects that more than one of them names; no other can be compared."""
    named = Counter(entry.name for text in texts for entry in named_objects(text))
    names = sorted(name for name, count in named.items() if count > 1)
    said = [{name: polarity(text, name) for name in names} for text in texts]
    return tuple({name: way == AFFIRMED for name, way in ways.items() if way in (AFFIRMED, NEGATED)} for ways in said)


def blind_baselines(questions: Sequence[BlindQuestion]) -> list[Baseline]:
    """All baselines over the questions; those that learn are trained on one half and tested on the other."""
    test = [question for question in questions if question.half]
    train = [question for question in questions if not question.half]
    position = Counter(question.answer for question in train).most_common(1)[0][0] if train else 0
    results = [
        _score("most frequent position", test, lambda question: position),
        _score("longest option", questions, lambda question: _extreme(question, 1)),
        _score("shortest option", questions, lambda question: _extreme(question, -1)),
        _score("odd one out", questions, odd_one_out),
    ]
    if train and test:
        words = BagOfWords(train)
        prior = ObjectPrior(train)
        results += [_score("bag of words", test, words.answer), _score("object prior", test, prior.answer)]
    return results


def _score(name: str, questions: Sequence[BlindQuestion], answer: Callable[[BlindQuestion], int]) -> Baseline:
    right, n = sum(answer(question) == question.answer for question in questions), len(questions)
    low, high = wilson(right, n)
    return Baseline(name, right / n if n else 0.0, n, low, high)


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927)."""
    if not n:
        return 0.0, 1.0
    share, spread = right / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return middle - half, middle + half


def _extreme(question: BlindQuestion, sign: int) -> int:
    lengths = [sign * len(text) for text in question.texts]
    best = [index for index in OPTIONS if lengths[index] == max(lengths)]
    return best[crc32("".join(question.texts).encode()) % len(best)]


def odd_one_out(question: BlindQuestion) -> int:
    """The option that agrees least with the others about what is there: of three false ones in one false world, the fourth."""
    agreement = [
        sum(agree(question.truths[index], question.truths[other]) for other in OPTIONS if other != index) for index in OPTIONS
    ]
    best = [index for index in OPTIONS if agreement[index] == min(agreement)]
    return best[crc32("".join(question.texts).encode()) % len(best)]


def agree(first: Truth, second: Truth) -> int:
    """Objects that two options claim alike, less those that they claim differently."""
    return sum(1 if first[name] == second[name] else -1 for name in first.keys() & second.keys())


class BagOfWords:
    """Logistic regression over the hashed words and word pairs of an option, trained to tell the right options from the others.

    In word pairs every object is the same: pairs such as "no dog" would measure the object prior, a baseline of its own.
    """

    def __init__(self, train: Sequence[BlindQuestion]):
        self._weights: NDArray[np.float64] = np.zeros(BUCKETS)
        known = [(_options(question), question.answer) for question in train]
        rate = 0.5
        for _ in range(EPOCHS):
            for features, answer in known:
                scores = np.array([self._weights[places].sum() for places in features])
                shares = np.exp(scores - scores.max())
                shares /= shares.sum()
                for index in OPTIONS:
                    step = rate * ((index == answer) - shares[index]) / max(len(features[index]), 1)
                    np.add.at(self._weights, features[index], step)
            rate *= 0.6

    def answer(self, question: BlindQuestion) -> int:
        return int(np.argmax([self._weights[places].sum() for places in _options(question)]))


def _options(question: BlindQuestion) -> list[NDArray[np.int64]]:
    names = sorted({name for truth in question.truths for name in truth})
    return [_features(text, names) for text in question.texts]


def _features(text: str, names: Sequence[str]) -> NDArray[np.int64]:
    words = set(WORD.findall(text.lower()))
    pairs = {f"{first} {second}" for first, second in pairwise(WORD.findall(masked(text, names).lower()))}
    return np.array([crc32(gram.encode()) % BUCKETS for gram in sorted(words | pairs)], dtype=np.int64)


def masked(text: str, names: Sequence[str]) -> str:
    """The text with "_" for every object that it names."""
    pieces, at = [], 0
    for start, end in sorted(span for name in names for span in mentions(text, name)):
        if start >= at:
            pieces += [text[at:start], "_"]
            at = end
    return "".join([*pieces, text[at:]])


class ObjectPrior:
    """How often each object is present, learned from the right answers; picks the likeliest option."""

    def __init__(self, train: Sequence[BlindQuestion]):
        present: defaultdict[str, list[int]] = defaultdict(lambda: [1, 2])
        for question in train:
            for name, claimed in question.truths[question.answer].items():
                present[name][0] += claimed
                present[name][1] += 1
        self._share = {name: seen / asked for name, (seen, asked) in present.items()}

    def answer(self, question: BlindQuestion) -> int:
        def likelihood(truth: Truth) -> float:
            shares = (
                self._share.get(name, 0.5) if claimed else 1 - self._share.get(name, 0.5) for name, claimed in truth.items()
            )
            return sum(math.log(share) for share in shares)

        return max(OPTIONS, key=lambda index: likelihood(question.truths[index]))


def table_of(baselines: Sequence[Baseline]) -> Table:
    """The baselines for a terminal."""
    table = Table("blind baseline", "right", "95 % interval", "questions", "")
    for baseline in baselines:
        verdict = "gives the answers away" if baseline.gives_away else "nothing to see"
        if baseline.name == "object prior" and baseline.gives_away:
            verdict = "objects tell; see create_mcq.negative_draw=matched"
        table.add_row(
            baseline.name, f"{baseline.accuracy:.1%}", f"{baseline.low:.1%} - {baseline.high:.1%}", f"{baseline.n:,}", verdict
        )
    return table


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def main(path: Path, as_json: bool) -> None:
    """How far the questions of a negmcq.csv can be answered without the pictures; chance is 25 %."""
    try:
        baselines = blind_baselines(read_questions(path))
    except UserError as error:
        click.secho(f"shardmill: {error}", err=True, fg="red")
        sys.exit(2)
    if as_json:
        click.echo(json.dumps([vars(baseline) for baseline in baselines]))
    else:
        Console().print(table_of(baselines))


if __name__ == "__main__":
    main()
