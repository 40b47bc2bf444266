"""CSV and TSV for open_clip: a line for each text, with the columns filepath and title.

open_clip reads them by `pandas.read_csv(file, sep=...)` with no more options (`--csv-separator` is a tab unless told otherwise),
takes the two columns as lists, opens each filepath and tokenizes each title. Pandas turns some words into missing values.
"""

from __future__ import annotations

import polars as pl

from shardmill.export.folder import ExportFolder, LeftOut
from shardmill.export.options import ExportOptions
from shardmill.export.placed import NO_TEXT, PLACE, placed
from shardmill.export.rows import OfferRows, keys_of
from shardmill.store.atomic import replacing

HEEDED = ("images",)
SEPARATORS = {"csv": ",", "tsv": "\t"}
CONTROL = r"[\x00-\x1f\x7f]+"
TAKEN_FOR_MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN",
    "None", "n/a", "nan", "null",
)  # fmt: skip
"""What pandas reads as no value, quoted or not (pandas.io.parsers, `na_values`)."""


def write_csv(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.csv`."""
    write(source, folder, options, "csv")


def write_tsv(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.tsv`."""
    write(source, folder, options, "tsv")


def write(source: OfferRows, folder: ExportFolder, options: ExportOptions, kind: str) -> None:
    """The lines of all texts, in the order of the input. Line breaks and other control characters become blanks."""
    name = f"{source.offer.name}.{kind}"
    rows, header = 0, True
    with replacing(folder.path / name) as file:
        for table in placed(source, folder, options):
            lines = lines_of(table, source.offer.texts, folder.left_out)
            lines.write_csv(file, separator=SEPARATORS[kind], include_header=header)
            rows, header = rows + lines.height, False
        if header:
            file.write(f"filepath{SEPARATORS[kind]}title\n".encode())
    folder.files[name] = {"rows": rows}


def lines_of(table: pl.DataFrame, texts: pl.Expr | None, left_out: LeftOut) -> pl.DataFrame:
    """filepath and title; what pandas would not read as text is left out and written down."""
    assert texts is not None
    keys = [name for name in ("row_id", "sub_id") if name in table.columns]
    lines = table.select(*keys, filepath=PLACE, title=texts.list.drop_nulls())
    silent = pl.col("title").list.len().fill_null(0) == 0
    for row_id, sub_id in keys_of(lines.filter(silent)):
        left_out.add(NO_TEXT, row_id, "", sub_id)
    lines = lines.filter(~silent).explode("title").with_columns(pl.col("title").str.replace_all(CONTROL, " ").str.strip_chars())
    lost = pl.col("title").is_in(TAKEN_FOR_MISSING) | pl.col("filepath").str.contains(CONTROL)
    for key, title in zip(keys_of(gone := lines.filter(lost)), gone["title"], strict=True):
        left_out.add("pandas would not read it", key[0], repr(title), key[1])
    return lines.filter(~lost).select("filepath", "title")
