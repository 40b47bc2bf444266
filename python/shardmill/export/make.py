"""Make an export: choose the tables, check the parts, write the files, write the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shardmill.core.registry import resolve
from shardmill.export.folder import LEFT_OUT, ExportFolder, identity_of
from shardmill.export.formats import ExportFormat, choose_tables, find_format
from shardmill.export.images import IMAGES
from shardmill.export.options import ExportOptions, Images
from shardmill.export.rows import TableRows, open_rows
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import refuse_if_changed
from shardmill.util.errors import UserError


@dataclass(frozen=True)
class Exported:
    """An export.

    Attributes:
        path: Its folder.
        record: What `export.json` says.
        already: Whether it was finished before.
        left_out: The file that lists the rows that were left out, if there are any.
    """

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
    """Write a run's finished rows into a folder, in the order of the input. A finished export of the same is left as it is.

    Args:
        run: The run.
        format: The name of the format.
        out: The folder; RUN/exports/FORMAT by default.
        what: The names of the tables; the first that the format fits by default.
        images: Whether to copy the images or only to reference them; the format decides by default.
        options: The other options of the format.
        allow_missing: Leave unfinished shards out.
        report: Called with the number of rows that are done.

    Raises:
        UserError: Shards are unfinished, or the run does not have what is asked for, or the format cannot hold it.
        NoRows: Every row was left out.
    """
    made_as = find_format(format, run)
    tables = choose_tables(run, format, what)
    if len(tables) > 1 and not made_as.holds_several:
        raise UserError(f"{format} holds one table; export them one by one, or as hf")
    if images == "reference" and made_as.copies_images and "images" not in made_as.options:
        raise UserError(f"{format} always has the images inside; leave out --images")
    options = replace(options or ExportOptions("copy"), images=images or ("copy" if made_as.copies_images else "reference"))
    sources = [open_rows(run, table, allow_missing, report) for table in tables]
    digests = {source.table.name: source.digest for source in sources}
    identity = identity_of(format, run.plan.pipeline, digests, options.named(*made_as.options))
    folder = ExportFolder(out or default_folder(run, format, sources), identity)
    with folder.exclusive():
        record = folder.open()
        already = record is not None
        if record is None:
            record = _write(made_as, sources, folder, options)
    left_out = folder.path / LEFT_OUT
    return Exported(folder.path, record, already, left_out if left_out.exists() else None)


def _write(made_as: ExportFormat, sources: Sequence[TableRows], folder: ExportFolder, options: ExportOptions) -> dict[str, Any]:
    """Write the files and the record of an export; returns the record."""
    folder.facts["shards"] = {source.table.name: {"used": len(source.shards), "missing": source.missing} for source in sources}
    folder.facts["seed"] = sources[0].run.plan.seed
    try:
        resolve(made_as.write)(sources if made_as.holds_several else sources[0], folder, options)
        refuse_if_changed(sources[0].run)
        folder.refuse_if_empty()
        if (folder.path / IMAGES).is_dir():
            folder.facts["image_root"] = "."
        return folder.finish()
    finally:
        folder.left_out.close()


def default_folder(run: RunFolder, format: str, sources: Sequence[TableRows]) -> Path:
    """RUN/exports/FORMAT; the name lists the tables if they are not the default, and says so if shards are missing."""
    names = [source.table.name for source in sources]
    chosen = [table.name for table in choose_tables(run, format)]
    name = format if names == chosen else "-".join([format, *names])
    missing = next((source for source in sources if source.missing), None)
    if missing is not None:
        name += f".partial-{len(missing.shards)}-of-{len(missing.shards) + len(missing.missing)}"
    return run.path / "exports" / name
