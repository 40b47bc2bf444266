"""The SLURM clusters that the tests of this folder run on, one for each pytest worker: tests break nodes and controllers."""

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


@pytest.fixture(scope="session")
def bare_cluster() -> Iterator[Cluster]:
    """The same without accounting, where sacct fails."""
    with _cluster_or_skip(accounting=False) as made:
        yield made


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test finds idle nodes, an empty queue, and workers without faults."""
    used = [request.getfixturevalue(name) for name in ("cluster", "bare_cluster") if name in request.fixturenames]
    environments = [dict(each.env) for each in used]
    yield
    for each, environment in zip(used, environments, strict=True):
        each.heal()
        each.env = environment


LONGEST_FIRST = ("test_serving", "test_everything_at_once", "test_a_whole_run", "test_chaos", "test_surviving")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: one that starts last would keep all other pytest workers waiting."""
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


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
