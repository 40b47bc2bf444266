"""The job that every client of the comparison does, and the command line that it is given. Standard library only.

A table `row_id,caption` in; for each caption one chat request; its objects out, in the client's own durable form. Each
`with_*.py` has `run(job)` (start, or go on with what is in the output folder) and `read(job)` (what it has left there).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CAPTION = re.compile(r"photo (\d+): a (\w+) beside a (\w+) and a (\w+)")
NOUNS = [
    *("dog", "kite", "lamp", "boat", "horse", "bench", "apple", "train"),
    *("bridge", "tower", "chair", "clock", "bicycle", "violin", "drum", "fountain"),
]
SYSTEM = """You list what a photo caption names. Given one caption, return the visible things in it as JSON:
{"objects": ["...", "..."]}.

Rules
- Only things that the caption itself names and that a camera could show: people, animals, objects, plants, buildings, materials.
- Short names as in the caption: the noun, with the words that belong to its name, without articles, counts and opinions.
- Name each thing once. Keep the order of the caption.
- If nothing visible is named, return {"objects": []}."""
CHANGED = SYSTEM + "\n- Leave out people."
EXAMPLES = (
    ("Two hikers rest on a mossy log while their dog drinks from a stream.", ["hiker", "log", "dog", "stream"]),
    ("Vintage copper kettle - free shipping!", ["kettle"]),
    ("The joy of a long weekend", []),
)


@dataclass(frozen=True)
class Job:
    """What a client is to do. `prompt` is the system prompt, `examples` go between it and the caption."""

    table: Path
    url: str
    out: Path
    concurrency: int
    prompt: str
    model: str = "bench"

    def rows(self) -> Iterator[dict[str, Any]]:
        with open(self.table, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield {"row_id": int(row["row_id"]), "caption": row["caption"]}

    def messages(self, caption: str) -> list[dict[str, str]]:
        """The chat of a row: instructions, three examples, the caption."""
        return [{"role": "system", "content": self.prompt}, *messages_after_system(caption)]


def messages_after_system(caption: str) -> list[dict[str, str]]:
    """The examples and the caption, as turns."""
    chat = []
    for example, objects in EXAMPLES:
        chat.append({"role": "user", "content": ask(example)})
        chat.append({"role": "assistant", "content": json.dumps({"objects": objects})})
    return [*chat, {"role": "user", "content": ask(caption)}]


def ask(caption: str) -> str:
    """The user's turn for a caption."""
    return f"Caption: {json.dumps(caption)}"


def caption_of(row: int) -> str:
    """The caption of a row: its number and three different nouns."""
    count = len(NOUNS)
    first, second, third = row % count, (row * 7 + 1) % count, (row // count * 3 + 2) % count
    while second == first:
        second = (second + 1) % count
    while third in (first, second):
        third = (third + 1) % count
    return f"photo {row}: a {NOUNS[first]} beside a {NOUNS[second]} and a {NOUNS[third]}"


def objects_of(caption: str) -> list[str]:
    """The right answer to a caption."""
    found = CAPTION.search(caption)
    return list(found.groups()[1:]) if found else []


def parse(text: str | None) -> list[str]:
    """The objects in an answer. Raises ValueError for any other answer."""
    value = json.loads(text or "")
    objects = value.get("objects") if isinstance(value, dict) else None
    if not isinstance(objects, list) or not all(isinstance(name, str) for name in objects):
        raise ValueError("no list of objects")
    return objects


def write_table(path: Path, rows: int) -> None:
    """The input of so many rows."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("row_id,caption\n")
        file.writelines(f"{row},{caption_of(row)}\n" for row in range(rows))


Outcome = dict[str, Any]
"""What a client has left of a row: `row_id`, and `objects` or a `reason`."""


def main(run: Callable[[Job], None], read: Callable[[Job], Iterator[Outcome]]) -> None:
    """The command line of a client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--url", default="http://127.0.0.1:9/v1")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--changed", action="store_true", help="with another system prompt")
    parser.add_argument("--read", action="store_true", help="print what is in the output folder instead")
    given = parser.parse_args()
    job = Job(given.table, given.url, given.out, given.concurrency, CHANGED if given.changed else SYSTEM)
    if not given.read:
        run(job)
        return
    for outcome in read(job):
        sys.stdout.write(json.dumps(outcome) + "\n")
