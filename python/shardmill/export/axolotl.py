"""Conversations as axolotl reads them: messages whose parts are images and texts, and what a configuration needs for them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from shardmill.export.folder import ExportFolder
from shardmill.export.image_paths import IMAGE_PATH
from shardmill.export.llava import conversations
from shardmill.export.options import ExportOptions
from shardmill.export.rows import TableRows
from shardmill.export.tables import QuestionAnswer
from shardmill.util.atomic import replacing

CONFIGURATION = "axolotl.yaml"
HEADER = "# Add base_model, chat_template and what else the training needs, then, in this folder: axolotl train axolotl.yaml\n"


def write(source: TableRows, folder: ExportFolder, options: ExportOptions) -> None:
    """`WHAT.jsonl`, and `axolotl.yaml` to begin with. Paths of copied images start from the export's folder."""
    name = f"{source.table.name}.jsonl"
    rows = 0
    with replacing(folder.path / name) as file:
        for row, questions in conversations(source, folder, options):
            line = {"messages": messages_of(row[IMAGE_PATH], questions)}
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8"))
            rows += 1
    folder.files[name] = {"rows": rows}
    folder.write_text(CONFIGURATION, HEADER + yaml.safe_dump(configuration(name), sort_keys=False))


def messages_of(image: str, questions: list[QuestionAnswer]) -> list[dict[str, Any]]:
    """The messages of a conversation; the first has the image."""
    messages: list[dict[str, Any]] = []
    for each in questions:
        asked = [{"type": "text", "text": each.question}]
        messages.append({"role": "user", "content": asked if messages else [{"type": "image", "path": image}, *asked]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": each.answer}]})
    return messages


def configuration(file: str) -> dict[str, Any]:
    """What axolotl's guide says that a configuration for images and texts has."""
    return {
        "processor_type": "AutoProcessor",
        "skip_prepare_dataset": True,
        "remove_unused_columns": False,
        "sample_packing": False,
        "datasets": [{"path": file, "ds_type": "json", "type": "chat_template", "split": "train"}],
    }
