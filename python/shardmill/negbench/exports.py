"""What a NegBench run has to export."""

from __future__ import annotations

import polars as pl

from shardmill.export.multi_text_format import TextSlot
from shardmill.export.offer import Offer, Places, Row, Tables, Talk
from shardmill.negbench.datasets import NEGATED, NEGFULL, equally_long
from shardmill.store.cells import Kind
from shardmill.store.run_folder import RunFolder

CAPTIONS, QUESTIONS = "caption_negated", "paraphrase_mcq"
BOXES = ("detections", "positive_objects")
CONFIRMED = pl.when(equally_long("objects", "seen_objects")).then(pl.col("caption"))
"""The caption of the input, where the detector saw all that it names."""
TRUE_OPTION = pl.coalesce([pl.when(pl.col("correct_answer") == index).then(pl.col(f"paraphrase_{index}")) for index in range(4)])
LETTERS = "ABCD"
FULL: dict[str, Kind] = {
    **{name: kind for name, kind in NEGFULL.items() if name != "mcq"},
    "detections": "json", "true_options": "list", "texts": "list",
}  # fmt: skip


def offers(run: RunFolder) -> list[Offer]:
    """Negated captions, questions, and all that is true of a picture."""
    return [
        Offer(
            "captions", "negated captions", (CAPTIONS,), "image",
            texts=NEGATED, places=lambda count: places(run, count), boxes=BOXES,
        ),
        Offer("questions", "multiple-choice questions", (QUESTIONS,), "image", talks=talks, boxes=BOXES),
        Offer(
            "full", "all captions that are true of a picture", (CAPTIONS, QUESTIONS), "image",
            join=full, joined=FULL, texts=pl.col("texts").str.json_decode(pl.List(pl.String)), boxes=BOXES,
        ),
    ]  # fmt: skip


def places(run: RunFolder, count: int | None) -> Places:
    """The original and the negated captions; as many as the stage was asked for, or `count` texts in all."""
    count = count or 1 + int(run.stage(CAPTIONS).options["per_image"])
    names = ["original", *(f"negated/{number}" for number in range(1, count))]
    texts = pl.concat_list(CONFIRMED, *(NEGATED.list.get(place, null_on_oob=True) for place in range(count - 1)))
    return Places([TextSlot(name=name) for name in names], texts, fallback=names[1:2] or names)


def full(tables: Tables) -> pl.DataFrame:
    """One row for each picture with a caption or a question."""
    captions, questions = tables[CAPTIONS], tables[QUESTIONS]
    shared = ["row_id", "image", "caption", "positive_objects", "negative_objects", "objects", "seen_objects", "detections"]
    true = questions.group_by("row_id", maintain_order=True).agg(true_options=TRUE_OPTION)
    rows = pl.concat([captions.select(shared), questions.select(shared)]).unique("row_id", keep="first").sort("row_id")
    rows = rows.join(captions.select("row_id", "negative_captions"), on="row_id", how="left").join(true, on="row_id", how="left")
    empty = pl.lit([], dtype=pl.List(pl.String))
    negated, options = NEGATED.fill_null(empty), pl.col("true_options").fill_null(empty)
    texts = pl.concat_list(pl.concat_list(CONFIRMED), negated, options).list.drop_nulls()
    return rows.with_columns(
        pl.col("negative_captions").fill_null("[]"), true_options=as_cell(options), texts=as_cell(texts)
    ).select(list(FULL))  # fmt: skip


def as_cell(texts: pl.Expr) -> pl.Expr:
    """A list of texts as JSON text."""
    text = pl.struct(v=texts).struct.json_encode()
    return text.str.slice(5, text.str.len_chars() - 6)


def talks(row: Row) -> list[Talk]:
    """The question with its four options, answered by a letter."""
    options = "\n".join(f"{letter}. {row[f'paraphrase_{place}']}" for place, letter in enumerate(LETTERS))
    question = f"Which one of these statements is true of the image?\n{options}\nGive the letter alone."
    return [Talk(question, LETTERS[row["correct_answer"]])]
