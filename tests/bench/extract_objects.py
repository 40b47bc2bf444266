"""How well the rules name the objects of captions, against hand-made labels.

    python tests/bench/extract_objects.py [--gold FILE] [--errors]

A caption that shows nothing (advice, a question, a headline) is to give no object.

Precision, recall and F1 are micro-averaged over folded names, by style and split of the captions. A name that is the same as
a label, or a synonym of it, is a hit; one that matches a defensible extra label ("also") counts neither way.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "python"))

from shardmill.language.noun_phrases import extract_objects  # noqa: E402
from shardmill.language.prose import prose_problem  # noqa: E402
from shardmill.language.relations import relation  # noqa: E402

GOLD = ROOT / "tests" / "data" / "gold_objects.jsonl"


@dataclass
class Score:
    """Hits, misses and false alarms."""

    hits: int = 0
    missed: int = 0
    false: int = 0

    @property
    def precision(self) -> float:
        return self.hits / max(1, self.hits + self.false)

    @property
    def recall(self) -> float:
        return self.hits / max(1, self.hits + self.missed)

    @property
    def f1(self) -> float:
        return 2 * self.hits / max(1, 2 * self.hits + self.false + self.missed)


def read_gold(path: Path = GOLD) -> list[dict[str, Any]]:
    """The labelled captions."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def found_in(caption: str) -> list[str]:
    """What the pipeline keeps of a caption: nothing of one that shows nothing."""
    return [] if prose_problem(caption) else extract_objects(caption)


def compare(found: list[str], labels: list[str], also: list[str]) -> tuple[list[str], list[str]]:
    """(labels that were missed, names that are false alarms)."""
    missed = [label for label in labels if not any(_equal(name, label) for name in found)]
    false = [name for name in found if not any(_equal(name, label) for label in labels + also)]
    return missed, false


def score(rows: Iterable[dict[str, Any]]) -> Score:
    """The micro-averaged score of the extraction over labelled captions."""
    total = Score()
    for row in rows:
        missed, false = compare(found_in(row["caption"]), row["objects"], row["also"])
        total.hits += len(row["objects"]) - len(missed)
        total.missed += len(missed)
        total.false += len(false)
    return total


def speed(rows: list[dict[str, Any]], seconds: float = 2.0) -> float:
    """Captions per second on this core."""
    extract_objects("a dog")
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for row in rows:
            found_in(row["caption"])
        done += len(rows)
    return done / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gold", type=Path, default=GOLD, help="labelled captions, one JSON object per line")
    parser.add_argument("--errors", action="store_true", help="show every miss and false alarm")
    parser.add_argument("--split", choices=("tune", "test"), help="use one split alone")
    options = parser.parse_args()
    rows = [row for row in read_gold(options.gold) if options.split in (None, row["split"])]
    print(f"{'style':8}{'split':8}{'captions':>9}{'precision':>11}{'recall':>8}{'F1':>8}")
    for style in ("human", "web", "all"):
        for split in ("tune", "test", "all"):
            part = [row for row in rows if style in (row["style"], "all") and split in (row["split"], "all")]
            if part:
                result = score(part)
                print(f"{style:8}{split:8}{len(part):9}{result.precision:11.3f}{result.recall:8.3f}{result.f1:8.3f}")
    print(f"{speed(rows):,.0f} captions/s")
    if options.errors:
        show_errors(rows)


def show_errors(rows: list[dict[str, Any]]) -> None:
    """Each caption that is not right, with what was missed and what was wrongly named."""
    for row in rows:
        missed, false = compare(found_in(row["caption"]), row["objects"], row["also"])
        if missed or false:
            print(f"{row['caption']}\n    missed: {', '.join(missed) or '-'}    false: {', '.join(false) or '-'}")


def _equal(name: str, label: str) -> bool:
    return relation(name, label) in ("same", "synonym")


if __name__ == "__main__":
    main()
