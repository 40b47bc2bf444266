"""The caption files of known data sets: how each is recognised by its content, and read as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from shardmill.store.cells import dump_cell
from shardmill.tables.base import BadRecord, Batch, BatchBuilder, Table
from shardmill.tables.convert.anyword import read_anyword
from shardmill.tables.convert.captions import COLUMNS, Captioned, Found
from shardmill.tables.convert.coco import read_coco
from shardmill.tables.convert.flickr30k import read_flickr30k
from shardmill.tables.convert.llava import read_llava
from shardmill.tables.convert.narratives import read_narratives
from shardmill.tables.convert.visual_genome import read_visual_genome
from shardmill.tables.json_stream import json_entries
from shardmill.tables.jsonl import json_lines
from shardmill.util.errors import UserError

ENTRIES_SEEN = 60


class KnownFile(NamedTuple):
    """A kind of caption file: what it is called, in `shardmill convert` too, what it looks like, and its reader."""

    name: str
    about: str
    read: Callable[[Path], Iterator[Found]]


KNOWN = {
    known.name: known
    for known in (
        KnownFile("coco", 'COCO captions: captions_*.json, or {id: {"image_file", "captions"}}. One row per caption.', read_coco),
        KnownFile(
            "flickr30k", 'Karpathy\'s dataset_flickr30k.json, dataset_coco.json: {"images": [{"sentences"}]}.', read_flickr30k
        ),
        KnownFile(
            "llava", 'LLaVA, ShareGPT4V: [{"image", "conversations"}], the model\'s first answer; or [{"caption"}].', read_llava
        ),
        KnownFile("visual-genome", "Visual Genome: region_descriptions.json. One row per region.", read_visual_genome),
        KnownFile("narratives", "Localized Narratives: *.jsonl. One row per narrative.", read_narratives),
        KnownFile(
            "anyword",
            'AnyWord-3M: {"data_list": [{"img_name", "caption", "annotations"}]}. Rows with text in Latin script.',
            read_anyword,
        ),
    )
}


def recognized(path: Path, kind: str, encoding: str | None) -> KnownFile | None:
    """The kind of caption file that a JSON document or a file of JSON lines (`kind`) is; None for a table."""
    if encoding is not None:
        return None
    name = _name_of_document(path) if kind == "json" else _name_of_lines(path)
    return KNOWN[name] if name else None


def _name_of_document(path: Path) -> str | None:
    first = list(islice(json_entries(path, None), ENTRIES_SEEN))
    inside: dict[str, dict[str, Any]] = {
        entry.key: entry.value for entry in reversed(first) if entry.position is not None and isinstance(entry.value, dict)
    }
    if "sentences" in inside.get("images", {}):
        return "flickr30k"
    if "file_name" in inside.get("images", {}) or "image_id" in inside.get("annotations", {}):
        return "coco"
    if "annotations" in inside.get("data_list", {}):
        return "anyword"
    top = inside.get("", {})
    if "conversations" in top:
        return "llava"
    return "visual-genome" if isinstance(top.get("regions"), list) and "phrase" in json.dumps(top["regions"][:1]) else None


def _name_of_lines(path: Path) -> str | None:
    _, line = next(json_lines(path), (0, b""))
    return "narratives" if b'"timed_caption"' in line or (b'"annotator_id"' in line and b'"dataset_id"' in line) else None


class KnownTable(Table):
    """A caption file of a known data set as the table that `convert` writes: a record for each row, or entry that it cannot use.

    The line of a record is its ordinal, from 1.
    """

    def __init__(self, path: Path, known: KnownFile) -> None:
        self.format = known.name
        self._known = known
        super().__init__(path, COLUMNS, "utf-8")
        self.remarks.append(f"read as {known.about}")
        if next((found for found in known.read(path) if isinstance(found, Captioned)), None) is None:
            raise UserError(f"{path} looks like {known.about.partition(':')[0]}, but it has no caption of the expected form.")

    def _batches(self) -> Iterator[Batch]:
        builder = BatchBuilder(self.columns)
        for row_id, found in enumerate(self._known.read(self.path)):
            if isinstance(found, Captioned):
                cells = [found.image, found.caption, dump_cell(list(found.texts)), self._known.name, found.source_id]
                builder.add(row_id, row_id + 1, [_utf8(cell) for cell in cells], len(found.caption))
            else:
                detail = f"{found.entry}{': ' if found.detail else ''}{found.detail}"
                raw = "" if found.raw is None else _utf8(dump_cell(found.raw)[:2_000])
                builder.add_bad(BadRecord(row_id, row_id + 1, found.reason, _utf8(detail), raw))
            if builder.full:
                yield builder.take()
        yield builder.take()


def _utf8(text: str) -> str:
    """What no encoding can hold becomes a question mark, as in the tables that `convert` writes."""
    return text.encode("utf-8", "replace").decode()
