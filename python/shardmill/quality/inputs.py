"""Rules on the input: repeated captions, images whose rows are apart, and texts that a spreadsheet would run.

Several captions of an image are the normal shape of COCO and Flickr30k and break no rule. What matters is that the rows of an
image stay together in the files that are cut from them.
"""

from __future__ import annotations

import polars as pl

from shardmill.quality.rules import QualityRule, at_most
from shardmill.store.cells import looks_like_formula
from shardmill.store.run_folder import INGEST, RunFolder

COPIES, APART = at_most(0.02, 0.1), at_most(0.02)
UNUSUAL_START = r"^\s*[^\p{L}\p{N}\s]"
"""What few texts begin with, and all formulas: only such texts are looked at one by one."""


def input_rules(run: RunFolder, *columns: str) -> list[QualityRule]:
    """The rules on those of the text columns `caption` and `image` that the input has."""
    texts = [name for name in columns if run.plan.input.columns.get(name) == "text"]
    if not texts:
        return []
    captioned = "caption" in texts
    images = [_apart_rule() if captioned else _again_rule()] if "image" in texts else []
    return [*([_copies_rule()] if captioned else []), *images, _formula_rule(texts)]


def _copies_rule() -> QualityRule:
    return QualityRule(
        "input.caption.copies",
        "No two rows of the input have the same caption.",
        COPIES,
        ("caption",),
        pl.col("caption"),
        stage=INGEST,
        counts="copies",
        fault="Some captions are in several rows of the input.",
        advice="Duplicate rows weigh more in training, and may be in both halves of a split. Remove them from the input.",
    )


def _again_rule() -> QualityRule:
    """For pipelines that read images alone: a row of an image that another row has is work done twice."""
    return QualityRule(
        "input.image.again",
        "Each image is in one row.",
        APART,
        ("image",),
        pl.col("image"),
        stage=INGEST,
        counts="copies",
        fault="Some images are in several rows, and each row is captioned anew.",
        advice="Keep one row of each image in the input, or leave it so if several captions of the same kind are wanted.",
    )


def _apart_rule() -> QualityRule:
    return QualityRule(
        "input.image.apart",
        "The rows of an image stand together, so that what is cut from the data keeps them together.",
        APART,
        ("image",),
        pl.when(pl.col("image").ne_missing(pl.col("image").shift(1))).then(pl.col("image")),
        stage=INGEST,
        counts="copies",
        fault="The rows of some images are far apart: a split by rows or by files puts such an image on both sides.",
        advice="Split the datasets by the image instead, or sort the input by its image column before the run.",
    )


def _formula_rule(columns: list[str]) -> QualityRule:
    return QualityRule(
        "input.formulas",
        "No caption or image path is one that a spreadsheet would run as a formula.",
        at_most(0.0),
        tuple(columns),
        pl.concat_list([_is_formula(name) for name in columns]),
        stage=INGEST,
        example=pl.coalesce([pl.when(_is_formula(name)).then(pl.col(name)) for name in columns]),
        fault="Some captions or image paths would run as a formula in a spreadsheet.",
        advice="Such texts are kept as they are. Do not open the CSV files of this run in a spreadsheet that runs formulas.",
    )


def _is_formula(column: str) -> pl.Expr:
    """Whether a text is a formula; null where there is no text."""
    text = pl.col(column)
    suspicious = pl.when(text.str.contains(UNUSUAL_START)).then(text)
    return pl.when(text.is_not_null()).then(suspicious.map_elements(looks_like_formula, return_dtype=pl.Boolean).fill_null(False))
