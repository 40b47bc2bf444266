"""Reading YAML of others."""

from __future__ import annotations

from typing import Any

import yaml


def read_yaml(text: str) -> Any:
    """The value of a document. Raises yaml.YAMLError for all that is none.

    PyYAML itself lets a day such as 2001-99-99, a number of thousands of digits or thousands of brackets out as half a dozen
    other exceptions.
    """
    try:
        return yaml.safe_load(text)
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise yaml.YAMLError(f"a value in it cannot be read: {error}") from error
