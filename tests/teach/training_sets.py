"""What a model is trained on: the pipeline's own captions and questions, by kind."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from teach.held_out import Question
from teach.world import Picture

RUNS: Mapping[str, tuple[str, ...]] = {
    "balanced": ("negbench", "--set", "create_mcq.questions_per_image=2"),
    "original": ("negbench", "--set", "create_mcq.style=original"),
    "earlier": (f"{Path(__file__).with_name('earlier.py')}:PIPELINE",),
}
"""What follows `shardmill launch` in each run of the pipeline."""
KINDS = {
    "captions": "(a) captions",
    "negcap": "(b) and negated captions",
    "negmcq": "(c) and questions",
    "negfull": "(d) and both",
    "original": "(e) and questions in the published style",
    "earlier": "(f) and questions with proposed objects",
}


@dataclass(frozen=True)
class TrainingSet:
    """One kind of training data: captions and negated captions, each with the number of its picture, and questions."""

    captions: Sequence[tuple[int, str]]
    negated: Sequence[tuple[int, str]] = ()
    questions: Sequence[Question] = ()

    def texts(self) -> Iterator[str]:
        """All of its sentences."""
        yield from (text for _, text in (*self.captions, *self.negated))
        yield from (option for question in self.questions for option in question.options)


def make_training_sets(folder: Path, pictures: Sequence[Picture]) -> dict[str, TrainingSet]:
    """Run the pipeline over the pictures in a folder; all kinds have the same captions and equally many questions."""
    number = {Path(picture.file).name: position for position, picture in enumerate(pictures)}
    datasets = {name: run_pipeline(folder, name) for name in RUNS}
    captions = [(position, picture.caption) for position, picture in enumerate(pictures)]
    negated = read_negated(datasets["balanced"], number)
    questions = _equally_many({name: read_questions(path, number) for name, path in datasets.items()})
    return {
        "captions": TrainingSet(captions),
        "negcap": TrainingSet(captions, negated),
        "negmcq": TrainingSet(captions, (), questions["balanced"]),
        "negfull": TrainingSet(captions, negated, questions["balanced"]),
        "original": TrainingSet(captions, (), questions["original"]),
        "earlier": TrainingSet(captions, (), questions["earlier"]),
    }


def run_pipeline(folder: Path, name: str) -> Path:
    """A run with the models that need no weights, or what is left of it; returns the folder of its datasets."""
    run = folder / name
    command = [sys.executable, "-m", "shardmill", "launch", *RUNS[name], "--input", str(folder / "captions.csv")]
    subprocess.run([*command, "--run", str(run), "--num-shards", "4", "--workers", "2"], check=True)
    return run / "datasets"


def read_questions(datasets: Path, number: Mapping[str, int]) -> list[Question]:
    """The questions of a run, as they come out of it: paraphrased."""
    with (datasets / "negmcq.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pictures = [number[Path(row["image_path"]).name] for row in rows]
    options = [tuple(row[f"caption_{option}"] for option in range(4)) for row in rows]
    answers = [int(row["correct_answer"]) for row in rows]
    return [Question(*each) for each in zip(pictures, options, answers, strict=True)]


def read_negated(datasets: Path, number: Mapping[str, int]) -> list[tuple[int, str]]:
    """Each negated caption of a run with its picture."""
    with (datasets / "negcap.tsv").open(newline="", encoding="utf-8") as file:
        return [(number[Path(row["filepath"]).name], row["title"]) for row in csv.DictReader(file, delimiter="\t")]


def _equally_many(questions: Mapping[str, Sequence[Question]]) -> dict[str, list[Question]]:
    """As many of each kind as there are of the rarest, so that numbers do not decide."""
    count = min(map(len, questions.values()))
    return {name: Random(name).sample(each, count) for name, each in questions.items()}
