"""What rows lack is drawn as often as other rows have it; it is plausible, and really absent."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import numpy as np
import polars as pl
import pytest

from shardmill.stages.matched_absents import FILLED, AbsentDrawing
from shardmill.stages.occurrences import CoOccurrence, occurrences

SCENES = {
    "kitchen": ["oven", "pot", "spoon", "bowl", "kettle", "apron", "sink", "refrigerator", "plate", "cup"],
    "harbor": ["boat", "anchor", "seagull", "rope", "crane", "buoy", "net", "lighthouse", "sail", "ferry"],
    "farm": ["cow", "fence", "tractor", "barn", "chicken", "hay", "horse", "goat", "gate", "bucket"],
}
SCENE_OF = {name: scene for scene, names in SCENES.items() for name in names}
ROWS, PER_ROW = 3_000, 4


def draw(count: int, seed: int) -> AbsentDrawing:
    """What is drawn for captions of scenes whose first objects are the most frequent ones."""
    rng = Random(0)
    rows = []
    for _ in range(count):
        things = SCENES[rng.choice(list(SCENES))]
        rows.append(sorted({things[min(int(rng.expovariate(0.35)), len(things) - 1)] for _ in range(rng.randint(1, 4))}))
    captions = ["a photo of " + " and ".join(f"a {name}" for name in names) for names in rows]
    seen = occurrences(pl.DataFrame({"objects": [json.dumps(names) for names in rows]}))
    return AbsentDrawing(CoOccurrence(seen, captions), PER_ROW, seed)


@pytest.fixture(scope="module")
def drawing() -> AbsentDrawing:
    return draw(ROWS, seed=1)


def objects(drawing: AbsentDrawing, row: int) -> list[str]:
    return [drawing.seen.names[each] for each in drawing.seen.objects_of(np.array([row]))[0]]


def test_a_name_is_missing_as_often_as_it_is_there(drawing: AbsentDrawing) -> None:
    there = dict(zip(drawing.seen.names, drawing.seen.count.tolist(), strict=True))
    missing = Counter(drawing.table()["name"].to_list())
    scale = missing.total() / sum(there.values())
    assert missing.total() > 0.9 * FILLED * PER_ROW * ROWS
    for name, count in there.items():
        assert missing[name] == pytest.approx(count * scale, rel=0.3, abs=12), name


def test_the_rarer_of_two_objects_is_the_missing_one_half_of_the_time(drawing: AbsentDrawing) -> None:
    there = dict(zip(drawing.seen.names, drawing.seen.count.tolist(), strict=True))
    rarer = [there[name] < there[own] for row, name in drawing.table().iter_rows() for own in objects(drawing, row)]
    assert abs(sum(rarer) / len(rarer) - 0.5) < 0.05


def test_what_is_missing_is_absent_fits_and_comes_once(drawing: AbsentDrawing) -> None:
    drawn = list(drawing.table().iter_rows())
    assert len(drawn) == len(set(drawn))
    assert max(Counter(row for row, _ in drawn).values()) <= PER_ROW
    for row, name in drawn:
        own = objects(drawing, row)
        assert name not in own
        assert {SCENE_OF[each] for each in own} == {SCENE_OF[name]}


def test_the_same_seed_draws_the_same_and_an_empty_block_nothing() -> None:
    first, second, other = (draw(400, seed).table() for seed in (7, 7, 8))
    assert first.equals(second) and not first.equals(other)
    for lists in (["[]"] * 3, []):
        seen = occurrences(pl.DataFrame({"objects": lists}, schema={"objects": pl.String}))
        assert AbsentDrawing(CoOccurrence(seen, [""] * len(lists)), 2, seed=7).table().is_empty()
