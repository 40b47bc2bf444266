"""What questions are about: cells that do not depend on the pair, names under one name, and rows that have what is claimed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from random import Random

import polars as pl
import pytest

from shardmill.core.stage import Context
from shardmill.language.canonical_names import canonical_names
from shardmill.language.implied import implied_pairs, is_implied
from shardmill.negbench.draw_questions import DrawQuestions

SCENES = {
    "kitchen": ["oven", "pot", "spoon", "bowl", "kettle", "apron", "sink", "refrigerator", "plate", "cup"],
    "harbor": ["boat", "anchor", "seagull", "rope", "crane", "buoy", "net", "lighthouse", "sail", "ferry"],
    "farm": ["cow", "fence", "tractor", "barn", "chicken", "hay", "horse", "goat", "gate", "bucket"],
    "office": ["desk", "laptop", "chair", "printer", "telephone", "lamp", "folder", "stapler", "keyboard", "clock"],
}


def test_the_names_of_this_test_are_canonical() -> None:
    for things in SCENES.values():
        assert canonical_names(dict.fromkeys(things, 1)) == {name: name for name in things}


def captions(count: int) -> pl.DataFrame:
    """Captions of scenes, each with two to four of its objects, the first ones more often."""
    rng = Random(0)
    lists = []
    for _ in range(count):
        things = SCENES[rng.choice(list(SCENES))]
        lists.append(sorted({things[min(int(rng.expovariate(0.35)), len(things) - 1)] for _ in range(rng.randint(2, 5))}))
    return pl.DataFrame(
        {
            "row_id": range(100, 100 + count),
            "image": pl.Series([None] * count, dtype=pl.String),
            "caption": ["a photo of " + " and ".join(f"a {name}" for name in names) for names in lists],
            "objects": [json.dumps(names) for names in lists],
        }
    )


def questions(table: pl.DataFrame, **options: object) -> list[tuple[int, dict]]:
    stage = DrawQuestions(options, Context(seed=3))
    stage.fitted = stage.fit(table)
    made = stage.transform(table)
    assert made["row_id"].to_list() == table["row_id"].to_list()
    return [(row_id, each) for row_id, cell in made.select("row_id", "drawn_questions").iter_rows() for each in json.loads(cell)]


def asked_about(table: pl.DataFrame) -> set[str]:
    return {name for _, each in questions(table, per_image=8) for name in each["objects"]}


@pytest.mark.parametrize("draw", ["pairs", "rows"])
def test_questions_claim_what_captions_say_about_different_objects(draw: str) -> None:
    table = captions(1_500)
    objects = {row["row_id"]: json.loads(row["objects"]) for row in table.to_dicts()}
    asked = defaultdict(list)
    made = questions(table, draw=draw)
    assert len(made) > 900
    for row_id, each in made:
        assert [name in objects[row_id] for name in each["objects"]] == each["present"]
        asked[row_id] += each["objects"]
    assert all(len(names) == len(set(names)) <= 6 for names in asked.values())


def test_the_cell_does_not_depend_on_what_is_known_of_the_pair() -> None:
    made = questions(captions(6_000))
    cells = Counter(tuple(each["present"]) for _, each in made)
    assert len(made) > 4_000
    assert max(cells.values()) < 0.27 * len(made)
    present: defaultdict[str, list[bool]] = defaultdict(list)
    for _, each in made:
        for name, there in zip(each["objects"], each["present"], strict=True):
            present[name].append(there)
    assert all(0.4 < sum(seen) / len(seen) < 0.6 for seen in present.values() if len(seen) > 150)
    median = sorted(each["counts"][2] for _, each in made)[len(made) // 2]
    together = Counter(tuple(each["present"]) for _, each in made if each["counts"][2] > median)
    assert max(together.values()) < 0.28 * together.total()


def test_what_one_caption_of_an_image_names_is_not_absent_from_it() -> None:
    table = captions(1_500).with_columns(image=(pl.int_range(pl.len()) // 3).cast(pl.String))
    there: defaultdict[int, set[str]] = defaultdict(set)
    for row in table.to_dicts():
        there[row["row_id"] - 100 - (row["row_id"] - 100) % 3] |= set(json.loads(row["objects"]))
    made = questions(table)
    assert made
    for row_id, each in made:
        at = row_id - 100
        assert [name in there[at - at % 3] for name in each["objects"]] == each["present"]


def test_a_name_of_a_single_image_is_not_asked_about() -> None:
    table = captions(600).with_columns(image=pl.int_range(pl.len()).cast(pl.String))
    lists = [json.loads(objects) for objects in table["objects"]]
    home = [at for at, names in enumerate(lists) if "boat" in names][:8]
    for at in home:
        lists[at].append("yacht club")
    alone = table.with_columns(objects=pl.Series(map(json.dumps, lists)))
    of_one = pl.col("row_id").is_in([100 + at for at in home])
    apart = alone.with_columns(image=pl.when(of_one).then(pl.lit("x")).otherwise("image"))
    assert "yacht club" in asked_about(alone)
    assert "yacht club" not in asked_about(apart)


def test_what_is_absent_goes_with_something_that_is_there() -> None:
    table = captions(1_500)
    objects = {row["row_id"]: json.loads(row["objects"]) for row in table.to_dicts()}
    home = {name: scene for scene, names in SCENES.items() for name in names}
    for row_id, each in questions(table):
        assert {home[name] for name in each["objects"]} == {home[objects[row_id][0]]}


def test_what_comes_with_something_is_not_said_to_be_absent() -> None:
    pairs = set(implied_pairs(["skateboarder", "skateboard", "kitchen", "bathroom", "firefighter", "man", "woman", "dog"]))
    assert {("skateboarder", "skateboard"), ("skateboard", "skateboarder"), ("bathroom", "kitchen")} <= pairs
    assert ("firefighter", "man") in pairs
    assert not pairs & {("man", "woman"), ("dog", "kitchen"), ("man", "skateboard")}


def test_kinds_parts_and_likenesses_are_not_said_to_be_absent() -> None:
    names = [
        "transit bus",
        "street",
        "highway",
        "city street",
        "girl",
        "shirt",
        "giraffe",
        "neck",
        "truck",
        "hood",
        "sandwich",
        "kite",
    ]
    pairs = set(implied_pairs(names))
    assert {
        ("transit bus", "street"),
        ("highway", "city street"),
        ("girl", "shirt"),
        ("giraffe", "neck"),
        ("truck", "hood"),
    } <= pairs
    assert not [pair for pair in pairs if "kite" in pair]
    assert is_implied("equipment", "man") and is_implied("oven", "stove") and not is_implied("oven", "tree")


def test_a_small_or_repetitive_input_gets_questions_row_by_row() -> None:
    table = captions(4)
    assert questions(table, per_image=1)
    assert not questions(table, per_image=1, draw="pairs")


def test_one_object_has_one_name() -> None:
    counts = {"couch": 3, "sofas": 5, "zorb-ball": 1, "zorb balls": 4, "zorbball": 1, "sky": 9, "ski-lift": 1, "ski lifts": 1}
    names = canonical_names(counts)
    assert names["couch"] == names["sofas"] == "sofa"
    assert names["ski-lift"] == names["ski lifts"]
    assert [names[name] for name in ("zorb-ball", "zorb balls", "zorbball")] == ["zorb ball"] * 3
    assert "sky" not in names
