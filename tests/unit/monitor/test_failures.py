"""`shardmill failures`: what failed, grouped by cause, with the end of one log each."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from shardmill.core.shard_runner import run_shard
from shardmill.monitor.failures import FailureReport, masked, read_failures, render
from shardmill.store.jobs import BadNode, Failure, JobsFolder, Submission
from shardmill.store.run_folder import RunFolder

STAGE, NEXT = "extract_objects", "propose_negatives"


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> RunFolder:
    return make_run(num_shards=12)


def fail(run: RunFolder, shard: int, message: str = "no such model", stage: str = STAGE, **values: Any) -> None:
    text = {"kind": "refused", "node": "n1", "job": "7_0", **values}
    JobsFolder(run).note_failure(Failure(stage=stage, shard=shard, message=message, **text))


def text_of(report: FailureReport) -> str:
    console = Console(file=io.StringIO(), width=250)
    console.print(render(report))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_shards_are_grouped_by_cause_and_the_largest_group_comes_first(run: RunFolder) -> None:
    fail(run, 1, "other cause", node="n3")
    for shard in (2, 4, 5, 6):
        fail(run, shard, f"row {shard}17 of /data/run/part-0000{shard}.csv is not readable", node=f"n{shard % 2 + 1}")
    fail(run, 4, "row 3 of /data/run/part-00004.csv is not readable", stage=NEXT)
    report = read_failures(run)
    assert [(cause.stage, cause.shards, cause.nodes) for cause in report.causes] == [
        (STAGE, [2, 4, 5, 6], ["n1", "n2"]),
        (STAGE, [1], ["n3"]),
        (NEXT, [4], ["n1"]),
    ]
    assert report.causes[0].message == "row 217 of /data/run/part-00002.csv is not readable"
    assert f"{STAGE}: 4 shards (2,4-6), quarantined" in text_of(report)


def test_the_same_message_of_another_kind_is_another_cause(run: RunFolder) -> None:
    fail(run, 1, "gone", kind="error")
    fail(run, 2, "gone", kind="refused")
    assert {cause.kind for cause in read_failures(run).causes} == {"error", "refused"}


def test_only_the_last_failure_of_an_unfinished_shard_counts(run: RunFolder) -> None:
    fail(run, 1, "first", kind="died")
    fail(run, 1, "last", kind="died")
    fail(run, 2, "mended since")
    run_shard(run, STAGE, 2)
    causes = read_failures(run).causes
    assert [(cause.message, cause.shards, cause.quarantined) for cause in causes] == [("last", [1], [])]
    assert causes[0].next == "its job or the next launch tries it again"
    assert "1 shard (1), quarantined: none" in text_of(read_failures(run))


def test_each_cause_ends_with_the_last_lines_of_the_log_of_one_shard(run: RunFolder, tmp_path: Path) -> None:
    log = tmp_path / "slot.log"
    log.write_text(
        "".join(
            f"=== 2026-01-02T03:04:05+00:00 {STAGE} shard {shard} on n1, process 1\nbegin\n"
            + "".join(f"line {number}\n" for number in range(30))
            + f"\x1b[2J[red]the end of {shard}[/red]\n"
            for shard in (1, 2)
        )
    )
    fail(run, 1, "out of [bold]luck\x1b[2J", log=str(log))
    cause = read_failures(run).causes[0]
    assert (len(cause.tail), cause.tail[-1], cause.tail[0]) == (12, "[red]the end of 1[/red]", "line 19")
    shown = text_of(read_failures(run))
    assert "out of [bold]luck\n" in shown and "    [red]the end of 1[/red]" in shown and "\x1b" not in shown
    assert f"log of shard 1: {log}" in shown


def test_a_log_that_is_gone_is_no_failure_of_the_report(run: RunFolder, tmp_path: Path) -> None:
    fail(run, 1, log=str(tmp_path / "gone.log"))
    fail(run, 2, "never had a log")
    assert [cause.tail for cause in read_failures(run).causes] == [[], []]
    assert "log of shard 2: none" in text_of(read_failures(run))


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("died", "memory_gb"), ("error", "read the log"), ("refused", "fix what the message names"), ("stuck", "more minutes")],
)
def test_it_says_what_to_do_next(run: RunFolder, kind: str, remedy: str) -> None:
    for _ in range(3):
        fail(run, 1, kind=kind)
    text = read_failures(run).causes[0].next
    assert remedy in text and text.endswith(f"shardmill launch negbench --run {run.path}")
    JobsFolder(run).add_submission(Submission(site="mine"))
    assert read_failures(run).causes[0].next.endswith(f"shardmill retry {run.path}")


def test_what_a_bad_node_failed_is_counted_there(run: RunFolder) -> None:
    for shard in (1, 2):
        fail(run, shard, node="n7")
    fail(run, 3, node="n1")
    JobsFolder(run).note_bad_node(BadNode(node="n7", reason="no GPU \x1b[1mfound", stage=STAGE, job="7_0"))
    report = read_failures(run)
    assert [(node.node, node.reason, node.failures) for node in report.bad_nodes] == [("n7", "no GPU found", 2)]
    assert [cause.shards for cause in report.causes] == [[3]]
    assert "node n7 is avoided" in text_of(report)


def test_without_failures_it_says_so(run: RunFolder) -> None:
    assert text_of(read_failures(run)) == "no unfinished shard has failed\n"


def test_json_has_the_fields_by_name(run: RunFolder) -> None:
    fail(run, 1)
    found = json.loads(json.dumps(read_failures(run).to_dict()))
    names = {"stage", "kind", "message", "shards", "quarantined", "nodes", "example", "log", "tail", "next"}
    assert found["causes"][0].keys() == names and found["bad_nodes"] == []


@pytest.mark.parametrize(
    ("message", "bare"),
    [
        ("row 17: score 0.25 of 1,000", "row N: score N of N"),
        ("cannot read /data/a b/x.csv", "cannot read PATH b/x.csv"),
        ("digest 3f2a9bc01d00 at 0x7f3a", "digest HEX at HEX"),
        ("job 1b4e28ba-2fa1-11d2-883f-0016d3cca427", "job HEX"),
        ("a defaced facade and 2/3 of it", "a defaced facade and N/N of it"),
    ],
)
def test_a_cause_is_a_message_without_what_differs_by_shard(message: str, bare: str) -> None:
    assert masked(message) == bare
