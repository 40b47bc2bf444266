"""The datasets of a pipeline that builds none of its own: the rows of its last stages as CSV, JSON Lines and Parquet."""

from __future__ import annotations

from pathlib import Path

from shardmill.store.combine import SUFFIXES, partial_name, write_parts
from shardmill.store.dataset_card import BuildResult, write_card
from shardmill.store.image_columns import path_columns
from shardmill.store.json_lines import settle_json_lines
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards

CARD = "dataset.json"


def build_default(run: RunFolder, out: Path | None = None, *, allow_missing: bool = False) -> BuildResult:
    """Write STAGE.csv, STAGE.jsonl and STAGE.parquet for each stage that no other reads from, and a card.

    The rows are those of the parts, in the order of the input, with absolute paths of images; one part is in memory at a time.

    Args:
        run: The run.
        out: The folder to write into; RUN/datasets by default.
        allow_missing: Leave unfinished shards out; the file names say so.

    Raises:
        UserError: Shards are unfinished or corrupt; names them.
    """
    stages = run.leaves()
    shards, missing = choose_shards(run, stages, allow_missing)
    out = out or run.path / "datasets"
    files: dict[Path, int | None] = {}
    for stage in stages:
        manifests = [manifest for shard in shards if (manifest := run.manifest(stage, shard))]
        lines = sum(manifest.lines_out for manifest in manifests)
        for suffix, format in SUFFIXES.items():
            path = _named(out / f"{stage}{suffix}", len(shards), run.num_shards)
            write_parts(run, stage, shards, path, format, path_columns(run, stage))
            files[path] = lines
    card = _named(out / CARD, len(shards), run.num_shards)
    files = settle_json_lines(files, {})  # the Parquet files have the types
    write_card(run, card, shards, missing, files)
    return BuildResult({**files, card: None}, missing)


def _named(path: Path, finished: int, count: int) -> Path:
    return path if finished == count else partial_name(path, finished, count)
