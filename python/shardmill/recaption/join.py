"""Joins captions that other programs left in files to the images of a table: one multi-text line for each of its rows.

Memory does not grow with the files: see `join_matching`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shardmill.export.multi_text_format import Missing, MultiTextHeader, MultiTextWriter, TextSlot, check_texts
from shardmill.recaption.foreign import ForeignCaptions
from shardmill.recaption.image_keys import ImageKeys
from shardmill.recaption.join_matching import IndexCounts, JoinProgress, Matching, MatchTally, Report, weight
from shardmill.recaption.names import ORIGINAL
from shardmill.util.atomic import replacing, temporary_folder
from shardmill.util.errors import UserError, did_you_mean

__all__ = ["IndexCounts", "JoinProgress", "JoinResult", "join_captions"]


@dataclass(frozen=True)
class JoinResult:
    """The file; its header, with the counts of lines; what was found on the way; the file that names conflicts, unknown images
    and what is wrong with inputs, if anything is; and what the user should know.
    """

    path: Path
    header: MultiTextHeader
    tally: MatchTally
    report: Path | None
    hints: list[str]


def join_captions(
    original: Path,
    indexes: Mapping[str, Sequence[Path]],
    out: Path,
    texts: Sequence[str] | None = None,
    *,
    missing: Missing = "fail",
    fallback: Sequence[str] = (),
    image_root: Path | None = None,
    image_column: str | None = None,
    caption_column: str | None = None,
    scratch: Path | None = None,
    report: Report = lambda progress: None,
) -> JoinResult:
    """Writes `out` and its header: a line for each row of `original`, in order, with the `texts` (original, then the indexes).

    `indexes` gives the files of each text by its name; of two entries for one image the later counts. Temporary files of about
    the size of the inputs lie in `scratch` (the folder of `out`). Raises UserError, before anything is written under `out`, where
    a file cannot be read or a text is missing that must not be.
    """
    names = list(texts or [ORIGINAL, *indexes])
    _check_sources(names, indexes)
    check_texts(names, fallback, missing)
    joined = [name for name in names if name != ORIGINAL]
    files = [ForeignCaptions(original, image_column, caption_column)]
    files += [ForeignCaptions(path) for name in joined for path in indexes[name]]
    scratch = scratch or out.parent
    sources = {name: [str(path) for path in indexes[name]] for name in joined}
    details = {"made_by": "join-captions", "original": str(original), "indexes": sources}
    size = sum(map(weight, files))
    _check_room(scratch, size)
    writer = MultiTextWriter(out, [TextSlot(name=name) for name in names], missing, fallback, details)
    tally = MatchTally(indexes={name: IndexCounts() for name in joined})
    with temporary_folder(scratch / f"{out.name}.joining") as folder, open(folder / "notes", "w+b") as notes:
        matching = Matching(folder, names, ImageKeys(image_root), size, notes, report)
        matching.read(files, [ORIGINAL, *(name for name in joined for _ in indexes[name])], tally)
        matching.match(tally)
        if missing == "fail":
            matching.refuse_missing(tally)
        with writer:
            for images, captions in matching.in_order(tally.rows):
                writer.write_columns(images, captions)
            writer.details["counts"] = {name: vars(counts) for name, counts in tally.indexes.items()}
        kept = _keep_notes(notes, out.with_name(f"{out.stem}.join-report.jsonl"))
    hints = [matching.hint(name) for name, counts in tally.indexes.items() if counts.entries and not counts.used]
    return JoinResult(out, writer.header(), tally, kept, hints)


def _check_sources(names: Sequence[str], indexes: Mapping[str, Sequence[Path]]) -> None:
    if ORIGINAL in indexes:
        raise UserError(f"{ORIGINAL!r} is the caption of the table itself; give the index another name")
    for name in names:
        if name != ORIGINAL and not indexes.get(name):
            raise UserError(
                f"no index is given for the text {name!r} (--index {name}=FILE); {did_you_mean(name, [ORIGINAL, *indexes])}"
            )
    unused = [name for name in indexes if name not in names]
    if unused:
        raise UserError(f"the index {unused[0]!r} is none of the texts {', '.join(names)}; add it to --texts or leave it out")


def _check_room(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 1.2 * size:
        raise UserError(
            f"{folder} has {free / 1e9:,.1f} GB free, and sorting the inputs needs about {1.2 * size / 1e9:,.1f} GB; "
            "name a folder with more room (--scratch)"
        )


def _keep_notes(notes: IO[bytes], path: Path) -> Path | None:
    """The notes as a file of their own; None, and no file of an earlier join, where there are none."""
    if not notes.tell():
        path.unlink(missing_ok=True)
        return None
    notes.seek(0)
    with replacing(path) as file:
        shutil.copyfileobj(notes, file)
    return path
