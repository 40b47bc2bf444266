"""Simple images for captions without images, to try a pipeline on a table of one's own without photos and without a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl

from shardmill.core.seeding import rng_of, seed_of
from shardmill.embedded.scene.drawing import draw_scene
from shardmill.language.lexicon import lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.store.cells import csv_line
from shardmill.tables import open_table
from shardmill.tables.columns import map_columns
from shardmill.tables.ingest import count_records
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

MAX_OBJECTS = 6


@dataclass(frozen=True)
class ToyImages:
    """The new table, how many images were drawn, and how many captions got none because they name no object of the lexicon.

    `unreadable` counts the input's rows that were left out, by reason; `more` says whether there are rows after the last wanted.
    """

    table: Path
    drawn: int
    without_objects: int
    unreadable: dict[str, int]
    more: bool


def make_toy_images(
    source: Path,
    out: Path,
    *,
    rows: int | None = None,
    seed: int = 0,
    caption_column: str | None = None,
    encoding: str | None = None,
    report: Callable[[int, int], None] | None = None,
) -> ToyImages:
    """Draw a `scene` image for each caption; write `out/captions.csv` and `out/images/`.

    The new table has the columns image and caption, then the others of the old one, named as `map_columns` does. An image lacks
    some of the objects that its caption names, and shows some that it does not: as with real photos, the checks have something
    to find.

    Args:
        source: A table with captions.
        out: The folder for the new table and the images.
        rows: Only the first rows; all if not given.
        seed: The same seed gives the same images.
        caption_column: The column with the captions; guessed if not given.
        encoding: The table's encoding, if it is not UTF-8.
        report: Called with the number of rows done and of all rows.

    Raises:
        UserError: If the table cannot be read, or would be replaced by the new one.
    """
    table = open_table(source, encoding)
    mapping, _ = map_columns(table.columns, caption_column, None, pictured=False)
    cells = [pl.col(column).alias(name) for column, name in mapping.items()]
    if source.resolve() == (out / "captions.csv").resolve():
        raise UserError(f"{source} is the table itself, which the new captions.csv would replace; give --out another folder")
    (out / "images").mkdir(parents=True, exist_ok=True)
    end = count_records(table) if rows is None else rows
    done = drawn = without_objects = 0
    unreadable: Counter[str] = Counter()
    with replacing(out / "captions.csv") as file:
        file.write(csv_line(["image", *mapping.values()]).encode())
        for batch in table.batches():
            unreadable.update(bad.reason for bad in batch.bad if bad.row_id < end)
            inside = batch.frame.filter(pl.col("row_id") < end).select("row_id", *cells)
            for row_id, caption, *others in inside.iter_rows():
                image = f"images/{row_id:08}.png"
                if _draw_image(caption or "", out / image, seed, row_id):
                    drawn += 1
                else:
                    without_objects += 1
                file.write(csv_line([image, caption, *others]).encode())
                if report:
                    report(row_id + 1, end)
            done = 1 + max([*batch.frame["row_id"], *(bad.row_id for bad in batch.bad)])
            if done > end:
                break
    if report:
        report(min(done, end), min(done, end))
    return ToyImages(out / "captions.csv", drawn, without_objects, dict(unreadable), done > end)


def _draw_image(caption: str, path: Path, seed: int, row_id: int) -> bool:
    """Draw the image of a caption. Returns whether there was anything to draw."""
    objects = choose_objects(caption, rng_of(seed, "toy image", row_id))
    if objects:
        with replacing(path) as file:
            draw_scene(objects, seed=seed_of(seed, "toy image", row_id) % 2**31).save(file, "PNG")
    return bool(objects)


def choose_objects(caption: str, rng: Random) -> list[str]:
    """What to draw: the known objects of a caption, without one in eight, and up to two others of their scene."""
    known = lexicon()
    entries = [entry for name in extract_objects(caption) if (entry := known.find(name)) is not None]
    if not entries:
        return []
    kept = [entry for entry in entries if rng.random() > 1 / 8] or entries[:1]
    neighbours = [entry for scene in kept[0].scenes for entry in known.in_scene(scene) if entry not in entries]
    extra = rng.sample(neighbours, min(rng.randint(0, 2), len(neighbours)))
    return list(dict.fromkeys(entry.name for entry in [*kept[: MAX_OBJECTS - 2], *extra]))
