"""The datasets of a finished run: every caption with its verdict, one index per captioner and perspective, multi-text lines.

shardmill build RUN
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shardmill.core.registry import LABEL
from shardmill.export.multi_text_format import MultiTextWriter, TextSlot, header_path
from shardmill.recaption.caption_images import CaptionImages
from shardmill.recaption.merge_captions import NO_TEXT
from shardmill.recaption.names import ORIGINAL, column_of, text_name
from shardmill.recaption.perspectives import perspectives
from shardmill.store.cells import Kind
from shardmill.store.combine import partial_name
from shardmill.store.dataset_card import BuildResult, write_card
from shardmill.store.image_columns import INPUT_IMAGE, absolute_path, image_root
from shardmill.store.json_lines import settle_json_lines
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

CAPTIONS, CHECKED, MERGED = CaptionImages.name, "check_captions", "merge_captions"
CARD, TABLE, LINES = "dataset.json", "captions.jsonl", "multicaption.jsonl"
COLUMNS: dict[str, Kind] = {
    "row_id": "int", "image": "text", "captioner": "text", "model": "text", "perspective": "text", "prompt_id": "text",
    "caption": "text", "finish_reason": "text", "tokens": "int", "fault": "text",
}  # fmt: skip
Row = dict[str, Any]


def build(run: RunFolder, out: Path | None = None, *, allow_missing: bool = False) -> BuildResult:
    """Write all files into `out` (RUN/datasets), in the order of the input, shard by shard.

    Raises UserError naming the shards that are unfinished.
    """
    captioners = {stage.name.partition(LABEL)[2]: stage for stage in run.plan.stages if stage.name.startswith(CAPTIONS)}
    if CHECKED not in run.stages:
        raise UserError(f"the run {run.path} does not have the stage {CHECKED}, which the datasets are made from")
    stages = [stage for stage in (CHECKED, MERGED) if stage in run.stages]
    shards, missing = choose_shards(run, stages, allow_missing)
    out = out or run.path / "datasets"
    judged = {name: captioners[name] for name in run.stage(CHECKED).options["captioners"]}
    asked = [(captioner, each) for captioner, stage in judged.items() for each in stage.options["perspectives"]]

    def path_of(name: str) -> Path:
        return partial_name(out / name, len(shards), run.num_shards) if missing else out / name

    verdicts: Counter[tuple[str, str]] = Counter()
    files: dict[Path, int | None] = {}
    with ExitStack() as stack:
        table = stack.enter_context(replacing(path_of(TABLE)))
        indexes = {pair: stack.enter_context(replacing(path_of(_index_name(*pair)))) for pair in asked}
        written = dict.fromkeys(indexes, 0)
        lines = 0
        for row in run.rows(CHECKED, shards):
            path = absolute_path(run, INPUT_IMAGE, row["image"])
            for entry in _captions_of(row, judged):
                table.write(_line({**entry, "image": path}))
                lines += 1
                pair = entry["captioner"], entry["perspective"]
                verdicts[text_name(*pair), entry["fault"] or "good"] += 1
                if entry["fault"] is None:
                    indexes[pair].write(b",\n" if written[pair] else b"{\n")
                    indexes[pair].write(f"{_json(row['image'])}: {_json(entry['caption'])}".encode())
                    written[pair] += 1
        for pair, index in indexes.items():
            index.write(b"\n}\n" if written[pair] else b"{}\n")
    files[path_of(TABLE)] = lines
    files.update({path_of(_index_name(*pair)): written[pair] for pair in asked})
    notes = [_summary(verdicts)]
    more: dict[str, Any] = {"captions": _by_text(verdicts)}
    if MERGED in run.stages:
        files[path_of(LINES)], header = _merge(run, shards, path_of(LINES), judged)
        if files[path_of(LINES)]:
            files[header] = None
        else:
            header.unlink()
        notes.append(f"a line of {LINES} holds {', '.join(run.stage(MERGED).options['texts'])}; check it with: "
                     f"shardmill check-multitext {path_of(LINES)}")  # fmt: skip
    card = path_of(CARD)
    files = settle_json_lines(files, {path_of(TABLE): COLUMNS})
    write_card(run, card, shards, missing, files, more)
    return BuildResult({**files, card: None}, missing, notes)


def _captions_of(row: Row, judged: dict[str, StagePlan]) -> Iterator[Row]:
    """A row for each caption of an image: its captioner, prompt and verdict."""
    captions = {(captioner, each["perspective"]): each for captioner in judged for each in row[column_of(captioner)]}
    for verdict in row["checked"]:
        pair = verdict["captioner"], verdict["perspective"]
        caption = captions[pair]
        yield {
            "row_id": row["row_id"],
            "image": row["image"],
            "captioner": pair[0],
            "model": _model_of(judged[pair[0]]),
            "perspective": pair[1],
            "prompt_id": caption["prompt_id"],
            "caption": verdict["text"],
            "finish_reason": caption["finish"],
            "tokens": caption["tokens"],
            "fault": verdict["fault"],
        }


def _model_of(stage: StagePlan) -> str:
    return str(stage.model.get("model", stage.model.get("kind", "")))


def _index_name(captioner: str, perspective: str) -> str:
    return f"indexes/{text_name(captioner, perspective).replace('/', '-')}.json"


def _merge(run: RunFolder, shards: list[int], path: Path, judged: dict[str, StagePlan]) -> tuple[int, Path]:
    """Write the multi-text lines and their header; returns the number of lines and the header's path."""
    options = run.stage(MERGED).options
    texts = [slot_of(name, judged) for name in options["texts"]]
    with MultiTextWriter(path, texts, details={"image_root": image_root(run)}) as writer:
        for row in run.rows(MERGED, shards):
            writer.write(str(absolute_path(run, INPUT_IMAGE, row["image"])), row["texts"])
            for name, source in zip(options["texts"], row["text_sources"], strict=True):
                writer.counts.padded[name] += source != name
        writer.decided(options["missing"], options["pad_from"] if options["missing"] == "pad" else [])
        for shard in shards:
            manifest = run.manifest(MERGED, shard)
            for reason, count in manifest.reasons.items() if manifest else ():
                name = reason.removeprefix(NO_TEXT)
                if name in writer.counts.dropped:
                    writer.counts.dropped[name] += count
                    writer.counts.dropped_lines += count
    return writer.counts.lines, header_path(path)


