"""Word lists that lie beside the code as YAML files, one file for each module that uses them.

A file is a mapping from the name of a list to its words: a text of words between blanks, a list of phrases, a mapping from one
word to another, or a table: a mapping from names to mappings. Every value is text ("no", "on" and "yes" are words here, not truth
values).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


def word_set(*lines: str) -> frozenset[str]:
    """The words of some lines."""
    return frozenset(" ".join(lines).split())


class WordLists:
    """The lists of one file, by name."""

    def __init__(self, file: str, lists: Mapping[str, Any]) -> None:
        self._file = file
        self._lists = lists

    def has(self, name: str) -> bool:
        """Whether the file has a list of that name."""
        return name in self._lists

    def words(self, *names: str) -> frozenset[str]:
        """The words of one or several lists."""
        return word_set(*(self._value(name, str) for name in names))

    def phrases(self, name: str) -> tuple[str, ...]:
        """The entries of a list of phrases, in order."""
        return tuple(self._value(name, list))

    def mapping(self, name: str) -> dict[str, str]:
        """The entries of a mapping from word to word, in order."""
        return dict(self._value(name, dict))

    def table(self, name: str) -> dict[str, Any]:
        """The entries of a mapping from names to mappings or lists, in order."""
        return dict(self._value(name, dict))

    def _value(self, name: str, kind: type) -> Any:
        value = self._lists.get(name)
        if not isinstance(value, kind):
            raise TypeError(f"{self._file}: {name!r} is {type(value).__name__}, not {kind.__name__}")
        return value


@cache
def word_lists(package: str, file: str) -> WordLists:
    """The lists of a file in a package: `word_lists("shardmill.language", "tagging.yaml")`.

    The file's name stands in the module that uses it, so that the fingerprint of a stage covers its words.
    """
    # BaseLoader makes nothing but texts, lists and mappings; the C version reads a file in a tenth of the time.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    return WordLists(file, yaml.load(text, Loader=loader))
