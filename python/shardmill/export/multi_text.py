"""JSON lines for Holistic-CLIP: a picture and always as many texts, and the header that says which text stands where."""

from __future__ import annotations

from shardmill.export.folder import ExportFolder
from shardmill.export.multi_text_format import MultiTextWriter, header_path
from shardmill.export.options import ExportOptions
from shardmill.export.placed import PLACE, placed
from shardmill.export.rows import OfferRows

HEEDED = ("images", "texts", "missing")


def write(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.jsonl` and `WHAT.header.json`. A picture that lacks a text is left out, or gets another of its texts again."""
    assert source.offer.places is not None
    places = source.offer.places(options.texts)
    path = folder.path / f"{source.offer.name}.jsonl"
    fallback = places.fallback if options.missing == "pad" else []
    with MultiTextWriter(
        path, places.sources, missing=options.missing, fallback=fallback, details={"run": source.digest}
    ) as writer:
        for table in placed(source, folder, options):
            for row_id, place, texts in table.select("row_id", PLACE, texts=places.texts).iter_rows():
                if not writer.write(place, texts):
                    folder.left_out.add("lacks a text", row_id, f"{sum(bool(text) for text in texts)} of {len(texts)} texts")
    folder.files[path.name] = {"rows": writer.counts.lines}
    folder.files[header_path(path).name] = {"rows": None}
