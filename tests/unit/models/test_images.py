"""Images that nobody has vouched for: each is opened upright in RGB, or refused with a reason."""

import io
import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardmill.models.images import UnreadableImage, format_of, open_image, size_of


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


def test_grey_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 20_000], [40_000, 65_535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    image = open_image(str(tmp_path / "deep.png"))
    assert [image.getpixel((x, y))[0] for y in (0, 1) for x in (0, 1)] == [0, 78, 156, 255]


def test_an_animation_is_refused_and_a_phone_picture_with_a_preview_is_not(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), color) for color in ("red", "green", "blue")]
    for name in ("moving.gif", "moving.webp", "moving.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(UnreadableImage, match="animation of 3 frames"):
            open_image(str(tmp_path / name))
    frames[0].save(tmp_path / "phone.mpo", save_all=True, append_images=frames[1:])
    (tmp_path / "phone.mpo").rename(tmp_path / "phone.jpg")
    assert open_image(str(tmp_path / "phone.jpg")).size == (9, 9)


def test_images_are_read_inside_tar_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for number in range(20):
            stream = io.BytesIO()
            Image.new("RGB", (10 + number, 5)).save(stream, "JPEG")
            member = tarfile.TarInfo(f"folder/{number:04}.jpg")
            member.size = len(stream.getvalue())
            tar.addfile(member, io.BytesIO(stream.getvalue()))
    shard = f"{tmp_path}/shard.tar"
    assert [open_image(f"{shard}::folder/{number:04}.jpg").width for number in (0, 19, 7)] == [10, 29, 17]
    for reference, why in [
        (f"{shard}::none.jpg", "no member"),
        (f"{tmp_path}/none.tar::a.jpg", "no such file"),
        (f"{tmp_path}::a.jpg", "no such file"),
        (f"{shard}::", "no member"),
    ]:
        with pytest.raises(UnreadableImage, match=why):
            open_image(reference)
    with tarfile.open(tmp_path / "small.tar.gz", "w:gz") as tar:
        tar.add(shard, "inner")
    with pytest.raises(UnreadableImage, match="not a plain tar"):
        open_image(f"{tmp_path}/small.tar.gz::inner")


def test_a_tar_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    for width in (11, 22):
        Image.new("RGB", (width, 5)).save(tmp_path / "a.png")
        with tarfile.open(tmp_path / "shard.tar", "w") as tar:
            tar.add(tmp_path / "a.png", "a.png")
        os.utime(tmp_path / "shard.tar", ns=(width, width))
        assert open_image(f"{tmp_path}/shard.tar::a.png").width == width


@pytest.mark.parametrize("chunk", ["text", "profile", "damaged"])
def test_a_png_with_much_text_or_a_damaged_profile_is_opened(tmp_path: Path, chunk: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    info, path = PngInfo(), tmp_path / "a.png"
    if chunk == "text":
        info.add_text("parameters", "steps " * 500_000, zip=True)
    Image.new("RGB", (5, 4), "red").save(path, pnginfo=info, icc_profile=bytes(3 << 20) if chunk == "profile" else None)
    if chunk == "damaged":
        data = path.read_bytes()
        path.write_bytes(data[:33] + struct.pack(">I", 4) + b"tEXta\0bc" + b"\0\0\0\0" + data[33:])
    image = open_image(str(path))
    assert format_of(path.read_bytes()) == "PNG"
    assert image.size == size_of(str(path)) == (5, 4) and image.getpixel((0, 0)) == (255, 0, 0)


def test_a_turned_jpeg_with_a_strange_exif_tag_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9286] = "a comment"
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    position = data.index(b"\x92\x86")
    # a comment of four bytes that are floats: Pillow reads them, and cannot write them again
    odd = data[: position + 2] + struct.pack(">HII", 5, 1, 8) + data[position + 12 :]
    (tmp_path / "a.jpg").write_bytes(odd)
    assert open_image(str(tmp_path / "a.jpg")).size == size_of(str(tmp_path / "a.jpg")) == (20, 30)


@pytest.mark.parametrize(("bits", "expected"), [(8, 255), (10, 255), (12, 255), (14, 255), (16, 255)])
def test_grey_of_any_depth_is_as_bright_as_its_range_says(tmp_path: Path, bits: int, expected: int) -> None:
    Image.fromarray(np.array([[0, (1 << bits) - 1]], dtype=np.uint16)).save(tmp_path / "deep.png")
    image = open_image(str(tmp_path / "deep.png"))
    assert [image.getpixel((x, 0))[0] for x in (0, 1)] == [0, expected]


@pytest.mark.parametrize(("brightest", "read"), [(4_095, False), (65_535, True)])
@pytest.mark.parametrize(("colours", "shades"), [(2, [1, 0, 1]), (4, [1, 1]), (6, [1, 0, 1, 1])])
def test_colour_of_12_bits_in_16_is_refused_and_not_taken_for_black(
    tmp_path: Path, colours: int, shades: list[int], brightest: int, read: bool
) -> None:
    rows = (b"\0" + b"".join(struct.pack(">H", shade * brightest) for shade in shades) * 4) * 4
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, colours, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    if read:
        assert open_image(str(tmp_path / "a.png")).getpixel((0, 0))[0] == 255
    else:
        with pytest.raises(UnreadableImage, match="12 bits or less in 16"):
            open_image(str(tmp_path / "a.png"))
