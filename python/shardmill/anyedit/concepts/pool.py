"""Pools of concepts on disk: read with their backgrounds, and the rows drawn from them written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from shardmill.anyedit.concepts.pairs import COLUMNS, Mode, PoolConcept, Row, draw_rows
from shardmill.anyedit.concepts.sources import distinct_phrases, read_source
from shardmill.store.cells import csv_line
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

STEP = 10_000


def read_pool(path: Path) -> list[PoolConcept]:
    """The concepts of a pool, each once, in the order of the file: concepts.csv, {concept: [backgrounds]}, or
    {"concepts", "backgrounds"}. Raises UserError naming the file and the entry that is none.
    """
    found: dict[str, list[str]] = {}
    for name in read_source(path, "backgrounds"):
        if concept := " ".join(name.text.split()):
            found.setdefault(concept, []).extend(name.backgrounds)
    if not found:
        raise UserError(f"{path} holds no concepts.")
    return [PoolConcept(name, tuple(distinct_phrases(backgrounds))) for name, backgrounds in found.items()]


def write_rows(
    pool: Sequence[PoolConcept],
    modes: Sequence[Mode],
    total: int,
    seed: int,
    out: Path,
    report: Callable[[int, int], None],
    *,
    backgrounds_per_pair: int = 1,
) -> int:
    """Write `total` rows, divided evenly over the modes, as CSV (concept, concept2, background, mode); returns how many.

    Raises UserError, and writes nothing, where the pool has not so many.
    """
    shares = [total // len(modes) + (index < total % len(modes)) for index in range(len(modes))]
    sources = [draw_rows(pool, mode, share, seed, backgrounds_per_pair) for mode, share in zip(modes, shares, strict=True)]
    written = 0
    with replacing(out) as file:
        file.write(csv_line(COLUMNS).encode())
        for row in _chained(sources):
            file.write(csv_line(row).encode("utf-8", "replace"))
            written += 1
            if written % STEP == 0:
                report(written, total)
        if written < total:
            raise UserError(f"there are only {written:,} such rows, {total:,} are asked for; lower --total.")
    return written


def _chained(sources: Iterable[Iterable[Row]]) -> Iterable[Row]:
    for source in sources:
        yield from source
