"""How many of a painter's mistakes does `check_facts` remove, and how much that was right does it take with them?

Known truth: `scene` paints with mistakes at a stated rate, a detector that errs at another looks, and one that does not err says
what is really in each picture.

    python tests/bench/facts.py [--captions data/samples/antidote.json]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import DetectRequest
from shardmill.models.registry import open_model
from shardmill.store.cells import parse_json_cell, parse_list

STAGES = ("parse_captions", "judge_captions", "draw_objects", "generate_images", "ground_objects", "check_facts")
PIPELINE = "pipeline: antidote\nstages:\n" + "".join(
    f"  - {{stage: {stage}{model}}}\n"
    for stage, model in zip(STAGES, (", model: rules", ", model: rules", ", model: scene", ", model: scene", ""), strict=True)
)


@dataclass
class Count:
    """Names of one list: how many, how many are as the list says, how many were kept, how many of these are as it says."""

    names: int = 0
    right: int = 0
    kept: int = 0
    kept_right: int = 0

    def add(self, right: bool, kept: bool) -> None:
        self.names += 1
        self.right += right
        self.kept += kept
        self.kept_right += right and kept


def measure(captions: Path, painter: float, detector: float) -> tuple[Count, Count]:
    """The counts of present and absent objects at the error rates of a painter and a detector."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pipeline.yaml").write_text(PIPELINE)
        settings = [
            f"generate_images.model.leave_out_rate={painter}",
            f"generate_images.model.add_rate={painter}",
            f"ground_objects.model.miss_rate={detector}",
            f"ground_objects.model.false_alarm_rate={detector}",
        ]
        new = NewRun(input=captions, pipeline=f"{folder}/pipeline.yaml", num_shards=1, min_words=8, settings=settings)
        run = start_run(Path(folder) / "run", new)
        for stage in STAGES:
            run_shard(run, stage, 0)
        truth = open_model("detect", {"kind": "scene"})
        present, absent = Count(), Count()
        checked, _ = run.read_part("check_facts", 0)
        kept = {row["row_id"]: row for row in checked.iter_rows(named=True)}
        for row in run.read_part("ground_objects", 0)[0].iter_rows(named=True):
            names = (*parse_list(row["present"]), *parse_list(row["absent"]))
            (reply,) = truth.stream([DetectRequest(str(run.path / row["generated_image"]), names)])
            verified = kept.get(row["row_id"], {"verified_present": "[]", "verified_absent": "[]"})
            for count, column, there in ((present, "present", True), (absent, "absent", False)):
                for name in parse_list(row[column]):
                    found = bool(reply.result[name].boxes)
                    count.add(found is there, name in parse_json_cell(verified[f"verified_{column}"]))
        return present, absent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--captions", type=Path, default=Path(__file__).parents[2] / "data" / "samples" / "antidote.json")
    captions = parser.parse_args().captions
    table = Table(
        "painter errs", "detector errs", "list", "names", "right before", "right after (precision)", "right ones kept (recall)"
    )
    for painter, detector in ((0.0, 0.0), (0.2, 0.0), (0.2, 0.05), (0.2, 0.2)):
        for name, count in zip(("present", "absent"), measure(captions, painter, detector), strict=True):
            shares = (count.right / count.names, count.kept_right / count.kept, count.kept_right / count.right)
            table.add_row(f"{painter:.0%}", f"{detector:.0%}", name, f"{count.names:,}", *(f"{share:.1%}" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    main()
