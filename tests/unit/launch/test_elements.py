"""Which arrays a launch makes."""

from __future__ import annotations

from shardmill.launch.elements import ElementArray, arrays_of, groups, limit

AFTER = {"a": "ingest", "b": "a", "c": "b", "d": "b"}


STAGES = [(stage,) for stage in AFTER]


def shape(arrays: list[ElementArray]) -> list[tuple[str, list[list[int]], str]]:
    """Each array's stages, its elements and the stages that it waits for, stages as one word."""
    return [("".join(array.stages), array.elements, ",".join("".join(each.stages) for each in array.after)) for array in arrays]


def test_every_stage_has_the_same_groups_and_waits_for_the_stage_that_it_reads() -> None:
    arrays = arrays_of(STAGES, AFTER, groups(5, 2), lambda stage, shard: True, {}, 100)
    elements = [[0, 1], [2, 3], [4]]
    assert shape(arrays) == [("a", elements, ""), ("b", elements, "a"), ("c", elements, "b"), ("d", elements, "b")]
    assert arrays[2].after == arrays[3].after == (arrays[1],)


def test_finished_shards_are_left_out_and_elements_still_pair_up() -> None:
    def is_open(stage: str, shard: int) -> bool:
        return (stage, shard) not in {("a", 0), ("a", 1), ("a", 2)}

    arrays = arrays_of(STAGES, AFTER, groups(4, 2), is_open, {}, 100)
    for array in arrays:
        for source in array.after:
            for mine, above in zip(array.elements, source.elements, strict=True):
                assert set(above) <= set(mine)
    work = {(array.name, shard) for array in arrays for element in array.elements for shard in element}
    assert work == {(stage, shard) for stage in AFTER for shard in range(4) if is_open(stage, shard)}


def test_an_element_that_needs_fewer_stages_waits_for_nothing_that_is_not_submitted() -> None:
    done = {("a", 0), ("b", 0)}
    arrays = arrays_of(STAGES, AFTER, groups(2, 1), lambda stage, shard: (stage, shard) not in done, {}, 100)
    alone = [array for array in arrays if array.elements == [[0]]]
    assert shape(alone) == [("c", [[0]], ""), ("d", [[0]], "")]


def test_arrays_longer_than_the_cluster_allows_are_cut_and_the_last_has_its_exact_width() -> None:
    arrays = arrays_of(STAGES[:2], AFTER, groups(2500, 1), lambda stage, shard: True, {}, 1001)
    assert [(array.name, len(array.elements)) for array in arrays] == [
        ("a", 1001), ("a", 1001), ("a", 498), ("b", 1001), ("b", 1001), ("b", 498)
    ]  # fmt: skip
    assert [array.after for array in arrays[3:]] == [(array,) for array in arrays[:3]]


def test_shards_under_way_are_not_submitted_again_and_what_follows_waits_for_their_jobs() -> None:
    live = {("a", 0): ["7_0"], ("a", 1): ["7_0"], ("b", 0): ["8_0"], ("b", 1): ["8_0"]}
    arrays = arrays_of(STAGES[:3], AFTER, groups(4, 2), lambda stage, shard: True, live, 100)
    first = [array for array in arrays if array.elements == [[0, 1]]]
    assert [(array.name, array.waits_for, array.after) for array in first] == [("c", ("8_0",), ())]
    assert [array.name for array in arrays if array.elements == [[2, 3]]] == ["a", "b", "c"]


def open_at_once(arrays: list[ElementArray], most: int) -> int:
    """The most nodes that are held when arrays end in the worst order: those whose chain has not ended are not open."""
    worst = 0
    for ended in range(len(arrays) + 1):
        finished = arrays[:ended]
        opened = [each for each in arrays[ended:] if each.chained_to is None or each.chained_to in finished]
        worst = max(worst, sum(min(each.parallel, len(each.elements)) for each in opened))
    return worst


def test_one_limit_holds_over_all_arrays() -> None:
    for most in (1, 2, 3, 5, 8, 40):
        arrays = [ElementArray((stage,), [[shard] for shard in range(10)]) for stage in "aabbcc"]
        assert limit(arrays, {}, most) == {}
        assert all(array.parallel >= 1 for array in arrays)
        assert open_at_once(arrays, most) <= most


def test_no_limit_lets_every_element_run() -> None:
    arrays = [ElementArray(("a",), [[0], [1], [2]]), ElementArray(("b",), [[0]])]
    limit(arrays, {}, None)
    assert [array.parallel for array in arrays] == [3, 1]


def test_the_first_stage_gets_what_the_limit_leaves() -> None:
    arrays = [ElementArray((stage,), [[shard] for shard in range(100)]) for stage in "abc"]
    limit(arrays, {}, 16)
    assert [array.parallel for array in arrays] == [14, 1, 1]


def test_live_arrays_of_an_earlier_launch_count_and_are_lowered_when_they_leave_no_room() -> None:
    arrays = [ElementArray(("c",), [[shard] for shard in range(9)])]
    assert limit(arrays, {"7": 3}, 4) == {}
    assert (arrays[0].parallel, arrays[0].chained_to) == (1, None)
    assert limit(arrays, {"7": 4}, 4) == {"7": 1}
    assert arrays[0].parallel == 3
    assert limit(arrays, {"7": 1, "8": 1}, 2) == {}
    assert (arrays[0].parallel, arrays[0].chained_to) == (1, "7")
