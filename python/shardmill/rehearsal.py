"""Pictures for captions that have none: so that a pipeline can be tried on a table of one's own, before any model is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from shardmill.atomic import replacing
from shardmill.language.lexicon import lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.models.scene import paint
from shardmill.seeding import rng_of, seed_of
from shardmill.shards.cells import csv_line
from shardmill.shards.ingest import map_columns
from shardmill.shards.tables import open_table

MOST_OBJECTS = 6


@dataclass(frozen=True)
class Rehearsal:
    """The new table and how many pictures were painted; captions without a paintable object get none."""

    table: Path
    painted: int
    unpaintable: int


def paint_captions(
    source: Path,
    out: Path,
    *,
    rows: int,
    seed: int = 0,
    caption_column: str | None = None,
    report: Callable[[int], None] | None = None,
) -> Rehearsal:
    """Paint a `scene` picture for each of the first `rows` captions; write `out/captions.csv` (image, caption) and `out/images/`.

    Most objects that a caption names are in its picture, and some that it does not name: as with real photos, the checks have
    something to find.
    """
    table = open_table(source)
    mapping, _ = map_columns(table.columns, caption_column, None)
    column = next(name for name, target in mapping.items() if target == "caption")
    (out / "images").mkdir(parents=True, exist_ok=True)
    lines = [csv_line(["image", "caption"])]
    seen = painted = 0
    for batch in table.batches():
        for row_id, caption in batch.frame.select("row_id", column).iter_rows():
            if seen == rows:
                break
            seen += 1
            objects = paintable(caption or "", rng_of(seed, "rehearsal", row_id))
            image = f"images/{row_id:08}.png"
            if objects:
                with replacing(out / image) as file:
                    paint(objects, seed=seed_of(seed, "rehearsal", row_id) % 2**31).save(file, "PNG")
                painted += 1
            lines.append(csv_line([image, caption]))
            if report:
                report(seen)
    with replacing(out / "captions.csv") as file:
        file.write("".join(lines).encode())
    return Rehearsal(out / "captions.csv", painted, seen - painted)


def paintable(caption: str, rng: Random) -> list[str]:
    """The known objects of a caption, one in eight left out, and up to two others of their scenes."""
    known = lexicon()
    entries = [entry for name in extract_objects(caption) if (entry := known.find(name)) is not None]
    if not entries:
        return []
    kept = [entry for entry in entries if rng.random() > 1 / 8] or entries[:1]
    neighbours = [entry for scene in kept[0].scenes for entry in known.in_scene(scene) if entry not in entries]
    extra = rng.sample(neighbours, min(rng.randint(0, 2), len(neighbours)))
    return list(dict.fromkeys(entry.name for entry in [*kept[: MOST_OBJECTS - 2], *extra]))
