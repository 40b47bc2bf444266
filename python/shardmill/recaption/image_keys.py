"""One key for all spellings of an image's path."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence
from pathlib import Path


class ImageKeys:
    """Paths as keys that are equal for one image: normal path, one Unicode form, relative to `root` where it is below it."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = None if root is None else self._normal(str(root.absolute())).rstrip("/") + "/"

    def __call__(self, image: str) -> str:
        """>>> ImageKeys(Path("/d"))("/d//x/../cats and jpgs/a.JPG"), ImageKeys()("./a.png")
        ('cats and jpgs/a.JPG', 'a.png')
        """
        simple = image.isascii() and "//" not in image and "/." not in image and image[0] != "." and image[-1] != "/"
        key = image if simple else self._normal(image)
        return key.removeprefix(self._root) if self._root else key

    def of(self, images: Sequence[str]) -> Sequence[str]:
        """The keys of images. Quicker than one by one where all paths are simple."""
        lines = "\n".join(["", *images, ""])
        if not lines.isascii() or any(part in lines for part in ("//", "/.", "\n.", "/\n")):
            return [self(image) for image in images]
        return [image.removeprefix(self._root) for image in images] if self._root else images

    @staticmethod
    def _normal(path: str) -> str:
        path = posixpath.normpath(unicodedata.normalize("NFC", path))
        return "/" + path.lstrip("/") if path.startswith("/") else path
