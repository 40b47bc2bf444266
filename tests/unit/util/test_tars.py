"""Tars are read to where they must end, or refused with the byte at which they are damaged."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from shardmill.util.tars import BLOCK, DamagedTar, read_tar


def tar_of(*members: tarfile.TarInfo | str, format: int = tarfile.USTAR_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for each in members:
            info = tarfile.TarInfo(each) if isinstance(each, str) else each
            if info.isreg():
                info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return stream.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_a_damaged_header_is_named_by_its_byte_and_nothing_behind_it_is_lost_silently(tmp_path: Path) -> None:
    data = bytearray(tar_of(*(f"{number}.png" for number in range(10))))
    data[4 * 2 * BLOCK + 150] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DamagedTar, match=r"a\.tar is damaged at byte 4,096"):
        read_tar(tmp_path / "a.tar")


@pytest.mark.parametrize("cut", [2 * BLOCK, 2 * BLOCK + 1, 3 * BLOCK - 1, 3 * BLOCK, 3 * BLOCK + 2, 4 * BLOCK])
def test_a_tar_that_was_cut_off_is_refused_wherever_it_ends(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of("1.png", "2.png")[:cut])
    with pytest.raises(DamagedTar, match=f"ends at byte {cut:,} without the end mark"):
        read_tar(tmp_path / "a.tar")


def test_several_archives_in_one_file_are_all_read(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of("1.png") + tar_of("2.png")[: 2 * BLOCK] + bytes(3 * BLOCK) + tar_of("3.png"))
    found = read_tar(tmp_path / "a.tar").members
    assert list(found) == ["1.png", "2.png", "3.png"]
    data = (tmp_path / "a.tar").read_bytes()
    assert [data[offset : offset + size] for offset, size in found.values()] == [b"abc"] * 3


@pytest.mark.parametrize("junk", [b"x" * 700, b"x" * 5, bytes(600) + b"x" * 512])
def test_what_follows_the_end_mark_and_is_no_archive_is_refused(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of("1.png") + junk)
    with pytest.raises(DamagedTar, match=r"(damaged at|ends at) byte 1\d,\d"):
        read_tar(tmp_path / "a.tar")


def test_links_are_the_file_that_they_name_and_others_are_counted(tmp_path: Path) -> None:
    soft = (link("x/3.png", "../1.png", tarfile.SYMTYPE), link("x/4.png", "/etc/passwd", tarfile.SYMTYPE))
    (tmp_path / "a.tar").write_bytes(tar_of("1.png", link("2.png", "1.png"), *soft, link("5.png", "none"), link("p", "", b"6")))
    found = read_tar(tmp_path / "a.tar")
    assert list(found.members) == ["1.png", "2.png", "x/3.png"] and len(set(found.members.values())) == 1
    assert found.passed_over == {"links without a file in the tar before them": 2, "devices and pipes": 1}


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_all_formats_are_read_and_a_cut_in_them_is_found(tmp_path: Path, format: int) -> None:
    name = "ä/" * 90 + "1.png"
    data = tar_of("0.png", name, format=format)
    (tmp_path / "a.tar").write_bytes(data)
    assert list(read_tar(tmp_path / "a.tar").members) == ["0.png", name]
    (tmp_path / "a.tar").write_bytes(data[: 2 * BLOCK + 2 * BLOCK])
    with pytest.raises(DamagedTar, match=r"byte"):
        read_tar(tmp_path / "a.tar")


def test_a_member_of_negative_size_does_not_keep_the_reader_for_ever(tmp_path: Path) -> None:
    data = bytearray(tar_of("0.png", "1.png"))
    data[2 * BLOCK + 124 : 2 * BLOCK + 136] = (-(2 * BLOCK)).to_bytes(12, "big", signed=True)
    head = data[2 * BLOCK : 3 * BLOCK]
    checksum = 256 + sum(head[:148]) + sum(head[156:])
    data[2 * BLOCK + 148 : 2 * BLOCK + 156] = b"%06o\0 " % checksum
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DamagedTar, match=r"a\.tar is damaged at byte 1,024"):
        read_tar(tmp_path / "a.tar")
