"""Pages about runs of hostile cells: no markup comes from data."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.pages import TARGETS, pages
from fuzz.runs import hostile_run
from fuzz.target import Target
from shardmill.quality.gather import gather


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_element_or_attribute_of_a_page_comes_from_data(target: Target) -> None:
    assert target.taken(examples=12, shrinks=False) > 3, "three quarters of the cases were refused"


def test_a_path_that_no_file_can_have_is_a_picture_that_is_not_there(tmp_path: Path) -> None:
    run = hostile_run(tmp_path / "run", "antidote", [], ["a\0b"])
    (finding,) = (each for each in gather(run, rows=20).findings if each.id == "pictures.readable")
    assert (finding.verdict, finding.value) == ("fail", 1.0)
    assert [each.text for each in finding.examples] == [f"no such file: {run.path / 'a'}\0b"] * finding.n
    pages(("antidote", [""], ["a\0b"]), tmp_path / "pages")
