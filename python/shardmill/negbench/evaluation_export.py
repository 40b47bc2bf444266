"""Multiple-choice questions as NegBench's evaluation reads them (`evaluate_model`; `--coco-mcq FILE`).

It knows the templates positive, negative and hybrid, takes a wrong prediction for a type by its position (1 hybrid, 2 positive,
3 negative), and so has the right option first. Of the four options over two objects two are hybrid: where the right one is not
one of them, the second takes the position of the type that the right one has; accuracies do not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from shardmill.export.folder import ExportFolder
from shardmill.export.formats import ExportFormat
from shardmill.export.image_paths import IMAGE_PATH, with_image_paths
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import ExportTable, Row
from shardmill.util.atomic import replacing

TABLE = "questions"
WRONG = ("hybrid", "positive", "negative")
"""The type of wrong option that the evaluation expects at the positions 1, 2 and 3."""
SCHEMA: dict[str, pl.DataType] = {
    "image_path": pl.String(), "correct_answer": pl.Int64(), **{f"caption_{index}": pl.String() for index in range(4)},
    "correct_answer_template": pl.String(), "row_id": pl.Int64(), "sub_id": pl.Int64(),
}  # fmt: skip


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`questions.csv`."""
    name = f"{source.table.name}.csv"
    rows, header = 0, True
    with replacing(folder.path / name) as file:
        for frame in with_image_paths(source, folder, options):
            lines = [evaluation_line(row) for row in decode_rows(frame, source.kinds)]
            pl.DataFrame(lines, schema=SCHEMA, orient="row").write_csv(file, include_header=header)
            rows, header = rows + len(lines), False
        if header:
            pl.DataFrame(schema=SCHEMA).write_csv(file)
    folder.files[name] = {"rows": rows}


def evaluation_line(row: Row) -> tuple[object, ...]:
    """The values of a question's line."""
    types = [type_of(claims) for claims in row["option_truths"]]
    order = options_in_order(types, row["correct_answer"])
    texts = [row[f"paraphrase_{index}"] for index in order]
    return (row[IMAGE_PATH], 0, *texts, types[row["correct_answer"]], row["row_id"], row["sub_id"])


def type_of(claims: Mapping[str, bool]) -> str:
    """The type of an option by what it claims of each object.

    >>> [type_of(claims) for claims in ({"dog": True, "cat": True}, {"dog": True, "cat": False}, {"cat": False})]
    ['positive', 'hybrid', 'negative']
    """
    values = set(claims.values())
    return "hybrid" if len(values) > 1 else "positive" if True in values else "negative"


def options_in_order(types: Sequence[str], right: int) -> list[int]:
    """The right option first, then the wrong ones, each at the position of its type if that is free.

    >>> options_in_order(["negative", "hybrid", "positive", "hybrid"], 3)
    [3, 1, 2, 0]
    """
    left = [index for index in range(len(types)) if index != right]
    placed: dict[int, int] = {}
    for position, wanted in enumerate(WRONG):
        found = next((index for index in left if types[index] == wanted), None)
        if found is not None:
            placed[position] = found
            left.remove(found)
    return [right, *(placed[position] if position in placed else left.pop(0) for position in range(len(WRONG)))]


def fits(table: ExportTable) -> bool:
    """Whether a table has questions about images."""
    return table.name == TABLE and bool(table.image_column)


FORMATS = {
    "negbench-eval": ExportFormat(
        "NegBench's evaluation: the right option first", "multiple-choice questions about images", fits, write, ("images",)
    )
}
