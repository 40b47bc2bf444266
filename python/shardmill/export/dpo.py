"""Preference pairs: rows for TRL, ms-swift or LLaMA-Factory."""

from __future__ import annotations

import json
from dataclasses import replace

from shardmill.export.dataset_info import write_dataset_info
from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH, with_image_paths
from shardmill.export.llava import without_image_token
from shardmill.export.options import ExportOptions
from shardmill.export.preference_forms import FORMS, PreferencePair
from shardmill.export.rows import TableRows, decode_rows
from shardmill.util.atomic import replacing


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`pairs.FORM.jsonl`. Pairs of questions that are near duplicates are left out."""
    assert source.table.pair is not None
    name = f"{source.table.name}.{options.form}.jsonl"
    form = FORMS[options.form]
    rows = 0
    with replacing(folder.path / name) as file:
        for frame in with_image_paths(source, folder, options):
            for row in decode_rows(frame, source.kinds):
                line = form(without_tokens(source.table.pair(row, row[IMAGE_PATH])))
                file.write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8"))
                rows += 1
    folder.files[name] = {"rows": rows}
    if options.form == "llamafactory":
        columns = {"messages": "conversations", **{name: name for name in ("chosen", "rejected", "images")}}
        write_dataset_info(folder, source.table.name, name, columns, ranking=True)


def without_tokens(pair: PreferencePair) -> PreferencePair:
    """The pair without image tokens in its texts, of which a conversation must have as many as images."""
    return replace(
        pair,
        question=without_image_token(pair.question),
        preferred=without_image_token(pair.preferred),
        rejected=without_image_token(pair.rejected),
    )
