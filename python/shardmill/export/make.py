"""Make an export: choose what, check the parts, write the files, write the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from shardmill.export.folder import LEFT_OUT, ExportFolder, identity_of
from shardmill.export.offer import choose
from shardmill.export.options import ExportOptions, Images
from shardmill.export.rows import OfferRows, source_of
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

WRITERS: dict[str, tuple[str, str]] = {
    "csv": ("open_clip", "write_csv"),
    "tsv": ("open_clip", "write_tsv"),
    "jsonl": ("multi_text", "write"),
    "webdataset": ("webdataset", "write"),
    "parquet": ("parquet", "write"),
    "hf": ("hf", "write"),
    "llava": ("llava", "write"),
    "dpo": ("dpo", "write"),
    "coco": ("coco", "write"),
}
"""The module of each format and its function (source or sources, folder, options)."""
SEVERAL = "hf"
"""The format that can hold several tables."""
COPYING = ("webdataset", "hf")
"""Formats that have the pictures inside unless told otherwise."""


@dataclass(frozen=True)
class Exported:
    """The folder, its record, whether it was there already, and the file that names what was left out, if anything was."""

    path: Path
    record: dict[str, Any]
    already: bool
    left_out: Path | None


def export(
    run: RunFolder,
    format: str,
    out: Path | None = None,
    *,
    what: Sequence[str] = (),
    images: Images | None = None,
    options: ExportOptions | None = None,
    allow_missing: bool = False,
    report: Callable[[int], None] = lambda rows: None,
) -> Exported:
    """Write a run's finished rows into a folder of their own (RUN/exports/FORMAT), in the order of the input.

    A finished export of the same is left as it is. Raises UserError naming shards that are not finished, and for what the run
    has not got or the format cannot hold.
    """
    offers = choose(run, format, what)
    if len(offers) > 1 and format != SEVERAL:
        raise UserError(f"{format} holds one table; export them one by one, or as {SEVERAL}")
    if images == "reference" and format == "webdataset":
        raise UserError("webdataset has the pictures inside; leave out --images")
    options = replace(options or ExportOptions("copy"), images=images or ("copy" if format in COPYING else "reference"))
    sources = [source_of(run, offer, allow_missing, report) for offer in offers]
    module = import_module(f"shardmill.export.{WRITERS[format][0]}")
    heeded = options.named(*module.HEEDED)
    digests = {source.offer.name: source.digest for source in sources}
    folder = ExportFolder(out or default_folder(run, format, sources), identity_of(format, run.plan.pipeline, digests, heeded))
    record = folder.open()
    already = record is not None
    if record is None:
        folder.facts["shards"] = {
            source.offer.name: {"used": len(source.shards), "missing": source.missing} for source in sources
        }
        folder.facts["seed"] = run.plan.seed
        write = getattr(module, WRITERS[format][1])
        try:
            write(sources if format == SEVERAL else sources[0], folder, options)
            record = folder.finish()
        finally:
            folder.left_out.close()
    left_out = folder.path / LEFT_OUT
    return Exported(folder.path, record, already, left_out if left_out.exists() else None)


def heeded(format: str) -> tuple[str, ...]:
    """The options that a format heeds."""
    options: tuple[str, ...] = import_module(f"shardmill.export.{WRITERS[format][0]}").HEEDED
    return options


def default_folder(run: RunFolder, format: str, sources: Sequence[OfferRows]) -> Path:
    """RUN/exports/FORMAT; the name says what is exported if that is not the first choice, and that shards are missing."""
    names = [source.offer.name for source in sources]
    chosen = [offer.name for offer in choose(run, format)]
    name = format if names == chosen else "-".join([format, *names])
    missing = next((source for source in sources if source.missing), None)
    if missing is not None:
        name += f".partial-{len(missing.shards)}-of-{len(missing.shards) + len(missing.missing)}"
    return run.path / "exports" / name
