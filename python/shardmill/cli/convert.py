"""Commands that turn the caption files of known data sets into a table of captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from shardmill.cli.base import FILE, Commands, cli


@cli.group(cls=Commands)
def convert() -> None:
    """Turn caption files of known data sets into a table: image, caption, texts, source, source_id.

    Entries that do not fit stand in a *.rejects.csv beside the table, with the reason.
    """


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The source, the table to write, and what to call the source in it."""
    command = click.option("--name", help="what the column `source` says (the converter's name if not given)")(command)
    command = click.option("--out", type=FILE, required=True, help="the CSV to write")(command)
    return click.argument("source", type=FILE)(command)


@convert.command()
@file_options
def coco(source: Path, out: Path, name: str | None) -> None:
    """COCO captions: the official captions_*.json, or {id: {"image_file", "captions"}}. A row per caption."""
    from shardmill.tables.convert.coco import read_coco

    write(read_coco(source), name or "coco", source, out)


@convert.command()
@file_options
def llava(source: Path, out: Path, name: str | None) -> None:
    """LLaVA-595K: its chat.json, or [{"caption", "image_file"}]. A row per entry."""
    from shardmill.tables.convert.llava import read_llava

    write(read_llava(source), name or "llava", source, out)


@convert.command()
@file_options
def anyword(source: Path, out: Path, name: str | None) -> None:
    """AnyWord-3M: {"data_list": [{"img_name", "caption", "annotations"}]}. A row per picture with a Latin text."""
    from shardmill.tables.convert.anyword import read_anyword

    write(read_anyword(source), name or "anyword", source, out)


def write(found: Iterable[Any], name: str, source: Path, out: Path) -> None:
    from shardmill.tables.convert.captions import write_captions
    from shardmill.util.errors import UserError

    if not source.is_file():
        raise UserError(f"{source} does not exist" if not source.exists() else f"{source} is a folder; name the JSON file in it")
    made = write_captions(found, name, source, out, lambda done: click.echo(f"converting: {done:,} entries", err=True))
    click.echo(made.line())
    click.echo(f"{made.out}; what does not fit: {made.rejects}")
    click.echo(f"next: shardmill launch slurm/pipelines/anyedit-captions.yaml --input {made.out} --image-root IMAGES --run RUN")
