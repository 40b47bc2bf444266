"""Cutting a foreign table into the parts of a run. Every record gets its `row_id`, its ordinal in the file, for good."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.store.cells import Kind, dump_cell, parse_json_cell, parse_list, storable
from shardmill.store.current_plan import CurrentPlan
from shardmill.store.finish import ShardCounts, seal
from shardmill.store.frames import frame_of, typed, write_frame
from shardmill.store.image_columns import GENERATED_IMAGE
from shardmill.store.layout import INGEST_REJECTS, begun_shards
from shardmill.store.manifest import InputRecord, Manifest
from shardmill.store.plan import GIVEN_IMAGES
from shardmill.store.publish import complete_publication
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.tables import Table, open_table
from shardmill.tables.caption_lists import one_caption_per_record
from shardmill.tables.selection import Sieve
from shardmill.util.atomic import make_folder, new_attempt
from shardmill.util.errors import UserError
from shardmill.util.image_formats import NUMBERED_IMAGE

FIELD = re.compile(r"\{(\w+)\}")
"""A column in a template for another; see `InputPlan.copies`."""


@dataclass(frozen=True)
class ImportProgress:
    """How far reading the input is: `doing` is "counting" or "writing"; `total` is None while counting."""

    doing: str
    rows: int
    total: int | None


Report = Callable[[ImportProgress], None] | None


def count_records(table: Table, report: Report = None, look: Callable[[pl.DataFrame], None] = lambda frame: None) -> int:
    """The number of records, good and bad; `look` is shown the good ones, batch by batch."""
    rows = 0
    for batch in table.batches():
        look(batch.frame)
        rows += batch.frame.height + len(batch.bad)
        if report:
            report(ImportProgress("counting", rows, None))
    return rows


def ingest(run: RunFolder, report: Report = None) -> list[Manifest]:
    """Write the ingest parts that are missing; returns the manifests of all shards.

    Raises UserError when the input is no longer what the plan says.
    """
    make_folder(run.folder(INGEST))
    if GENERATED_IMAGE in run.plan.input.copies:
        with suppress(FileExistsError):
            (run.path / GIVEN_IMAGES).symlink_to(run.plan.input.image_root, target_is_directory=True)
    finished = _finished_shards(run)
    if all(manifest is not None for manifest in finished):
        return [manifest for manifest in finished if manifest is not None]
    planned = run.plan.input
    caption = next((source for source, target in planned.mapping.items() if target == "caption"), None)
    table = one_caption_per_record(open_table(planned.path, **planned.reading.model_dump()), caption)
    if table.digest()[0] != planned.sha256:
        raise UserError(f"{planned.path} changed since {run.path} was planned; restore it, or start a new run with it")
    manifests = []
    for shard, pieces in groupby(_pieces(table, run), key=lambda piece: piece.shard):
        found = finished[shard]
        manifests.append(found if found is not None else _write_shard(run, shard, pieces, report))
    if len(manifests) != run.num_shards:
        raise UserError(f"{planned.path} ended after {len(manifests)} of {run.num_shards} shards; it changed while it was read")
    for shard in begun_shards(run.folder(INGEST), run.num_shards):
        complete_publication(run.files(INGEST, shard), run.superseded / INGEST)
    return manifests


def _finished_shards(run: RunFolder) -> list[Manifest | None]:
    """The manifests of the shards, what was cut off being finished first. A shard without leftovers costs no listing."""
    begun = begun_shards(run.folder(INGEST), run.num_shards)
    found = []
    for shard in range(run.num_shards):
        manifest = None if shard in begun else run.manifest(INGEST, shard)
        found.append(manifest or complete_publication(run.files(INGEST, shard), run.superseded / INGEST))
    return found


@dataclass
class _Piece:
    """The part of one batch that belongs to one shard."""

    shard: int
    frame: pl.DataFrame
    rejects: list[dict[str, Any]]


def _pieces(table: Table, run: RunFolder) -> Iterator[_Piece]:
    """The batches of the table cut at the shard bounds, columns renamed, records without a caption among the rejects."""
    mapping, kinds = run.plan.input.mapping, run.plan.input.columns
    names = [pl.col(source).alias(target) for source, target in mapping.items()]
    names += [_copied(run, target, source) for target, source in run.plan.input.copies.items()]
    sieve = Sieve(run.plan.input.selection) if run.plan.input.selection else None
    shard = 0
    for batch in table.batches():
        frame = batch.frame.select("row_id", "line", *names)
        if "image" in frame.columns:
            frame = frame.with_columns(pl.col("image").str.replace(NUMBERED_IMAGE, "$1"))
        else:
            frame = frame.with_columns(pl.lit(None, pl.String).alias("image"))
        if "caption" not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.String).alias("caption"))
        lacking = pl.col("caption").is_null() | (pl.col("caption").str.strip_chars() == "")
        empty = lacking if run.plan.input.captioned else pl.lit(False)
        rejects = [_reject(bad.row_id, bad.line, bad.reason, bad.detail, bad.raw) for bad in batch.bad]
        rejects += [
            _reject(row_id, line, "empty caption") for row_id, line in frame.filter(empty).select("row_id", "line").iter_rows()
        ]
        frame = frame.filter(~empty)
        if sieve is not None:
            frame = frame.with_columns(pl.Series("verdict", sieve.verdicts(frame["caption"]), pl.String))
            left = frame.filter(pl.col("verdict").is_not_null()).select("row_id", "line", "verdict")
            rejects += [_reject(row_id, line, verdict) for row_id, line, verdict in left.iter_rows()]
            frame = frame.filter(pl.col("verdict").is_null())
        for column, kind in kinds.items():
            if kind in ("list", "json"):
                frame, unreadable = _as_values(frame, column, kind)
                rejects += unreadable
            elif column != "row_id" and kind != "text":
                frame = typed(frame.lazy(), {column: kind}).collect()
        rejects.sort(key=lambda reject: reject["row_id"])
        frame = frame.select(list(kinds))
        while frame.height or rejects:
            end = run.plan.shards[shard][1]
            here = [reject for reject in rejects if reject["row_id"] < end]
            rejects = rejects[len(here) :]
            inside = frame.filter(pl.col("row_id") < end)
            frame = frame.slice(inside.height)
            yield _Piece(shard, inside, here)
            if frame.height or rejects:
                shard += 1


def _copied(run: RunFolder, target: str, source: str) -> pl.Expr:
    """A further column. The path of a generated image starts from the run's folder: it leads through the link there."""
    if not source:
        return pl.lit(None, pl.String).alias(target)
    parts = FIELD.split(source)
    cells = [pl.col(part) if at % 2 else pl.lit(part) for at, part in enumerate(parts)] if len(parts) > 1 else [pl.col(source)]
    if target == GENERATED_IMAGE:
        cells.insert(0, pl.lit(f"{GIVEN_IMAGES}/"))
    return pl.concat_str(cells).alias(target)


