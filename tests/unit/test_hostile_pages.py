"""Pages about runs of hostile cells: no markup comes from data."""

from __future__ import annotations

import pytest

from fuzz.pages import TARGETS
from fuzz.target import Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_element_or_attribute_of_a_page_comes_from_data(target: Target) -> None:
    assert target.taken(examples=12, shrinks=False) > 6
