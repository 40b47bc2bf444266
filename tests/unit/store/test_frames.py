from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardmill.store.cells import Kind
from shardmill.store.frames import FORMATS, frame_of, read_frame, write_frame

KINDS: dict[str, Kind] = {"row_id": "int", "caption": "text", "objects": "list", "found": "json", "score": "float", "ok": "bool"}
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
ROW = st.fixed_dictionaries(
    {
        "row_id": st.integers(0, 2**53),
        "caption": st.none() | TEXT | st.sampled_from(["", "None", "NA", 'a "b", c\nd', "\r\n", "{{ x }}", "=1+1"]),
        "objects": st.none() | st.lists(TEXT, max_size=3),
        "found": st.none() | st.dictionaries(TEXT, st.integers(-9, 9) | TEXT | st.lists(st.booleans(), max_size=2), max_size=3),
        "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "ok": st.none() | st.booleans(),
    }
)


@pytest.mark.parametrize("format", FORMATS)
@given(rows=st.lists(ROW, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_format_gives_back_what_was_written(tmp_path: Path, format: str, rows: list[dict[str, object]]) -> None:
    frame = frame_of(rows, KINDS)
    path = tmp_path / f"part.{format}"
    write_frame(frame, KINDS, path, format)
    back = read_frame(path, KINDS, format)
    assert back.to_dicts() == frame.to_dicts()


def test_pandas_reads_the_same_rows_from_csv(tmp_path: Path) -> None:
    rows = [{"row_id": 1, "caption": 'say "hi",\nthere', "objects": ["a", "b"], "found": {}, "score": 0.5, "ok": True}]
    write_frame(frame_of(rows, KINDS), KINDS, tmp_path / "part.csv", "csv")
    table = pd.read_csv(tmp_path / "part.csv")
    assert table.loc[0, "caption"] == 'say "hi",\nthere'
    assert table.loc[0, "objects"] == '["a","b"]'


def test_parquet_lists_are_real_lists(tmp_path: Path) -> None:
    write_frame(frame_of([{"row_id": 1, "objects": ["a", "b"]}], KINDS), KINDS, tmp_path / "part.parquet", "parquet")
    assert pl.read_parquet(tmp_path / "part.parquet")["objects"].to_list() == [["a", "b"]]


def test_a_value_of_the_wrong_kind_names_its_column() -> None:
    with pytest.raises(TypeError, match="column objects"):
        frame_of([{"row_id": 1, "objects": "dog"}], KINDS)
