"""What questions are about: names that are there as often as not, in lists that do not depend on the shards."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import polars as pl

from shardmill.antidote.ask_pope import AskPope
from shardmill.antidote.ask_presuppositions import AskPresuppositions
from shardmill.antidote.draw_objects import DrawObjects
from shardmill.core.stage import Context

SCENES = [
    ["boat", "anchor", "seagull", "rope", "crane", "buoy", "net", "lighthouse"],
    ["oven", "pot", "spoon", "bowl", "kettle", "apron", "sink", "plate"],
    ["cow", "fence", "tractor", "barn", "chicken", "hay", "goat", "bucket"],
]
THINGS = [name for scene in SCENES for name in scene]
LISTED = ["compass", "telescope"]
"""What a text model proposes: it is in no scene."""


def scenes(rows: int) -> pl.DataFrame:
    rng = Random(0)
    present = [sorted(set(rng.choices(rng.choice(SCENES), range(8, 0, -1), k=3))) for _ in range(rows)]
    return pl.DataFrame(
        {
            "row_id": range(rows),
            "scene_caption": [f"A {' and a '.join(names)}" for names in present],
            "present": [json.dumps(names) for names in present],
            "absent": json.dumps(LISTED),
        }
    )


def drawn(table: pl.DataFrame) -> list[dict[str, Any]]:
    stage = DrawObjects({}, Context(seed=3))
    stage.fitted = stage.fit(table)
    whole, part = stage.transform(table), stage.transform(table[5:9])
    assert whole[5:9].equals(part)
    rows = table.join(whole, on="row_id").to_dicts()
    columns = ("present", "absent", "drawn_present", "drawn_absent")
    return [{**row, **{name: json.loads(row[name]) for name in columns}} for row in rows]


def test_names_are_drawn_as_often_where_they_are_as_where_they_are_not() -> None:
    rows = drawn(scenes(2_000))
    there = Counter(name for row in rows for name in row["drawn_present"])
    missing = Counter(name for row in rows for name in row["drawn_absent"])
    assert set(there) == set(missing) == set(THINGS)
    for name in THINGS:
        assert abs(there[name] / there.total() - missing[name] / missing.total()) < 0.04
    for row in rows:
        assert set(row["drawn_present"]) <= set(row["present"])
        assert not set(row["drawn_absent"]) & set(row["present"])


def test_few_scenes_have_the_lists_that_they_came_with() -> None:
    for row in drawn(scenes(40)):
        assert (sorted(row["drawn_present"]), sorted(row["drawn_absent"])) == (sorted(row["present"]), sorted(LISTED))


ROW = {
    "row_id": 1,
    "verified_caption": "A boat and a rope.",
    "verified_present": ["boat", "rope"],
    "verified_absent": ["compass", "net"],
    "drawn_present": ["rope"],
    "drawn_absent": ["net", "anchor"],
}


def test_questions_are_about_drawn_objects_that_the_detector_confirmed() -> None:
    for seed in range(5):
        assert AskPresuppositions().draws(ROW, Random(seed)) == [("rope", "net")]
        both = {**ROW, "drawn_present": ["rope", "boat"]}
        asked = AskPope({"absent": "random"}, Context(seed=seed)).chosen(both)
        assert asked == [("rope", "yes", "present"), ("net", "no", "random")]


def test_all_confirmed_objects_can_be_asked_about() -> None:
    free = {name for seed in range(20) for name in AskPresuppositions({"objects": "random"}).draws(ROW, Random(seed))[0]}
    assert free == {"boat", "rope", "compass", "net"}
    given = {key: value for key, value in ROW.items() if not key.startswith("drawn")}
    """The input is an original's, which draws nothing."""
    assert {name for seed in range(20) for name in AskPresuppositions().draws(given, Random(seed))[0]} == free
