"""Preference pairs: rows for TRL, ms-swift or LLaVA-like trainers."""

from __future__ import annotations

import json

from shardmill.antidote.build import FORMS
from shardmill.antidote.exports import GENERATED
from shardmill.export.folder import ExportFolder
from shardmill.export.json_array import JsonArray
from shardmill.export.llava import plain
from shardmill.export.options import ExportOptions
from shardmill.export.placed import PLACE, placed
from shardmill.export.rows import OfferRows, decoded
from shardmill.store.atomic import replacing

HEEDED = ("images", "form")
TEXTS = ("query", "response", "rejected_response")


def write(source: OfferRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`pairs.FORM.jsonl`, or `pairs.llava.json` as one array. Pairs of questions that are near duplicates are left out."""
    as_array = options.form == "llava"
    name = f"{source.offer.name}.{options.form}.{'json' if as_array else 'jsonl'}"
    form = FORMS[options.form]
    rows = 0
    with replacing(folder.path / name) as file:
        array = JsonArray(file)
        for table in placed(source, folder, options):
            for row in decoded(table, source.kinds):
                pair = form({**row, GENERATED: row[PLACE], **{text: plain(row[text]) for text in TEXTS}})
                if as_array:
                    array.add(pair)
                else:
                    file.write((json.dumps(pair, ensure_ascii=False) + "\n").encode("utf-8"))
                rows += 1
        if as_array:
            array.end()
    folder.files[name] = {"rows": rows}