def _as_values(frame: pl.DataFrame, column: str, kind: Kind) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """The cells of a column as lists or values in JSON, and rejects for the records whose cell is neither."""
    cells: list[str | None] = []
    rejects = []
    for row_id, line, cell in frame.select("row_id", "line", column).iter_rows():
        cells.append(None)
        try:
            if kind == "list":
                cells[-1] = storable(dump_cell(_whole(parse_list(cell))))
            elif cell is not None:
                cells[-1] = storable(dump_cell(parse_json_cell(cell)))
        except ValueError as error:
            rejects.append(_reject(row_id, line, "unreadable cell", f"{column}: {error}", cell or ""))
    made = frame.with_columns(pl.Series(column, cells, pl.String))
    return made.filter(~pl.col("row_id").is_in([reject["row_id"] for reject in rejects])), rejects


def _whole(items: list[str]) -> list[str]:
    if any("\0" in item for item in items):
        raise ValueError("a text with a NUL byte")
    return items


def _reject(row_id: int, line: int, reason: str, detail: str = "", raw: str = "") -> dict[str, Any]:
    return {"row_id": row_id, "line": line, "reason": reason, "detail": detail, "raw": raw, "attempts": 0}


def _write_shard(run: RunFolder, shard: int, pieces: Iterable[_Piece], report: Report) -> Manifest:
    started, attempt = time.time(), new_attempt()
    kinds = run.kinds(INGEST)
    rejects: list[dict[str, Any]] = []
    rows_out = 0
    start, end = run.plan.shards[shard]
    with PartWriter(run.files(INGEST, shard).staged(attempt).part, kinds, run.plan.part_format) as part:
        for piece in pieces:
            part.write(piece.frame)
            rows_out += piece.frame.height
            rejects += piece.rejects
            if report:
                report(ImportProgress("writing", start + rows_out + len(rejects), run.plan.input.rows))
    if rows_out + len(rejects) != end - start:
        raise UserError(
            f"{run.plan.input.path} gave {rows_out + len(rejects)} records for shard {shard}, not {end - start}; "
            "it changed while it was read"
        )
    counts = ShardCounts(end - start, rows_out, rows_out)
    source = InputRecord(stage="input", sha256=run.plan.input.sha256)
    refused = frame_of(rejects, INGEST_REJECTS)
    try:
        return seal(
            run, INGEST, shard, attempt, counts, refused, INGEST_REJECTS, source, columns=kinds, started=started, tidy=False,
            current=CurrentPlan(run, INGEST, shard),
        )  # fmt: skip
    except FileNotFoundError:
        manifest = complete_publication(run.files(INGEST, shard), run.superseded / INGEST)
        if manifest is None:
            raise
        return manifest  # of another process, which was faster and has tidied this one's files away


class PartWriter:
    """Writes a part piece by piece. CSV and JSONL stream; Parquet is written at the end, from the pieces of one shard."""

    def __init__(self, path: Path, kinds: Mapping[str, Kind], format: str):
        self._kinds, self._format = kinds, format
        self._file = open(path, "wb")  # noqa: SIM115 (closed by __exit__)
        self._pieces: list[pl.DataFrame] = []
        self._first = True

    def __enter__(self) -> PartWriter:
        return self

    def write(self, piece: pl.DataFrame) -> None:
        if self._format == "parquet":
            self._pieces.append(piece)
        else:
            write_frame(piece, self._kinds, self._file, self._format, header=self._first)
        self._first = False

    def __exit__(self, *error: object) -> None:
        if self._pieces and not any(error):
            write_frame(pl.concat(self._pieces), self._kinds, self._file, self._format)
        self._file.close()
