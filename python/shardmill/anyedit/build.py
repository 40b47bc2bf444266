"""The datasets of a finished run: instructions of every type, chains, captions; of a run over concepts, the pool.

shardmill build RUN
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from shardmill.anyedit.counts import EditCounts
from shardmill.store.cells import Kinds, csv_line, dump_cell
from shardmill.store.combine import partial_name
from shardmill.store.dataset_card import BuildResult, write_card
from shardmill.store.image_columns import EDITED_IMAGE, GENERATED_IMAGE, INPUT_IMAGE, absolute_path
from shardmill.store.json_lines import SeenKinds, settle_json_lines
from shardmill.store.layout import REJECTS
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

CONCEPTS, CAPTIONS, DRAWN, WRITTEN, JUDGED, EDITED, CHAINS, IMPLICIT = (
    "propose_backgrounds", "write_captions", "draw_edits", "write_instructions", "judge_instructions", "check_edits",
    "chain_instructions", "write_implicit",
)  # fmt: skip
CARD = "dataset.json"
IMPLICIT_TYPE = "implicit_change"
CAPTION_COLUMNS = ("row_id", "mode", "concept", "concept2", "background", "caption", "image")
Row = dict[str, Any]


@dataclass
class _Datasets:
    """Where the files go, which files were written, and what was counted."""

    run: RunFolder
    shards: list[int]
    folder: Path
    stack: ExitStack
    partial: bool
    files: dict[Path, int | None] = field(default_factory=dict)
    kinds: dict[Path, Kinds] = field(default_factory=dict)
    counts: EditCounts = field(default_factory=EditCounts)

    def open(self, name: str) -> IO[bytes]:
        return self.stack.enter_context(replacing(self.path(name)))

    def path(self, name: str) -> Path:
        path = self.folder / name
        return partial_name(path, len(self.shards), self.run.num_shards) if self.partial else path

    def wrote(self, name: str, rows: int) -> None:
        self.files[self.path(name)] = rows

    def rows(self, stage: str) -> Iterator[Row]:
        return self.run.rows(stage, self.shards)

    def write_lines(self, name: str, lines: Iterable[Row]) -> None:
        """Write a file of JSON lines."""
        file, seen, rows = self.open(name), SeenKinds(), 0
        for line in lines:
            file.write((_json(line) + "\n").encode("utf-8"))
            seen.see(line)
            rows += 1
        self.wrote(name, rows)
        self.kinds[self.path(name)] = seen.all()


def build(run: RunFolder, out: Path | None = None, *, allow_missing: bool = False) -> BuildResult:
    """Write all files into `out` (RUN/datasets), in the order of the input, shard by shard.

    Raises UserError naming the shards that are unfinished.
    """
    making = {CONCEPTS: _pool, CAPTIONS: _captions, JUDGED: _instructions, CHAINS: _chains}
    stages = [stage for stage in making if stage in run.stages]
    needed = [*stages, *(stage for stage in (EDITED, IMPLICIT) if stage in run.stages)]
    if not needed:
        raise UserError(
            f"the run {run.path} does not have any of the stages {', '.join(making)}, which the datasets are made from"
        )
    shards, missing = choose_shards(run, needed, allow_missing)
    with ExitStack() as stack:
        made = _Datasets(run, shards, out or run.path / "datasets", stack, bool(missing))
        for stage in stages:
            making[stage](made)
        if IMPLICIT in run.stages and JUDGED not in run.stages:
            made.write_lines("implicit.jsonl", _implicit(made))
    card = made.path(CARD)
    types = made.counts.by_type()
    files = settle_json_lines(made.files, made.kinds)
    write_card(run, card, shards, missing, files, {"edit_types": types} if types else {})
    return BuildResult({**files, card: None}, missing, made.counts.told())


def _pool(out: _Datasets) -> None:
    """The pool as the original has it, {concept: [backgrounds]}, and as a table for `shardmill concepts pairs`."""
    pool, table = out.open("concepts.json"), out.open("concepts.csv")
    table.write(csv_line(("concept", "backgrounds")).encode())
    rows = 0
    for row in out.rows(CONCEPTS):
        pool.write(b",\n" if rows else b"{\n")
        pool.write(f"{_json(row['concept'])}: {_json(row['all_backgrounds'])}".encode())
        table.write(csv_line((row["concept"], dump_cell(row["all_backgrounds"]))).encode())
        rows += 1
    pool.write(b"\n}\n" if rows else b"{}\n")
    out.wrote("concepts.json", rows)
    out.wrote("concepts.csv", rows)


def _captions(out: _Datasets) -> None:
    """The captions of concepts, with their images if these were generated."""
    stage = "generate_images" if "generate_images" in out.run.stages else CAPTIONS
    file = out.open("captions.csv")
    file.write(csv_line(CAPTION_COLUMNS).encode())
    rows = 0
    for row in out.rows(stage):
        line = {**row, "caption": row["scene_caption"], "image": image_of(out.run, row)}
        file.write(csv_line(line.get(name) for name in CAPTION_COLUMNS).encode())
        rows += 1
    out.wrote("captions.csv", rows)


def _instructions(out: _Datasets) -> None:
    """One record for each instruction, implicit ones last."""
    out.write_lines("instructions.jsonl", _records(out))
    _count_rejects(out)


def _records(out: _Datasets) -> Iterator[Row]:
    for row, edited in _edited_rows(out):
        record = record_of(row, image_of(out.run, row), edited)
        out.counts.take(record["edit_type"], record["edit"], (row["row_id"], row["sub_id"]))
        yield record
    if IMPLICIT in out.run.stages:
        yield from _implicit(out)


def _edited_rows(out: _Datasets) -> Iterator[tuple[Row, str | None]]:
    """Each instruction with the absolute path of its edited image, if the run made one that passed its check."""
    for shard in out.shards:
        checked = out.run.rows(EDITED, [shard]) if EDITED in out.run.stages else ()
        images = {(row["row_id"], row["sub_id"]): absolute_path(out.run, EDITED_IMAGE, row[EDITED_IMAGE]) for row in checked}
        for row in out.run.rows(JUDGED, [shard]):
            yield row, images.get((row["row_id"], row["sub_id"]))


def record_of(row: Row, image: str | None = None, edited: str | None = None) -> Row:
    """An instruction with the published fields under their published names, then everything else that the stages found."""
    return {
        "edit": row["edit"],
        "edited object": row["edited_object"],
        "input": row["edit_input"],
        "output": row["output"],
        "edit_type": row["edit_type"],
        "visual_input": row["visual_input"],
        "image_file": image,
        "edited_file": edited,
        "row_id": row["row_id"],
        "sub_id": row["sub_id"],
        **{name: value for name, value in row["details"].items() if name != "edited_object"},
        "object": row["details"].get("edited_object"),
        "input_objects": row["input_objects"],
        "width": row["width"],
        "height": row["height"],
        "verdict": row["instruction_verdict"],
    }


def image_of(run: RunFolder, row: Row) -> str | None:
    """The absolute path of a row's image: the generated one, or that of the input."""
    column = GENERATED_IMAGE if row.get(GENERATED_IMAGE) else INPUT_IMAGE
    return absolute_path(run, column, row.get(column)) or None


