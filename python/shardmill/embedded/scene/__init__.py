"""`scene`: simple images of everyday objects, and a detector that finds the objects again in the pixels."""

from __future__ import annotations

from shardmill.embedded.scene.drawing import draw_scene, layout
from shardmill.embedded.scene.reader import FoundObject, NotAScene, detect_objects

__all__ = ["FoundObject", "NotAScene", "detect_objects", "draw_scene", "layout"]
