"""`scene`: edits of scene images without a model: an object added, removed, replaced or given another colour.

What is to change is read from the captions of both images and, for a colour, from the instruction. Every other edit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from shardmill.embedded.scene.captioner import COLORS
from shardmill.language.lexicon import lexicon_digest
from shardmill.language.named_objects import named_objects
from shardmill.models.contract import EditRequest, GeneratedImage, Model, Reply
from shardmill.models.generate.store import code_digest, image_digest, image_file, save_image, saved_size
from shardmill.models.images import UnreadableImage, open_image

Change = Callable[[Image.Image], Image.Image]
CANNOT = "edit that scene cannot make"
DRAWN_BY = tuple(
    f"shardmill.embedded.scene.{module}" for module in ("editor", "changes", "drawing", "palette", "shapes", "reader")
)
"""The modules whose code decides what an edited image looks like."""
KINDS = ("add", "remove", "replace", "color_alter")
WORD = re.compile(r"[a-z]+")


class CannotEdit(ValueError):
    """An edit that is none of those that the editor can make, or that the image does not allow."""


class SceneEditor(Model):
    """Edits scene images."""

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        """The digest of the lexicon of what it can draw."""
        return {"lexicon": lexicon_digest()}

    def stream(self, requests: Iterable[EditRequest]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        made_by = {**self.identity(), "code": code_digest(*DRAWN_BY)}
        for request in requests:
            yield _reply(request, made_by)


def _reply(request: EditRequest, made_by: dict[str, str]) -> Reply:
    from shardmill.embedded.scene.changes import NoRoom
    from shardmill.embedded.scene.reader import NotAScene

    try:
        image = open_image(request.image)
        texts = {"instruction": request.instruction, "before": request.before, "after": request.after, "kind": request.kind}
        source = sha256(image.tobytes()).hexdigest()
        name = image_file(image_digest({**made_by, **texts, "image": source, "seed": request.seed}), "png")
        path = Path(request.folder) / name
        size = saved_size(path)
        if size is None:
            edited = change_of(image, request)(image)
            save_image(edited, path)
            size = edited.size
    except UnreadableImage as error:
        return Reply(request.key, None, "unusable", "unreadable image", str(error))
    except NotAScene as error:
        return Reply(request.key, None, "unusable", "not a scene image", f"{error}; for photos choose a real editor")
    except (CannotEdit, NoRoom) as error:
        return Reply(request.key, None, "unusable", CANNOT, f"{error}: {request.instruction[:80]}")
    return Reply(request.key, GeneratedImage(name, *size))


def change_of(image: Image.Image, request: EditRequest) -> Change:
    """What to do to an image. Raises CannotEdit, and NotAScene for an image that `scene` has not drawn."""
    from shardmill.embedded.scene import changes
    from shardmill.embedded.scene.reader import require_scene

    require_scene(np.asarray(image))
    if request.kind and request.kind not in KINDS:
        raise CannotEdit(f"{request.kind} is none of {', '.join(KINDS)}")
    if not request.before.strip() or not request.after.strip():
        raise CannotEdit("the captions of both images are needed")
    before = {entry.name for entry in named_objects(request.before)}
    after = {entry.name for entry in named_objects(request.after)}
    gone, new = sorted(before - after), sorted(after - before)
    change = _change(gone, new, request, after)
    name = change.keywords.get("name")
    if name is not None and not changes.things_in(image, name):
        raise CannotEdit(f"the image does not show the {name} that is to change")
    return change


def _change(gone: list[str], new: list[str], request: EditRequest, objects: set[str]) -> partial[Image.Image]:
    """The change by which these objects go and come."""
    from shardmill.embedded.scene import changes

    allowed = (request.kind,) if request.kind else KINDS
    match gone, new:
        case [name], [other] if "replace" in allowed:
            return partial(changes.replace, name=name, new=other)
        case [name], [] if "remove" in allowed:
            return partial(changes.remove, name=name)
        case [], [other] if "add" in allowed:
            return partial(changes.add, new=other, seed=request.seed)
        case [], [] if "color_alter" in allowed:
            name, color = _recolored(request, objects)
            return partial(changes.recolor, name=name, color=color)
    raise CannotEdit(f"the captions differ in other objects: {', '.join((*gone, *new)) or 'none'}")


def _recolored(request: EditRequest, objects: set[str]) -> tuple[str, tuple[int, int, int]]:
    """The object that gets a colour, and the colour: one that the instruction names, and that the caption after the edit has
    right before the object, but not the caption before it.
    """
    for word in WORD.findall(request.instruction.lower()):
        color = _color(word)
        if color is None:
            continue
        for name in sorted(objects):
            said = re.compile(rf"\b{word}\s+(?:[\w-]+\s+)?{re.escape(name)}", re.IGNORECASE)
            if said.search(request.after) and not said.search(request.before):
                return name, color
    raise CannotEdit("neither an object nor its colour changes")


def _color(word: str) -> tuple[int, int, int] | None:
    """The RGB value of a colour's name, None for another word."""
    if word in COLORS:
        return COLORS[word]
    return ImageColor.getrgb(word)[:3] if word in ImageColor.colormap else None
