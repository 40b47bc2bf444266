"""How long does it take to fold near duplicates among many concepts, and in how much memory?

    python tests/bench/concepts.py [--concepts 35000]

Beside it the time of comparing every ordered pair one by one in Python: measured on a few concepts, and reckoned up to all of
them by the number of pairs.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

from shardmill.anyedit.concepts.merge import build_pool
from shardmill.anyedit.concepts.similar import HashedNames
from shardmill.anyedit.concepts.sources import Name
from shardmill.language.lexicon import lexicon
from shardmill.language.word_lists import word_set

SLICE = 120
PLANTED = 50
"""Every so many-th concept is a near duplicate of an earlier one."""
MODIFIERS = word_set(
    "wooden plastic rusty vintage striped spotted inflatable ceramic woven knitted folding portable painted carved leather "
    "woolen tropical alpine marine desert garden kitchen office school hospital airport railway wedding birthday winter "
    "summer toy model miniature giant electric hand-held double single broken polished antique bamboo copper brass marble "
    "velvet cotton paper"
)


def made_up(count: int) -> list[str]:
    """So many different names, some of them with letters doubled so that they are nearly the same as an earlier one."""
    rng = random.Random(0)
    modifiers, nouns = sorted(MODIFIERS), list(lexicon().entries)
    names: dict[str, None] = {}
    while len(names) < count:
        name = f"{rng.choice(modifiers)} {rng.choice(modifiers)} {rng.choice(nouns)}"
        names[name] = None
        if len(names) % PLANTED == 0 and len(name) > 24:
            names[f"{name} {name.split()[0]}"] = None
    return list(names)[:count]


def ordered_pairs(names: list[str]) -> float:
    """Seconds that a plain loop over all ordered pairs of dense vectors takes."""
    rows = [row.tolist() for row in HashedNames(names).dense]
    started = time.perf_counter()
    found = 0
    for a in rows:
        for b in rows:
            found += sum(x * y for x, y in zip(a, b, strict=True)) > 0.85
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--concepts", type=int, default=35_000)
    count = parser.parse_args().concepts
    names = made_up(count)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = build_pool([[Name(name) for name in names]], Path(folder), lambda done, total: None)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(made.line())
    print(f"{seconds:.1f} s for {count:,} concepts, everything; {peak:,.0f} MB peak memory of the process")
    plain = ordered_pairs(names[:SLICE])
    whole = plain * (count / SLICE) ** 2
    print(f"every ordered pair in Python: {plain:.2f} s for {SLICE} concepts, so {whole / 3600:,.1f} h for {count:,} (reckoned)")
    print(f"ratio: {whole / seconds:,.0f}")


if __name__ == "__main__":
    main()
