"""Rows as cards of a gallery, as data: a report's JSON holds them, `pages.gallery` lays them out."""

from __future__ import annotations

from typing import Literal

from shardmill.pages.charts import PageData


class BoxView(PageData):
    """A box (x0, y0, x1, y1) in pixels of the upright image, its detection score from 0 to 1, and what became of the object."""

    name: str
    score: float
    box: tuple[float, float, float, float]
    kind: Literal["kept", "dropped", "absent"]


class TextView(PageData):
    """One text of a row: which it is, what it says, and whether it was kept."""

    label: str
    text: str
    kept: bool = True
    why: str = ""


class Card(PageData):
    """A row of the gallery. `image` is the reference that `models.images` opens; `boxes` are drawn over it."""

    row_id: int
    sub_id: int | None = None
    stage: str
    outcome: Literal["accepted", "rejected"]
    reason: str = ""
    detail: str = ""
    objects: list[str] = []
    image: str | None = None
    boxes: list[BoxView] = []
    texts: list[TextView] = []
