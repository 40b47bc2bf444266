import polars as pl

from shardmill.core.seeding import below, rng_of, seed_of, uniform

MASK = (1 << 64) - 1


def splitmix64(key: int, seed: int) -> float:
    """The reference: splitmix64's mixing of key * golden gamma + seed, in Python integers."""
    state = (key * 0x9E3779B97F4A7C15 + seed) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return ((state ^ (state >> 31)) >> 11) / float(1 << 53)


def draws(rows: int, *parts: object) -> list[float]:
    return pl.select(pl.int_range(rows).alias("row_id")).select(uniform(pl.col("row_id"), *parts)).to_series().to_list()


def test_the_expression_is_splitmix64() -> None:
    seed = seed_of(7, "stage")
    assert draws(1_000, 7, "stage") == [splitmix64(row, seed) for row in range(1_000)]


def test_draws_are_uniform_and_those_of_other_names_unrelated() -> None:
    first, second = draws(20_000, 0, "a"), draws(20_000, 0, "b")
    counts = [0] * 16
    for x, y in zip(first, second, strict=True):
        counts[int(x * 4) * 4 + int(y * 4)] += 1
    assert all(abs(count - 1_250) < 5 * 1_250**0.5 for count in counts)


def test_a_row_gets_the_same_draw_in_any_frame() -> None:
    whole = pl.DataFrame({"row_id": range(100)})
    drawn = whole.with_columns(pick=below(pl.col("row_id"), 5, 1, "pick"))
    half = whole.slice(40).with_columns(pick=below(pl.col("row_id"), 5, 1, "pick"))
    assert half.equals(drawn.slice(40))
    assert set(drawn["pick"]) == set(range(5))


def test_seeds_tell_their_parts_apart() -> None:
    assert seed_of(1, 23) != seed_of(12, 3)
    assert seed_of("a", 1) == seed_of("a", 1)
    assert rng_of(0, "x").random() != rng_of(0, "y").random()
