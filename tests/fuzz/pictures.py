"""Pictures that nobody vouches for, alone and in archives; names from data; and whole tables on their way into a run."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st
from PIL import Image

from fuzz.hostile import FRAGMENTS, LITTLE, damaged, mostly, pick, some_bytes, texts
from fuzz.tables import contents
from fuzz.target import Target
from shardmill.core.pipeline_file import load_pipeline, override, plan_stages
from shardmill.core.planning import NewRun, start_run
from shardmill.core.registry import split_stage, stage_class
from shardmill.core.stage import Context
from shardmill.models.archives import MemberNotFound, read_member
from shardmill.models.images import MAX_PIXELS, UnreadableImage, open_image, size_of
from shardmill.store.cells import parse_list
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import check_stage
from shardmill.tables import open_table
from shardmill.util.errors import UserError
from shardmill.util.image_formats import image_suffixes

KINDS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX")
HEADS = [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n%%EOF\n", b"GIF89a", b"\x89PNG\r\n\x1a\n"]
HEADS += [b"\xff\xd8\xff", b"RIFF"]
HEADS += [b"BM", b"II*\0", b"MM\0*", b"P6\n99999 99999\n255\n", b"P5 1 1 255 ", b"P3\n2 2\n", b"WEBPVP8 "]
HEADS += [b"IHDR\0\0\xff\xff\0\0\xff\xff", b"#define a_width 9\n"]
HEADS += [b"SIMPLE  =                    T", b"\0\0\x01\0", b"8BPS", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\0\0\0\x1cftypavif"]
HEADS += [b"gimp", b"IM \x00", b"static int"]
OWN = "caption,filepath\na dog,a.png\n"


def image(case: bytes, folder: Path) -> None:
    """Bytes are a picture in RGB of bounded size, or UnreadableImage says why not; the header alone gives the same size."""
    path = folder / "x.bin"
    path.write_bytes(case)
    try:
        found = open_image(str(path))
    except UnreadableImage:
        with_size = None
    else:
        with_size = found.size
        assert found.mode == "RGB" and found.width * found.height <= MAX_PIXELS
    try:
        size = size_of(str(path))
    except UnreadableImage:
        size = None
    assert None in (size, with_size) or size == with_size, "the header and the picture differ"


def reference(case: str, folder: Path) -> None:
    """Whatever a cell holds as the name of a picture, it is found or told not to be."""
    os.chdir(folder)
    for look in (open_image, size_of):
        try:
            look(case)
        except UnreadableImage as error:
            assert str(error)


def archive(case: tuple[bytes, str], folder: Path) -> None:
    """Tars are read in place and never unpacked: each picture is a record, and what is no tar is refused."""
    data, member = case
    path = folder / "a.tar"
    path.write_bytes(data)
    with suppress(MemberNotFound):
        read_member(f"{path}::{member}", 1 << 20)
    table = open_table(path)
    _, rows, _ = contents(table)
    table.digest()
    for row in rows:
        try:
            read_member(f"{folder}/{row[2]}", 1 << 20)
        except MemberNotFound as error:
            assert "more than" in str(error) or "no member" in str(error) or "no plain tar" in str(error), error
    assert sorted(each.name for each in folder.iterdir()) == ["a.tar"]


def picture_folder(case: list[tuple[str, bytes]], folder: Path) -> None:
    """A folder of files of any names: each picture once, with the text beside it."""
    pictures = 0
    for name, data in case:
        path = folder / "in" / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
            pictures += path.suffix.lower() in image_suffixes() and not name.startswith(".")
    (folder / "in").mkdir(exist_ok=True)
    table = open_table(folder / "in")
    _, rows, bad = contents(table)
    parts = sum(count for kind, count in table.passed_over.items() if kind.count(".") > 1 and kind.endswith(".png"))
    assert len(rows) + len(bad) + parts == pictures


def stage_name(case: str, folder: Path) -> None:
    """A stage's name that is taken makes a folder of that name and nothing above or below it."""
    for name in (case, f"recaption.{case}", f"recaption.caption_images-{case}"):
        try:
            source, short = split_stage(name, "recaption")
            stage_class(source, short)
        except UserError:
            continue
        assert short == os.path.basename(short) and short.isascii() and short not in ("", ".", "..")


def settings(case: tuple[str, str], folder: Path) -> None:
    """`--set` with any value gives a plan, or a plain word."""
    key, value = case
    pipeline = override(load_pipeline("recaption"), [f"caption_images.{key}={value}"])
    plan_stages(pipeline, {"row_id": "int", "image": "text", "caption": "text"}, Context())


