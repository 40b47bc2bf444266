"""A target: where its cases come from, and what must hold of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from fuzz.guard import SECONDS, guarded
from shardmill.util.errors import UserError


@dataclass
class Target:
    """`check(case, folder)` raises unless all holds; it has the folder to itself.

    `cases` counts those that were tried, `refused` those that the product would not take; `last` is the last one.
    """

    name: str
    source: SearchStrategy[Any]
    check: Callable[[Any, Path], None]
    seconds: float = SECONDS
    cases: int = 0
    refused: int = 0
    last: Any = None

    def try_case(self, case: Any) -> None:
        """Raises AssertionError for a fault, or whatever the product raises that is no UserError."""
        self.cases, self.last = self.cases + 1, case
        with guarded(self.seconds) as folder:
            try:
                self.check(case, folder)
            except UserError as error:
                readable(error)
                self.refused += 1

    def taken(self, examples: int, shrinks: bool = True) -> int:
        """Try so many cases; how many of them the product did not refuse. Raises as `try_case` does."""
        before = self.cases - self.refused
        self.property(examples, shrinks=shrinks)()
        return self.cases - self.refused - before

    def property(self, examples: int, derandomize: bool = True, shrinks: bool = True) -> Any:
        """The target as a Hypothesis test of so many examples.

        With `derandomize` they are the same ones in each process that has imported the same modules: Hypothesis tries constants
        of their code too.
        """
        phases = (Phase.explicit, Phase.generate, Phase.target, *((Phase.shrink,) if shrinks else ()))
        limits = settings(
            max_examples=examples,
            derandomize=derandomize,
            database=None,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        )

        def run(case: Any) -> None:
            self.try_case(case)

        return limits(given(self.source)(run))


def readable(error: UserError) -> None:
    """A message is one that a terminal and a log can hold."""
    text = str(error)
    assert text.strip(), "an empty message"
    assert len(text) < 20_000, f"a message of {len(text):,} characters"
    text.encode("utf-8", "backslashreplace")


def settled(make: Callable[[], Any]) -> tuple[str, Any]:
    """What a function gives, or the message with which it refuses."""
    try:
        return "value", make()
    except UserError as error:
        readable(error)
        return "refused", str(error)
