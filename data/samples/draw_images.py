"""Draw the images of the bundled sample from scenes.jsonl, and write the two broken files that captions.csv refers to.

Run as `python data/samples/draw_images.py`. The same scenes always give the same files.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

from shardmill.embedded.scene import draw_scene

HERE = Path(__file__).resolve().parent
SIZE = (320, 240)
TRUNCATED = "images/9001.png"
NOT_AN_IMAGE = "images/9002.png"


def png(image: Image.Image) -> bytes:
    """The image as the bytes of an RGB PNG file."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_scenes(scenes: Path, folder: Path) -> int:
    """Draw the image of every line of `scenes` below `folder`; returns their number."""
    lines = [json.loads(line) for line in scenes.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        objects = [(item, 1) if isinstance(item, str) else (item[0], item[1]) for item in line["objects"]]
        image = draw_scene(objects, seed=line["seed"], size=SIZE, scene=line["scene"])
        (folder / line["image"]).write_bytes(png(image))
    return len(lines)


def write_broken(folder: Path) -> int:
    """Write half a PNG file and a text file that calls itself PNG; returns their number."""
    whole = png(draw_scene([("girl", 1), ("dog", 1), ("bench", 1)], seed=1, size=SIZE, scene="park"))
    (folder / TRUNCATED).write_bytes(whole[: len(whole) // 2])
    (folder / NOT_AN_IMAGE).write_text("404 Not Found\n", encoding="utf-8", newline="\n")
    return 2


def main() -> None:
    """Draw the whole sample beside this file."""
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    images = write_scenes(HERE / "scenes.jsonl", HERE)
    broken = write_broken(HERE)
    size = sum(path.stat().st_size for path in folder.glob("*.png"))
    print(f"{images} images and {broken} broken files in {folder} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
