"""The guides as data: their fenced blocks, commands, paths and links.

What stands behind the language of a fence says what the tests do with the block:

    ```bash               its `shardmill` lines are parsed, the files and modules that its other lines name must exist
    ```bash run           it is also run, in a temporary folder that all such blocks of the guide share
    ```python             it is run in that folder, by itself
    ```python file=a.py   it is written to that folder, for the blocks after it (so are blocks of other languages)
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted(
    path
    for pattern in ("*.md", "*/README.md", "data/samples/README.md", "python/shardmill/*/README.md")
    for path in ROOT.glob(pattern)
)
SHELLS = ("bash", "console", "sh")


@dataclass(frozen=True)
class Block:
    """A fenced block of a guide; `info` is what stands behind its language."""

    guide: Path
    line: int
    language: str
    info: str
    text: str

    @property
    def file(self) -> str:
        """The name of the file that the block is."""
        return self.info.removeprefix("file=") if self.info.startswith("file=") else ""

    def __str__(self) -> str:
        return f"{self.guide.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell block."""

    block: Block
    words: list[str]

    def __str__(self) -> str:
        return f"{self.block} {shlex.join(self.words)}"


def blocks_of(guide: Path) -> list[Block]:
    """The fenced blocks of a guide, in their order."""
    found: list[Block] = []
    opening: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(guide.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            lines.append(line)
        elif opening is None:
            opening, lines = (number, line[3:].strip()), []
        else:
            language, _, info = opening[1].partition(" ")
            found.append(Block(guide, opening[0], language, info.strip(), "\n".join(lines) + "\n"))
            opening = None
    assert opening is None, f"{guide}:{opening} is never closed"
    return found


def commands_of(block: Block) -> list[Command]:
    """The commands of a shell block: comments and prompts taken away, continued lines joined, variables set in front left out."""
    if block.language not in SHELLS:
        return []
    text = block.text.replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words:
            found.append(Command(block, words))
    return found


def prose_of(guide: Path) -> str:
    """The text of a guide without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", guide.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_spans(guide: Path) -> list[str]:
    """What a guide has between backticks, in running text and tables."""
    return re.findall(r"`([^`\n]+)`", prose_of(guide))


def inline_commands(guide: Path) -> list[Command]:
    """Commands between backticks, as those in tables."""
    starts = ("shardmill ", "python ", "make ", "pytest ", "bash ")
    block = Block(guide, 0, "bash", "", "")
    return [
        Command(block, shlex.split(span))
        for span in code_spans(guide)
        if span.startswith(starts) and span.count("'") % 2 == 0 and "…" not in span
    ]


def anchor_of(heading: str) -> str:
    """The anchor that GitHub gives to a heading.

    >>> anchor_of("What it is, in `short`")
    'what-it-is-in-short'
    """
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors_of(guide: Path) -> set[str]:
    """The anchors of all headings of a guide."""
    return {anchor_of(found) for found in re.findall(r"^#+ (.+)$", prose_of(guide), flags=re.MULTILINE)}
