"""JSON lines for Holistic-CLIP: an image with a fixed number of texts, and a header that describes each position."""

from __future__ import annotations

from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH, with_image_paths
from shardmill.export.multi_text_format import MultiTextWriter, header_path
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.jsonl` and `WHAT.header.json`. An image that lacks a text is left out, or gets another of its texts in that slot."""
    assert source.table.text_slots is not None
    slots = source.table.text_slots(options.texts)
    path = folder.path / f"{source.table.name}.jsonl"
    fallback = slots.fallback if options.missing == "pad" else []
    with MultiTextWriter(path, slots.slots, missing=options.missing, fallback=fallback, details={"run": source.digest}) as writer:
        for frame in with_image_paths(source, folder, options):
            for row_id, image, texts in frame.select("row_id", IMAGE_PATH, texts=slots.texts).iter_rows():
                if not writer.write(image, texts):
                    folder.left_out.add("lacks a text", row_id, f"{sum(bool(text) for text in texts)} of {len(texts)} texts")
    folder.files[path.name] = {"rows": writer.counts.lines}
    folder.files[header_path(path).name] = {"rows": None}
