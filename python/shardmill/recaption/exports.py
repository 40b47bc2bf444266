"""What a recaption run has to export."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from shardmill.core.registry import LABEL
from shardmill.export.offer import Offer, Places, Row, Talk
from shardmill.recaption import build
from shardmill.recaption.names import ORIGINAL
from shardmill.recaption.perspectives import perspectives
from shardmill.store.frames import LIST
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

VERDICT = pl.List(pl.Struct({"text": pl.String, "fault": pl.String}))
GOOD = pl.col("checked").str.json_decode(VERDICT).list.eval(
    pl.element().struct.field("text").filter(pl.element().struct.field("fault").is_null())
)  # fmt: skip


def offers(run: RunFolder) -> list[Offer]:
    """Pictures with a fixed number of texts, and with all captions that were found good."""
    texts = pl.col("texts").str.json_decode(LIST)
    return [
        Offer(
            "texts", "a fixed number of texts for each picture", (build.MERGED,), "image",
            texts=texts, places=lambda count: places(run, count), talks=lambda row: merged_talks(run, row),
        ),
        Offer(
            "captions", "every caption that was found good", (build.CHECKED,), "image",
            texts=GOOD, talks=lambda row: checked_talks(run, row),
        ),
    ]  # fmt: skip


def places(run: RunFolder, count: int | None) -> Places:
    """The merged texts in their order."""
    if count is not None:
        raise UserError(f"the texts of a recaption run are those of {build.MERGED}.texts; leave out --texts")
    return Places(sources(run), pl.col("texts").str.json_decode(LIST))


def captioners(run: RunFolder) -> dict[str, StagePlan]:
    """The captioners whose captions were judged, by label."""
    by_label = {stage.name.partition(LABEL)[2]: stage for stage in run.plan.stages if stage.name.startswith(build.CAPTIONS)}
    return {label: by_label[label] for label in run.stage(build.CHECKED).options["captioners"]}


def sources(run: RunFolder) -> list[build.TextSlot]:
    """What stands at each place of the merged texts."""
    judged = captioners(run)
    return [build.source_of(name, judged) for name in run.stage(build.MERGED).options["texts"]]


def merged_talks(run: RunFolder, row: Row) -> list[Talk]:
    """The prompt of each text with the text; the original has none, and a text that stands in for another is not said twice."""
    said: dict[str, str] = {}
    for name, text in zip(row["text_sources"], row["texts"], strict=True):
        if name != ORIGINAL:
            said.setdefault(name, text)
    return [Talk(prompt_of(run, name), text) for name, text in said.items()]


def checked_talks(run: RunFolder, row: Row) -> list[Talk]:
    """The prompt of each good caption with the caption."""
    return [
        Talk(prompt_of(run, each["perspective"], each["captioner"]), each["text"])
        for each in row["checked"]
        if each["fault"] is None
    ]


@lru_cache(maxsize=256)
def prompt_of(run: RunFolder, name: str, captioner: str | None = None) -> str:
    """What was asked for a text."""
    label, slash, perspective = name.rpartition("/")
    judged = captioners(run)
    having = [stage for each, stage in judged.items() if perspective in stage.options["perspectives"]]
    stage = judged.get(label if slash else captioner or "", having[0] if having else None)
    file = stage.options["perspectives_file"] if stage else None
    return perspectives(file)[perspective].prompt
