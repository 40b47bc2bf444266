"""JSON columns of data frames hold every field of every row."""

from __future__ import annotations

import polars as pl
import pytest

from shardmill.api import _decoded


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (
            ['{"object": "dog"}', '{"aspect": "season"}'],
            [{"object": "dog", "aspect": None}, {"object": None, "aspect": "season"}],
        ),
        (['[{"a": 1}]', None, '[{"b": 2}]'], [[{"a": 1, "b": None}], None, [{"a": None, "b": 2}]]),
        (['{"a": 1}', '{"a": "one"}'], ['{"a": 1}', '{"a": "one"}']),
    ],
)
def test_no_field_is_lost_or_changed(cells: list[str | None], expected: list[object]) -> None:
    frame = pl.DataFrame({"target": pl.Series(cells, dtype=pl.String)})
    assert _decoded(frame, {"target": "json"})["target"].to_list() == expected
