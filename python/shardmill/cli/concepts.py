"""Commands about pools of concepts: build one out of lists of names, and draw the rows to caption from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from shardmill.cli.base import FILE, FOLDER, Commands, cli
from shardmill.util.errors import UserError


@cli.group(cls=Commands)
def concepts() -> None:
    """Make a pool of concepts, and draw from it what is to be captioned (pipeline anyedit).

    \b
    shardmill concepts build classes.json backgrounds.json --out POOL
    shardmill launch slurm/pipelines/anyedit-concepts.yaml --input POOL/concepts.csv --run RUN
    shardmill concepts pairs POOL/concepts.csv --mode cc2cap --total 10000 --out pairs.csv
    """


@concepts.command()
@click.argument("sources", type=FILE, nargs=-1)
@click.option("--out", type=FOLDER, required=True, help="the folder for concepts.csv and folded.csv")
@click.option(
    "--names", type=FILE, multiple=True, help="a JSON dictionary data set -> names, where that does not show; may be repeated"
)
@click.option(
    "--backgrounds", type=FILE, multiple=True, help="a JSON dictionary concept -> backgrounds, likewise; may be repeated"
)
@click.option(
    "--hf-dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="the class names of a Hugging Face data set that is in the cache or a folder; may be repeated",
)
@click.option(
    "--similar",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.85,
    show_default=True,
    help="fold concepts whose vectors have at least this cosine; 1 folds none",
)
@click.option("--embedding", metavar="MODEL", help="compare by a sentence-embedding model (folder or hub id), not by n-grams")
def build(
    sources: Sequence[Path],
    out: Path,
    names: Sequence[Path],
    backgrounds: Sequence[Path],
    datasets: Sequence[str],
    similar: float,
    embedding: str | None,
) -> None:
    """Merge SOURCES into a pool: class names and concept -> backgrounds as JSON, CSV, text, or a Hugging Face folder.

    Every name that is folded into another or dropped stands in folded.csv with the reason.
    """
    from shardmill.anyedit.concepts.label_names import find_dataset
    from shardmill.anyedit.concepts.merge import FOLDED, build_pool
    from shardmill.anyedit.concepts.sources import Meaning, Name, read_source

    wanted: list[tuple[Path, Meaning]] = [(path, "auto") for path in sources]
    wanted += [(path, "names") for path in names] + [(path, "backgrounds") for path in backgrounds]
    wanted += [(find_dataset(name), "auto") for name in datasets]
    if not wanted:
        raise UserError("name at least one list of names: a file, a folder, or --hf-dataset NAME")

    def read(path: Path, meaning: Meaning) -> list[Name]:
        found = read_source(path, meaning)
        placed = sum(bool(name.backgrounds) for name in found)
        click.echo(f"{path}: {len(found):,} names" + (f", {placed:,} with backgrounds" if placed else ""), err=True)
        return found

    made = build_pool((read(*each) for each in wanted), out, progress("comparing"), similar=similar, embedding=embedding)
    click.echo(made.line())
    click.echo(f"{made.path}; what became of the others: {out / FOLDED}")
    click.echo(f"next: shardmill launch slurm/pipelines/anyedit-concepts.yaml --input {made.path} --run data/runs/concepts")


@concepts.command()
@click.argument("pool", type=FILE)
@click.option(
    "--mode",
    "modes",
    type=click.Choice(["c2cap", "cb2cap", "cc2cap"]),
    multiple=True,
    required=True,
    help="a concept, a concept in a background, two concepts; repeated, the rows are divided evenly",
)
@click.option("--total", type=click.IntRange(1), required=True, help="how many rows")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=FILE, required=True, help="the CSV to write")
@click.option(
    "--backgrounds-per-pair",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="cc2cap: rows of each pair, each with another background for captions that name no place",
)
def pairs(pool: Path, modes: Any, total: int, seed: int, out: Path, backgrounds_per_pair: int) -> None:
    """Draw rows to caption from POOL (concepts.csv, or JSON): every concept once before any comes again."""
    from shardmill.anyedit.concepts.pool import read_pool, write_rows

    found = read_pool(pool)
    line = progress("drawing")
    written = write_rows(found, modes, total, seed, out, line, backgrounds_per_pair=backgrounds_per_pair)
    click.echo(f"{out}: {written:,} rows of {len(found):,} concepts, mode {', '.join(modes)}")
    if "c2cap" in modes and total // len(modes) > len(found):
        click.echo("note: in mode c2cap the concepts come more than once; each row is captioned anew", err=True)
    bare = sum(not concept.backgrounds for concept in found)
    if "cb2cap" in modes and bare:
        click.echo(f"note: {bare:,} concepts have no background and are in no row of mode cb2cap", err=True)
    click.echo(f"next: shardmill launch anyedit --input {out} --run data/runs/anyedit")


def progress(step: str) -> Callable[[int, int], None]:
    """A progress line of a long step, told how much is done of how much."""
    from shardmill.util.progress import Progress, ProgressLine

    line = ProgressLine(step)
    return lambda done, total: line(Progress(done, total, 0, 0))
