"""Which concepts, pairs of concepts and backgrounds are to be captioned: drawn by a seed, one row after the other.

shardmill concepts pairs. Nothing grows with the number of rows: the order of the 2.9 million pairs of 2,409 concepts is a
permutation, computed place by place (a Feistel network walked until it falls into the range; Black & Rogaway, CT-RSA 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from math import isqrt
from typing import Literal

from shardmill.core.seeding import rng_of, seed_of
from shardmill.language.locatives import locative
from shardmill.util.errors import UserError

Mode = Literal["c2cap", "cb2cap", "cc2cap"]
MODES: tuple[Mode, ...] = ("c2cap", "cb2cap", "cc2cap")
COLUMNS = ("concept", "concept2", "background", "mode")
Row = tuple[str, str, str, str]
"""A row to be captioned: concept, second concept, background (both may be empty), mode."""
ROUNDS = 4


@dataclass(frozen=True)
class PoolConcept:
    """A concept with its backgrounds."""

    name: str
    backgrounds: tuple[str, ...]


def draw_rows(pool: Sequence[PoolConcept], mode: Mode, total: int, seed: int, backgrounds_per_pair: int = 1) -> Iterator[Row]:
    """`total` rows of a mode. No concept comes again before all others came; no pair comes twice.

    c2cap: a concept, over and over if need be. cb2cap: a concept in one of its backgrounds. cc2cap: two concepts, in so many rows
    as `backgrounds_per_pair`, each with another background: one that both have, else one of either. Raises UserError where the
    pool cannot have so many; there are fewer rows where pairs have fewer backgrounds than they are to.
    """
    if mode == "c2cap":
        if not pool:
            raise UserError("the pool is empty.")
        return islice(_alone(pool, seed), total)
    if mode == "cb2cap":
        most = sum(len(concept.backgrounds) for concept in pool)
        rows = _placed(pool, seed)
    else:
        most = backgrounds_per_pair * (len(pool) * (len(pool) - 1) // 2)
        rows = _paired(pool, seed, backgrounds_per_pair)
    if total > most:
        raise UserError(f"the pool has {most:,} rows of the mode {mode}, {total:,} are asked for; lower --total.")
    return islice(rows, total)


def _alone(pool: Sequence[PoolConcept], seed: int) -> Iterator[Row]:
    turn = 0
    while True:
        for place in _shuffled(len(pool), seed, "alone", turn):
            yield pool[place].name, "", "", "c2cap"
        turn += 1


def _placed(pool: Sequence[PoolConcept], seed: int) -> Iterator[Row]:
    """Turn after turn one background of every concept that has one left."""
    for turn in range(max((len(concept.backgrounds) for concept in pool), default=0)):
        for place in _shuffled(len(pool), seed, "placed", turn):
            concept = pool[place]
            if turn < len(concept.backgrounds):
                order = _shuffled(len(concept.backgrounds), seed, "backgrounds", concept.name)
                yield concept.name, "", locative(concept.backgrounds[order[turn]]), "cb2cap"


def _paired(pool: Sequence[PoolConcept], seed: int, per_pair: int) -> Iterator[Row]:
    for a, b in distinct_pairs(len(pool), seed):
        rng = rng_of(seed, "pair", pool[a].name, pool[b].name)
        if rng.random() < 0.5:
            a, b = b, a
        for background in _shared_places(pool[a], pool[b], rng.sample, per_pair):
            yield pool[a].name, pool[b].name, background, "cc2cap"


def _shared_places(a: PoolConcept, b: PoolConcept, sample: Callable[[Sequence[str], int], list[str]], count: int) -> list[str]:
    """Backgrounds for a pair: those of both first, then those of either. One empty one where there is none at all."""
    both = [place for place in a.backgrounds if place in frozenset(b.backgrounds)]
    either = [place for place in dict.fromkeys((*a.backgrounds, *b.backgrounds)) if place not in frozenset(both)]
    chosen = sample(both, min(count, len(both)))
    chosen += sample(either, min(count - len(chosen), len(either)))
    return [locative(place) for place in chosen] or [""]


def distinct_pairs(count: int, seed: int) -> Iterator[tuple[int, int]]:
    """Every unordered pair of `count` places once, smaller place first: at the start pairs that cover all places, then the
    others as the permutation has them.
    """
    if count < 2:
        return
    order = _shuffled(count, seed, "cover")
    cover = dict.fromkeys(_sorted_pairs(zip(order[::2], order[1::2], strict=False)))
    if count % 2:
        cover |= dict.fromkeys(_sorted_pairs([(order[-1], order[0])]))
    yield from cover
    total = count * (count - 1) // 2
    for place in range(total):
        pair = pair_at(permuted(place, total, seed))
        if pair not in cover:
            yield pair


def _sorted_pairs(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return ((min(pair), max(pair)) for pair in pairs)


def pair_at(index: int) -> tuple[int, int]:
    """The pair (a, b), a < b, of an index: 0 is (0, 1), 1 is (0, 2), 2 is (1, 2), 3 is (0, 3) and so on."""
    b = (isqrt(8 * index + 1) + 1) // 2
    return index - b * (b - 1) // 2, b


def permuted(index: int, size: int, seed: int) -> int:
    """Where a permutation of range(size), chosen by the seed, takes an index."""
    half = max(((size - 1).bit_length() + 1) // 2, 1)
    mask = (1 << half) - 1
    key = seed_of(seed, "pairs", size).to_bytes(8, "big")
    while True:
        left, right = index >> half, index & mask
        for turn in range(ROUNDS):
            mixed = blake2b(right.to_bytes(8, "big"), digest_size=8, key=key, salt=bytes([turn])).digest()
            left, right = right, left ^ (int.from_bytes(mixed, "big") & mask)
        index = left << half | right
        if index < size:
            return index


def _shuffled(count: int, *parts: object) -> list[int]:
    places = list(range(count))
    rng_of(*parts).shuffle(places)
    return places
