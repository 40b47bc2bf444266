"""Foreign CSVs named by row range: merged in the order of their ranges, gaps and overlaps told."""

from pathlib import Path

import pandas as pd
import pytest

from shardmill.tables.ranges import merge_ranges
from shardmill.util.errors import UserError


def part(
    folder: Path, start: int, end: int, rows: int | None = None, prefix: str = "cc12m_pos", columns: str = "filepath,caption"
) -> Path:
    """`prefix_{start}_{end}.csv` with one row per number of the range."""
    path = folder / f"{prefix}_{start}_{end}.csv"
    count = rows if rows is not None else end - start
    path.write_text(columns + "\n" + "".join(f'{start + row}.jpg,"a dog, row {start + row}"\n' for row in range(count)))
    return path


def test_ranges_are_merged_in_order_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    files = [part(tmp_path, 20, 25), part(tmp_path, 0, 8), part(tmp_path, 8, 20)]
    result = merge_ranges(files, tmp_path / "all.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert (result.rows, result.faults) == (25, [])
    assert lines[0] == "filepath,caption"
    assert [line.split(".")[0] for line in lines[1:]] == [str(number) for number in range(25)]


def test_captions_of_blanks_in_a_table_of_one_column_are_records_for_pandas(tmp_path: Path) -> None:
    captions = ["a dog", " ", "", 'say "no"', "\t"]
    (tmp_path / "x_0_5.csv").write_text("caption\n" + "".join('"' + text.replace('"', '""') + '"\n' for text in captions))
    merge_ranges([tmp_path / "x_0_5.csv"], tmp_path / "all.csv")
    assert pd.read_csv(tmp_path / "all.csv", keep_default_na=False)["caption"].tolist() == captions


def test_a_last_file_to_the_end_of_the_table(tmp_path: Path) -> None:
    assert merge_ranges([part(tmp_path, 0, 5), part(tmp_path, 5, -1, rows=3)], tmp_path / "all.csv").rows == 8


@pytest.mark.parametrize(
    ("ranges", "fault"),
    [
        ([(0, 5, 5), (8, 10, 2)], "no file has the rows 5-8"),
        ([(2, 5, 3)], "no file has the rows 0-2"),
        ([(0, 5, 5), (3, 8, 5)], "more than one file has the rows 3-5"),
        ([(0, 5, 4), (5, 8, 3)], "cc12m_pos_0_5.csv has 4 rows, its name says 5"),
    ],
)
def test_faults_are_refused_unless_allowed_and_told_anyway(
    tmp_path: Path, ranges: list[tuple[int, int, int]], fault: str
) -> None:
    files = [part(tmp_path, *numbers) for numbers in ranges]
    out = tmp_path / "all.csv"
    with pytest.raises(UserError, match=fault):
        merge_ranges(files, out)
    assert not out.exists()
    assert fault in merge_ranges(files, out, allow_gaps=True).faults
    assert out.exists()


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = part(tmp_path, 0, 3)
    with pytest.raises(UserError, match="different tables"):
        merge_ranges([first, part(tmp_path, 3, 5, prefix="train")], tmp_path / "x.csv")
    with pytest.raises(UserError, match="has the columns"):
        merge_ranges([first, part(tmp_path, 3, 5, columns="filepath,title")], tmp_path / "x.csv")
    with pytest.raises(UserError, match="not named by a row range"):
        other = tmp_path / "other.csv"
        other.write_text("a\n1\n")
        merge_ranges([first, other], tmp_path / "x.csv")
    with pytest.raises(UserError, match="no files"):
        merge_ranges([], tmp_path / "x.csv")
