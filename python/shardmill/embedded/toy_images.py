"""Pictures for captions that have none: so that a pipeline can be tried on a table of one's own, before any model is at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl

from shardmill.core.seeding import rng_of, seed_of
from shardmill.embedded.scene.painter import paint
from shardmill.language.lexicon import lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.store.atomic import replacing
from shardmill.store.cells import csv_line
from shardmill.tables import open_table
from shardmill.tables.ingest import count_records, map_columns
from shardmill.util.errors import UserError

MAX_OBJECTS = 6


@dataclass(frozen=True)
class ToyImages:
    """The new table and how many pictures were painted; captions without a paintable object get none.

    `unreadable` counts the rows that were left out, by reason; `more` says that rows follow the last one that was asked for.
    """

    table: Path
    painted: int
    unpaintable: int
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
    """Paint a `scene` picture for each caption, or the first `rows`; write `out/captions.csv` and `out/images/`.

    The new table has the columns image and caption, then the others of the old one, named as `map_columns` does. Most objects
    that a caption names are in its picture, and some that it does not name: as with real photos, the checks have something to
    find. `report` is told how many rows are done, and of how many.
    """
    table = open_table(source, encoding)
    mapping, _ = map_columns(table.columns, caption_column, None, pictured=False)
    cells = [pl.col(column).alias(name) for column, name in mapping.items()]
    if source.resolve() == (out / "captions.csv").resolve():
        raise UserError(f"{source} is the table itself, which the new captions.csv would replace; give --out another folder")
    (out / "images").mkdir(parents=True, exist_ok=True)
    end = count_records(table) if rows is None else rows
    done = painted = unpaintable = 0
    unreadable: Counter[str] = Counter()
    with replacing(out / "captions.csv") as file:
        file.write(csv_line(["image", *mapping.values()]).encode())
        for batch in table.batches():
            unreadable.update(bad.reason for bad in batch.bad if bad.row_id < end)
            inside = batch.frame.filter(pl.col("row_id") < end).select("row_id", *cells)
            for row_id, caption, *others in inside.iter_rows():
                image = f"images/{row_id:08}.png"
                if _paint(caption or "", out / image, seed, row_id):
                    painted += 1
                else:
                    unpaintable += 1
                file.write(csv_line([image, caption, *others]).encode())
                if report:
                    report(row_id + 1, end)
            done = 1 + max([*batch.frame["row_id"], *(bad.row_id for bad in batch.bad)])
            if done > end:
                break
    if report:
        report(min(done, end), min(done, end))
    return ToyImages(out / "captions.csv", painted, unpaintable, dict(unreadable), done > end)


def _paint(caption: str, path: Path, seed: int, row_id: int) -> bool:
    """Paint the picture of a caption; whether there was anything to paint."""
    objects = paintable(caption, rng_of(seed, "rehearsal", row_id))
    if objects:
        with replacing(path) as file:
            paint(objects, seed=seed_of(seed, "rehearsal", row_id) % 2**31).save(file, "PNG")
    return bool(objects)


def paintable(caption: str, rng: Random) -> list[str]:
    """The known objects of a caption, one in eight left out, and up to two others of their scenes."""
    known = lexicon()
    entries = [entry for name in extract_objects(caption) if (entry := known.find(name)) is not None]
    if not entries:
        return []
    kept = [entry for entry in entries if rng.random() > 1 / 8] or entries[:1]
    neighbours = [entry for scene in kept[0].scenes for entry in known.in_scene(scene) if entry not in entries]
    extra = rng.sample(neighbours, min(rng.randint(0, 2), len(neighbours)))
    return list(dict.fromkeys(entry.name for entry in [*kept[: MAX_OBJECTS - 2], *extra]))
