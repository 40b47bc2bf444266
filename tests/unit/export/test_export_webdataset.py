"""Tar shards as the webdataset library reads them: the same bytes whatever happens on the way, and nothing from outside."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import webdataset as wds
from PIL import Image

from exported import (
    ROWS,
    SAMPLES,
    alike,
    antidote,
    export,
    finish,
    json_lines,
    negbench,
    parts,
    recaption,
    sample_rows,
    selected,
    write_table,
)
from planted import rewrite_cells
from shardmill.core.planning import NewRun, start_run
from shardmill.export.folder import ExportFolder
from shardmill.export.make import Exported
from shardmill.models.images import open_image
from shardmill.store.frames import LIST
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import NoRows, UserError

IMAGES = "jpg;png;jpeg;webp"

# webdataset leaves the tars that it has read to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def samples(folder: Path) -> list[dict[str, Any]]:
    """All samples as webdataset groups them, undecoded."""
    return list(wds.WebDataset([str(tar) for tar in tars(folder)], shardshuffle=False, empty_check=False))


def sizes(done: Exported) -> dict[str, int]:
    """How many samples each tar has, as the record says."""
    return {name: file["rows"] for name, file in done.record["files"].items() if name.endswith(".tar")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_each_picture_is_a_sample_with_its_bytes_its_text_and_its_row(tmp_path: Path) -> None:
    done = export(negbench(), "webdataset", tmp_path / "out")
    rows = parts(negbench(), "caption_negated")
    read = samples(done.path)
    assert [sample["__key__"] for sample in read] == [f"{row_id:012d}" for row_id in rows["row_id"]]
    for sample, row in zip(read, rows.iter_rows(named=True), strict=True):
        assert sample["png"] == (SAMPLES / row["image"]).read_bytes()
        captions = list(pl.Series([row["negative_captions"]]).str.json_decode(LIST)[0])
        assert sample["txt"].decode() == captions[0]
        told = json.loads(sample["json"])
        assert told["texts"] == json.loads(told["negative_captions"]) == captions
        assert json.loads(told["detections"]) == json.loads(row["detections"])


def test_the_library_decodes_pictures_and_texts_as_open_clip_asks_it_to(tmp_path: Path) -> None:
    done = export(recaption(), "webdataset", tmp_path / "out", max_size=100_000)
    urls = [str(tar) for tar in tars(done.path)]
    dataset = wds.WebDataset(urls, shardshuffle=False).decode("pilrgb").rename(image=IMAGES, text="txt").to_tuple("image", "text")
    pairs = list(dataset)
    assert len(urls) > 2
    assert len(pairs) == sum(sizes(done).values())
    assert all(isinstance(image, Image.Image) and isinstance(text, str) and text for image, text in pairs)


def test_every_text_makes_a_sample_of_each(tmp_path: Path) -> None:
    done = export(negbench(), "webdataset", tmp_path / "out", every_text=True)
    read = samples(done.path)
    captions = parts(negbench(), "caption_negated")["negative_captions"].str.json_decode(LIST).explode().to_list()
    assert [sample["txt"].decode() for sample in read] == captions
    assert len({sample["__key__"] for sample in read}) == len(captions)


def test_the_record_counts_the_samples_of_each_tar_where_a_row_has_several_and_after_a_stop(tmp_path: Path) -> None:
    calm = export(negbench(), "webdataset", tmp_path / "calm", every_text=True, max_size=100_000)
    counted = sizes(calm)
    assert len(counted) > 2 and sum(counted.values()) > parts(negbench(), "caption_negated").height
    for path in tars(calm.path):
        read = wds.WebDataset([str(path)], shardshuffle=False)
        assert counted[path.name] == len({sample["__key__"] for sample in read})
    stopped(negbench(), tmp_path / "stopped", 2, every_text=True, max_size=100_000)
    export(negbench(), "webdataset", tmp_path / "stopped", every_text=True, max_size=100_000)
    assert contents(tmp_path / "stopped") == contents(calm.path)


@pytest.mark.parametrize(("format", "options"), [("webdataset", {"every_text": True}), ("tsv", {}), ("csv", {})])
def test_a_row_without_any_text_is_named_where_texts_make_the_samples(
    tmp_path: Path, format: str, options: dict[str, bool]
) -> None:
    shutil.copytree(recaption().path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    rewrite_cells(run, "check_captions", "checked", lambda checked, row: [] if row["row_id"] in (1, 7) else checked)
    done = export(run, format, tmp_path / "out", what=["captions"], **options)
    assert done.record["left_out"]["no text"] == 2
    left = [line["row_id"] for line in json_lines(done.path / "left_out.jsonl") if line["reason"] == "no text"]
    assert left == [1, 7]
    if format == "webdataset":
        read = [sample["__key__"] for sample in samples(done.path)]
        assert len({key.partition("_")[0] for key in read}) == ROWS - 2
        assert sum(sizes(done).values()) == len(read)


def test_rows_of_one_picture_get_keys_of_their_own(tmp_path: Path) -> None:
    done = export(antidote(), "webdataset", tmp_path / "out", what=["pairs"])
    keys = [sample["__key__"] for sample in samples(done.path)]
    rows = parts(antidote(), "pair_preferences")
    assert keys == [f"{row_id:012d}-{sub_id:04d}" for row_id, sub_id in rows.select("row_id", "sub_id").iter_rows()]


def test_tars_are_not_larger_than_asked_for_and_bear_nothing_of_this_machine(tmp_path: Path) -> None:
    done = export(negbench(), "webdataset", tmp_path / "out", max_size=60_000)
    assert len(tars(done.path)) > 2
    for path in tars(done.path):
        assert path.stat().st_size <= 60_000
        with tarfile.open(path) as tar:
            assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in tar} == {(0, 0, 0, "", 0o644)}


def test_a_picture_larger_than_a_tar_has_one_of_its_own(tmp_path: Path) -> None:
    done = export(negbench(), "webdataset", tmp_path / "out", max_size=10_000)
    rows = list(sizes(done).values())
    assert sum(rows) == parts(negbench(), "caption_negated").height
    assert max(rows) <= 3


def test_the_number_of_shards_of_the_run_does_not_show(tmp_path: Path) -> None:
    rows = sample_rows(20)
    one = export(selected(tmp_path / "one", rows, 1), "webdataset", tmp_path / "a", max_size=60_000)
    four = export(selected(tmp_path / "four", rows, 4), "webdataset", tmp_path / "b", max_size=60_000)
    assert [path.read_bytes() for path in tars(one.path)] == [path.read_bytes() for path in tars(four.path)]


def test_pictures_that_are_gone_or_spoilt_by_now_are_listed_and_the_rest_is_exported(tmp_path: Path) -> None:
    rows = sample_rows(8)
    for image, _ in rows:
        (tmp_path / image).parent.mkdir(exist_ok=True)
        shutil.copy(SAMPLES / image, tmp_path / image)
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], rows)
    run = finish(start_run(tmp_path / "run", NewRun(input=table, pipeline="recaption", num_shards=2)))
    (tmp_path / rows[1][0]).unlink()
    data = (tmp_path / rows[5][0]).read_bytes()
    (tmp_path / rows[5][0]).write_bytes(data[: len(data) // 2])
    done = export(run, "webdataset", tmp_path / "out")
    assert [int(sample["__key__"]) for sample in samples(done.path)] == [0, 2, 3, 4, 6, 7]
    listed = json_lines(done.path / "left_out.jsonl")
    assert [(line["row_id"], line["reason"]) for line in listed] == [(1, "no readable image"), (5, "no readable image")]
    assert "no such file" in listed[0]["detail"]
    assert done.record["left_out"] == {"no readable image": 2}


def test_files_that_are_no_pictures_never_get_into_an_export_and_names_in_data_make_no_paths(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the password is swordfish")
    (tmp_path / "data").mkdir()
    shutil.copy(SAMPLES / sample_rows(1)[0][0], tmp_path / "data" / "a.b\nc.png")
    names = ["../secret.txt", str(secret), "/etc/passwd", "a.b\nc.png", "../../../../etc/hostname", "x" * 5_000, "nul\0.png"]
    table = tmp_path / "data" / "t.jsonl"
    lines = [json.dumps({"image": name, "caption": sample_rows(1)[0][1]}) for name in names]
    table.write_text("\n".join(lines))
    settings = ("filter_objects.unverified=keep",)
    run = finish(start_run(tmp_path / "run", NewRun(input=table, num_shards=1, settings=settings)))
    done = export(run, "webdataset", tmp_path / "out")
    assert [sample["__key__"] for sample in samples(done.path)] == [f"{3:012d}"]
    assert len(json_lines(done.path / "left_out.jsonl")) == parts(run, "caption_negated").height - 1
    for path in done.path.rglob("*"):
        assert path.is_dir() or b"swordfish" not in path.read_bytes()
    copied = export(run, "tsv", tmp_path / "copied", images="copy")
    assert [path.relative_to(copied.path).as_posix() for path in copied.path.rglob("*.png")] == [f"images/00000/{3:012d}.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copied", "data", "out", "run", "secret.txt"]


def test_a_painted_picture_is_looked_for_in_the_run_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    shutil.copy(SAMPLES / sample_rows(1)[0][0], outside)
    rows = [[str(outside), "A dog on a sofa.", "dog"], ["../outside.png", "A cat on a sofa.", "cat"]]
    (tmp_path / "pipeline.yaml").write_text(
        "pipeline: anyedit\nstages:\n  - stage: select_captions\n    options: {captions: caption, images: ''}\n"
    )
    table = write_table(tmp_path / "captions.csv", ["generated_image", "caption", "thing"], rows)
    run = finish(start_run(tmp_path / "run", NewRun(input=table, pipeline=str(tmp_path / "pipeline.yaml"), num_shards=1)))
    with pytest.raises(NoRows, match=r"no row was exported to .*all were left out .*outside of the run"):
        export(run, "webdataset", tmp_path / "out")


TAKES = 75
"""So often do the same 20 pictures come: an export of some seconds, time to be killed in."""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of which two pictures are gone by now."""
    folder = tmp_path_factory.mktemp("big")
    rows = [[image, f"{caption} Take {take}."] for take in range(TAKES) for image, caption in sample_rows(20)]
    for place in (37, 900):
        shutil.copy(SAMPLES / rows[place][0], folder / f"{place}.png")
        rows[place][0] = str(folder / f"{place}.png")
    run = selected(folder / "it", rows)
    for place in (37, 900):
        (folder / f"{place}.png").unlink()
    return run


