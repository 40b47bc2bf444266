"""The formats of an export. A pipeline has some of its own (`Pipeline.formats`); another package adds one as an `ExportFormat` in
the entry-point group `shardmill.exports`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from shardmill.core.registry import pipeline_of, resolve
from shardmill.export.tables import ExportTable, export_tables
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError, did_you_mean

GROUP = "shardmill.exports"


@dataclass(frozen=True)
class ExportFormat:
    """A format of an export.

    Attributes:
        description: What it is for.
        needs: What a table needs for it, for messages.
        fits: Whether a table has that.
        write: The function `(rows, folder, options)` that writes it, or its reference; see `export.make`.
        options: The fields of `ExportOptions` that it uses.
        holds_several: Whether it holds several tables; `write` then gets a list of rows.
        copies_images: Whether the images are inside unless they are only to be referenced.
    """

    description: str
    needs: str
    fits: Callable[[ExportTable], bool]
    write: Callable[..., None] | str
    options: tuple[str, ...] = ()
    holds_several: bool = False
    copies_images: bool = False


def _has_image(table: ExportTable) -> bool:
    return bool(table.image_column)


def _has_texts(table: ExportTable) -> bool:
    return bool(table.image_column) and table.texts is not None


def _has_answers(table: ExportTable) -> bool:
    return bool(table.image_column) and table.conversation is not None


def _any_table(table: ExportTable) -> bool:
    return True


def _writer(name: str) -> str:
    return f"shardmill.export.{name}"


BUILT_IN: dict[str, ExportFormat] = {
    "csv": ExportFormat(
        "open_clip: filepath,title", "images with texts", _has_texts, _writer("open_clip:write_csv"), ("images",)
    ),
    "tsv": ExportFormat("open_clip's default", "images with texts", _has_texts, _writer("open_clip:write_tsv"), ("images",)),
    "jsonl": ExportFormat(
        "Holistic-CLIP: a fixed number of texts", "a fixed number of texts per image", lambda table: bool(table.text_slots),
        _writer("multi_text:write"), ("images", "texts", "missing"),
    ),
    "webdataset": ExportFormat(
        "tar shards with the images", "images", lambda table: bool(table.image_column),
        _writer("webdataset:write"), ("max_size", "every_text"), copies_images=True,
    ),
    "table": ExportFormat("all columns as CSV, lists as JSON", "any table", _any_table, _writer("plain_table:write")),
    "parquet": ExportFormat("typed tables", "any table", _any_table, _writer("parquet:write"), ("images", "max_size")),
    "hf": ExportFormat(
        "a folder for datasets.load_dataset", "any table", _any_table,
        _writer("hf:write"), ("images", "max_size"), holds_several=True, copies_images=True,
    ),
    "llava": ExportFormat("conversations", "questions with answers", _has_answers, _writer("llava:write"), ("images",)),
    "axolotl": ExportFormat(
        "conversations for axolotl", "questions with answers", _has_answers, _writer("axolotl:write"), ("images",)
    ),
    "dpo": ExportFormat(
        "preference pairs", "preference pairs", lambda table: bool(table.image_column and table.pair),
        _writer("dpo:write"), ("images", "form"),
    ),
    "dpo-parquet": ExportFormat(
        "preference pairs with TRL's names", "preference pairs", lambda table: bool(table.image_column and table.pair),
        _writer("dpo_parquet:write"), ("max_size",), copies_images=True,
    ),
    "coco": ExportFormat(
        "boxes", "images with boxes", lambda table: bool(table.image_column and table.boxes),
        _writer("coco:write"), ("images",),
    ),
    "coco-captions": ExportFormat("captions", "images with texts", _has_texts, _writer("coco_captions:write"), ("images",)),
    "label-studio": ExportFormat(
        "tasks to look at and tick in Label Studio", "images", _has_image, _writer("label_studio:write"), ("images",)
    ),
    "fiftyone": ExportFormat("samples to look at in FiftyOne", "images", _has_image, _writer("fiftyone:write"), ("images",)),
    "mds": ExportFormat(
        "shards for mosaicml-streaming", "any table", _any_table, _writer("mds:write"), ("images", "max_size"), copies_images=True
    ),
}  # fmt: skip


def export_formats(run: RunFolder) -> dict[str, ExportFormat]:
    """All formats by name: those of Shardmill, of the run's pipeline, and of other installed packages."""
    known = {**BUILT_IN, **(resolve(pipeline_of(run).formats) or {})}
    return {**known, **{name: format for name, format in installed_formats().items() if name not in known}}


@cache
def installed_formats() -> dict[str, ExportFormat]:
    """The formats of other installed packages."""
    return {entry.name: _load(entry) for entry in entry_points(group=GROUP)}


def _load(entry: Any) -> ExportFormat:
    try:
        found = entry.load()
    except Exception as error:
        raise UserError(f"the export format {entry.name} ({entry.value}) cannot be loaded: {error}") from error
    if not isinstance(found, ExportFormat):
        raise UserError(f"the export format {entry.name} ({entry.value}) is a {type(found).__name__}, not an ExportFormat")
    return found


def find_format(name: str, run: RunFolder) -> ExportFormat:
    """The format of a name. Raises UserError with a hint if there is none."""
    formats = export_formats(run)
    if name not in formats:
        raise UserError(f"there is no format {name!r}; {did_you_mean(name, formats)}")
    return formats[name]


def choose_tables(run: RunFolder, format: str, what: Sequence[str] = ()) -> list[ExportTable]:
    """The tables of these names, or the first that the format fits. Raises UserError that lists the tables of the run."""
    found = find_format(format, run)
    tables = {table.name: table for table in export_tables(run)}
    known = describe_tables(run, tables.values())
    for name in what:
        if name not in tables:
            raise UserError(f"the {run.plan.pipeline} run {run.path} has no table {name!r} to export; {known}")
        if not found.fits(tables[name]):
            raise UserError(f"{name} of a {run.plan.pipeline} run cannot be {format}, which needs {found.needs}; {known}")
    chosen = [tables[name] for name in dict.fromkeys(what)] or [table for table in tables.values() if found.fits(table)][:1]
    if not chosen:
        raise UserError(f"{format} needs {found.needs}, which the {run.plan.pipeline} run {run.path} does not have; {known}")
    return chosen


def describe_tables(run: RunFolder, tables: Iterable[ExportTable]) -> str:
    """The tables and the formats of each: `it has captions (csv, tsv); questions (llava)`."""
    formats = export_formats(run)
    return "it has " + "; ".join(
        f"{table.name} ({', '.join(name for name, format in formats.items() if format.fits(table))})" for table in tables
    )