def slot_of(name: str, judged: dict[str, StagePlan]) -> TextSlot:
    """The slot of a text, by its name."""
    captioner, slash, perspective = name.rpartition("/")
    if name == ORIGINAL:
        return TextSlot(name=name)
    having = [label for label, stage in judged.items() if perspective in stage.options["perspectives"]]
    label = captioner if slash else next(iter(having), "")
    stage = judged.get(label)
    asked = perspectives(stage.options["perspectives_file"]).get(perspective) if stage else None
    if stage is None or asked is None:
        raise UserError(f"merge_captions.texts has {name!r}, but no captioner of the run was asked for it")
    return TextSlot(
        name=name, captioner=label or None, perspective=perspective, model=_model_of(stage), prompt_id=asked.prompt_id
    )


def _by_text(verdicts: Counter[tuple[str, str]]) -> Row:
    texts = sorted({name for name, _ in verdicts})
    return {name: {fault: count for (other, fault), count in sorted(verdicts.items()) if other == name} for name in texts}


def _summary(verdicts: Counter[tuple[str, str]]) -> str:
    faults: Counter[str] = Counter()
    for (_, fault), count in verdicts.items():
        faults[fault] += count
    good = faults.pop("good", 0)
    counts = ", ".join(f"{fault} {count:,}" for fault, count in faults.most_common())
    return f"captions: {good:,} good of {verdicts.total():,}" + (f" ({counts})" if counts else "")


def _line(entry: Row) -> bytes:
    return (_json(entry) + "\n").encode("utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
