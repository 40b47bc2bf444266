"""An input as a run reads it: which of its columns are what, and each caption a record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from shardmill.store.cells import Kind, Kinds
from shardmill.tables import Table, open_table
from shardmill.tables.caption_lists import one_caption_per_record
from shardmill.tables.columns import CAPTION_NAMES, column_by_name, image_column, map_columns
from shardmill.util.errors import UserError

ROWS_SEEN = 1_000
ROLES = ("caption", "image")


@dataclass(frozen=True)
class RunInput:
    """A table, its columns by what they become, the columns of the ingest parts with their kinds, and what was guessed."""

    table: Table
    mapping: dict[str, str]
    columns: dict[str, Kind]
    guesses: list[str]
    copies: dict[str, str]

    def notes(self) -> list[str]:
        """What was guessed and what is passed over; complete once the table was read."""
        return [*self.guesses, *self.table.notes()]


def open_run_input(
    path: Path,
    reading: Mapping[str, Any],
    root: Path,
    *,
    caption: str | None = None,
    image: str | None = None,
    lists: Sequence[str] = (),
    captioned: bool = True,
    taken: Collection[str] = (),
    given: Kinds = MappingProxyType({}),
    sources_of: Callable[[Sequence[str]], dict[str, str]] = lambda columns: {},
) -> RunInput:
    """Opens an input and finds its columns.

    Args:
        path: The input.
        reading: Arguments of `open_table`.
        root: The folder that relative image paths start from.
        caption: The column of the captions; guessed if not given.
        image: The column of the images; guessed if not given.
        lists: Columns whose cells are lists.
        captioned: Whether the run needs captions.
        taken: Columns that stages add.
        given: Columns that stages read and no stage of the run adds, with their kinds.
        sources_of: Where each of these comes from, by the columns of the input.
    """
    table = open_table(path, **reading)
    source = caption or column_by_name(table.columns, CAPTION_NAMES)
    if source in table.columns:
        table = one_caption_per_record(table, source)
    if image is None:
        image = image_column(table.columns, _sample(table), root)
    has_images = image is not None
    mapping, columns = map_columns(table.columns, caption, image, lists, captioned=captioned, pictured=has_images, taken=taken)
    sources = sources_of(table.columns)
    copies = {name: source for name, source in sources.items() if mapping.get(source) != name}
    if clash := sorted(copies.keys() & {*mapping.values()}):
        raise UserError(f"{path}: the column {clash[0]!r} is not the one of that name that a stage reads; rename it")
    guesses = _guesses(table, mapping, taken)
    guesses += [f"{name} is taken from {source}" if source else f"{name} is empty" for name, source in copies.items()]
    return RunInput(table, mapping, {**columns, **given}, guesses, copies)


def _sample(table: Table) -> pl.DataFrame:
    batch = next(iter(table.batches()), None)
    return batch.frame.head(ROWS_SEEN) if batch else pl.DataFrame(schema=dict.fromkeys(table.columns, pl.String()))


def _guesses(table: Table, mapping: Mapping[str, str], taken: Collection[str]) -> list[str]:
    found = [(source, target) for source, target in mapping.items() if target in ROLES and source != target]
    guesses = [f"the {target}s are taken from the column {source!r}" for source, target in found]
    guesses += [
        f"the column {source!r} is carried along as {target!r}, since a stage adds one of its name"
        for source, target in mapping.items()
        if source in taken and source != target
    ]
    if "image" not in mapping.values() and (url := column_by_name(table.columns, ("url", "image_url", "image_urls"))):
        guesses.append(f"the column {url!r} has addresses and no column has images: download them, e.g. with img2dataset")
    return guesses
