"""Images that nobody has vouched for: each is opened upright in RGB, or refused with a reason."""

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from shardmill.models.images import UnreadableImage, open_image


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(str(tmp_path / "turned.jpg")).size == (20, 30)


MODES = [("CMYK", "jpg"), ("L", "png"), ("RGBA", "png"), ("P", "gif"), ("1", "png"), ("I;16", "png")]


@pytest.mark.parametrize(("mode", "suffix"), MODES)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.new(mode, (8, 8)).save(path)
    assert open_image(str(path)).mode == "RGB"


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "truncated", "bomb", "loop"])
def test_what_cannot_be_read_is_refused_with_a_reason(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not an image")
    elif kind == "truncated":
        Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes(path.read_bytes()[:800])
    elif kind == "bomb":
        path.write_bytes(png_header(60_000, 60_000))
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(UnreadableImage, match=r".+"):
        open_image(str(path))
