"""Commands about pools of concepts: build one from lists of names, and draw the rows to caption from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from shardmill.util.commands import FILE, FOLDER, PREPARE, group, print_next, print_note, seed_option
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of


@group(PREPARE)
def concepts() -> None:
    """Build and draw from a pool of concepts.

    What is drawn is captioned and edited by the pipeline anyedit.

    \b
    shardmill concepts build classes.json backgrounds.json --out POOL
    shardmill launch anyedit-concepts --input POOL/concepts.csv --run RUN
    shardmill concepts pairs concepts.csv --mode c2cap --total 99 --out pairs.csv
    """


@concepts.command()
@click.argument("sources", type=FILE, nargs=-1)
@click.option("--out", type=FOLDER, required=True, help="the folder to write: concepts.csv and folded.csv")
@click.option(
    "--names",
    type=FILE,
    multiple=True,
    help="a JSON object {dataset: names}, where the file itself leaves that open; may be repeated",
)
@click.option(
    "--backgrounds",
    type=FILE,
    multiple=True,
    help="a JSON object {concept: backgrounds}, where the file itself leaves that open; may be repeated",
)
@click.option(
    "--hf-dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="the class names of a Hugging Face dataset in the cache or in a folder; may be repeated",
)
@click.option(
    "--similar",
    type=click.FloatRange(0, 1, min_open=True),
    help="merge concepts from this cosine similarity on; 1 merges none (default: 0.85 of n-grams, 0.89 with --embedding)",
)
@click.option(
    "--embedding", metavar="MODEL", help="compare by a sentence-embedding model (a folder or a Hugging Face name), not by n-grams"
)
def build(
    sources: Sequence[Path],
    out: Path,
    names: Sequence[Path],
    backgrounds: Sequence[Path],
    datasets: Sequence[str],
    similar: float | None,
    embedding: str | None,
) -> None:
    """Merge lists of names into a pool of concepts.

    SOURCES are class names, or backgrounds by concept, as JSON, CSV or text files, or the folder of a Hugging Face dataset. Every
    name that is merged into another or dropped is listed in folded.csv, with the reason.
    """
    from shardmill.anyedit.concepts.label_names import find_dataset
    from shardmill.anyedit.concepts.merge import FOLDED, build_pool
    from shardmill.anyedit.concepts.sources import Meaning, Name, read_source
    from shardmill.util.progress import step_progress

    wanted: list[tuple[Path, Meaning]] = [(path, "auto") for path in sources]
    wanted += [(path, "names") for path in names] + [(path, "backgrounds") for path in backgrounds]
    wanted += [(find_dataset(name), "auto") for name in datasets]
    if not wanted:
        raise UserError("name at least one list of names: a file, a folder, or --hf-dataset NAME")

    def read(path: Path, meaning: Meaning) -> list[Name]:
        found = read_source(path, meaning)
        placed = sum(bool(name.backgrounds) for name in found)
        echo(f"{path}: {count_of(len(found), 'name')}" + (f", {placed:,} with backgrounds" if placed else ""), err=True)
        return found

    made = build_pool((read(*each) for each in wanted), out, step_progress("comparing"), similar=similar, embedding=embedding)
    echo(made.line())
    echo(f"{made.path}; merged or dropped names: {out / FOLDED}")
    print_next("launch", "anyedit-concepts", "--input", made.path, "--run", "data/runs/concepts")


@concepts.command()
@click.argument("pool", type=FILE)
@click.option(
    "--mode",
    "modes",
    type=click.Choice(["c2cap", "cb2cap", "cc2cap"]),
    multiple=True,
    required=True,
    help="one concept, a concept with a background, or two concepts; if repeated, the rows are divided evenly",
)
@click.option("--total", type=click.IntRange(1), required=True, help="number of rows")
@seed_option
@click.option("--out", type=FILE, required=True, help="the CSV file to write")
@click.option(
    "--backgrounds-per-pair",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="cc2cap: rows per pair of concepts, each with another background for captions that name no location",
)
def pairs(pool: Path, modes: Any, total: int, seed: int, out: Path, backgrounds_per_pair: int) -> None:
    """Draw the rows to caption from a pool of concepts.

    POOL is concepts.csv, or a JSON file. Every concept is drawn once before any is drawn again.
    """
    from shardmill.anyedit.concepts.pool import read_pool, write_rows
    from shardmill.util.progress import step_progress

    found = read_pool(pool)
    progress = step_progress("drawing")
    written = write_rows(found, modes, total, seed, out, progress, backgrounds_per_pair=backgrounds_per_pair)
    echo(f"{out}: {count_of(written, 'row')} from {count_of(len(found), 'concept')}, mode {', '.join(modes)}")
    if "c2cap" in modes and total // len(modes) > len(found):
        print_note("in mode c2cap concepts are drawn more than once; each row is captioned anew")
    bare = sum(not concept.backgrounds for concept in found)
    if "cb2cap" in modes and bare:
        print_note(f"mode cb2cap leaves out {count_of(bare, 'concept')} without a background")
    print_next("launch", "anyedit", "--input", out, "--run", "data/runs/anyedit")
