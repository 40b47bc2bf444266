"""`scene`: simple pictures of everyday objects, and a reader that finds the objects again from the pixels."""

from __future__ import annotations

from shardmill.embedded.scene.painter import layout, paint
from shardmill.embedded.scene.reader import FoundObject, NotAScene, read

__all__ = ["FoundObject", "NotAScene", "layout", "paint", "read"]
