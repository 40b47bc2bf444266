"""The `shardmill` command: thin, what it does are functions elsewhere. Imports stand in the commands, so that help is quick."""

from __future__ import annotations

from shardmill.cli import auditing, concepts, convert, exporting, making, recaptions, running, seeing, serving, watching
from shardmill.cli.base import cli

__all__ = [
    "auditing",
    "cli",
    "concepts",
    "convert",
    "exporting",
    "main",
    "making",
    "recaptions",
    "running",
    "seeing",
    "serving",
    "watching",
]


def main() -> None:
    """The entry point: what the user can mend is one line and exit code 2."""
    from shardmill.util.exits import user_errors

    with user_errors():
        cli(prog_name="shardmill")
