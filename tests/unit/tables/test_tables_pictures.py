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
