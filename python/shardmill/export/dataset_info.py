"""`dataset_info.json`, in which LLaMA-Factory looks up a data set: `dataset_dir: FOLDER`, `dataset: NAME`.

Relative paths of images start from `media_dir`, which is the same folder by default.
"""

from __future__ import annotations

import json
from typing import Any

from shardmill.export.folder import ExportFolder

NAME = "dataset_info.json"


def write_dataset_info(folder: ExportFolder, table: str, file: str, columns: dict[str, str], *, ranking: bool = False) -> None:
    """Describe a file of conversations in ShareGPT's format, with preference pairs if it is a `ranking`."""
    entry: dict[str, Any] = {"file_name": file, "formatting": "sharegpt", "columns": columns}
    folder.write_text(NAME, json.dumps({table: {**entry, **({"ranking": True} if ranking else {})}}, indent=1) + "\n")
