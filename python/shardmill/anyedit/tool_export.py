"""Edit instructions as AnyEdit's own editing tools read them: `--json-path TYPE.jsonl --instruction-type TYPE`.

The tools know some types and fields by other names than the published data set (`tone_transfer`, `new object`) and look up the
edited object of each type that has one. They join image folder and file name: `--image-path` is the export's folder.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from typing import IO, Any

from shardmill.anyedit.edit_types import ALIASES
from shardmill.export.folder import ExportFolder
from shardmill.export.formats import ExportFormat
from shardmill.export.image_paths import IMAGE_PATH, with_image_paths
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows, decode_rows
from shardmill.export.tables import ExportTable, Row
from shardmill.util.atomic import replacing

TABLE = "instructions"
TYPES = {published: own for own, published in ALIASES.items()}
"""The tools' names of types that have another in the published data."""
FIELDS = {name: name.replace("_", " ") for name in ("new_object", "new_background", "new_state", "target_object")}


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`TYPE.jsonl` for each type of edit."""
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for frame in with_image_paths(source, folder, options):
            for row in decode_rows(frame, source.kinds):
                record = tool_record(row, row[IMAGE_PATH])
                name = f"{record['edit_type']}.jsonl"
                if name not in files:
                    files[name] = stack.enter_context(replacing(folder.path / name))
                files[name].write((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8"))
                counts[name] += 1
    folder.files.update({name: {"rows": counts[name]} for name in sorted(counts)})


def tool_record(row: Row, image: str) -> dict[str, Any]:
    """A row of instructions with the fields that the tools look up."""
    details = dict(row["details"])
    kind, edited = row["edit_type"], details.pop("edited_object", None) or row["edited_object"]
    return {
        "edit": row["edit"],
        **({"edited object": edited} if edited else {}),
        "input": row["edit_input"],
        "output": row["output"],
        "edit_type": TYPES.get(kind, kind),
        "image_file": image,
        **{FIELDS.get(name, name): value for name, value in details.items()},
    }


def fits(table: ExportTable) -> bool:
    """Whether a table has instructions about images."""
    return table.name == TABLE and bool(table.image_column)


FORMAT = ExportFormat(
    "AnyEdit's editing tools: a file for each type of edit", "instructions about images", fits, write, ("images",),
    copies_images=True,
)  # fmt: skip
