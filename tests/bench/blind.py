"""How far questions can be answered without looking, by readers that know the captions and have learned from other questions.

    python tests/bench/blind.py ../shared/captions/coco_dev.csv --questions 3 --workers 2

Runs NegBench with the embedded models on a table of captions, without images, so that no detector refuses anything, and lets
readers answer the questions, as the templates word them and paraphrased. Readers that learn are cross-validated by image in five
folds. Chance is 25 %, and good data leaves every reader at most 28 %.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import hstack
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from shardmill.core.planning import NewRun, start_run
from shardmill.language.lexicon import lexicon
from shardmill.language.relations import mentions
from shardmill.launch.local import launch_local
from shardmill.negbench.blind import BlindQuestion, blind_baselines
from shardmill.negbench.build import build
from shardmill.quality.significance import MeasuredShare

CELLS = range(4)
FOLDS = 5
NETWORK_EPOCHS = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """A question: its four options, what each claims of X and Y, which is right, and the image that it is about.

    X is the object that captions name more often.
    """

    texts: tuple[str, ...]
    x: str
    y: str
    claims: tuple[tuple[bool, bool], ...]
    answer: int
    image: str

    @property
    def cell(self) -> int:
        """The cell that is true: both, X alone, Y alone, neither."""
        return cell_of(self.claims[self.answer])

    def option(self, cell: int) -> int:
        """The option that claims a cell."""
        return next(index for index in CELLS if cell_of(self.claims[index]) == cell)


def cell_of(claim: tuple[bool, bool]) -> int:
    return (0 if claim[1] else 1) if claim[0] else (2 if claim[1] else 3)


class Captions:
    """How often captions name objects, alone and together."""

    def __init__(self, captions: Sequence[str], names: Sequence[str]):
        self.total = len(captions)
        self._rows: dict[str, set[int]] = {name: set() for name in names}
        low = [caption.lower() for caption in captions]
        words: dict[str, list[int]] = {}
        for row, text in enumerate(low):
            for word in set(text.replace(",", " ").replace(".", " ").split()):
                words.setdefault(word, []).append(row)
        for name in self._rows:
            near = set(words.get(name.split()[0], ())) | {row for row, text in enumerate(low) if name[:4] in text}
            self._rows[name] = {row for row in near if mentions(captions[row], name)}

    def count(self, name: str) -> int:
        return len(self._rows[name])

    def together(self, x: str, y: str) -> int:
        return len(self._rows[x] & self._rows[y])


def read_questions(path: Path, captions: Sequence[str], template: bool) -> tuple[list[Question], Captions]:
    """The questions of a negmcq.csv, and the captions that readers know."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({each["name"] for row in rows for each in json.loads(row["mcq_objects"])})
    known = Captions(captions, names)
    questions = []
    for row in rows:
        objects = [each["name"] for each in json.loads(row["mcq_objects"])]
        x, y = sorted(objects, key=lambda name: (-known.count(name), name))
        claims = tuple((claim[x], claim[y]) for claim in json.loads(row["option_truths"]))
        texts = tuple(row[f"template_{index}" if template else f"caption_{index}"] for index in CELLS)
        image = row["image_path"] or row["row_id"]
        questions.append(Question(texts, x, y, claims, int(row["correct_answer"]), image))
    return questions, known


