"""Paint the pictures of the bundled sample from scenes.jsonl, and the two broken files that captions.csv refers to.

Run as `python data/samples/paint.py`. The same scenes always give the same files.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

from shardmill.embedded.scene import paint

HERE = Path(__file__).resolve().parent
SIZE = (320, 240)
TRUNCATED = "images/9001.png"
NOT_AN_IMAGE = "images/9002.png"


def png(picture: Image.Image) -> bytes:
    """The picture as the bytes of an RGB PNG file."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_scenes(scenes: Path, folder: Path) -> int:
    """Paint every line of `scenes` below `folder`; returns the number of pictures."""
    lines = [json.loads(line) for line in scenes.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        objects = [(item, 1) if isinstance(item, str) else (item[0], item[1]) for item in line["objects"]]
        picture = paint(objects, seed=line["seed"], size=SIZE, scene=line["scene"])
        (folder / line["image"]).write_bytes(png(picture))
    return len(lines)


def write_broken(folder: Path) -> int:
    """Write half a PNG file and a text file that calls itself PNG; returns their number."""
    whole = png(paint([("girl", 1), ("dog", 1), ("bench", 1)], seed=1, size=SIZE, scene="park"))
    (folder / TRUNCATED).write_bytes(whole[: len(whole) // 2])
    (folder / NOT_AN_IMAGE).write_text("404 Not Found\n", encoding="utf-8", newline="\n")
    return 2


def main() -> None:
    """Paint the whole sample beside this file."""
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    pictures = write_scenes(HERE / "scenes.jsonl", HERE)
    broken = write_broken(HERE)
    size = sum(path.stat().st_size for path in folder.glob("*.png"))
    print(f"{pictures} pictures and {broken} broken files in {folder} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
