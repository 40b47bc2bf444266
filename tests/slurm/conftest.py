"""The SLURM clusters that the tests of this folder run on, one for each pytest worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slurm.cluster import CannotRun, Cluster, start_cluster

NO_CLUSTER = "no SLURM cluster here: "


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of 8 GPUs each, with accounting."""
    with _cluster_or_skip(accounting=True) as made:
        yield made


@pytest.fixture(scope="module")
def bare_cluster() -> Iterator[Cluster]:
    """The same without accounting, where sacct fails."""
    with _cluster_or_skip(accounting=False) as made:
        yield made


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test finds idle nodes and an empty queue."""
    used = [request.getfixturevalue(name) for name in ("cluster", "bare_cluster") if name in request.fixturenames]
    yield
    for each in used:
        each.heal()


@contextmanager
def _cluster_or_skip(accounting: bool) -> Iterator[Cluster]:
    try:
        with start_cluster(accounting=accounting) as made:
            yield made
    except CannotRun as error:
        give_up = pytest.fail if os.environ.get("SHARDMILL_REQUIRE_SLURM") == "1" else pytest.skip
        reason = f"{NO_CLUSTER}{error}"
    else:
        return
    give_up(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    missed = [reason.partition(NO_CLUSTER)[2] for reason in reasons if NO_CLUSTER in reason]
    if missed:
        terminalreporter.section("SLURM TESTS SKIPPED", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(missed)} SLURM TESTS WERE SKIPPED, NOTHING IS KNOWN ABOUT CLUSTERS: {missed[0]}", red=True)
