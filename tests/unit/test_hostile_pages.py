"""Pages about runs of hostile cells: no markup comes from data."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.pages import TARGETS, pages
from fuzz.target import Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_element_or_attribute_of_a_page_comes_from_data(target: Target) -> None:
    assert target.taken(examples=12, shrinks=False) > 3, "three quarters of the cases were refused"


def test_a_path_that_no_file_can_have_is_a_picture_that_is_not_there(tmp_path: Path) -> None:
    pages(("antidote", [""], ["a\0b"]), tmp_path)