class Features:
    """What readers know of each question, without the answers."""

    def __init__(self, questions: Sequence[Question], known: Captions):
        self.questions = questions
        self.cells = np.array([question.cell for question in questions])
        entries = lexicon()
        rows = []
        for question in questions:
            x, y = question.x, question.y
            n, c, d, both = known.total, known.count(x), known.count(y), known.together(x, y)
            pmi = math.log((both + 0.5) * n / ((c + 0.5) * (d + 0.5)))
            form = [len(x), len(y), len(x.split()), len(y.split()), x.endswith("s"), y.endswith("s")]
            listed = [entries.exact(x) is not None, entries.exact(y) is not None]
            main = [x in entries.entries, y in entries.entries]
            rows.append([math.log1p(c), math.log1p(d), math.log1p(both), pmi, both / (d + 1), *form, *listed, *main])
        self.numbers = np.array(rows, float)
        self.lengths = np.array([[len(question.texts[question.option(cell)]) for cell in CELLS] for question in questions], float)
        self.places = np.array([[question.option(cell) for cell in CELLS] for question in questions], float)
        self.beside = np.array([self._beside(question, known) for question in questions], float)
        self.names = np.array([f"x_{q.x.replace(' ', '_')} y_{q.y.replace(' ', '_')} {q.x} {q.y}" for q in questions])

    @cached_property
    def _of_image(self) -> dict[str, set[str]]:
        """The objects that the questions about each image are about."""
        found: dict[str, set[str]] = {}
        for question in self.questions:
            found.setdefault(question.image, set()).update((question.x, question.y))
        return found

    def _beside(self, question: Question, known: Captions) -> list[float]:
        others = self._of_image[question.image] - {question.x, question.y}
        row: list[float] = [len(others)]
        for name in (question.x, question.y):
            lifts = [
                math.log(
                    (known.together(name, other) + 0.5) * known.total / ((known.count(name) + 0.5) * (known.count(other) + 0.5))
                )
                for other in others
            ]
            row += [max(lifts, default=0.0), sum(lifts) / max(len(lifts), 1)]
        return row

    def prior(self, train: NDArray[np.int64]) -> Floats:
        """For each question how often X and Y, and the pair, were there in the training questions, with one count added."""
        seen: Counter[str] = Counter()
        true: Counter[str] = Counter()
        pair: Counter[tuple[str, str, int]] = Counter()
        for index in train:
            question = self.questions[index]
            for name, present in ((question.x, question.cell in (0, 1)), (question.y, question.cell in (0, 2))):
                seen[name] += 1
                true[name] += present
            pair[question.x, question.y, question.cell] += 1
        rows = []
        for question in self.questions:
            shares = [(true[name] + 1) / (seen[name] + 2) for name in (question.x, question.y)]
            counts = [pair[question.x, question.y, cell] for cell in CELLS]
            rows.append([*shares, seen[question.x], seen[question.y], *counts])
        return np.array(rows, float)


Answers = NDArray[np.int64]
Reader = Callable[[Features, NDArray[np.int64], NDArray[np.int64]], Answers]


