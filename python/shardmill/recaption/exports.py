"""The tables that a recaption run exports, and its perspectives as a prompt file."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from shardmill.core.registry import LABEL
from shardmill.export.multi_text_format import TextSlot
from shardmill.export.prompts import InstalledPrompt
from shardmill.export.tables import ExportTable, QuestionAnswer, Row, TextSlots
from shardmill.recaption import build
from shardmill.recaption.names import ORIGINAL
from shardmill.recaption.perspectives import READY, digest_of, perspectives
from shardmill.store.frames import LIST
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_text

VERDICT = pl.List(pl.Struct({"text": pl.String, "fault": pl.String}))
GOOD = pl.col("checked").str.json_decode(VERDICT).list.eval(
    pl.element().struct.field("text").filter(pl.element().struct.field("fault").is_null())
)  # fmt: skip


def export_tables(run: RunFolder) -> list[ExportTable]:
    """Images with a fixed number of texts, and with all captions that passed the checks."""
    texts = pl.col("texts").str.json_decode(LIST)
    return [
        ExportTable(
            "texts", "a fixed number of texts per image", (build.MERGED,), "image",
            texts=texts, text_slots=lambda count: text_slots(run, count),
            conversation=lambda row: merged_conversation(run, row),
        ),
        ExportTable(
            "captions", "every caption that passed the checks", (build.CHECKED,), "image",
            texts=GOOD, conversation=lambda row: checked_conversation(run, row),
        ),
    ]  # fmt: skip


def text_slots(run: RunFolder, count: int | None) -> TextSlots:
    """The merged texts in their order."""
    if count is not None:
        raise UserError(f"the texts of a recaption run are those of {build.MERGED}.texts; leave out --texts")
    return TextSlots(slots_of(run), pl.col("texts").str.json_decode(LIST))


def captioners(run: RunFolder) -> dict[str, StagePlan]:
    """The captioners whose captions were checked, by label."""
    by_label = {stage.name.partition(LABEL)[2]: stage for stage in run.plan.stages if stage.name.startswith(build.CAPTIONS)}
    return {label: by_label[label] for label in run.stage(build.CHECKED).options["captioners"]}


def slots_of(run: RunFolder) -> list[TextSlot]:
    """The text at each position of the merged texts."""
    judged = captioners(run)
    return [build.slot_of(name, judged) for name in run.stage(build.MERGED).options["texts"]]


def merged_conversation(run: RunFolder, row: Row) -> list[QuestionAnswer]:
    """The prompt of each text with the text, once if it also replaces a missing one. The original caption has no prompt."""
    answers: dict[str, str] = {}
    for name, text in zip(row["text_sources"], row["texts"], strict=True):
        if name != ORIGINAL:
            answers.setdefault(name, text)
    return [QuestionAnswer(prompt_of(run, name), text) for name, text in answers.items()]


def checked_conversation(run: RunFolder, row: Row) -> list[QuestionAnswer]:
    """The prompt of each good caption with the caption."""
    return [
        QuestionAnswer(prompt_of(run, each["perspective"], each["captioner"]), each["text"])
        for each in row["checked"]
        if each["fault"] is None
    ]


@lru_cache(maxsize=256)
def prompt_of(run: RunFolder, name: str, captioner: str | None = None) -> str:
    """The prompt that a text answers."""
    label, slash, perspective = name.rpartition("/")
    judged = captioners(run)
    having = [stage for each, stage in judged.items() if perspective in stage.options["perspectives"]]
    stage = judged.get(label if slash else captioner or "", having[0] if having else None)
    file = stage.options["perspectives_file"] if stage else None
    return perspectives(file)[perspective].prompt


def prompts(stage: StagePlan) -> dict[str, InstalledPrompt]:
    """The file of perspectives, if the stage asks for them just as the installed file has them."""
    planned = stage.fingerprint.get("perspectives")
    if planned is None:
        return {}
    known = perspectives()
    names = stage.options.get("perspectives") or list(known)
    digests = (digest_of(known[name] for name in names if name in known), digest_of(known.values()))
    files = {"perspectives.yaml": resource_text(READY)}
    return {"perspectives": InstalledPrompt(planned if planned in digests else "", files)}
