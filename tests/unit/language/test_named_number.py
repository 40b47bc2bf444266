from __future__ import annotations

import pytest

from shardmill.language.named_number import names_several


@pytest.mark.parametrize(
    ("text", "name", "several"),
    [
        ("Two men ride horses", "man", True),
        ("Three sheep graze in a meadow", "sheep", True),
        ("a herd of sheep on a hill", "sheep", True),
        ("A sheep stands behind a fence", "sheep", False),
        ("The deer drink from a pond", "deer", True),
        ("the moose crosses a road", "moose", False),
        ("People feed deer in a park", "deer", True),
        ("Another aircraft lands", "aircraft", False),
        ("a dog on a rug", "dog", False),
    ],
)
def test_a_noun_with_one_form_is_told_by_what_stands_around_it(text: str, name: str, several: bool) -> None:
    assert names_several(text, name) == several
