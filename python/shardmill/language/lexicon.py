"""The lexicon of everyday visual objects: what each is called, what it is, and where it is seen.

`lexicon.csv` holds one object per row; lists within a cell are separated by `|`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from importlib.resources import files

from shardmill.language.nouns import fold, plural
from shardmill.language.own_lexicon import ALONE, own_rows, own_text


@dataclass(frozen=True)
class LexiconEntry:
    """One kind of visible thing. `number` is "count", "mass" or "plural"; `shape` and `color` say how `scene` draws it."""

    name: str
    plural: str
    synonyms: tuple[str, ...]
    category: str
    hypernyms: tuple[str, ...]
    parts: tuple[str, ...]
    scenes: tuple[str, ...]
    number: str
    shape: str
    color: str

    @property
    def names(self) -> tuple[str, ...]:
        """The name and every synonym."""
        return (self.name, *self.synonyms)


class Lexicon:
    """Entries by name, with lookup by any caption phrase, by scene, and the closure of kinds and parts."""

    def __init__(self, entries: Iterable[LexiconEntry]) -> None:
        self.entries: dict[str, LexiconEntry] = {entry.name: entry for entry in entries}
        self._by_key: dict[str, tuple[LexiconEntry, ...]] = {fold(name): (entry,) for name, entry in self.entries.items()}
        for entry in self.entries.values():
            for key in dict.fromkeys(map(fold, entry.synonyms)):
                self._by_key[key] = (*self._by_key.get(key, ()), entry)
        self._kinds: dict[str, frozenset[str]] = {}
        self._parts: dict[str, frozenset[str]] = {}

    def exact(self, phrase: str) -> LexiconEntry | None:
        """The entry that the phrase names or is a synonym of, whatever its case, article and number."""
        return next(iter(self.senses(phrase)), None)

    def senses(self, phrase: str) -> tuple[LexiconEntry, ...]:
        """All entries that the phrase may name, the likeliest first: "glasses" are drinking glasses or eyeglasses."""
        return self._by_key.get(fold(phrase), ())

    def find(self, phrase: str) -> LexiconEntry | None:
        """The entry for a phrase; "small brown dog" falls back to its head, "dog", and "cup of tea" to "cup"."""
        key = fold(phrase)
        while key:
            if key in self._by_key:
                return self._by_key[key][0]
            key = fold(key.split(" of ", 1)[0]) if " of " in key else key.partition(" ")[2]
        return None

    def in_scene(self, scene: str) -> tuple[LexiconEntry, ...]:
        """The entries seen in a scene, in the order of the file; none for a scene that is not known."""
        return self._by_scene.get(scene, ())

    @cached_property
    def scenes(self) -> tuple[str, ...]:
        """Every scene name, sorted."""
        return tuple(sorted(self._by_scene))

    def kinds(self, entry: LexiconEntry) -> frozenset[str]:
        """All that the entry is a kind of, closed: a puppy is a dog, so it is an animal."""
        if entry.name not in self._kinds:
            kinds = set(entry.hypernyms)
            for name in entry.hypernyms:
                if name in self.entries and name != entry.name:
                    kinds |= self.kinds(self.entries[name])
            self._kinds[entry.name] = frozenset(kinds)
        return self._kinds[entry.name]

    def parts(self, entry: LexiconEntry) -> frozenset[str]:
        """The entry's parts, those of every kind it belongs to, and theirs: a chef has the fingers of a person."""
        if entry.name not in self._parts:
            parts = set(entry.parts)
            wholes = [*sorted(self.kinds(entry)), *entry.parts]
            for whole in (self.entries[name] for name in wholes if name in self.entries):
                parts |= self.parts(whole)
            self._parts[entry.name] = frozenset(parts)
        return self._parts[entry.name]

    @cached_property
    def _by_scene(self) -> dict[str, tuple[LexiconEntry, ...]]:
        scenes: dict[str, list[LexiconEntry]] = {}
        for entry in self.entries.values():
            for scene in entry.scenes:
                scenes.setdefault(scene, []).append(entry)
        return {scene: tuple(entries) for scene, entries in scenes.items()}


def lexicon() -> Lexicon:
    """The lexicon that ships with the package, with the objects of the user's own if there is one."""
    return _lexicon_with(own_text())


@cache
def _lexicon_with(own: str) -> Lexicon:
    bundled = files("shardmill.language").joinpath("lexicon.csv").read_text(encoding="utf-8")
    rows = list(own_rows(own))
    if rows and rows[0]["name"] == ALONE:
        return Lexicon(_entry(_with_plural(row)) for row in rows[1:])
    merged = {row["name"]: row for row in csv.DictReader(bundled.splitlines())}
    merged.update({row["name"]: _with_plural(row) for row in rows})
    return Lexicon(map(_entry, merged.values()))


def _with_plural(row: dict[str, str]) -> dict[str, str]:
    if row["plural"] or row["number"] != "count":
        return {**row, "plural": row["plural"] or row["name"]}
    return {**row, "plural": plural(row["name"])}


@cache
def lexicon_digest() -> str:
    """The SHA-256 of the lexicon that ships with the package, in hexadecimal."""
    return sha256(files("shardmill.language").joinpath("lexicon.csv").read_bytes()).hexdigest()


def _entry(row: dict[str, str]) -> LexiconEntry:
    def cells(column: str) -> tuple[str, ...]:
        return tuple(part for part in row[column].split("|") if part)

    return LexiconEntry(
        name=row["name"], plural=row["plural"], synonyms=cells("synonyms"), category=row["category"],
        hypernyms=cells("hypernyms"), parts=cells("parts"), scenes=cells("scenes"),
        number=row["number"], shape=row["shape"], color=row["color"],
    )  # fmt: skip
