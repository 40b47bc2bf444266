"""Every text stage of the pipelines with a small trained model, through three backends: yields, retries, tokens and reasons.

    .venv-models/bin/python tests/real/measure.py --rows 60
    .venv-models/bin/python tests/real/measure.py --rows 20 --backends openai --stages negbench.caption_negated --bundles

Each stage gets what the embedded models made before it, so that a weak answer in one stage does not starve the next. Sampling is
greedy, in retries too (which have other examples), so that backends can be compared row by row.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from real import smollm
from shardmill.api import REJECTED_ROWS
from shardmill.core.pipeline_file import load_pipeline
from shardmill.core.planning import NewRun, start_run
from shardmill.core.prompts import Prompt
from shardmill.core.registry import find_pipeline, stage_class
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.store.verify import check_stage
from shardmill.util.resources import resource_names, resource_path

BACKENDS = ("openai", "transformers", "vllm")
PIPELINES = ("negbench", "antidote", "anyedit", "recaption")
OPTIONS = {"ask_pope": ["ask_pope.grammar=model"]}
"""What makes a stage ask its model at all."""
MAX_BUNDLES = 3
"""No prompt has more sets of examples; of one with fewer some are measured twice."""
MAX_REASONS, MAX_SHOWN = 3, 160


@dataclass
class Measured:
    """What a backend made of the rows of a stage."""

    rows: int
    out: int
    usage: dict[str, float]
    seconds: float
    reasons: Counter[str]
    outcomes: dict[tuple[int, ...], str] = field(repr=False)


def text_stages(wanted: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Pipeline, name and pipeline file of the text stages, all or those that are named `pipeline.stage`."""
    for pipeline in PIPELINES:
        for each in find_pipeline(pipeline).stages:
            stage = stage_class(pipeline, each)
            if stage.role == "text" and (not wanted or f"{pipeline}.{stage.name}" in wanted):
                yield pipeline, stage.name, _file_with(pipeline, stage.name)


def _file_with(pipeline: str, stage: str) -> str:
    """The bundled pipeline file that has a stage: the pipeline's main one if it does."""
    files = {name: load_pipeline(name) for name in [pipeline, *sorted(resource_names("slurm/pipelines"))]}
    with_stage = [name for name, file in files.items() if stage in {entry.stage for entry in file.stages}]
    return next(name for name in with_stage if files[name].pipeline == pipeline)


def write_rows(pipeline: str, folder: Path, rows: int) -> Path:
    """Rows of the bundled sample for a pipeline file."""
    if pipeline == "antidote":
        captions = json.loads(resource_path("data/samples/antidote.json").read_text(encoding="utf-8"))
        (folder / "rows.json").write_text(json.dumps(dict(islice(captions.items(), rows))))
        return folder / "rows.json"
    sample = {"anyedit": "anyedit.csv", "anyedit-concepts": "concepts.csv"}.get(pipeline, "captions.csv")
    return _first_rows(resource_path(f"data/samples/{sample}"), folder / "rows.csv", rows)


