"""The card of the datasets: where every row came from and how many were lost where, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shardmill import __version__
from shardmill.store.image_columns import image_root
from shardmill.store.manifest import Manifest, totals
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import refuse_if_changed
from shardmill.util.atomic import file_digest, replacing
from shardmill.util.errors import UserError

FORMAT = 1


@dataclass(frozen=True)
class BuildResult:
    """What a pipeline's `build` has written: the files with their number of rows (None for what has none), the shards that were
    left out on demand, and lines for people on what became of the rows.
    """

    files: dict[Path, int | None]
    missing: list[int]
    notes: list[str] = field(default_factory=list)


def write_card(
    run: RunFolder,
    path: Path,
    shards: Sequence[int],
    missing: Sequence[int],
    files: Mapping[Path, int | None],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write `dataset.json`, with what a pipeline has `more` to say; returns its path.

    Raises UserError, and leaves no card, if another command has changed the plan while the datasets were written.
    """
    plan = run.plan
    try:
        refuse_if_changed(run)
    except UserError:
        path.unlink(missing_ok=True)
        raise
    card = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "pipeline": plan.pipeline,
        "code_version": __version__,
        "seed": plan.seed,
        "plan_revision": plan.revision,
        "target_rows": plan.target_rows,
        "input": {"file": Path(plan.input.path).name, "sha256": plan.input.sha256, "rows": plan.input.rows},
        "image_root": image_root(run),
        "shards": {"used": len(shards), "missing": list(missing), "of": run.num_shards},
        "stages": [stage_entry(run, stage, shards) for stage in [INGEST, *run.stages]],
        **more,
        "files": {
            file.name: {"rows": rows, "bytes": file.stat().st_size, "sha256": file_digest(file)} for file, rows in files.items()
        },
    }
    with replacing(path) as target:
        target.write((json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    return path


def stage_entry(run: RunFolder, stage: str, shards: Sequence[int]) -> dict[str, Any]:
    """Yield and reasons of a stage over the shards, and what it was made with."""
    codes: set[str] = set()
    commits: dict[str, set[str]] = {}

    def manifests() -> Iterator[Manifest]:
        for shard in shards:
            manifest = run.manifest(stage, shard)
            if manifest is not None:
                codes.add(manifest.fingerprint.get("code", ""))
                for model, commit in manifest.commits.items():
                    commits.setdefault(model, set()).add(commit)
                yield manifest

    sums = totals(manifests())
    entry: dict[str, Any] = {
        "stage": stage,
        "rows_in": sums["rows_in"],
        "rows_out": sums["rows_out"],
        "rejected": dict(sorted(sums["reasons"].items())),
        "usage": sums["usage"],
    }
    if stage != INGEST:
        entry["code"] = sorted(codes)
        entry["commits"] = {model: sorted(found) for model, found in commits.items()}
        planned = run.stage(stage)
        entry.update(after=planned.after, model=planned.model, options=planned.options, fingerprint=planned.fingerprint)
    return entry
