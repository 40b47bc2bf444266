"""Pages about runs that hold hostile cells: whatever the data says, they have the elements and attributes of a harmless one."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

from hypothesis import strategies as st

from fuzz.guard import untimed
from fuzz.hostile import LITTLE, texts
from fuzz.runs import PIPELINES, REFERENCE, TEXTS, hostile_run, lay_pictures
from fuzz.target import Target
from shardmill.audit import sample as audit
from shardmill.audit.page import write_page
from shardmill.audit.sheet import read_sheet, write_sheet
from shardmill.compare.runs import compare
from shardmill.compare.view import page_of, render_comparison
from shardmill.core.planning import NewRun
from shardmill.previews import preview_run
from shardmill.previews.page import write_preview
from shardmill.quality.gather import gather
from shardmill.quality.page import write_report
from shardmill.store.run_folder import RunFolder

VOID = {"meta", "br", "hr", "img", "input", "link"}
ADDRESSES = {"src", "href", "xlink:href", "srcset", "action", "formaction", "data", "poster", "background", "ping", "srcdoc"}
OWN_ADDRESS = re.compile(r"#[^\s\"'<>]*|data:image/jpeg;base64,[A-Za-z0-9+/=]+")
OWN_STYLE = re.compile(r"[-a-z]+: ?[-#.\w()%, ]*(; ?[-a-z]+: ?[-#.\w()%, ]*)*;?")


class Page(HTMLParser):
    """A page's elements, closed in their order; its scripts and styles. Raises AssertionError for what no page may have."""

    def __init__(self, text: str):
        super().__init__()
        self.scripts: list[str] = []
        self.seen: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:80]}")

    def _element(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(f"{tag} {name}" for name, _ in attrs)}
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name not in ADDRESSES or OWN_ADDRESS.fullmatch(value or ""), (tag, name, value)
            assert name != "style" or OWN_STYLE.fullmatch(value or ""), (tag, value)


_own: dict[str, Page] = {}
"""What pages about harmless runs have, by the kind of the page."""


def _check(kind: str, text: str) -> None:
    """Each script is the page's own or data in JSON, and all elements and attributes are of kinds that harmless pages have."""
    text.encode("utf-8")
    page, own = Page(text), _own[kind]
    assert page.seen <= own.seen, page.seen - own.seen
    assert len(page.scripts) == len(own.scripts)
    for script, other in zip(page.scripts, own.scripts, strict=True):
        assert script == other or json.loads(script).keys() == json.loads(other).keys()


def _learn(folder: Path) -> None:
    if not _own:
        with untimed():
            _learn_pages(folder)


def _learn_pages(folder: Path) -> None:
    for pipeline in PIPELINES:
        place = folder / "known" / pipeline
        one = hostile_run(place / "one", pipeline, ["zebra"], [None, "none.png"])
        other = hostile_run(place / "other", pipeline, ["yak"], [""])
        for kind, text in (*pages_of(one, other, place), ("preview", _preview(place, SAMPLE))):
            assert "zebra" in text or "sofa" in text, f"the page {kind} shows nothing of its run"
            page = Page(text)
            page.seen |= _own.get(kind, page).seen
            _own[kind] = page


def pages_of(run: RunFolder, other: RunFolder, folder: Path) -> Iterator[tuple[str, str]]:
    """The pages about a run, by their kind. Without drawings, which take seconds: test_page has those of hostile labels."""
    with patch("shardmill.pages.plots.can_draw", lambda: False):
        report = write_report(gather(run, rows=20), folder / "report.html", Path(run.plan.input.image_root))
    yield "report", report.read_text(encoding="utf-8")
    sample, drawn = audit.draw_sample(run, 12)
    audit.save_sample(sample, folder / "audit")
    write_page(sample, drawn, folder / "audit" / "audit.html", str(run.path))
    yield "audit", (folder / "audit" / "audit.html").read_text(encoding="utf-8")
    write_sheet(sample, folder / "audit" / "audit.csv")
    assert not read_sheet(folder / "audit" / "audit.csv", sample).ticks
    found = compare(run, other, 5)
    render_comparison(found)
    yield "compare", page_of(found)


def pages(case: tuple[str, list[str], list[str | None]], folder: Path) -> None:
    """Report, audit and comparison of a run whose cells and pictures are anything."""
    pipeline, words, references = case
    _learn(folder)
    run = hostile_run(folder / "hostile", pipeline, words, references)
    for kind, text in pages_of(run, hostile_run(folder / "calm", pipeline, []), folder):
        _check(kind, text)


def previews(case: tuple[list[tuple[str, str, str]], str], folder: Path) -> None:
    """A preview of a table whose pictures, captions and other cells are anything."""
    rows, name = case
    _learn(folder)
    _check("preview", _preview(folder, [("image", "caption", name), *rows]))


def _preview(folder: Path, rows: list[tuple[str, str, str]]) -> str:
    path = folder / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    new = NewRun(input=path, image_root=lay_pictures(folder), settings=("filter_objects.unverified=keep",))
    with patch.object(tempfile, "tempdir", str(folder)), preview_run(new, 3) as (run, found):
        return write_preview(run, found, folder / "preview.html", str(path)).read_text(encoding="utf-8")


SAMPLE = [("image", "caption", "more"), ("a.png", "A dog and a cat sleep on a sofa.", "x"), ("none.png", "Joy", "y")]
_CAPTION = st.builds(str.__add__, st.sampled_from(["A dog sleeps on a sofa ", "", "Two cats and a "]), texts(3))

TARGETS = [
    Target("pages", st.tuples(st.sampled_from(PIPELINES), TEXTS, st.lists(st.none() | REFERENCE, min_size=1, max_size=3)), pages),
    Target("previews", st.tuples(st.lists(st.tuples(REFERENCE, _CAPTION, LITTLE), min_size=1, max_size=3), LITTLE), previews),
]
