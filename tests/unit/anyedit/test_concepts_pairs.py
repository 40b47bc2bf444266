"""Rows to caption: distinct, covering every concept, the same for the same seed, and drawn without lists of all pairs."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections import Counter
from itertools import combinations, islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from shardmill.anyedit.concepts.pairs import PoolConcept, Row, distinct_pairs, draw_rows, pair_at, permuted
from shardmill.anyedit.concepts.pool import read_pool, write_rows
from shardmill.cli.main import cli
from shardmill.util.errors import UserError

POOL = [
    PoolConcept("kettle", ("kitchen", "campsite", "in a tent")),
    PoolConcept("otter", ("riverbank",)),
    PoolConcept("lamp", ("on a desk", "kitchen")),
    PoolConcept("kayak", ()),
    PoolConcept("kite", ("beach", "park")),
]


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
def test_a_permutation_takes_every_index_once(size: int) -> None:
    taken = [permuted(index, size, seed=3) for index in range(size)]
    assert sorted(taken) == list(range(size))
    assert size < 10 or taken != [permuted(index, size, seed=4) for index in range(size)]


def test_every_index_is_a_pair() -> None:
    assert {pair_at(index) for index in range(45)} == set(combinations(range(10), 2))
    big = 60_000 * 59_999 // 2 - 1
    assert pair_at(big) == (59_998, 59_999)


@pytest.mark.parametrize("count", [2, 3, 10, 25])
def test_all_pairs_come_once_and_cover_every_place_first(count: int) -> None:
    pairs = list(distinct_pairs(count, seed=5))
    assert sorted(pairs) == list(combinations(range(count), 2))
    covered = {place for pair in pairs[: (count + 1) // 2] for place in pair}
    assert covered == set(range(count))


def test_pairs_of_thousands_of_concepts_need_no_memory() -> None:
    tracemalloc.start()
    count = len(set(islice(distinct_pairs(2_409, seed=0), 2_000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2_000
    assert peak < 3_000_000


def rows(mode: str, total: int, seed: int = 0, per_pair: int = 1) -> list[Row]:
    return list(draw_rows(POOL, mode, total, seed, per_pair))  # type: ignore[arg-type]


def test_a_concept_alone_comes_again_only_after_all_others() -> None:
    found = rows("c2cap", 12)
    assert {row[0] for row in found[:5]} == {concept.name for concept in POOL}
    assert max(Counter(row[0] for row in found).values()) == 3
    assert all(row[1:] == ("", "", "c2cap") for row in found)


def test_concepts_with_backgrounds_are_all_covered_before_any_comes_again() -> None:
    found = rows("cb2cap", 8)
    assert {row[0] for row in found[:4]} == {"kettle", "otter", "lamp", "kite"}
    assert len(set(found)) == 8
    assert ("kettle", "", "at a campsite", "cb2cap") in found
    with pytest.raises(UserError, match="8 rows"):
        rows("cb2cap", 9)


def test_pairs_are_distinct_whatever_their_order_and_in_a_place_of_theirs() -> None:
    found = rows("cc2cap", 10)
    assert len({frozenset(row[:2]) for row in found}) == 10
    places = {frozenset(row[:2]): row[2] for row in found}
    assert places[frozenset({"kettle", "lamp"})] == "in a kitchen"  # the one that both have
    assert places[frozenset({"otter", "kayak"})] == "on a riverbank"
    with pytest.raises(UserError, match="10 rows"):
        rows("cc2cap", 11)


def test_a_pair_has_several_rows_on_demand_each_with_another_place() -> None:
    found = rows("cc2cap", 12, per_pair=3)
    assert max(Counter(frozenset(row[:2]) for row in found).values()) == 3
    assert len(set(found)) == 12


def test_the_seed_decides_and_nothing_else() -> None:
    for mode in ("c2cap", "cb2cap", "cc2cap"):
        assert rows(mode, 8, seed=1) == rows(mode, 8, seed=1)
        assert rows(mode, 8, seed=1) != rows(mode, 8, seed=2)
        assert rows(mode, 8)[:5] == rows(mode, 5)


def test_a_pool_is_read_from_any_of_its_shapes(tmp_path: Path) -> None:
    shapes = {"a.json": {"kettle": ["kitchen"]}, "b.json": {"concepts": ["kettle"], "backgrounds": ["kitchen"]}}
    for name, content in shapes.items():
        (tmp_path / name).write_text(json.dumps(content))
        assert read_pool(tmp_path / name) == [PoolConcept("kettle", ("kitchen",))]
    (tmp_path / "c.csv").write_text('row_id,concept,backgrounds,all_backgrounds\n0,kettle,[],"[""kitchen""]"\n')
    assert read_pool(tmp_path / "c.csv") == [PoolConcept("kettle", ("kitchen",))]


def test_too_few_rows_write_nothing(tmp_path: Path) -> None:
    lonely = [PoolConcept("kettle", ("kitchen",)), PoolConcept("otter", ())]
    with pytest.raises(UserError, match="only 1 such rows"):
        write_rows(lonely, ["cc2cap"], 2, 0, tmp_path / "p.csv", lambda done, total: None, backgrounds_per_pair=2)
    assert list(tmp_path.iterdir()) == []


def test_modes_share_the_rows_evenly(tmp_path: Path) -> None:
    (tmp_path / "pool.json").write_text(json.dumps({concept.name: list(concept.backgrounds) for concept in POOL}))
    command = ["concepts", "pairs", str(tmp_path / "pool.json"), "--mode", "cb2cap", "--mode", "cc2cap", "--total", "9"]
    done = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "p.csv")])
    assert done.exit_code == 0, done.output
    with open(tmp_path / "p.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["mode"] for row in written] == ["cb2cap"] * 5 + ["cc2cap"] * 4
    assert list(written[0]) == ["concept", "concept2", "background", "mode"]
    assert "1 concept without a background" in done.output


def test_the_sample_pool_is_what_its_readme_says() -> None:
    samples = Path(__file__).parents[3] / "data" / "samples"
    pool = read_pool(samples / "concepts.csv")
    assert len(pool) == 416
    assert all(len(concept.backgrounds) >= 5 for concept in pool)
    known = {concept.name: concept.backgrounds for concept in pool}
    with open(samples / "anyedit.csv", newline="") as file:
        drawn = list(csv.DictReader(file))
    assert Counter(row["mode"] for row in drawn) == {"cb2cap": 200, "cc2cap": 200}
    for row in drawn:
        assert row["background"] in (*known[row["concept"]], *known.get(row["concept2"], ()))
