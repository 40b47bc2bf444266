"""WebDataset: tar shards of samples KEY.jpg, KEY.txt, KEY.json, with the image files as they are.

Keys come from row ids. A finished tar is written down in the export's progress with the place where the next one begins, so an
interrupted export goes on behind it, and the tars are the same as if nothing had happened.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from shardmill.export.folder import MAKING, ExportFolder
from shardmill.export.offer import Row
from shardmill.export.options import ExportOptions
from shardmill.export.pictures import ExportImage, ExportImages, ahead
from shardmill.export.placed import NO_PICTURE, NO_TEXT, loaded
from shardmill.export.rows import OfferRows, decoded
from shardmill.export.tar_shards import END, Member, TarShard, size_in_tar
from shardmill.models.images import UnreadableImage

HEEDED = ("max_size", "every_text")
TEXTS = "exported\ntexts"
"""A column of texts for a while. No run can have one of this name: ingest refuses those with a line break."""
Place = tuple[int, int]


def write(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT-000000.tar` and so on, none larger than `max_size` unless one picture is."""
    start = resumed(folder)
    tar: TarShard | None = None
    try:
        for place, row, picture in samples(source, folder, start, "text" if options.every_text else "texts"):
            if isinstance(picture, UnreadableImage):
                folder.left_out.add(NO_PICTURE, row["row_id"], str(picture), row.get("sub_id"))
                continue
            row_samples = samples_of(row, picture, options.every_text)
            if not row_samples:
                folder.left_out.add(NO_TEXT, row["row_id"], "", row.get("sub_id"))
                continue
            if tar is not None and tar.size + sum(map(size_in_tar, row_samples)) + END > options.max_size:
                publish(tar, folder, place)
                tar = None
            tar = tar or TarShard(folder.path / f"{source.offer.name}-{len(folder.files):06d}.tar", folder.path / MAKING)
            for members in row_samples:
                tar.add(members)
        if tar is not None:
            publish(tar, folder, (source.run.num_shards, 0))
    finally:
        if tar is not None:
            tar.close()


def publish(tar: TarShard, folder: ExportFolder, following: Place) -> None:
    """Finish a tar; the next one begins at the row `following`."""
    record = tar.publish()
    folder.files[tar.path.name] = record
    folder.note({"tar": tar.path.name, "record": record, "next": following, "left_out": folder.left_out.mark()})


def resumed(folder: ExportFolder) -> Place | None:
    """Take up what an earlier attempt has finished and what is still there; where to go on, None for the beginning."""
    finished: list[dict[str, Any]] = []
    for entry in folder.progress:
        # An attempt that found a tar gone made it and those behind it again.
        finished = [*(each for each in finished if each["tar"] < entry["tar"]), entry]
    start: Place | None = None
    for entry in finished:
        path = folder.path / entry["tar"]
        if not path.is_file() or path.stat().st_size != entry["record"]["bytes"]:
            break
        folder.files[entry["tar"]] = entry["record"]
        start = tuple(entry["next"])
        mark = entry["left_out"]
    folder.left_out.back_to(mark if start else {"bytes": 0, "counts": {}})
    return start


def samples(
    source: OfferRows, folder: ExportFolder, start: Place | None, own: str
) -> Iterator[tuple[Place, Row, ExportImage | UnreadableImage]]:
    """The rows from a place on, with their texts and pictures, read ahead within a shard.

    A column of the input that has the name of the samples' `own` field becomes input_NAME.
    """
    assert source.offer.picture is not None
    pictures = ExportImages(source.run, source.offer.picture)
    shard_from, row_from = start or (0, 0)
    for shard, table in source.tables(folder.left_out, shard_from, resumed=start is not None):
        kinds = source.kinds
        if source.offer.texts is not None:
            table = table.with_columns(source.offer.texts.alias(TEXTS))
            carried = own in source.run.plan.input.columns and own not in source.offer.joined
            if own in table.columns and carried:
                aside = free_name(own, table.columns)
                table, kinds = table.rename({own: aside}), {**kinds, aside: kinds[own]}
        skipped = row_from if shard == shard_from else 0
        rows = decoded(table.slice(skipped), kinds)
        for number, (row, picture) in enumerate(ahead(lambda row: loaded(pictures, row[pictures.column]), rows), skipped):
            yield (shard, number), row, picture


def free_name(name: str, taken: Collection[str]) -> str:
    """A name for a column that must give its own away.

    >>> free_name("text", ["text", "input_text"])
    'input_input_text'
    """
    while name in taken:
        name = f"input_{name}"
    return name


def samples_of(row: Row, picture: ExportImage, every_text: bool) -> list[list[Member]]:
    """The members of a row's one sample; with `every_text` those of a sample for each of its texts."""
    row = dict(row)
    texts: list[str] | None = row.pop(TEXTS, None)
    key = f"{row['row_id']:012d}" + ("" if row.get("sub_id") is None else f"-{row['sub_id']:04d}")
    if texts is None:
        return [sample_of(key, picture, None, row)]
    texts = [text for text in texts if text and text.strip()]
    if not every_text:
        return [sample_of(key, picture, next(iter(texts), None), {**row, "texts": texts})]
    return [sample_of(f"{key}_{number:02d}", picture, text, {**row, "text": text}) for number, text in enumerate(texts)]


def sample_of(key: str, picture: ExportImage, text: str | None, row: Row) -> list[Member]:
    members = [(f"{key}.{picture.suffix}", picture.data)]
    if text is not None:
        members.append((f"{key}.txt", text.encode("utf-8")))
    return [*members, (f"{key}.json", json.dumps(row, ensure_ascii=False).encode("utf-8"))]