def _first_rows(sample: Path, path: Path, rows: int) -> Path:
    """Rows spread evenly over a sample, so that all of its kinds are among them; image paths are made absolute."""
    with sample.open(newline="", encoding="utf-8") as source, path.open("w", newline="", encoding="utf-8") as target:
        reader = csv.DictReader(source)
        every = list(reader)
        writer = csv.DictWriter(target, reader.fieldnames or ())
        writer.writeheader()
        for row in every[:: max(1, len(every) // rows)][:rows]:
            absolute = {name: str(sample.parent / row[name]) for name in ("filepath",) if row.get(name)}
            writer.writerow({**row, **absolute})
    return path


def measure(pipeline: str, stage: str, model: dict[str, Any], rows: int, pool: ModelPool, *more: str) -> Measured:
    """One stage with the model, over what the embedded models made before it."""
    with tempfile.TemporaryDirectory(prefix="shardmill-real-") as scratch:
        folder = Path(scratch)
        settings = [f"{stage}.model={json.dumps(model)}", f"{stage}.stop_after=0", *OPTIONS.get(stage, ()), *more]
        source = write_rows(pipeline, folder, rows)
        run = start_run(folder / "run", NewRun(input=source, pipeline=pipeline, num_shards=1, settings=settings))
        for before in run.stages[: run.stages.index(stage)]:
            run_shard(run, before, 0, models={})
        started = time.monotonic()
        manifest = run_shard(run, stage, 0, models=pool)
        seconds = time.monotonic() - started
        check = check_stage(run, stage)
        assert not check.problems and not check.missing and manifest.conserved()
        rejects = run.read_rejects(stage, 0, manifest, REJECTED_ROWS)
        part, _ = run.read_part(stage, 0)
        outcomes = _outcomes(part, list(run.stage(stage).adds), rejects)
    reasons = Counter(rejects["reason"].to_list())
    return Measured(manifest.rows_in, manifest.rows_out, manifest.usage, seconds, reasons, outcomes)


def _outcomes(part: pl.DataFrame, adds: list[str], rejects: pl.DataFrame) -> dict[tuple[int, ...], str]:
    """What became of each row: the cells that the stage added, or the reason."""
    keys = [name for name in ("row_id", "sub_id") if name in part.columns]
    found = {tuple(row[: len(keys)]): json.dumps(row[len(keys) :]) for row in part.select(*keys, *adds).iter_rows()}
    return found | {(row,): f"rejected: {reason}" for row, reason in rejects.select("row_id", "reason").iter_rows()}


def only_bundle(number: int | None) -> None:
    """Have each prompt use this set of examples, whatever the seed; None for the seed's choice."""
    chosen = _SEEDED if number is None else lambda self, seed: number % len(self.template.prefixes)
    Prompt.bundle = chosen  # type: ignore[method-assign]


_SEEDED = Prompt.bundle


def table(found: dict[str, dict[str, Measured]], backends: Sequence[str]) -> str:
    """A Markdown table with a line for each stage; figures of several backends stand beside each other."""

    def beside(each: dict[str, Measured], figure: str) -> str:
        values = [f"{each[name].usage.get(figure, 0):,.0f}" if name in each else "-" for name in backends]
        return values[0] if len({*values}) == 1 else " / ".join(values)

    heads = ("stage", "rows in", f"rows out ({', '.join(backends)})", "requests", "retries", "prompt tokens", "answer tokens",
             "rows that differ", "why rows were rejected")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for stage, each in found.items():
        first = next(iter(each.values()))
        out = [str(each[name].out) if name in each else "-" for name in backends]
        figures = [beside(each, name) for name in ("requests", "retries", "prompt_tokens", "completion_tokens")]
        reasons = ", ".join(f"{reason} {count}" for reason, count in first.reasons.most_common(MAX_REASONS))
        shown = out[0] if len({*out}) == 1 else " / ".join(out)
        lines.append(f"| `{stage}` | {first.rows} | {shown} | {' | '.join(figures)} | {len(differing(each))} | {reasons} |")
    return "\n".join(lines)


def differing(each: dict[str, Measured]) -> list[tuple[int, ...]]:
    """The rows of which the backends do not say the same."""
    keys = {key for measured in each.values() for key in measured.outcomes}
    return sorted(key for key in keys if len({measured.outcomes.get(key) for measured in each.values()}) > 1)


def say_differences(found: dict[str, dict[str, Measured]]) -> Iterator[str]:
    """Each row on which the backends differ, with what each made of it."""
    for stage, each in found.items():
        for key in differing(each):
            yield f"- `{stage}` row {'/'.join(map(str, key))}"
            for backend, measured in each.items():
                yield f"  - {backend}: {measured.outcomes.get(key, 'no such row')[:MAX_SHOWN]}"


def measure_backend(backend: str, model: dict[str, Any], wanted: argparse.Namespace) -> Iterator[tuple[str, Measured]]:
    """Each stage, or with `bundles` each set of examples of each stage, with one backend, whose model is loaded once."""
    pool: ModelPool = {}
    for pipeline, stage, file in text_stages(wanted.stages.split(",") if wanted.stages else ()):
        for number in range(MAX_BUNDLES) if wanted.bundles else (None,):
            only_bundle(number)
            name = f"{pipeline}.{stage}" + ("" if number is None else f" ({number})")
            more = [f"{stage}.attempts=1"] if wanted.bundles else []
            measured = measure(file, stage, model, wanted.rows, pool, *more)
            print(
                f"{backend} {name}: {measured.out} of {measured.rows} rows, {measured.seconds:.0f} s", file=sys.stderr, flush=True
            )
            yield name, measured
    for loaded in pool.values():
        loaded.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=60, help="rows of each pipeline's sample (%(default)s)")
    options.add_argument("--backends", default=",".join(BACKENDS), help="which of them, with commas (%(default)s)")
    options.add_argument("--stages", default="", help="pipeline.stage, with commas; all if not given")
    options.add_argument("--bundles", action="store_true", help="each set of examples alone, without retries")
    options.add_argument("--folder", type=Path, help="where the model's folder is kept; a temporary one if not given")
    wanted = options.parse_args()
    backends = wanted.backends.split(",")
    found: dict[str, dict[str, Measured]] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shardmill-real-")))
        folder = smollm.build_folder(wanted.folder or scratch / "model") if {*backends} - {"openai"} else None
        for backend in backends:
            url = stack.enter_context(smollm.llama_server(scratch / "log")) if backend == "openai" else ""
            for name, measured in measure_backend(backend, smollm.settings(backend, folder=folder, url=url), wanted):
                found.setdefault(name, {})[backend] = measured
            print(table(found, backends), flush=True)  # after hours nothing that was measured is lost
    print(*say_differences(found), sep="\n")


if __name__ == "__main__":
    main()
