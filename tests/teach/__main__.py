"""Does the data teach? Draw pictures, run NegBench over them, train a small model on each kind of data, and test it.

Run as `make teach`. As in NegBench, a model that knows captions is trained further on each kind of data. The pictures of the test
and its pairs of objects are held out. On a GPU, with the weights of CLIP instead of a small model's:
--device cuda --clip openai/clip-vit-base-patch32 --pictures 20000.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from teach.held_out import choice_questions, negated_queries
from teach.results import FIGURES, plot, table
from teach.towers import ClipTowers, SmallTowers, Towers
from teach.train import Batches, Plan, TestSet, evaluate, train
from teach.training_sets import TrainingSet, make_training_sets
from teach.words import vocabulary
from teach.world import make_pictures

TEST_PICTURES, TEST_QUESTIONS = 600, 2000
FIRST_RATE, RATE, CLIP_RATE = 3e-3, 2e-3, 1e-5


def main() -> None:
    """Draw, run, train, test, print."""
    arguments = parse()
    folder, begin = arguments.folder, time.monotonic()
    pictures = make_pictures(folder / "train", arguments.pictures, held_out=False)
    held_out = make_pictures(folder / "test", TEST_PICTURES, held_out=True)
    kinds = make_training_sets(folder / "train", pictures)
    towers = ClipTowers(arguments.clip) if arguments.clip else None
    read = towers.read_pictures if towers else SmallTowers.read_pictures
    seen = read([folder / "train" / picture.file for picture in pictures])
    test = TestSet(
        read([folder / "test" / picture.file for picture in held_out]),
        choice_questions(held_out, TEST_QUESTIONS),
        [picture.caption for picture in held_out],
        negated_queries(held_out),
    )
    results: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(arguments.seeds):
        for kind, tuned in learners(arguments, towers, kinds, seen, seed):
            figures = evaluate(tuned, test, arguments.device)
            print(f"{time.monotonic() - begin:5.0f} s  seed {seed}  {kind}: {json.dumps(figures)}", flush=True)
            for name in FIGURES:
                results[kind][name].append(figures[name])
    (folder / "results.json").write_text(json.dumps(results))
    plot(results, folder / "results.svg")
    print(table(results))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="teach", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for pictures, runs and results")
    parser.add_argument("--pictures", type=int, default=4000, help="to train on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-steps", type=int, default=400, help="on captions, for all kinds of data; none with --clip")
    parser.add_argument("--steps", type=int, default=400, help="on each kind of data")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--clip", metavar="NAME", help="start from a CLIP: a folder, or a name of the Hugging Face Hub")
    return parser.parse_args()


def learners(
    arguments: argparse.Namespace, clip: ClipTowers | None, kinds: dict[str, TrainingSet], pictures: Tensor, seed: int
) -> Iterator[tuple[str, Towers]]:
    """Towers that were trained on each kind of data, all of the same beginnings."""
    torch.manual_seed(seed)
    device = arguments.device
    start = clip or SmallTowers(vocabulary(text for kind in kinds.values() for text in kind.texts()), pictures)
    if not clip:
        train(start, Batches(kinds["captions"], start, seed), pictures, Plan(arguments.first_steps, FIRST_RATE, device))
    for name, kind in kinds.items():
        torch.manual_seed(seed)
        towers = deepcopy(start)
        train(towers, Batches(kind, towers, seed), pictures, Plan(arguments.steps, CLIP_RATE if clip else RATE, device))
        yield name, towers


if __name__ == "__main__":
    main()
