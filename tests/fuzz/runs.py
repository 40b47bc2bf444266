"""Finished runs with hostile cells: those of the samples, made once and kept in memory, laid out with other words."""

from __future__ import annotations

import io
import json
import os
import tarfile
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st
from PIL import Image

from fuzz.hostile import LITTLE, PATHS, pick, texts
from planted import make_run, rewrite
from shardmill.store.run_folder import INGEST, RunFolder

PIPELINES = ("negbench", "antidote", "recaption", "anyedit")
WORDS = ("seagull", "dog", "knife", "tram", "cigarette", "balloon", "lawnmower")
"""Things in the samples; each pipeline's rows speak of some."""
PICTURE_COLUMNS = ("image", "generated_image")
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
MEMBERS = ("a.png", "../up.png", "/abs.png", "b/../a.png")
REFERENCES = ["a.png", "A.png", COMPOSED, DECOMPOSED, "away.png", "passwd.png", "loop.png", "../beside.png", "./a.png", "a.png\n"]
REFERENCES += [*(f"shard.tar::{name}" for name in MEMBERS), "shard.tar::", "shard.tar::x", "a.png::x", "none.parquet::a::0"]
REFERENCES += [*PATHS, "/etc/passwd", "a" * 9_000, "x/" * 3_000 + "a.png", "a\nb.png", ".", "..", "NA", "=1+1.png", ""]
REFERENCE = st.one_of(pick(REFERENCES[:14]), pick(REFERENCES), texts(3))

_kept: dict[str, dict[str, bytes]] = {}


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG")
    return file.getvalue()


def lay_pictures(folder: Path) -> Path:
    """A folder of pictures: names that differ only in case or in normal form, links that lead out, a loop, and a tar."""
    place = folder / "pictures"
    place.mkdir(parents=True)
    for name in ("a.png", "A.png", COMPOSED, DECOMPOSED, "../beside.png"):
        (place / name).write_bytes(picture("red" if name.islower() else "blue"))
    for name, target in (("away.png", "../beside.png"), ("passwd.png", "/etc/passwd"), ("loop.png", "loop.png")):
        os.symlink(target, place / name)
    with tarfile.open(place / "shard.tar", "w") as tar:
        for name in MEMBERS:
            info = tarfile.TarInfo(name)
            info.size = len(picture("green"))
            tar.addfile(info, io.BytesIO(picture("green")))
    return place


def hostile_run(folder: Path, pipeline: str, words: Sequence[str], references: Sequence[str | None] = ()) -> RunFolder:
    """A finished run in which each of WORDS is another text, in every cell, and each row's picture another reference.

    A reference of None leaves a row's picture as it is; those of the input start from `folder/pictures` if any is given.
    """
    run = _laid(folder, pipeline)
    if references:
        plan = json.loads((run.path / "plan.json").read_bytes())
        plan["input"]["image_root"] = str(lay_pictures(folder))
        (run.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    said = {word: words[place % len(words)] for place, word in enumerate(WORDS)} if words else {}
    for stage in [INGEST, *run.stages]:
        rewrite(run, stage, lambda frame, stage=stage: _changed(frame, run.kinds(stage), said, references))  # type: ignore[misc]
    return RunFolder(run.path)


def _laid(folder: Path, pipeline: str) -> RunFolder:
    place = folder / "made" / "run"
    if pipeline not in _kept:
        made = make_run(place, pipeline, 4)
        _kept[pipeline] = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        return made
    for name, data in _kept[pipeline].items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return RunFolder(place)


def _changed(frame: pl.DataFrame, kinds: dict[str, Any], said: dict[str, str], references: Sequence[str | None]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = frame.to_dict(as_series=False)
    for name, values in columns.items():
        if name in PICTURE_COLUMNS and references:
            wanted = [references[row_id % len(references)] for row_id in columns["row_id"]]
            columns[name] = [value if other is None else other for value, other in zip(values, wanted, strict=True)]
        elif name not in PICTURE_COLUMNS and frame.schema[name] == pl.String:
            columns[name] = [_cell(value, kinds[name], lambda text: _reworded(text, said)) for value in values]
    return pl.DataFrame(columns, schema=frame.schema)


def _cell(value: str | None, kind: str, change: Callable[[str], str]) -> str | None:
    if value is None or kind == "text":
        return value if value is None else change(value)
    return json.dumps(_inside(json.loads(value), change), ensure_ascii=False, separators=(",", ":"))


def _inside(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {change(key): _inside(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_inside(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _reworded(text: str, said: dict[str, str]) -> str:
    for word, other in said.items():
        text = text.replace(word, other)
    return text


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """What a folder holds: kind and size by name."""
    return {
        str(path.relative_to(folder)): ("link" if path.is_symlink() else "file" if path.is_file() else "folder",
                                        path.lstat().st_size if path.is_file() else 0)
        for path in folder.rglob("*")
    }  # fmt: skip


TEXTS = st.lists(texts(4) | LITTLE, min_size=1, max_size=3)
