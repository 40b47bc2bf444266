"""All columns of a table as CSV, for spreadsheets and scripts; lists and json columns are JSON text."""

from __future__ import annotations

from shardmill.export.folder import ExportFolder
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows
from shardmill.store.frames import write_frame
from shardmill.util.atomic import replacing


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.csv`; images are named by absolute paths."""
    name = f"{source.table.name}.csv"
    rows, header = 0, True
    with replacing(folder.path / name) as file:
        for _, frame in source.frames(folder.left_out):
            write_frame(source.absolute(frame.select(list(source.kinds))), source.kinds, file, "csv", header=header)
            rows, header = rows + frame.height, False
    folder.files[name] = {"rows": rows}
