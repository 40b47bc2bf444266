"""Hostile responses, plans and announcements: typed and bounded where they enter, and no row is lost on the way to the status."""

from __future__ import annotations

import pytest

from fuzz.servers import TARGETS
from fuzz.target import Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_that_a_server_or_a_folder_says_breaks_a_run(target: Target) -> None:
    assert target.taken(examples=8 if target.name == "answers-to-the-end" else 25), (
        "all cases were refused: what comes behind that is not tried"
    )
