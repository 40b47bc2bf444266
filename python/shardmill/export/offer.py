"""What can be exported of a run: named tables of finished parts, and what each of them holds for a format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import polars as pl

from shardmill.export.multi_text_format import TextSlot
from shardmill.store.cells import Kind
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError, did_you_mean

Row = dict[str, Any]
Tables = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Talk:
    """A question about a picture and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Places:
    """A fixed number of texts: what stands where, the expression that gives their list, and what stands in for a missing one."""

    sources: list[TextSlot]
    texts: pl.Expr
    fallback: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Offer:
    """A table to export: the parts of `stages`, which `join` makes one of where they are several.

    `picture` is the column that names the pictures. `texts` is an expression for the list of texts that are true of a picture,
    `talks` gives the questions and answers of a row, `boxes` are the columns (detections, names of the objects that are there).
    `doubles` looks at all rows of some shards and says of which rows of a table there was the like before.
    """

    name: str
    about: str
    stages: tuple[str, ...]
    picture: str | None = None
    join: Callable[[Tables], pl.DataFrame] | None = None
    joined: Mapping[str, Kind] = field(default_factory=dict)
    texts: pl.Expr | None = None
    places: Callable[[int | None], Places] | None = None
    talks: Callable[[Row], list[Talk]] | None = None
    pairs: bool = False
    boxes: tuple[str, str] | None = None
    doubles: Callable[[RunFolder, list[int]], Callable[[pl.DataFrame], pl.Series]] | None = None

    def kinds(self, run: RunFolder) -> dict[str, Kind]:
        """The columns of the table."""
        return dict(self.joined) if self.join else run.kinds(self.stages[0])


@dataclass(frozen=True)
class Format:
    """A format: what it is for, what a table needs for it, and whether a table has that."""

    about: str
    needs: str
    fits: Callable[[Offer], bool]


FORMATS: dict[str, Format] = {
    "csv": Format(
        "open_clip: filepath,title", "pictures with texts", lambda offer: bool(offer.picture) and offer.texts is not None
    ),
    "tsv": Format("open_clip's default", "pictures with texts", lambda offer: bool(offer.picture) and offer.texts is not None),
    "jsonl": Format(
        "Holistic-CLIP: a fixed number of texts", "a fixed number of texts for each picture", lambda offer: bool(offer.places)
    ),
    "webdataset": Format("tar shards with the pictures", "pictures", lambda offer: bool(offer.picture)),
    "parquet": Format("typed tables", "any table", lambda offer: True),
    "hf": Format("a folder for datasets.load_dataset", "any table", lambda offer: True),
    "llava": Format("conversations", "questions with answers", lambda offer: bool(offer.picture and offer.talks)),
    "dpo": Format("preference pairs", "preference pairs", lambda offer: offer.pairs),
    "coco": Format("boxes", "pictures with boxes", lambda offer: bool(offer.picture and offer.boxes)),
}


def offers_of(run: RunFolder) -> list[Offer]:
    """All that the run has to export, what most people want first. Raises UserError when it has nothing."""
    found: list[Offer] = import_module(f"shardmill.{run.plan.pipeline}.exports").offers(run)
    given = "image" in run.plan.input.mapping.values()
    found = [offer if given or offer.picture != "image" else replace(offer, picture=None) for offer in found]
    found = [offer for offer in found if set(offer.stages) <= set(run.stages)]
    if not found:
        raise UserError(
            f"{run.path} has none of the stages that an export is made of; put a stage into a file with: shardmill combine"
        )
    return found


def choose(run: RunFolder, format: str, what: Sequence[str] = ()) -> list[Offer]:
    """The tables of these names, or the first that the format fits. Raises UserError saying what there is."""
    if format not in FORMATS:
        raise UserError(f"there is no format {format!r}; {did_you_mean(format, FORMATS)}")
    offers = {offer.name: offer for offer in offers_of(run)}
    needs, fits, there_is = FORMATS[format].needs, FORMATS[format].fits, told(offers.values())
    for name in what:
        if name not in offers:
            raise UserError(f"the {run.plan.pipeline} run {run.path} has no {name!r} to export; {there_is}")
        if not fits(offers[name]):
            raise UserError(f"{name} of a {run.plan.pipeline} run cannot be {format}, which needs {needs}; {there_is}")
    chosen = [offers[name] for name in dict.fromkeys(what)] or [offer for offer in offers.values() if fits(offer)][:1]
    if not chosen:
        raise UserError(f"{format} needs {needs}, which the {run.plan.pipeline} run {run.path} has not; {there_is}")
    return chosen


def told(offers: Iterable[Offer]) -> str:
    """What there is, and as what: `captions (csv, tsv), questions (llava)`."""
    return "it has " + "; ".join(
        f"{offer.name} ({', '.join(name for name, format in FORMATS.items() if format.fits(offer))})" for offer in offers
    )
