"""What a run did, in a table and a line for each last stage."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from shardmill.store.manifest import Counts, summary, totals
from shardmill.store.run_folder import INGEST, RunFolder


def final_table(run: RunFolder) -> Table:
    """What each stage did over all its finished shards: rows in, out and rejected, and seconds of work."""
    table = Table(title=str(run.path), title_justify="left")
    for name in ("stage", "shards", "rows in", "rows out", "rejected", "seconds"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, manifests in _by_stage(run, run.finished()).items():
        sums = totals(manifests)
        table.add_row(
            stage,
            f"{len(manifests)}/{run.num_shards}",
            f"{sums['rows_in']:,}",
            f"{sums['rows_out']:,}",
            f"{sums['rejected']:,}",
            f"{sums['seconds']:,.1f}",
        )
    return table


def closing_lines(run: RunFolder, complete: Mapping[tuple[str, int], Counts]) -> list[str]:
    """For each last stage what became of the input on its way there: `caption_negated: 542 in = 482 out + 60 rejected (...)`.

    `complete` has the finished shards of the run, by (stage, shard).
    """
    finished = _by_stage(run, complete)
    lines = []
    for leaf in run.leaves():
        path = [leaf]
        while (above := run.after(path[0])) is not None:
            path.insert(0, above)
        reasons: dict[str, int] = {}
        for stage in path:
            sums = totals(finished[stage])
            for reason, count in sums["reasons"].items():
                reasons[reason] = reasons.get(reason, 0) + count
            if sums["lines_out"] != sums["rows_out"]:  # several rows of one from here on: the rows of the input end here
                break
        start = totals(finished[INGEST])["rows_in"]
        lines.append(f"{path[-1]}: {summary(start, sums['rows_out'], reasons, sums['lines_out'])}")
    return lines


def _by_stage(run: RunFolder, complete: Mapping[tuple[str, int], Counts]) -> dict[str, list[Counts]]:
    """The finished shards of each stage."""
    found: dict[str, list[Counts]] = {stage: [] for stage in [INGEST, *run.stages]}
    for (stage, _), manifest in complete.items():
        found[stage].append(manifest)
    return found
