"""Whether painted pictures can be opened, and are of different files."""

from __future__ import annotations

from shardmill.models.images import UnreadableImage, size_of
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_most, example, never
from shardmill.quality.measures import Repeats, ValueTally
from shardmill.quality.model import QualityFinding, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart, Rows
from shardmill.store.layout import generated_image_path

OPENED = 200


class ImageChecks(QualityPart):
    """Painted pictures: all paths differ; a sample of them is there and is an image."""

    def __init__(self, standing: FinishedShards, stage: str, seed: int) -> None:
        self._standing, self._stage = standing, stage
        self._sample = Rows(standing, stage, ("generated_image",), OPENED, seed, "pictures")
        self._repeats, self._sizes = Repeats(), ValueTally()

    def readings(self) -> list[ColumnReading]:
        return [
            *self._sample.readings(),
            ColumnReading(
                self._stage, ("generated_image",), lambda frame: self._repeats.look(frame["row_id"], frame["generated_image"])
            ),
        ]

    def findings(self) -> list[QualityFinding]:
        if not self._repeats.total:
            return []
        unread: list[RowExample] = []
        for row in self._sample.rows:
            try:
                size_of(generated_image_path(self._standing.run.path, row["generated_image"] or ""))
            except UnreadableImage as error:
                unread.append(example(row["row_id"], str(error)))
        shown = [example(row, each.text) for each in self._repeats.most(3) for row in each.rows]
        return [
            never(
                "pictures.readable",
                "Painted pictures are there and are images.",
                len(unread),
                len(self._sample.rows),
                means="Pictures were deleted or damaged after they were painted; do the stage that paints them again.",
                examples=unread,
            ),
            at_most(
                "pictures.copies",
                "Every row has a picture of its own.",
                self._repeats.extra,
                self._repeats.total,
                look=0.0,
                fail=0.01,
                means="Rows share a picture, so that their texts may be about another one.",
                examples=shown,
            ),
        ]
