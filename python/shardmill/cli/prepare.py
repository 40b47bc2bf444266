"""Commands that prepare inputs: convert (caption files of known datasets), make-toy-images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shardmill.util.commands import FILE, FOLDER, PREPARE, SectionedGroup, command, print_next, print_note, seed_option
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of

if TYPE_CHECKING:
    from shardmill.tables.convert.known import KnownFile


class Converters(SectionedGroup):
    """A command for each kind of caption file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from shardmill.tables.convert.known import KNOWN

        return list(KNOWN)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        from shardmill.tables.convert.known import KNOWN

        return _converter(KNOWN[name]) if name in KNOWN else None


@click.group(cls=Converters, section=PREPARE)
def convert() -> None:
    """Convert caption files to a table.

    The files are those of known datasets, the table is one that a run can start from. `launch` reads these files directly;
    convert one to look at its rows first. The table has the columns image, caption, texts, source, source_id. Entries that
    cannot be used are listed in a *.rejects.csv beside it, with the reason.
    """


def _converter(known: KnownFile) -> click.Command:
    @click.command(known.name, help=known.about)
    @click.argument("source", type=FILE)
    @click.option("--out", type=FILE, required=True, help="the CSV file to write")
    @click.option("--name", help="value of the column `source` (default: the name of the converter)")
    def convert_file(source: Path, out: Path, name: str | None) -> None:
        write_table(known.read(source), name or known.name, source, out)

    return convert_file


def write_table(found: Iterable[Any], name: str, source: Path, out: Path) -> None:
    """Write what a converter found, and print what became of the entries."""
    from shardmill.core.registry import default_pipeline
    from shardmill.tables.convert.captions import write_captions
    from shardmill.util.progress import step_progress

    if not source.exists():
        raise UserError(f"{source} was not found")
    if not source.is_file():
        raise UserError(f"{source} is a folder; name the JSON file in it")
    made = write_captions(found, name, source, out, step_progress("converting"))
    echo(made.line())
    echo(f"{made.out}; rejected entries: {made.rejects}")
    print_note("to use the images, add --image-root with the folder that their paths start from")
    print_next("launch", default_pipeline(), "--input", made.out, "--run", "data/runs/first")


@command(PREPARE)
@click.argument("input", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="the folder to write: captions.csv and images/")
@click.option("--rows", type=click.IntRange(1), help="use only this many rows (default: all, at 100 to 200 rows/s)")
@seed_option
@click.option("--caption-column", help="column with the captions (default: guessed)")
@click.option("--encoding", help="encoding of the input if it is not UTF-8, e.g. latin-1")
def make_toy_images(
    input: Path, out: Path, rows: int | None, seed: int, caption_column: str | None, encoding: str | None
) -> None:
    """Draw simple images for captions.

    They are for trying a pipeline without photos and without a GPU. About one in eight of the objects that a caption names is
    left out of its image on purpose, and up to two others are added, so that the detector has something to reject. The other
    columns of INPUT are kept.
    """
    from shardmill.core.registry import default_pipeline
    from shardmill.embedded.toy_images import make_toy_images as draw_images
    from shardmill.store.manifest import counted
    from shardmill.util.progress import step_progress

    done = draw_images(
        input,
        out,
        rows=rows,
        seed=seed,
        caption_column=caption_column,
        encoding=encoding,
        report=step_progress("drawing"),
    )
    echo(f"{done.table}: {count_of(done.drawn, 'image')}; captions without a known object: {done.without_objects:,}")
    if done.unreadable:
        unreadable = sum(done.unreadable.values())
        echo(f"{count_of(unreadable, 'unreadable row')} left out ({counted(done.unreadable)})")
    if done.more:
        echo(f"{input} has more rows; to use them all, leave out --rows")
    print_next("launch", default_pipeline(), "--input", done.table, "--run", "data/runs/toy")
