"""The append-only progress of one attempt at a shard.

One line per finished row: eight hex digits of CRC-32, a blank, JSON. A line that is incomplete (a killed process) or corrupt (a
lost page after a power cut) fails its checksum and is ignored, so the row is simply done again. The first line is a header.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shardmill.util.atomic import sync_folder

WRITE_SECONDS, FLUSH_SECONDS = 0.1, 2.0
MAX_USAGE, MAX_ROUND = 1e15, 1_000_000
REJECT_TYPES = {"reason": str, "detail": str, "raw": str, "attempts": int}


@dataclass(frozen=True)
class JournalHeader:
    """What the rows of a journal were made with. A stage ignores journals with another fingerprint."""

    fingerprint: str
    round: int = 0


@dataclass(frozen=True)
class JournalRecord:
    """The end of one row: the values that the stage adds (one dict per row that came out), or why it was rejected.

    `key` is (row_id,), or (row_id, sub_id) for a stage that reads several rows of one row_id. `usage` is what the row cost, by
    name: requests, tokens, seconds. A record with `kept` does not finish a row: it holds what
    the row had before its stage was extended.
    """

    key: tuple[int, ...]
    rows: list[dict[str, Any]] | None = None
    reject: dict[str, Any] | None = None
    usage: dict[str, float] | None = None
    kept: dict[str, Any] | None = None


def _line(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


class Journal:
    """Writes records of one attempt. After `WRITE_SECONDS` a killed process loses them no more, after `FLUSH_SECONDS` (fsync) a
    machine that loses power: also when no other record follows, since a thread writes what `append` left in the buffer.
    """

    def __init__(self, path: Path, header: JournalHeader):
        self._file = open(path, "xb")  # noqa: SIM115 (closed by close())
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._unsynced = False
        self._written = self._flushed = time.monotonic()
        self._file.write(_line(asdict(header)))
        try:
            self.flush()
            sync_folder(path.parent)
        except OSError:
            self.close()
            raise

    def append(self, record: JournalRecord) -> None:
        body: dict[str, Any] = {"key": record.key}
        if record.kept is not None:
            body["kept"] = record.kept
        else:
            body.update({"rows": record.rows} if record.reject is None else {"reject": record.reject})
        if record.usage:
            body["usage"] = record.usage
        with self._lock:
            self._file.write(_line(body))
            self._unsynced = True
            if not self._write_due() and self._thread is None:
                self._thread = threading.Thread(target=self._write_in_time, name="journal", daemon=True)
                self._thread.start()

    def _write_due(self) -> bool:
        """Write or flush the buffer if it is time to; returns whether nothing is left in it."""
        now = time.monotonic()
        if now - self._flushed > FLUSH_SECONDS:
            self._flush()
        elif now - self._written > WRITE_SECONDS:
            self._file.flush()
            self._written = now
        else:
            return False
        return not self._unsynced

    def _write_in_time(self) -> None:
        while not self._closed.wait(WRITE_SECONDS):
            with self._lock:
                try:
                    if self._unsynced and not self._file.closed:
                        self._write_due()
                except OSError as error:  # a failed fsync is reported only once: the next append or flush must raise it
                    self._failure = error
                    return

    def flush(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced = False
        self._written = self._flushed = time.monotonic()

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            if not self._file.closed:
                try:
                    self._flush()
                finally:
                    self._file.close()


def _values(path: Path) -> Iterator[Any]:
    """The valid lines of a journal; none when the file is gone by now (another attempt finished the shard)."""
    try:
        with open(path, "rb") as file:
            for line in file:
                value = _value(line)
                if value is not None:
                    yield value
    except FileNotFoundError:
        return


def _value(line: bytes) -> Any:
    """The value of a line; None for an incomplete or corrupt one."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # written by a program that no version of this one is
        return None


def _record(value: Any) -> JournalRecord | None:
    """A line's value as a record. None for one that no shard could be finished with: its row is done again."""
    if not isinstance(value, dict) or not isinstance(key := value.get("key"), list) or not 1 <= len(key) <= 2:
        return None
    if not all(type(part) is int and abs(part) < 2**63 for part in key):
        return None
    rows, reject, kept = value.get("rows"), value.get("reject"), value.get("kept")
    if kept is not None:
        return JournalRecord(tuple(key), kept=kept) if isinstance(kept, dict) else None
    if reject is not None:
        if not isinstance(reject, dict) or not isinstance(reject.get("reason"), str):
            return None
        reject = {name: reject[name] for name, kind in REJECT_TYPES.items() if type(reject.get(name)) is kind}
    elif not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return JournalRecord(tuple(key), None if reject else rows, reject, _credible(value.get("usage")))


def _credible(usage: Any) -> dict[str, float] | None:
    """What a row cost, without numbers that no table could hold; earlier versions wrote down whatever a server said."""
    if not isinstance(usage, dict):
        return None
    return {name: each for name, each in usage.items() if type(each) in (int, float) and abs(each) <= MAX_USAGE}


def read_header(path: Path) -> JournalHeader | None:
    """The header of a journal, or None when it was not written completely."""
    first = next(_values(path), None)
    if not isinstance(first, dict) or not isinstance(fingerprint := first.get("fingerprint"), str):
        return None
    number = first.get("round")
    return JournalHeader(fingerprint, number if type(number) is int and 0 <= number <= MAX_ROUND else 0)


class JournalReader:
    """Reads the journals of a shard as they grow: each call of `new_keys` goes on where the last one ended."""

    def __init__(self, fingerprints: Collection[str]):
        self._fingerprints = fingerprints
        self._read: dict[Path, int] = {}

    def new_keys(self, journals: Iterable[Path]) -> Iterator[tuple[int, ...]]:
        """The keys of rows finished since the last call, in journals made with one of the fingerprints. A row may come twice."""
        for path in journals:
            if path not in self._read:
                header = read_header(path)
                if header is None or header.fingerprint not in self._fingerprints:
                    continue
                self._read[path] = 0
            with suppress(FileNotFoundError), open(path, "rb") as file:
                file.seek(self._read[path])
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[path] += len(line)
                    record = _record(_value(line))
                    if record is not None and record.kept is None:
                        yield record.key


def read_records(journals: Iterable[Path], fingerprints: Collection[str]) -> Iterator[JournalRecord]:
    """The finished rows of all journals made with one of `fingerprints`, oldest journal first; of a row
    done twice only the first.
    """
    seen: set[tuple[int, ...]] = set()
    for path in journals:
        header = read_header(path)
        if header is None or header.fingerprint not in fingerprints:
            continue
        for record in map(_record, _values(path)):
            if record is not None and record.kept is None and record.key not in seen:
                seen.add(record.key)
                yield record


def read_kept(journals: Iterable[Path], fingerprints: Collection[str]) -> dict[tuple[int, ...], dict[str, Any]]:
    """What journals made with one of `fingerprints` keep of rows whose stage was asked for more since, by key."""
    kept: dict[tuple[int, ...], dict[str, Any]] = {}
    for path in journals:
        header = read_header(path)
        if header is not None and header.fingerprint in fingerprints:
            kept |= {record.key: record.kept for record in map(_record, _values(path)) if record and record.kept is not None}
    return kept
