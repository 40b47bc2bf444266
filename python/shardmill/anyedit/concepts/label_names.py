"""The class names of a Hugging Face data set, from what lies beside its data; neither `datasets` nor the network is needed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from shardmill.util.errors import UserError
from shardmill.util.yaml_text import read_yaml

CARD, INFO = "README.md", "dataset_info.json"


def find_dataset(name: str) -> Path:
    """The folder of a data set: a path, or one that the hub's cache on this machine has. Raises UserError for any other."""
    if Path(name).is_dir():
        return Path(name)
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    found = sorted((hub / f"datasets--{name.replace('/', '--')}" / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f"the data set {name} is neither a folder nor in the cache {hub}. "
            f"Its card is enough: hf download {name} README.md --repo-type dataset"
        )
    return found[-1]


def label_names(folder: Path) -> list[str]:
    """Every class name, in the order of the labels; each once. Raises UserError where the folder tells none."""
    found: dict[str, None] = {}
    for path in [*sorted(folder.rglob(INFO)), folder / CARD]:
        if path.is_file():
            found.update(dict.fromkeys(_names_in(_load(path))))
    if not found:
        raise UserError(f"{folder} has no {INFO} and no {CARD} that lists the names of a class label.")
    return list(found)


def _load(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.name == INFO:
            return json.loads(text)
        head = text.split("\n---", 1)[0] if text.startswith("---") else ""
        return read_yaml(head)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}.") from None


def _names_in(value: Any) -> Iterator[str]:
    """The names of all class labels below a value: {"_type": "ClassLabel", "names": [...]}, or a card's {"0": name, ...}.

    YAML can name a value again, even within itself: each is looked at once.
    """
    waiting, seen = [value], set[int]()
    while waiting:
        value = waiting.pop()
        if not isinstance(value, (dict, list)) or id(value) in seen:
            continue
        seen.add(id(value))
        names = value.get("names") if isinstance(value, dict) else None
        is_label = isinstance(value, dict) and (value.get("_type") == "ClassLabel" or set(value) == {"names"})
        if is_label and isinstance(names, list):
            yield from (name for name in names if isinstance(name, str))
        elif is_label and isinstance(names, dict):
            yield from (str(name) for _, name in sorted(names.items(), key=lambda item: _number(item[0])))
        else:
            waiting += reversed(list(value.values()) if isinstance(value, dict) else value)


def _number(key: Any) -> tuple[int, str]:
    text = str(key)
    return (int(text), "") if text.isdecimal() else (1 << 62, text)
