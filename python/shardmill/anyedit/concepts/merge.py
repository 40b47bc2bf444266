"""A pool of concepts out of many lists: cleaned, folded and told apart, with an account of every name.

shardmill concepts build
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from shardmill.anyedit.concepts.clean import clean, form_problem
from shardmill.anyedit.concepts.fold import concept_of, spelling_key
from shardmill.anyedit.concepts.similar import HashedNames, near_duplicates
from shardmill.anyedit.concepts.sources import Name, distinct_phrases
from shardmill.language.lexicon import lexicon
from shardmill.language.proper_names import proper_problem
from shardmill.models.embedding import embed
from shardmill.store.cells import csv_line, dump_cell
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

CONCEPTS, FOLDED = "concepts.csv", "folded.csv"
SAME, FORM, APART, LIKE = "same name", "case or number", "written apart", "near duplicate"
CAPITALISED = 0.8
ENOUGH_NAMES = 20
"""Capitals tell nothing in a source of so many names at least of which this share has them."""

SIMILAR = {"n-grams": 0.85, "embedding": 0.89}
"""Cosines from which two names are one. That of embeddings was chosen with all-MiniLM-L6-v2: it parts every near miss of
`tests/data/concept_pairs.csv` (the most similar, skateboard and skateboarder, has 0.88) and finds one synonym in six."""

Report = Callable[[int, int], None]


@dataclass
class Concept:
    """A concept on its way: the text it was first named by, how often it was named, by which sources, and its backgrounds."""

    name: str
    text: str
    count: int = 0
    sources: dict[str, None] = field(default_factory=dict)
    backgrounds: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Folded:
    """A name that is no concept of the pool: the key of the one it went into (None where it was dropped), and why."""

    name: str
    into: str | None
    reason: str
    similarity: float | None = None


@dataclass(frozen=True)
class PoolReport:
    """What became of the names read."""

    path: Path
    names: int
    concepts: int
    reasons: dict[str, int]

    def line(self) -> str:
        """The account in one line: names in = concepts out + what was folded or dropped, by reason."""
        told = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.items())
        rest = self.names - self.concepts
        return f"{self.names:,} names in = {self.concepts:,} concepts out + {rest:,} folded or dropped" + (
            f" ({told})" if told else ""
        )


def build_pool(
    sources: Iterable[Sequence[Name]], out: Path, report: Report, *, similar: float | None = None, embedding: str | None = None
) -> PoolReport:
    """Write `out`/concepts.csv (concept, backgrounds, source) and `out`/folded.csv (concept, into, reason, similarity).

    Concepts stand in the order of their first name. Of two similar ones the one stays that the lexicon knows, or that is named
    more often, or that is more general, or that came first.

    Args:
        sources: The names of each source.
        out: The folder to write into.
        report: Called with the number of concepts compared and of all.
        similar: The cosine from which two concepts are one; SIMILAR if not given.
        embedding: A sentence-embedding model; without one hashed n-grams are compared.

    Raises:
        UserError: Nothing is left of the names.
    """
    pool: dict[str, Concept] = {}
    folded: list[Folded] = []
    cleaned = [[(name, clean(name.text)) for name in source] for source in sources]
    names = sum(map(len, cleaned))
    plain = {text for source in cleaned for _, text in source if text.islower()}
    for source in cleaned:
        _add(source, plain, pool, folded)
    if not pool:
        reasons = ", ".join(sorted({each.reason for each in folded})) or "no names"
        raise UserError(f"nothing is left of {names:,} names ({reasons}).")
    similar = SIMILAR["n-grams" if embedding is None else "embedding"] if similar is None else similar
    moved = _like_ones(pool, similar, embedding, report) if similar < 1 else {}
    for key, (into, _) in moved.items():
        pool[into].sources |= pool[key].sources
        pool[into].backgrounds |= pool[key].backgrounds
    folded += [Folded(pool[key].name, into, LIKE, cosine) for key, (into, cosine) in moved.items()]
    kept = {key: concept for key, concept in pool.items() if key not in moved}
    _write(out / CONCEPTS, ("concept", "backgrounds", "source"), map(_concept_row, kept.values()))
    _write(out / FOLDED, ("concept", "into", "reason", "similarity"), (_folded_row(each, pool, moved) for each in folded))
    if names != len(kept) + len(folded):
        raise AssertionError(f"{names} names, {len(kept)} concepts and {len(folded)} folded")
    return PoolReport(out / CONCEPTS, names, len(kept), dict(Counter(each.reason for each in folded).most_common()))


def _add(source: Sequence[tuple[Name, str]], plain: Container[str], pool: dict[str, Concept], folded: list[Folded]) -> None:
    """Put the names of a source into the pool, or among the folded. What is in `plain`, in lower case, is no proper noun."""
    every_word, first_word = _capitals([text for _, text in source])
    for name, text in source:
        told = text[:1].lower() + text[1:] if first_word and not text[:2].isupper() else text
        tell = not every_word and text.lower() not in plain
        problem = form_problem(text) or proper_problem(told, capitals_tell=tell)
        if problem is not None:
            folded.append(Folded(name.text, None, problem))
            continue
        concept = concept_of(text)
        key = spelling_key(concept)
        known = pool.setdefault(key, Concept(concept, name.text))
        if known.count:
            folded.append(_spelled(known, key, text, concept, name.text))
        known.count += 1
        known.sources[name.source] = None
        known.backgrounds.update(dict.fromkeys(name.backgrounds))


def _spelled(known: Concept, key: str, text: str, concept: str, original: str) -> Folded:
    """The account of one more name of a concept; the spelling that the lexicon has is the one that stays."""
    if concept == known.name:
        return Folded(original, key, SAME if text == known.name else FORM)
    if lexicon().exact(concept) is not None and lexicon().exact(known.name) is None:
        original, known.text, known.name = known.text, original, concept
    return Folded(original, key, APART)


def _capitals(names: Sequence[str]) -> tuple[bool, bool]:
    """Whether a source writes every word, and whether it writes the first word, with a capital as a rule."""
    worded = [words for name in names if (words := re.findall(r"[^\W\d_][\w'-]*", name))]
    if len(worded) < ENOUGH_NAMES:
        return False, False
    first = sum(words[0][0].isupper() for words in worded)
    several = [words for words in worded if len(words) > 1]
    every = sum(all(word[0].isupper() for word in words) for words in several)
    first_rule = first >= CAPITALISED * len(worded)
    return first_rule and bool(several) and every >= CAPITALISED * len(several), first_rule


def _like_ones(pool: dict[str, Concept], threshold: float, embedding: str | None, report: Report) -> dict[str, tuple[str, float]]:
    """The keys that are folded into another one, with the cosine of both."""
    keys = sorted(pool, key=lambda key: _preference(pool[key]))
    names = [pool[key].name for key in keys]
    if embedding is None:
        hashed = HashedNames(names)
        dense, confirm = hashed.dense, hashed.cosine
    else:
        dense, confirm = embed(names, embedding), None
    found = near_duplicates(dense, threshold, report, confirm)
    return {keys[index]: (keys[into], cosine) for index, (into, cosine) in found.items()}


def _preference(concept: Concept) -> tuple[bool, int, int]:
    """Smaller for the concept that stays: known to the lexicon, named more often, more general ("dog" rather than "puppy")."""
    entry = lexicon().exact(concept.name)
    return entry is None, -concept.count, len(lexicon().kinds(entry)) if entry else 0


def _concept_row(concept: Concept) -> tuple[str, str, str]:
    return concept.name, dump_cell(distinct_phrases(concept.backgrounds)), "|".join(concept.sources)


def _folded_row(each: Folded, pool: dict[str, Concept], moved: dict[str, tuple[str, float]]) -> tuple[str, str, str, str]:
    into = moved.get(each.into, (each.into, 1.0))[0] if each.into is not None and each.reason != LIKE else each.into
    similarity = "" if each.similarity is None else f"{each.similarity:.4f}"
    return each.name, "" if into is None else pool[into].name, each.reason, similarity


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as file:
        for row in chain([columns], rows):
            file.write(csv_line(row).encode("utf-8", "replace"))