def commonest(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """The cell that is true most often in training: the more common word there, both, neither."""
    return np.full(len(test), np.bincount(features.cells[train], minlength=4).argmax())


def more_common_is_there(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """The more common word is there, the other is not. Nothing is learned."""
    return np.ones(len(test), int)


def frequent_is_there(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """Each word that is more common than the median is there."""
    middle = np.median(features.numbers[:, :2])
    return cells_from(features.numbers[test, 0] > middle, features.numbers[test, 1] > middle)


def frequent_or_unlisted(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """The same, and a name that is no main name of the lexicon is there."""
    middle = np.median(features.numbers[:, :2])
    x, y = (~features.numbers[test, place].astype(bool) for place in (13, 14))
    return cells_from((features.numbers[test, 0] > middle) | x, (features.numbers[test, 1] > middle) | y)


def goes_together(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """Both are there if captions often name them together, else neither."""
    return np.where(features.numbers[test, 3] > np.median(features.numbers[:, 3]), 0, 3)


def cells_from(x: NDArray[np.bool_], y: NDArray[np.bool_]) -> Answers:
    return np.where(x, np.where(y, 0, 1), np.where(y, 2, 3))


def pair_seen(sign: int) -> Reader:
    """The cell in which the pair was seen most often in training (`sign` 1), or least often (-1)."""

    def reader(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
        counts = sign * features.prior(train)[test, 4:8]
        return (counts + np.random.default_rng(0).random(counts.shape) * 0.1).argmax(axis=1)

    return reader


def prior_of_names(sign: int) -> Reader:
    """Each name is there if it was more often there than not in training (`sign` 1), or the opposite (-1)."""

    def reader(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
        shares = sign * (features.prior(train)[test, :2] - 0.5) + np.random.default_rng(0).random((len(test), 2)) * 1e-6
        return cells_from(shares[:, 0] > 0, shares[:, 1] > 0)

    return reader


def boosted(with_all: bool) -> Reader:
    """Gradient boosting over frequency, co-occurrence, name length and the trained prior; or over all features together."""

    def reader(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
        halves = train[: len(train) // 2], train[len(train) // 2 :]
        matrix = np.hstack([features.numbers, features.prior(halves[0])])
        if with_all:
            words = LogisticRegression(max_iter=300).fit(_words(features)[halves[0]], features.cells[halves[0]])
            scores = words.predict_proba(_words(features))
            matrix = np.hstack([matrix, features.lengths, features.places, scores])
        trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.06, max_leaf_nodes=12, min_samples_leaf=40)
        trees.fit(matrix[halves[1]], features.cells[halves[1]])
        return trees.predict(matrix[test])

    return reader


def _words(features: Features):
    return HashingVectorizer(n_features=1 << 14, token_pattern=r"\S+", alternate_sign=False).transform(features.names)


def words_of_names(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """Logistic regression over the names."""
    matrix = _words(features)
    return LogisticRegression(max_iter=300).fit(matrix[train], features.cells[train]).predict(matrix[test])


def _option_texts(features: Features, indices: NDArray[np.int64]) -> tuple[list[str], list[bool]]:
    questions = [features.questions[index] for index in indices]
    texts = [text for question in questions for text in question.texts]
    return texts, [index == question.answer for question in questions for index in CELLS]


def _to_cells(features: Features, test: NDArray[np.int64], scores: Floats) -> Answers:
    chosen = scores.reshape(len(test), 4).argmax(axis=1)
    return np.array([cell_of(features.questions[index].claims[option]) for index, option in zip(test, chosen, strict=True)])


def tfidf(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """TF-IDF of one and two words over the option, logistic regression."""
    texts, right = _option_texts(features, train)
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2)
    model = LogisticRegression(max_iter=300, C=4).fit(words.fit_transform(texts), right)
    return _to_cells(features, test, model.decision_function(words.transform(_option_texts(features, test)[0])))


def small_network(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """A small network over hashed letters and words of the option, trained on half of the questions."""
    half = np.random.default_rng(7).permutation(train)[: len(features.questions) // 2]
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=1 << 12, alternate_sign=False)
    words = HashingVectorizer(ngram_range=(1, 2), n_features=1 << 12, alternate_sign=False)

    def matrix(texts: list[str]):
        return hstack([letters.transform(texts), words.transform(texts)]).tocsr()

    texts, right = _option_texts(features, half)
    warnings.simplefilter("ignore", ConvergenceWarning)
    model = MLPClassifier((32,), max_iter=NETWORK_EPOCHS, learning_rate_init=0.003, random_state=0).fit(matrix(texts), right)
    return _to_cells(features, test, model.predict_proba(matrix(_option_texts(features, test)[0]))[:, 1])


def beside_questions(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """Boosted trees over how often captions name X and Y with the objects of the other questions about the image."""
    matrix = np.hstack([features.beside, features.numbers[:, :5]])
    trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.06, max_leaf_nodes=12, min_samples_leaf=40)
    return trees.fit(matrix[train], features.cells[train]).predict(matrix[test])


def nearest_questions(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """What the 15 questions with the most similar names say most often."""
    matrix = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit_transform(features.names)
    return KNeighborsClassifier(15, metric="cosine").fit(matrix[train], features.cells[train]).predict(matrix[test])


def bayes(features: Features, train: NDArray[np.int64], test: NDArray[np.int64]) -> Answers:
    """Naive Bayes over one to three words of the option."""
    words = CountVectorizer(ngram_range=(1, 3), min_df=2)
    texts, right = _option_texts(features, train)
    model = MultinomialNB().fit(words.fit_transform(texts), right)
    return _to_cells(features, test, model.predict_proba(words.transform(_option_texts(features, test)[0]))[:, 1])


READERS: dict[str, Reader] = {
    "commonest cell in training": commonest,
    "more common word is there": more_common_is_there,
    "common words are there": frequent_is_there,
    "the same, or no main name of the lexicon": frequent_or_unlisted,
    "what goes together is there": goes_together,
    "pair as seen in training": pair_seen(1),
    "pair as not seen in training": pair_seen(-1),
    "names as seen in training": prior_of_names(1),
    "names as not seen in training": prior_of_names(-1),
    "logistic regression, names": words_of_names,
    "logistic regression, TF-IDF of options": tfidf,
    "boosted trees, frequency and prior": boosted(False),
    "boosted trees, all features": boosted(True),
    "small network, letters and words": small_network,
    "boosted trees, other questions of the image": beside_questions,
    "nearest questions, names": nearest_questions,
    "naive Bayes, words of options": bayes,
}


def evaluate(questions: Sequence[Question], known: Captions) -> Iterator[tuple[str, MeasuredShare]]:
    """Each reader and its share of right answers: the baselines of the report, then those above."""
    blind = [
        BlindQuestion(q.texts, tuple({q.x: x, q.y: y} for x, y in q.claims), q.answer, half)
        for q, half in zip(questions, halves_by_image(questions), strict=True)
    ]
    for baseline in blind_baselines(blind):
        yield f"report: {baseline.name}", baseline.right
    features = Features(questions, known)
    folds = list(GroupKFold(FOLDS, shuffle=True, random_state=0).split(questions, groups=[q.image for q in questions]))
    for name, reader in READERS.items():
        right = sum(int((reader(features, train, test) == features.cells[test]).sum()) for train, test in folds)
        yield name, MeasuredShare.of(right, len(questions))


def halves_by_image(questions: Sequence[Question]) -> list[int]:
    order = {image: index & 1 for index, image in enumerate(dict.fromkeys(q.image for q in questions))}
    return [order[q.image] for q in questions]


def print_table(title: str, results: Sequence[tuple[str, MeasuredShare]]) -> None:
    table = Table("reader", "right", "95 % interval", "questions", title=title, title_justify="left")
    for name, right in results:
        table.add_row(name, f"{right.value:.1%}", f"{right.low:.1%} - {right.high:.1%}", f"{right.n:,}")
    Console(width=110).print(table)


@click.command()
@click.argument("captions", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--questions", default=3, help="questions of an image at most")
@click.option("--workers", default=1, help="worker processes")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="where the run goes, or is already (a temporary folder)")
@click.option("--set", "settings", multiple=True, help="as for shardmill launch")
def main(captions: Path, questions: int, workers: int, folder: Path | None, settings: tuple[str, ...]) -> None:
    """Let blind readers answer the questions that NegBench makes of a table of CAPTIONS."""
    own = ("filter_objects.unverified=keep", f"create_mcq.questions_per_image={questions}", *settings)
    with tempfile.TemporaryDirectory() as temporary:
        run = start_run(folder or Path(temporary) / "run", NewRun(input=captions, num_shards=4, settings=own))
        launch_local(run, workers)
        build(run)
        rows = [row["caption"] or "" for row in run.rows("ingest", range(run.num_shards))]
        table = run.path / "datasets" / "negmcq.csv"
        for template, wording in ((True, "as the templates word them"), (False, "paraphrased")):
            print_table(f"{captions.name}, {wording}", list(evaluate(*read_questions(table, rows, template))))


if __name__ == "__main__":
    main()