def run(case: tuple[list[list[str]], str, bool], folder: Path) -> None:
    """Any table becomes the same rows and rejects in one shard and in many, and none is lost."""
    rows, format, lists = case
    columns = ["caption", "filepath", "more"]
    path = folder / f"t.{format}"
    if format == "csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])
    else:
        frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String()), orient="row")
        frame.write_parquet(path) if format == "parquet" else frame.write_ndjson(path)
    accounts = []
    for shards, part_format in ((1, "csv"), (min(3, len(rows)), "jsonl"), (len(rows), "parquet")):
        made = start_run(
            folder / f"run{len(accounts)}",
            NewRun(
                input=path,
                num_shards=shards,
                part_format=part_format,
                list_columns=["more"] if lists else [],
                settings=("filter_objects.unverified=keep",),
            ),
        )
        accounts.append(account(made, made.plan.input.rows))
    assert all(each == accounts[0] for each in accounts)
    if "caption_number" in made.plan.input.columns:  # lists: a row for each caption
        return
    assert made.plan.input.rows == len(rows)
    assert all(row["caption"] == rows[row["row_id"]][0] for row in accounts[0][0])


def account(made: RunFolder, records: int) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    """The rows and rejects of an ingested run, all of whose records are there once."""
    check = check_stage(made, INGEST)
    assert not check.problems and not check.missing
    rows = [row for shard in range(made.num_shards) for row in made.read_part(INGEST, shard)[0].to_dicts()]
    refused = [pl.read_csv(made.files(INGEST, shard).rejects, infer_schema=False) for shard in range(made.num_shards)]
    rejects = [row for frame in refused for row in frame.select("row_id", "line", "reason").rows()]
    assert sorted([row["row_id"] for row in rows] + [int(row[0]) for row in rejects]) == list(range(records))
    if made.plan.input.columns.get("more") == "list":
        for row in rows:
            parse_list(row["more"])
    return rows, rejects


def _picture(kind: str, width: int, height: int, mode: str, orientation: int) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn = Image.new(mode, (width, height))
    try:
        drawn.save(file, kind, exif=exif)
    except (OSError, ValueError, KeyError, TypeError):
        drawn.convert("RGB").save(file, kind)
    return file.getvalue()


def _tar(members: list[tuple[str, bytes, bytes, str]], form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, data, kind, link in members:
            info = tarfile.TarInfo(name or "x")
            info.type, info.linkname = kind, link
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            try:
                tar.addfile(info, io.BytesIO(data))
            except (ValueError, UnicodeEncodeError):
                continue
    return file.getvalue()


_IMAGE = st.builds(
    _picture,
    st.sampled_from(KINDS),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from(["RGB", "L", "P", "RGBA", "1"]),
    st.integers(0, 9),
)
_MEMBER_NAMES = st.builds(str.__add__, LITTLE, st.sampled_from([".jpg", ".txt", ".png", ".tar", ""])) | st.sampled_from(
    ["../../x.jpg", "/etc/x.jpg", "a.jpg", "a.txt", "b.png", "a/b.jpg"]
)
_KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 4 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]
)
_MEMBERS = st.lists(st.tuples(_MEMBER_NAMES, st.binary(max_size=30), _KINDS, LITTLE), max_size=4)
_TARS = st.builds(_tar, _MEMBERS, st.sampled_from([0, 1, 2]))
_FILE_NAMES = st.builds(
    lambda text, suffix: text.replace("/", "_").replace("\0", "")[:40] + suffix,
    LITTLE,
    st.sampled_from([".png", ".PNG", ".txt", ".png.txt", ""]),
).filter(lambda name: name not in ("", ".", "..") and len(name.encode()) < 200)
_KEYS = ["model", "attempts", "texts", "perspectives", "perspectives_file", "model.kind", "model.url", "", "max_tiles", "x"]
_SETTINGS = st.one_of(
    st.tuples(st.just("script"), st.sampled_from(["any", "nan"]) | texts(4, long=False).map(json.dumps)),
    st.tuples(st.just("attempts"), st.integers(1, 2**70).map(str)),
    st.tuples(st.just("temperature"), st.floats(0, 2).map(str)),
    st.tuples(st.just("model"), st.just("{kind: scene}")),
)
_VALUES = st.sampled_from(["0.5", "1", "any", "{kind: scene}", "[[", "nan"]) | texts(4, long=False)

TARGETS = [
    Target(
        "images",
        damaged(_IMAGE) | some_bytes(HEADS, 6) | damaged(st.builds(bytes.__add__, pick(HEADS), st.binary(max_size=200))),
        image,
    ),
    Target(
        "image-names",
        st.one_of(texts(6), pick([*FRAGMENTS, "a" * 5_000, "a/" * 3_000, "/proc/self/mem", "/dev/zero", "/dev/stdin", "."])),
        reference,
    ),
    Target("tars", st.tuples(mostly(_TARS, damaged(_TARS)), _MEMBER_NAMES), archive),
    Target("picture-folders", st.lists(st.tuples(_FILE_NAMES, st.binary(max_size=9)), max_size=6), picture_folder),
    Target("stage-names", texts(3) | pick(["../x", "a/b", "-", "x-", "..", "a.b", "İ", "ａ"]), stage_name),
    Target("settings", mostly(_SETTINGS, st.tuples(st.sampled_from(_KEYS) | LITTLE, _VALUES), share=3), settings),
    Target(
        "ingest",
        st.tuples(
            st.lists(st.tuples(texts(3), LITTLE, LITTLE | st.lists(LITTLE).map(repr)).map(list), min_size=1, max_size=6),
            st.sampled_from(["csv", "jsonl", "parquet"]),
            st.booleans(),
        ),
        run,
    ),
]
