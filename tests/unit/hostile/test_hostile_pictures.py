"""Pictures, archives, names and settings that nobody vouches for: nothing is run or written elsewhere, and no row is lost."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from fuzz.guard import guarded
from fuzz.pictures import TARGETS
from fuzz.target import Target
from shardmill.models.images import UnreadableImage, open_image, size_of

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(pwned) (w) file closefile\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_that_data_names_or_holds_gets_out_of_its_place(target: Target) -> None:
    assert target.taken(examples=30), "all cases were refused: what comes behind that is not tried"


@pytest.mark.parametrize("name", ["x.eps", "x.jpg"])
def test_a_picture_that_is_a_program_is_not_run(name: str) -> None:
    with guarded() as folder:
        (folder / name).write_bytes(EPS)
        for look in (open_image, size_of):
            with pytest.raises(UnreadableImage, match="not an image of a known format"):
                look(str(folder / name))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_pictures_of_the_usual_kinds_are_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    Image.new("RGB", (3, 2), "red").save(path, kind)
    assert open_image(str(path)).size == size_of(str(path)) == (3, 2)


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG"])
def test_the_header_gives_the_size_that_the_upright_picture_has(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / "x"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (6, 2)).save(path, kind, exif=exif)
    assert size_of(str(path)) == open_image(str(path)).size


@pytest.mark.parametrize(
    "reference", ["a.tar::" + "b" * 5_000, "b" * 5_000, "a/" * 3_000, "a\0b", "a\0.tar::x", "", ".", "\udc80"]
)
def test_a_name_that_no_file_can_have_is_the_name_of_no_picture(reference: str) -> None:
    for look in (open_image, size_of):
        with pytest.raises(UnreadableImage):
            look(reference)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    for look in (open_image, size_of):
        with pytest.raises(UnreadableImage, match="no such file"):
            look(str(tmp_path / "x.jpg"))


def test_a_picture_of_terabytes_is_refused_by_its_header(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "BMP")
    data = bytearray(file.getvalue())
    data[18:26] = (1 << 20).to_bytes(4, "little") * 2
    (tmp_path / "x.bmp").write_bytes(data)
    for look in (open_image, size_of):
        with pytest.raises(UnreadableImage, match=r"pixels are more than|DecompressionBomb"):
            look(str(tmp_path / "x.bmp"))


def test_a_case_leaves_the_process_where_it_was() -> None:
    before = Path.cwd()
    with guarded() as folder:
        os.chdir(folder)
    assert Path.cwd() == before
