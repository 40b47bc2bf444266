"""The datasets of a finished run: NegCap, NegMCQ and NegFull in the formats that trainers read, with a card.

shardmill build RUN
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import polars as pl

from shardmill.negbench.datasets import FILES, NEGFULL, ShardParts, object_counts
from shardmill.store.combine import partial_name
from shardmill.store.dataset_card import BuildResult, write_card
from shardmill.store.default_datasets import build_default
from shardmill.store.image_columns import INPUT_IMAGE, with_absolute_paths
from shardmill.store.json_lines import settle_json_lines
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.util.atomic import replacing

CARD = "dataset.json"
CAPTIONS, QUESTIONS = "caption_negated", "paraphrase_mcq"
NOTE = (
    "open_clip trains on negcap.tsv or negfull.tsv; the column caption of negcap.csv is the original caption, not a negated one"
)


def build(run: RunFolder, out: Path | None = None, *, allow_missing: bool = False) -> BuildResult:
    """Write all datasets into `out` (RUN/datasets), shard by shard, in the order of the input.

    With the plan's `target_rows`, each dataset holds the first so many accepted rows, and objects are counted in the rows that a
    dataset holds: the files are the same for any number of shards.

    Raises:
        UserError: Shards are unfinished, and `allow_missing` does not leave them out (the file names then say so).
    """
    if not {CAPTIONS, QUESTIONS} <= {*run.stages}:  # it starts behind one of them, or ends before
        return build_default(run, out, allow_missing=allow_missing)
    out = out or run.path / "datasets"
    shards, missing = choose_shards(run, (CAPTIONS, QUESTIONS), allow_missing, needed_shards(run))
    paths = {name: out / name for name in (*FILES, "object_counts.csv", CARD)}
    if missing:
        paths = {name: partial_name(path, len(shards), len(shards) + len(missing)) for name, path in paths.items()}
    card = paths.pop(CARD)
    counts = _write(run, shards, paths)
    files = settle_json_lines({path: counts[name] for name, path in paths.items()}, {paths["negfull.jsonl"]: NEGFULL})
    write_card(run, card, shards, missing, files)
    return BuildResult({**files, card: None}, missing, [NOTE])


def needed_shards(run: RunFolder) -> list[int]:
    """All shards; with `target_rows` those from 0 on that hold so many accepted rows of captions and of questions."""
    target = run.plan.target_rows
    if target is None:
        return list(range(run.num_shards))
    rows = {CAPTIONS: 0, QUESTIONS: 0}
    for shard in range(run.num_shards):
        for stage in rows:
            manifest = run.manifest(stage, shard)
            rows[stage] += manifest.rows_out if manifest else 0
        if min(rows.values()) >= target:
            return list(range(shard + 1))
    return list(range(run.num_shards))


def _write(run: RunFolder, shards: list[int], paths: dict[str, Path]) -> dict[str, int]:
    counts = dict.fromkeys(paths, 0)
    left: dict[str, int | None] = {CAPTIONS: run.plan.target_rows, QUESTIONS: run.plan.target_rows}
    positives, negatives = Counter[str](), Counter[str]()
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {name: stack.enter_context(replacing(path)) for name, path in paths.items()}
        for index, number in enumerate(shards):
            tables = {stage: _first(_read(run, stage, number), stage, left) for stage in (CAPTIONS, QUESTIONS)}
            shard = ShardParts(tables[CAPTIONS], tables[QUESTIONS], list(run.plan.input.columns))
            for name, write in FILES.items():
                counts[name] += write(shard, files[name], index == 0)
            lists = run.read_part(run.stage(CAPTIONS).after, number)[0]
            if run.plan.target_rows is not None:
                held = pl.concat([table["row_id"] for table in tables.values()])
                lists = lists.filter(pl.col("row_id").is_in(held.implode()))
            for name, positive, negative in object_counts(lists).iter_rows():
                positives[name] += positive
                negatives[name] += negative
        objects = pl.DataFrame(
            {"object": list(positives), "positives": list(positives.values()), "negatives": [negatives[n] for n in positives]},
            schema={"object": pl.String, "positives": pl.Int64, "negatives": pl.Int64},
        ).sort(pl.col("positives") + pl.col("negatives"), "object", descending=[True, False])
        objects.write_csv(files["object_counts.csv"])
        counts["object_counts.csv"] = objects.height
    return counts


def _read(run: RunFolder, stage: str, shard: int) -> pl.DataFrame:
    """A part, with the absolute paths of its images."""
    return with_absolute_paths(run, run.read_part(stage, shard)[0], [INPUT_IMAGE])


def _first(table: pl.DataFrame, stage: str, left: dict[str, int | None]) -> pl.DataFrame:
    """The rows of a part that the target still has room for; `left` shrinks by them."""
    room = left[stage]
    if room is None:
        return table
    kept = table.filter(pl.col("row_id").is_in(table["row_id"].unique(maintain_order=True).head(room).implode()))
    left[stage] = room - kept["row_id"].n_unique()
    return kept
