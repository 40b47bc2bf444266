"""CSV and TSV for open_clip: a line for each text, with the columns filepath and title.

open_clip reads them by `pandas.read_csv(file, sep=...)` with no more options (`--csv-separator` is a tab by default),
takes the two columns as lists, opens each filepath and tokenizes each title. Pandas turns some words into missing values.
"""

from __future__ import annotations

import polars as pl

from shardmill.export.folder import ExportFolder, LeftOutRows
from shardmill.export.image_paths import IMAGE_PATH, NO_TEXT, with_image_paths
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, row_keys
from shardmill.util.atomic import replacing

SEPARATORS = {"csv": ",", "tsv": "\t"}
CONTROL = r"[\x00-\x1f\x7f]+"
READ_AS_MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN",
    "None", "n/a", "nan", "null",
)  # fmt: skip
"""What pandas reads as no value, quoted or not (pandas.io.parsers, `na_values`)."""


def write_csv(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.csv`."""
    write(source, folder, options, "csv")


def write_tsv(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.tsv`."""
    write(source, folder, options, "tsv")


def write(source: TableRows, folder: ExportFolder, options: ExportOptions, kind: str) -> None:
    """The lines of all texts, in the order of the input. Line breaks and other control characters become spaces."""
    name = f"{source.table.name}.{kind}"
    rows, header = 0, True
    with replacing(folder.path / name) as file:
        for frame in with_image_paths(source, folder, options):
            lines = title_lines(frame, source.table.texts, folder.left_out)
            lines.write_csv(file, separator=SEPARATORS[kind], include_header=header)
            rows, header = rows + lines.height, False
        if header:
            file.write(f"filepath{SEPARATORS[kind]}title\n".encode())
    folder.files[name] = {"rows": rows}


def title_lines(frame: pl.DataFrame, texts: pl.Expr | None, left_out: LeftOutRows) -> pl.DataFrame:
    """Filepath and title of each text; what pandas would not read as text is left out and recorded."""
    assert texts is not None
    keys = [name for name in ("row_id", "sub_id") if name in frame.columns]
    lines = frame.select(*keys, filepath=IMAGE_PATH, title=texts.list.drop_nulls())
    without_text = pl.col("title").list.len().fill_null(0) == 0
    for row_id, sub_id in row_keys(lines.filter(without_text)):
        left_out.add(NO_TEXT, row_id, "", sub_id)
    lines = (
        lines.filter(~without_text).explode("title").with_columns(pl.col("title").str.replace_all(CONTROL, " ").str.strip_chars())
    )
    unreadable = pl.col("title").is_in(READ_AS_MISSING) | pl.col("filepath").str.contains(CONTROL)
    for key, title in zip(row_keys(left := lines.filter(unreadable)), left["title"], strict=True):
        left_out.add("pandas would not read it", key[0], repr(title), key[1])
    return lines.filter(~unreadable).select("filepath", "title")