def _implicit(out: _Datasets) -> Iterator[Row]:
    """The implicit edits, each once in the run. They have no image: they come with a caption of their own."""
    seen: set[bytes] = set()
    for row in out.rows(IMPLICIT):
        for index, edit in enumerate(row["implicit"]):
            words = " ".join(f"{edit['original_caption']} {edit['instruction']}".casefold().split()).strip(".?! ")
            key = blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            if key in seen:
                out.counts.reject(IMPLICIT_TYPE, "said before")
                continue
            seen.add(key)
            out.counts.take(IMPLICIT_TYPE, edit["instruction"], (row["row_id"], index))
            yield {
                "edit": edit["instruction"],
                "edited object": None,
                "input": edit["original_caption"],
                "output": edit["target_caption"],
                "edit_type": IMPLICIT_TYPE,
                "visual_input": None,
                "image_file": None,
                "edited_file": None,
                "row_id": row["row_id"],
                "sub_id": index,
                "key_words": edit["key_words"],
            }


def _chains(out: _Datasets) -> None:
    """The chains of turns; each turn starts from the result of the one before."""

    def lines() -> Iterator[Row]:
        for row in out.rows(CHAINS):
            if row["chain"]:
                turns = [{"turn": number, **turn} for number, turn in enumerate(row["chain"], 1)]
                yield {"row_id": row["row_id"], "image_file": image_of(out.run, row), "input": row["input"], "turns": turns}

    out.write_lines("chains.jsonl", lines())


def _count_rejects(out: _Datasets) -> None:
    """Count the rejected instructions, by type and reason."""
    keys = {"row_id": "int", "sub_id": "int"}
    for shard in out.shards:
        drawn = {
            (row_id, sub_id): kind
            for row_id, sub_id, kind in out.run.read_part(DRAWN, shard)[0].select("row_id", "sub_id", "edit_type").iter_rows()
        }
        for stage in (WRITTEN, JUDGED):
            manifest = out.run.manifest(stage, shard)
            assert manifest is not None
            rejects = out.run.read_rejects(stage, shard, manifest, {**keys, **REJECTS})  # type: ignore[dict-item]
            for row_id, sub_id, reason in rejects.select("row_id", "sub_id", "reason").iter_rows():
                out.counts.reject(drawn[row_id, sub_id], reason)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
