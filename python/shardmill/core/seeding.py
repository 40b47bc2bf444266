"""Random choices that depend on the row alone, never on the shard, the batch or the order of arrival.

Every draw comes from (run seed, stage, row_id, ...), so a run gives the same rows for any number of shards and workers.
"""

from __future__ import annotations

import random
from hashlib import blake2b

import polars as pl


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any parts, stable across machines and Python versions."""
    digest = blake2b("\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def rng_of(*parts: object) -> random.Random:
    """A private random generator seeded by `seed_of(*parts)`."""
    return random.Random(seed_of(*parts))


def _u64(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.UInt64)


def uniform(key: pl.Expr, *parts: object) -> pl.Expr:
    """A uniform draw in [0, 1) per row as a Polars expression.

    `key` is an integer column (row_id); `parts` name the draw (run seed, stage, purpose). One draw per name: use other
    parts for the next draw. The mixing function is splitmix64 (Steele, Lea & Flood, OOPSLA 2014), with wrapping 64-bit
    arithmetic; a shift to the right is a division by a power of two.
    """
    state = key.cast(pl.UInt64) * _u64(0x9E3779B97F4A7C15) + _u64(seed_of(*parts))
    state = (state ^ (state // _u64(1 << 30))) * _u64(0xBF58476D1CE4E5B9)
    state = (state ^ (state // _u64(1 << 27))) * _u64(0x94D049BB133111EB)
    state = state ^ (state // _u64(1 << 31))
    return (state // _u64(1 << 11)).cast(pl.Float64) / float(1 << 53)


def below(key: pl.Expr, bound: pl.Expr | int, *parts: object) -> pl.Expr:
    """A uniform integer in [0, bound) per row; see `uniform`."""
    return (uniform(key, *parts) * bound).floor().cast(pl.Int64)