@pytest.fixture(scope="module")
def calm(big: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calm") / "out"
    export(big, "webdataset", out, max_size=400_000)
    return out


def start(run: RunFolder, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "shardmill", "export", str(run.path), "--format", "webdataset", "--out", str(out)]
    return subprocess.Popen([*command, "--max-size", "400k"], stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("finished", [0, 1, 7])
def test_killed_at_any_point_it_goes_on_behind_the_last_finished_tar_and_ends_in_the_same_bytes(
    big: RunFolder, calm: Path, tmp_path: Path, finished: int
) -> None:
    out = tmp_path / "out"
    process = start(big, out)
    while len(tars(out)) < finished or not list(out.glob(".making/*")):
        assert process.poll() is None, "the export ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "export.json").exists()
    before = {path.name: path.stat().st_ino for path in tars(out)}
    assert len(before) < len(tars(calm))
    assert start(big, out).wait() == 0
    assert contents(out) == contents(calm)
    kept = [path.name for path in tars(out) if before.get(path.name) == path.stat().st_ino]
    assert len(kept) >= len(before) - 1, "only the tar whose record was not written yet is made again"
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in calm.iterdir())


def test_a_tar_that_went_missing_meanwhile_is_made_again_with_those_behind_it(big: RunFolder, calm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(big, out)
    while len(tars(out)) < 5:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    tars(out)[2].unlink()
    assert start(big, out).wait() == 0
    assert contents(out) == contents(calm)


def stopped(run: RunFolder, out: Path, finished: int, **options: Any) -> None:
    """What a killed export leaves: so many tars, and the progress up to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExportFolder, "finish", lambda self: self.left_out.mark() and sys.exit("killed"))
        with pytest.raises(SystemExit):
            export(run, "webdataset", out, **options)
    for tar in tars(out)[finished:]:
        tar.unlink()
    lines = (out / "export.progress.jsonl").read_bytes().splitlines(keepends=True)
    (out / "export.progress.jsonl").write_bytes(b"".join(lines[: 1 + finished]) + b'{"tar": "capt')


def test_from_each_tar_on_the_rest_is_the_same_with_pictures_gone_and_a_target(tmp_path: Path) -> None:
    rows = sample_rows(20)
    (tmp_path / "images").mkdir()
    for image, _ in rows:
        shutil.copy(SAMPLES / image, tmp_path / image)
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], rows)
    run = finish(start_run(tmp_path / "run", NewRun(input=table, num_shards=5, target_rows=12)))
    names = pl.concat([run.read_part("caption_negated", shard)[0] for shard in range(3)])["image"].to_list()
    for gone in (0, 3, 4, 7):
        (tmp_path / names[gone]).unlink()
    calm = export(run, "webdataset", tmp_path / "calm", max_size=20_000)
    assert len(samples(calm.path)) == 12 - 4
    assert len(tars(calm.path)) >= 3
    for finished in range(len(tars(calm.path)) + 1):
        out = tmp_path / f"stopped-{finished}"
        stopped(run, out, finished, max_size=20_000)
        kept = {tar.name: tar.stat().st_ino for tar in tars(out)}
        export(run, "webdataset", out, max_size=20_000)
        assert contents(out) == contents(calm.path)
        assert {tar.name: tar.stat().st_ino for tar in tars(out)[:finished]} == kept


def test_near_duplicates_are_left_out_and_told_once_however_often_it_was_interrupted(tmp_path: Path) -> None:
    run = alike()
    calm = export(run, "webdataset", tmp_path / "calm", what=["pairs"], max_size=100_000)
    doubles = calm.record["left_out"]["near duplicate of an earlier one"]
    assert len(samples(calm.path)) + doubles == parts(run, "pair_preferences").height
    for finished in (0, 1, len(tars(calm.path)) - 1):
        out = tmp_path / f"stopped-{finished}"
        stopped(run, out, finished, what=["pairs"], max_size=100_000)
        export(run, "webdataset", out, what=["pairs"], max_size=100_000)
        assert contents(out) == contents(calm.path)


def test_what_was_left_out_is_listed_once_however_often_it_was_interrupted(calm: Path) -> None:
    assert [line["row_id"] for line in json_lines(calm / "left_out.jsonl")] == [37, 900]


def test_a_folder_with_another_export_or_other_files_is_not_touched(big: RunFolder, calm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds another export: its options is .*400000"):
        export(big, "webdataset", calm, max_size=500_000)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("dear")
    with pytest.raises(UserError, match="holds other files"):
        export(big, "webdataset", tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]


def test_a_finished_export_is_left_as_it_is_and_one_that_was_changed_is_refused(big: RunFolder, tmp_path: Path) -> None:
    first = export(big, "webdataset", tmp_path / "out", max_size=1_000_000)
    stamp = tars(first.path)[0].stat().st_mtime_ns
    again = export(big, "webdataset", tmp_path / "out", max_size=1_000_000)
    assert again.already and not first.already
    assert again.record == first.record
    assert tars(first.path)[0].stat().st_mtime_ns == stamp
    tars(first.path)[0].write_bytes(b"")
    with pytest.raises(UserError, match="removed or changed"):
        export(big, "webdataset", tmp_path / "out", max_size=1_000_000)


def test_pictures_that_stand_in_tars_can_be_exported_again_by_their_members(tmp_path: Path) -> None:
    first = export(negbench(), "webdataset", tmp_path / "first")
    member = f"{tars(first.path)[0]}::{0:012d}.png"
    assert open_image(member).size == (320, 240)
    run = selected(tmp_path / "again", [[member, "A seagull on a beach with fries."]], 1)
    done = export(run, "webdataset", tmp_path / "out")
    assert [sample["png"] for sample in samples(done.path)] == [samples(first.path)[0]["png"]]
    with pytest.raises(UserError, match=r"inside an archive.*--images copy"):
        export(run, "tsv", tmp_path / "tsv")
