import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shardmill.store import journal as journal_module
from shardmill.store.journal import Journal, JournalHeader, JournalRecord, read_header, read_records

ROWS = [
    JournalRecord((1,), rows=[{"objects": ["dog"]}]),
    JournalRecord((2,), reject={"reason": "no object"}),
    JournalRecord((3, 1), rows=[]),
]


def written(path: Path, records: list[JournalRecord], fingerprint: str = "f", round: int = 0) -> Path:
    journal = Journal(path, JournalHeader(fingerprint, round))
    for record in records:
        journal.append(record)
    journal.close()
    return path


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = written(tmp_path / "a.journal", ROWS, round=2)
    assert list(read_records([path], {"f"})) == ROWS
    assert read_header(path) == JournalHeader("f", 2)


def test_records_outlive_a_killed_process_a_moment_after_they_were_made(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    program = (
        "import os, pathlib, sys, time\n"
        "from shardmill.store.journal import Journal, JournalHeader, JournalRecord\n"
        "journal = Journal(pathlib.Path(sys.argv[1]), JournalHeader('f'))\n"
        "journal.append(JournalRecord((1,), rows=[{'a': 'text'}]))\n"
        "journal.append(JournalRecord((2,), rows=[{'a': 'text'}]))\n"
        "time.sleep(1.0)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, path], timeout=60).returncode == -9
    assert [record.key for record in read_records([path], {"f"})] == [(1,), (2,)]


def test_a_record_is_written_though_none_follows(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.journal", JournalHeader("f"))
    journal.append(ROWS[0])
    deadline = time.monotonic() + 30
    while not list(read_records([tmp_path / "a.journal"], {"f"})):
        assert time.monotonic() < deadline, "it is still in the buffer"
        time.sleep(0.02)
    journal.close()


def test_a_disk_that_fails_between_two_records_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed fsync is reported once: whoever comes next must hear of it."""
    journal = Journal(tmp_path / "a.journal", JournalHeader("f"))

    def failing(handle: int) -> None:
        raise OSError(errno.EIO, "the disk fails")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        patch.setattr(journal_module, "FLUSH_SECONDS", 0.3)
        journal.append(ROWS[0])
        assert journal._thread is not None
        journal._thread.join(30)
    with pytest.raises(OSError, match="the disk fails"):
        journal.close()


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_torn_tail_costs_only_the_torn_rows(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "a.journal", ROWS)
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    kept = list(read_records([path], {"f"}))
    assert kept == ROWS[: len(kept)]
    whole_lines = data[:-cut].count(b"\n") - 1
    assert len(kept) == max(whole_lines, 0)


def test_a_damaged_line_is_skipped_and_those_after_it_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "a.journal", ROWS)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\0" * (len(lines[1]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    assert list(read_records([path], {"f"})) == ROWS[1:]


def test_journals_of_another_fingerprint_do_not_count(tmp_path: Path) -> None:
    path = written(tmp_path / "a.journal", ROWS, fingerprint="old")
    assert list(read_records([path], {"new"})) == []


def test_of_a_row_done_twice_the_first_counts(tmp_path: Path) -> None:
    first = written(tmp_path / "1.journal", [JournalRecord((1,), rows=[{"a": "first"}])])
    second = written(tmp_path / "2.journal", [JournalRecord((1,), rows=[{"a": "second"}]), JournalRecord((2,), rows=[])])
    assert list(read_records([first, second], {"f"})) == [
        JournalRecord((1,), rows=[{"a": "first"}]),
        JournalRecord((2,), rows=[]),
    ]


def test_a_journal_that_is_gone_counts_as_empty(tmp_path: Path) -> None:
    assert list(read_records([tmp_path / "gone.journal"], {"f"})) == []


@pytest.mark.parametrize(
    "value",
    [
        {"key": [1.5], "rows": [{}]},
        {"key": [True], "rows": [{}]},
        {"key": [1, 2, 3], "rows": [{}]},
        {"key": "1", "rows": [{}]},
        {"key": [2**70], "rows": [{}]},
        {"key": [1], "rows": {"a": 1}},
        {"key": [1], "rows": [3]},
        {"key": [1], "reject": "no"},
        {"key": [1], "reject": {"reason": None}},
        {"key": [1], "kept": 3},
        {"key": [1]},
        [1],
        "text",
        3,
    ],
)
def test_a_line_that_is_no_record_is_a_row_to_be_done_again(tmp_path: Path, value: object) -> None:
    path = written(tmp_path / "a.journal", ROWS)
    path.write_bytes(path.read_bytes() + journal_module._line(value))
    assert list(read_records([path], {"f"})) == ROWS
    assert list(journal_module.JournalReader({"f"}).new_keys([path])) == [record.key for record in ROWS]
    assert journal_module.read_kept([path], {"f"}) == {}


def test_what_an_earlier_version_wrote_down_of_a_lying_server_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.journal", [])
    usage = {"requests": 1, "prompt_tokens": int("9" * 401), "seconds": float("inf"), "other": "many"}
    reject = {"reason": "no object", "detail": 3, "raw": "x", "attempts": True, "unknown": 1}
    path.write_bytes(path.read_bytes() + journal_module._line({"key": [1], "reject": reject, "usage": usage}))
    (record,) = read_records([path], {"f"})
    assert record == JournalRecord((1,), reject={"reason": "no object", "raw": "x"}, usage={"requests": 1})


def test_a_header_of_another_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    path.write_bytes(journal_module._line({"fingerprint": "f", "round": 2, "new": 1}))
    assert read_header(path) == JournalHeader("f", 2)
    path.write_bytes(journal_module._line({"fingerprint": "f", "round": int("9" * 99)}))
    assert read_header(path) == JournalHeader("f", 0)
    path.write_bytes(journal_module._line({"fingerprint": ["f"]}))
    assert read_header(path) is None
