"""Folders and tar files of pictures as tables."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from shardmill.core.planning import NewRun, start_run
from shardmill.models.images import open_image
from shardmill.tables import open_table
from shardmill.util.errors import UserError


def png(width: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, 8)).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def rows(path: Path) -> list[tuple[str | None, ...]]:
    return [row for batch in open_table(path).batches() for row in batch.frame.select("image", "caption").iter_rows()]


def images(path: Path) -> list[str]:
    return [image for batch in open_table(path).batches() for image in batch.frame["image"]]


NO_ORIGINAL = ["merge_captions.texts=[detail]"]


def test_a_folder_gives_its_pictures_by_name_with_the_texts_beside_them(tmp_path: Path) -> None:
    for name in ("b.PNG", "a jpg folder/ä 1.jpg", "a jpg folder/2.webp", "notes.md", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(9))
    (tmp_path / "b.txt").write_text(" a boat \n")
    assert rows(tmp_path) == [("a jpg folder/2.webp", None), ("a jpg folder/ä 1.jpg", None), ("b.PNG", "a boat")]


def test_tar_files_give_their_members(tmp_path: Path) -> None:
    files = {"0001.png": png(11), "0001.txt": b"a dog", "0001.json": b"{}", "0002.png": png(12), "x/0003.jpg": png(13)}
    tar = write_tar(tmp_path / "shard-0.tar", files)
    expected = [("shard-0.tar::0001.png", "a dog"), ("shard-0.tar::0002.png", None), ("shard-0.tar::x/0003.jpg", None)]
    assert rows(tar) == rows(tmp_path) == expected
    assert [open_image(f"{tmp_path}/{image}").width for image, _ in rows(tar)] == [11, 12, 13]


def test_text_that_is_no_unicode_costs_its_own_row(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(png(9))
    (tmp_path / "1.txt").write_bytes(b"caf\xe9")
    (batch,) = open_table(tmp_path).batches()
    assert batch.frame["image"].to_list() == ["2.png"] and [bad.row_id for bad in batch.bad] == [0]


def test_what_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without pictures"):
        open_table(tmp_path)
    (tmp_path / "not.tar").write_text("x" * 2000)
    with pytest.raises(UserError, match="not a plain tar"):
        open_table(tmp_path / "not.tar")


def test_pictures_of_which_none_has_a_text_have_no_captions(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(9))
    assert open_table(tmp_path).columns == ["image"]
    (tmp_path / "2.png").write_bytes(png(9))
    (tmp_path / "2.txt").write_text("a dog")
    (tmp_path / "run.json").write_text("{}")
    table = open_table(tmp_path)
    before = table.digest()
    assert table.columns == ["image", "caption"]
    (tmp_path / "run.json").write_text('{"of": "other things"}')
    assert table.digest() == before, "only pictures, their texts and tar files count"


def test_runs_that_read_no_captions_start_from_pictures_alone(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(png(9))
    run = start_run(tmp_path.with_name("run"), NewRun(input=tmp_path, pipeline="recaption", num_shards=2, settings=NO_ORIGINAL))
    table, _ = run.read_part("ingest", 0)
    assert table["image"].to_list() == ["0.png", "1.png"] and table["caption"].null_count() == 2
    assert run.plan.input.image_root == str(tmp_path)
    (tmp_path / "list.json").write_text('[{"image": "0.png"}, {"image": "4.png"}]')
    listed = start_run(
        tmp_path.with_name("listed"), NewRun(input=tmp_path / "list.json", pipeline="recaption", settings=NO_ORIGINAL)
    )
    assert listed.read_part("ingest", 0)[0].height == 2
    with pytest.raises(UserError, match="captions"):
        start_run(tmp_path.with_name("other"), NewRun(input=tmp_path / "list.json"))


def test_a_folder_that_links_lead_back_into_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / "1.png").write_bytes(png(9))
    (folder / "more" / "2.png").write_bytes(png(9))
    (tmp_path / "beside.png").write_bytes(png(9))
    for name, target in {"self": ".", "up": "..", "more/back": "../..", "again": "more", "lost.png": "nowhere"}.items():
        (folder / name).symlink_to(target)
    table = open_table(folder)
    assert images(folder) == ["1.png", "again/2.png"]
    list(table.batches())
    assert table.passed_over == {
        "links to folders that were read already": 4,
        "links that lead nowhere, devices and pipes": 1,
    }


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".jp2", ".avif", ".ppm", ".JPG"])
def test_every_format_that_can_be_read_is_a_picture(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"1{suffix}").write_bytes(b"")
    assert images(tmp_path) == [f"1{suffix}"]


SAMPLE = {"0001.jpg": png(9), "0001.seg.png": png(9), "0001.txt": b"a dog", "0001.json": b"{}"}


@pytest.mark.parametrize("order", [1, -1])
def test_the_mask_of_a_sample_is_no_picture_and_takes_no_caption(tmp_path: Path, order: int) -> None:
    (tmp_path / "folder").mkdir()
    for name, data in SAMPLE.items():
        (tmp_path / "folder" / name).write_bytes(data)
    tar = write_tar(tmp_path / "a.tar", dict(list(SAMPLE.items())[::order]))
    assert rows(tmp_path / "folder") == [("0001.jpg", "a dog")]
    assert rows(tar) == [("a.tar::0001.jpg", "a dog")]
    table = open_table(tar)
    list(table.batches())
    assert table.notes() == ["passed over: .json 1, .seg.png 1"]


def test_dots_in_names_make_no_mask_of_a_picture(tmp_path: Path) -> None:
    for name in ("2024.jpg", "2024.05.01.jpg", "img.jpg", "img.copy.jpg", "only.seg.png", "v1.2 b.jpg"):
        (tmp_path / name).write_bytes(png(9))
    for name in ("img.copy.txt", "only.txt", "2024.05.01.txt"):
        (tmp_path / name).write_text(name)
    assert rows(tmp_path) == [
        ("2024.05.01.jpg", "2024.05.01.txt"),
        ("2024.jpg", None),
        ("img.copy.jpg", "img.copy.txt"),
        ("img.jpg", None),
        ("only.seg.png", "only.txt"),
        ("v1.2 b.jpg", None),
    ]


def test_texts_behind_all_pictures_of_a_tar_are_their_captions(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"1.png": png(9), "2.png": png(9), "2.txt": b"two", "1.txt": b"one"})
    assert rows(tar) == [("a.tar::1.png", "one"), ("a.tar::2.png", "two")]


def test_a_tar_that_is_not_whole_is_refused_with_the_byte(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {f"{number}.png": png(9) for number in range(10)})
    data = bytearray(tar.read_bytes())
    data[4 * 1024 + 150] ^= 0xFF
    (tmp_path / "b.tar").write_bytes(data)
    with pytest.raises(UserError, match=r"b\.tar is damaged at byte 4,096"):
        images(tmp_path / "b.tar")
    (tmp_path / "b.tar").write_bytes(tar.read_bytes() * 2)
    with pytest.raises(UserError, match="several members with the same name"):
        images(tmp_path / "b.tar")
    (tmp_path / "b.tar").write_bytes(tar.read_bytes() + write_tar(tmp_path / "c.tar", {"x.png": png(7)}).read_bytes())
    assert len(images(tmp_path / "b.tar")) == 11 and open_image(f"{tmp_path}/b.tar::x.png").width == 7


def test_what_is_passed_over_is_noted_in_the_plan(tmp_path: Path) -> None:
    for name in ("1.png", "2.heic", "notes.md", "metadata.csv"):
        (tmp_path / name).write_bytes(png(9))
    run = start_run(tmp_path.with_name("noted"), NewRun(input=tmp_path, pipeline="recaption", settings=NO_ORIGINAL))
    assert run.plan.input.notes == [
        "it also has metadata.csv; to read a table, name it as the input",
        "passed over: .csv 1, .heic 1, .md 1",
    ]
