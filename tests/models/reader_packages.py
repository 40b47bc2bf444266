"""The packages of trainers, in a folder beside the environment's own, and those of their modules that read data.

ms-swift and LLaMA-Factory import their whole trainers when they are imported. Only their readers are wanted here, so their
packages are opened without what `__init__` would import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

READERS = Path(sys.prefix) / "readers"
"""Made by environment/make_env.sh: they need other versions of what the models need, or would change how these work."""


@contextmanager
def importable() -> Iterator[None]:
    """Let the packages be imported."""
    sys.path.append(str(READERS))
    try:
        yield
    finally:
        sys.path.remove(str(READERS))


def open_package(name: str) -> ModuleType:
    """A package whose modules can be imported, without running its `__init__`."""
    module = ModuleType(name)
    module.__path__ = [str(READERS.joinpath(*name.split(".")))]
    sys.modules[name] = module
    return module


def swift_preprocessor() -> Any:
    """What ms-swift puts a local file through: `AutoPreprocessor`."""
    for name in ("swift", "swift.dataset", "swift.dataset.preprocessor"):
        open_package(name)
    template: Any = open_package("swift.template")
    template.history_to_messages = import_module("swift.template.utils").history_to_messages
    template.MaxLengthError = type("MaxLengthError", (ValueError,), {})  # raised by templates, which are not opened
    samples: Any = open_package("swift.dataset.utils")
    samples.sample_dataset = None  # called if only a sample is wanted
    return import_module("swift.dataset.preprocessor.core").AutoPreprocessor()


def llamafactory_reader() -> tuple[Any, Any]:
    """LLaMA-Factory's `get_dataset_list`, which reads dataset_info.json, and `align_dataset`."""
    for name in ("llamafactory", "llamafactory.data", "llamafactory.extras"):
        open_package(name)
    parser, converter = import_module("llamafactory.data.parser"), import_module("llamafactory.data.converter")
    return parser.get_dataset_list, converter.align_dataset
