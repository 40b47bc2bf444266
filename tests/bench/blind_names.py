"""How far the names of objects tell what is there: for Antidote's questions, POPE's, and NegBench's negated captions.

    python tests/bench/blind_names.py ../shared/captions/coco_dev.csv --rows 2000

Runs the text stages with the embedded models on a table of captions, as if a detector confirmed everything. Readers say of each
question, and of each object of a negated caption, whether the object is there; those that learn are cross-validated by row in
five folds. Chance is 50 %, and good data leaves every reader within 3 points of it. "Before" is about what the text model
proposes, "after" about what is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
import polars as pl
from blind import print_table
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from shardmill import run_stage
from shardmill.language.lexicon import lexicon
from shardmill.quality.caption_knowledge import CaptionKnowledge
from shardmill.quality.significance import MeasuredShare

FOLDS = 5
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """An object that is asked about, the other objects asked about beside it, whether it is there, its text and its row."""

    name: str
    others: tuple[str, ...]
    present: bool
    text: str
    row: int


class Features:
    """What readers know of each item, without the answer."""

    def __init__(self, items: Sequence[Item], known: CaptionKnowledge):
        self.items = items
        self.labels = np.array([item.present for item in items], int)
        self.rows = np.array([item.row for item in items])
        self.numbers = np.array([self._of(item, known) for item in items], float)
        words = HashingVectorizer(n_features=1 << 14, token_pattern=r"\S+", alternate_sign=False, ngram_range=(1, 2))
        self.texts = words.transform([item.text for item in items])
        self.names = words.transform([f"={item.name.replace(' ', '_')} {item.name}" for item in items])

    @staticmethod
    def _of(item: Item, known: CaptionKnowledge) -> list[float]:
        lifts = [known.lift(item.name, other) for other in item.others] or [0.0]
        counts = [known.count(other) for other in item.others] or [0]
        listed = lexicon().exact(item.name)
        own = known.count(item.name)
        relative = [np.log1p(own) - np.log1p(np.mean(counts)), max(lifts), min(lifts), float(np.mean(lifts))]
        form = [len(item.name), len(item.name.split()), item.name in lexicon().entries, listed is not None]
        return [np.log1p(own), *relative, *form, len(listed.scenes) if listed else 0]

    def prior(self, train: Ints) -> Floats:
        """How often each name was there in training, with one count added on each side, and how often it was seen."""
        seen: dict[str, list[int]] = {}
        for index in train:
            seen.setdefault(self.items[index].name, [1, 2])
            seen[self.items[index].name][0] += self.labels[index]
            seen[self.items[index].name][1] += 1
        found = [seen.get(item.name, [1, 2]) for item in self.items]
        return np.array([[there / times, times] for there, times in found])


Reader = Callable[[Features, Ints, Ints], Ints]


def over(column: int, sign: int = 1) -> Reader:
    """An object is there if a figure of it is above the median (or, with `sign` -1, below)."""

    def reader(features: Features, train: Ints, test: Ints) -> Ints:
        values = features.numbers[:, column] * sign
        return (values[test] > np.median(values[train])).astype(int)

    return reader


def unlisted(features: Features, train: Ints, test: Ints) -> Ints:
    """A name that is no main name of the lexicon is there; of the others the more common ones."""
    common = features.numbers[:, 0] > np.median(features.numbers[train, 0])
    return np.where(features.numbers[test, 7] == 0, 1, common[test]).astype(int)


def name_prior(sign: int) -> Reader:
    """An object is there if its name was mostly there in training (or, with `sign` -1, if it was not)."""

    def reader(features: Features, train: Ints, test: Ints) -> Ints:
        share = sign * (features.prior(train)[test, 0] - 0.5) + np.random.default_rng(0).normal(0, 1e-6, len(test))
        return (share > 0).astype(int)

    return reader


def regression(attribute: str) -> Reader:
    """Logistic regression over words and word pairs."""

    def reader(features: Features, train: Ints, test: Ints) -> Ints:
        matrix = getattr(features, attribute)
        return LogisticRegression(max_iter=300, C=2).fit(matrix[train], features.labels[train]).predict(matrix[test])

    return reader


def boosted(features: Features, train: Ints, test: Ints) -> Ints:
    """Gradient boosting over everything, with the prior of the other half."""
    halves = train[: len(train) // 2], train[len(train) // 2 :]
    matrix = np.hstack([features.numbers, features.prior(halves[0])])
    trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.06, max_leaf_nodes=12, min_samples_leaf=40)
    return trees.fit(matrix[halves[1]], features.labels[halves[1]]).predict(matrix[test])


READERS: dict[str, Reader] = {
    "common names are there": over(0),
    "what is more common than the others is there": over(1),
    "the same, or no main name of the lexicon": unlisted,
    "what goes with the others is there": over(2),
    "what goes with all others is there": over(3),
    "names as seen in training": name_prior(1),
    "names as not seen in training": name_prior(-1),
    "logistic regression, names": regression("names"),
    "logistic regression, words": regression("texts"),
    "boosted trees, all features": boosted,
}


def evaluate(items: Sequence[Item], known: CaptionKnowledge) -> Iterator[tuple[str, MeasuredShare]]:
    """Each reader and its share of right answers."""
    features = Features(items, known)
    there = int(features.labels.sum())
    yield "always the commoner answer", MeasuredShare.of(max(there, len(items) - there), len(items))
    folds = list(GroupKFold(FOLDS, shuffle=True, random_state=0).split(items, groups=features.rows))
    for name, reader in READERS.items():
        right = sum(int((reader(features, train, test) == features.labels[test]).sum()) for train, test in folds)
        yield name, MeasuredShare.of(right, len(items))


def lists(frame: pl.DataFrame, *columns: str) -> Iterator[dict[str, Any]]:
    """The rows that came out, JSON cells as values."""
    for row in frame.iter_rows(named=True):
        if row.get("reject_reason") is None:
            yield {**row, **{name: json.loads(row[name]) if isinstance(row[name], str) else row[name] for name in columns}}


def questions_of(frame: pl.DataFrame, column: str) -> list[Item]:
    """The questions of a column as items; beside each are the others of its row."""
    items = []
    for number, row in enumerate(lists(frame, column)):
        asked = [each for each in row[column] if each["question"] and each.get("verdict", "pass") == "pass"]
        for at, each in enumerate(asked):
            others = tuple(other["object"] for place, other in enumerate(asked) if place != at)
            present = each["kind"] == "tpq" if "kind" in each else each["answer"] == "yes"
            items.append(Item(each["object"], others, present, each["question"], number))
    return items


def captions_of(frame: pl.DataFrame) -> list[Item]:
    """For each negated caption the missing object and one of those that are there, each with all others of the caption."""
    items = []
    for number, row in enumerate(lists(frame, "positive_objects", "negation_details")):
        for at, detail in enumerate(row["negation_details"]):
            there = Random(f"{number} {at}").choice(row["positive_objects"])
            named = (*row["positive_objects"], detail["object"])
            for name in (there, detail["object"]):
                others = tuple(other for other in named if other != name)
                items.append(Item(name, others, name == there, name, number))
    return items


def kept(frame: pl.DataFrame, name: str, **options: Any) -> pl.DataFrame:
    """The rows that come out of a stage."""
    out = run_stage(name, frame, options=options)
    drop = [column for column in ("reject_reason", "reject_detail") if column in out.columns]
    return out.filter(pl.col("reject_reason").is_null()).drop(drop)


def antidote(captions: pl.DataFrame) -> Iterator[tuple[str, list[Item], Mapping[str, int]]]:
    """Questions of Antidote before and after, and how many rows have them."""
    scenes = kept(kept(captions, "antidote.parse_captions"), "antidote.judge_captions")
    drawn = kept(scenes, "antidote.draw_objects")
    for when, objects, absent in (("before", "random", pl.col("absent")), ("after", "drawn", pl.col("drawn_absent"))):
        facts = drawn.with_columns(verified_present="present", verified_absent=absent, verified_caption="scene_caption")
        judged = kept(kept(facts, "antidote.ask_presuppositions", objects=objects), "antidote.judge_questions")
        items = questions_of(judged, "questions")
        yield f"CPQ or TPQ, {when}", items, {"rows": drawn.height, "rows with a pair": len({item.row for item in items})}
        asked = kept(facts, "antidote.ask_pope", objects=objects, absent="random")
        items = questions_of(asked, "pope")
        yield f"POPE yes or no, {when}", items, {"rows": drawn.height, "rows asked about": len({item.row for item in items})}


def negbench(captions: pl.DataFrame) -> Iterator[tuple[str, list[Item], Mapping[str, int]]]:
    """Negated captions of NegBench before and after."""
    proposed = kept(kept(captions, "negbench.extract_objects"), "negbench.propose_negatives")
    drawn = kept(proposed, "negbench.draw_questions").with_columns(seen_objects="objects", positive_objects="objects")
    for when, negatives, names in (("before", "all", ("negatives",)), ("after", "drawn", ("negatives", "drawn_negatives"))):
        rows = drawn.with_columns(negative_objects=pl.concat_list(names).list.unique(maintain_order=True))
        made = kept(rows, "negbench.caption_negated", negatives=negatives)
        items = captions_of(made)
        yield (
            f"negated captions, {when}",
            items,
            {"rows": drawn.height, "rows with one": made.height, "captions": len(items) // 2},
        )


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--rows", default=2_000, help="captions that are read")
@click.option("--of", "which", type=click.Choice(["antidote", "negbench"]), multiple=True, default=["antidote", "negbench"])
def main(path: Path, rows: int, which: tuple[str, ...]) -> None:
    """Let readers who see no image say what is there in the questions and captions made of a table of captions."""
    captions = pl.read_csv(path).select("caption").head(rows)
    known = CaptionKnowledge(kept(captions, "negbench.extract_objects")["objects"].to_list())
    for pipeline in which:
        for title, items, facts in {"antidote": antidote, "negbench": negbench}[pipeline](captions):
            print_table(
                f"{title}: {', '.join(f'{name} {count:,}' for name, count in facts.items())}", list(evaluate(items, known))
            )


if __name__ == "__main__":
    main()
