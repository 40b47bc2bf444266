"""The one way to the terminal. What is printed holds text of others: captions, answers, paths, error messages of servers.

A test checks that nothing else prints. Tables of rich go through `util.console`.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType
from typing import Any

import click

from shardmill.util.plain_text import visible


def echo(text: object = "", *, err: bool = False, nl: bool = True, **style: Any) -> None:
    """Print a text; control characters in it are shown, not sent.

    Args:
        text: What to print.
        err: To stderr instead of stdout.
        nl: Whether to end the line.
        **style: `fg`, `bold` and so on, as for `click.style`.
    """
    click.secho(visible(str(text)), err=err, nl=nl, **style)


class VisibleFormatter(logging.Formatter):
    """Formats log records, messages and tracebacks alike, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def start_logging(level: int = logging.WARNING, form: str = "%(message)s") -> None:
    """Log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For `sys.excepthook`: print what Python would, as text."""
    echo("".join(traceback.format_exception(kind, error, trace)), err=True, nl=False)
