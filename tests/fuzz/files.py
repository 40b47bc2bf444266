"""Files of others: indexes of captions, range-named tables, multi-text files, perspectives, concept lists, caption files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from foreign_entries import entries_of
from fuzz.hostile import LITTLE, damaged, mostly, pick, some_bytes, texts, values
from fuzz.tables import JSON_PARTS
from fuzz.target import Target, settled
from shardmill.anyedit.concepts.clean import clean, form_problem
from shardmill.anyedit.concepts.label_names import label_names
from shardmill.anyedit.concepts.merge import build_pool
from shardmill.anyedit.concepts.sources import read_source
from shardmill.export.multi_text_format import MultiTextWriter, TextSlot
from shardmill.export.multi_text_reader import UnreadableLine, read_multitext, scan_multitext
from shardmill.recaption.clip_tokens import ClipTokens, clip_tokens
from shardmill.recaption.foreign import ForeignCaptions, InputWarning
from shardmill.recaption.join import join_captions
from shardmill.recaption.perspectives import perspectives
from shardmill.recaption.validate import check_multitext
from shardmill.tables import open_table
from shardmill.tables.convert.captions import write_captions
from shardmill.tables.convert.known import KNOWN
from shardmill.tables.ranges import merge_ranges
from shardmill.util.errors import UserError

FIELDS = ["id", "image", "image_file", "caption", "conversations", "annotations", "img_name", "captions", "regions", "phrase"]
FIELDS += ["sentences", "raw", "filename", "dataset_id", "image_id"]
READERS: list[Callable[[Path], Iterator[Any]]] = [known.read for known in KNOWN.values()]
NAMES = ["p_0_2.csv", "p_2_4.csv", "p_4_-1.csv", "p_0_2x.csv", "p_٣_٤.csv", "p_9_1.csv", "p_00_02.csv", "_0_1.csv"]
NAMES += ["p_0_99999999999999999999.csv"]
YAML_PARTS = [b"- ", b"name: a\n", b"  prompt: Say.\n", b"  max_tokens: 9\n", b"\n", b": ", b"&a ", b"*a"]
YAML_PARTS += [b"!!python/object/apply:os.system ['touch pwned']"]
YAML_PARTS += [b"[", b"{", b"}", b"]", b"2001-99-99", b"!!timestamp x", b"!!int ''", b"!!float x", b"0x", b"<<: *a", b"? "]
YAML_PARTS += [b"|", b">", b"---\n", b"%TAG", b"\t"]
YAML_PARTS += [b"[" * 600, b"9" * 5_000, b"!!binary x", b"\xff", b"\0", b"1:2:3", b"=", b"!!set {"]
YAML_PARTS += [b"- {name: a, prompt: b, max_tokens: 1}\n", b"#", b'"\\x']
INDEX_PARTS = [b'{"image": "a.jpg", "caption": "x"}', b'"a.jpg": "x"', b'{"a.jpg": "x", ', *JSON_PARTS]
COCO = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 5, "image_id": 1, "caption": "a\ndog"}], "info": {}}
LLAVA = [{"id": "7", "image": "a.jpg", "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "a dog"}]}]
ANYWORD = {
    "data_list": [{"img_name": "a.jpg", "caption": "c", "annotations": [{"text": "STOP", "language": "Latin", "valid": True}]}]
}


def index(case: tuple[bytes, str], folder: Path) -> None:
    """An index gives entries that UTF-8 can hold, and tells what is lost; joined, each row of the table is there in its order."""
    data, suffix = case
    path, table = folder / f"i{suffix}", folder / "table.csv"
    path.write_bytes(data)
    for entry in entries_of(ForeignCaptions(path)):
        if isinstance(entry, InputWarning):
            assert entry.line >= 1 and entry.detail
        else:
            image, text = entry
            assert image and (text is None or text.strip())
            f"{image}{text}".encode()
    table.write_text("image,caption\na.jpg,one\nb.jpg,two\n")
    out = folder / "out" / "multi.jsonl"
    join_captions(table, {"x": [path]}, out, missing="pad", fallback=["original"], report=lambda progress: None)
    assert [line.image for line in read_multitext(out)] == ["a.jpg", "b.jpg"]


def multitext_bytes(case: bytes, folder: Path) -> None:
    """Every line is a line or a fault, and the judgement of the file counts them all."""
    path = folder / "m.jsonl"
    path.write_bytes(case)
    lines = list(scan_multitext(path))
    assert len(lines) == case.count(b"\n") + (not case.endswith(b"\n") and bool(case))
    verdict = check_multitext(path, tokens=_tokens())
    assert verdict.lines == len(lines)
    faults = sum(isinstance(line, UnreadableLine) for line in lines)
    assert faults == (verdict.findings["unreadable line"].count if "unreadable line" in verdict.findings else 0)


def multitext_round_trip(case: tuple[list[tuple[str, list[str | None]]], str], folder: Path) -> None:
    """What was written is read again, and lines left out are counted."""
    rows, missing = case
    path = folder / "m.jsonl"
    with MultiTextWriter(path, [TextSlot(name="a"), TextSlot(name="b")], missing, ["a"]) as writer:  # type: ignore[arg-type]
        written = [row for row in rows if writer.write(*row)]
    assert len(written) + writer.counts.dropped_lines == len(rows)
    if written:
        found = list(read_multitext(path))
        assert [line.image for line in found] == [image for image, _ in written]
        for line, (_, captions) in zip(found, written, strict=True):
            assert all(got == given for got, given in zip(line.captions, captions, strict=True) if given and given.strip())


def ranges(case: list[tuple[str, list[list[str]]]], folder: Path) -> None:
    """Merged, all rows of all files are there, in the order of their ranges; or it is refused and nothing is written."""
    paths, total = [], 0
    for name, rows in case:
        path = folder / name
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["caption"], *rows])
        if path not in paths:
            paths.append(path)
    out = folder / "out" / "merged.csv"
    try:
        merged = merge_ranges(paths, out, allow_gaps=True)
    except UserError:
        assert not out.exists()
        raise
    cells = [cell for file in merged.files for batch in open_table(file.path).batches() for cell in batch.frame["caption"]]
    found = [cell for batch in open_table(out).batches() for cell in batch.frame["caption"]]
    total = sum(file.rows for file in merged.files)
    assert found == cells and merged.rows == total == len(found)


def own_perspectives(case: bytes, folder: Path) -> None:
    """A file of perspectives is one, each name once and fit for a column, or it is refused."""
    path = folder / "p.yaml"
    path.write_bytes(case)
    perspectives.cache_clear()
    for name, each in perspectives(str(path)).items():
        assert name == each.name and name.replace("_", "").isalnum() and "/" not in name


def concepts(case: tuple[list[tuple[str, bytes]]], folder: Path) -> None:
    """Lists of names: each name becomes a concept or is folded with a reason."""
    sources = []
    for place, (suffix, data) in enumerate(case[0]):
        path = folder / f"s{place}{suffix}"
        path.write_bytes(data)
        sources.append(read_source(path))
    report = build_pool(sources, folder / "pool", lambda done, total: None)
    with open(folder / "pool" / "folded.csv", newline="", encoding="utf-8") as file:
        folded = list(csv.reader(file, strict=True))[1:]
    pool = read_source(report.path)
    assert report.names == len(pool) + len(folded) == sum(map(len, sources))


def concept_names(case: str, folder: Path) -> None:
    """A name is made readable once and for all, in one line."""
    name = clean(case)
    assert "\n" not in name
    if form_problem(name) is None:
        assert form_problem(clean(name)) in (None, "no word", "one letter")


def dataset_folder(case: tuple[bytes, bytes], folder: Path) -> None:
    """Class names out of a data set's card and description."""
    (folder / "README.md").write_bytes(b"---\n" + case[0] + b"\n---\n# x")
    (folder / "dataset_info.json").write_bytes(case[1])
    assert all(isinstance(name, str) for name in label_names(folder))


def converted(case: tuple[int, bytes], folder: Path) -> None:
    """Each entry of a caption file makes rows or stands among the rejects; both tables can be read."""
    which, data = case
    path, out = folder / "f.json", folder / "out" / "captions.csv"
    path.write_bytes(data)
    state, found = settled(lambda: list(READERS[which](path)))
    if state == "refused":
        return
    done = write_captions(iter(found), "x", path, out, lambda rows: None)
    rejects = sum(batch.frame.height for batch in open_table(done.rejects).batches()) if done.reasons else 0
    table = open_table(done.out)
    rows = sum(batch.frame.height for batch in table.batches())
    assert rows == done.rows and rejects == sum(done.reasons.values()) and rows + rejects == len(found)


_kept: list[ClipTokens] = []


def _tokens() -> ClipTokens:
    if not _kept:
        _kept.append(clip_tokens())
    return _kept[0]


_INDEX = st.one_of(
    some_bytes(INDEX_PARTS, 16),
    damaged(st.dictionaries(texts(3, halves=True), texts(3), max_size=5).map(lambda entries: json.dumps(entries).encode())),
    damaged(
        st.lists(st.fixed_dictionaries({"image": LITTLE, "caption": LITTLE}), max_size=5).map(
            lambda rows: json.dumps(rows, indent=1).encode()
        )
    ),
)
_CHANGED = st.sampled_from([COCO, LLAVA, ANYWORD]).map(lambda value: json.dumps(value).encode())
_ENTRIES = st.lists(
    st.dictionaries(
        pick(
            [
                "id",
                "image",
                "image_file",
                "caption",
                "conversations",
                "annotations",
                "img_name",
                "captions",
                "regions",
                "phrase",
                "sentences",
            ]
        ),
        values(halves=True),
    ),
    max_size=4,
)
_CAPTION_FILES = st.one_of(
    damaged(_CHANGED),
    _ENTRIES.map(lambda rows: json.dumps(rows).encode()),
    _ENTRIES.map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    _ENTRIES.map(lambda rows: json.dumps({"images": rows, "annotations": rows, "data_list": rows}).encode()),
    st.dictionaries(LITTLE, values(), max_size=4).map(lambda value: json.dumps(value).encode()),
)
_NAMES = st.lists(st.sampled_from(["dog", "dogs", "red kite", "kite, bird", "Tench"]) | texts(3), min_size=1, max_size=6)
_NAMED = st.tuples(
    st.just(".json"),
    (_NAMES | st.dictionaries(texts(2), _NAMES, min_size=1, max_size=3)).map(lambda value: json.dumps(value).encode()),
)
_LISTS = st.one_of(
    st.tuples(
        st.just(".json"), (values(halves=True) | st.lists(texts(3, halves=True))).map(lambda value: json.dumps(value).encode())
    ),
    st.tuples(
        st.sampled_from([".csv", ".tsv", ".txt"]), st.lists(LITTLE).map(lambda names: "\n".join(["concept", *names]).encode())
    ),
    st.tuples(st.sampled_from([".jsonl", ".csv", ".txt", ".json", ".parquet", ""]), some_bytes(JSON_PARTS)),
)
_YAML = some_bytes(YAML_PARTS)
_PERSPECTIVES = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b_1", "detail"]),
            "prompt": texts(3).map(lambda text: f"Say {text}"),
            "max_tokens": st.integers(1, 999) | st.integers(1, 2**70),
        },
        optional={"form": st.sampled_from(["sentences", "items", "phrase"])},
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda entry: entry["name"],
).map(lambda entries: yaml.safe_dump(entries).encode())
_CLASSES = st.one_of(
    st.lists(texts(3), max_size=4).map(lambda names: {"_type": "ClassLabel", "names": names}),
    st.dictionaries(st.sampled_from(["0", "1", "10", "x"]) | LITTLE, texts(3)).map(
        lambda names: {"class_label": {"names": names}}
    ),
).map(lambda label: {"features": [{"name": "label", "dtype": label}]})
_CARDS = _CLASSES.map(lambda card: yaml.safe_dump(card).encode())
_INFOS = _CLASSES.map(lambda info: json.dumps(info).encode())
_IMAGES = texts(3).filter(bool)

TARGETS = [
    Target("caption-index", st.tuples(_INDEX, st.sampled_from([".json", ".jsonl", ".csv", ""])), index),
    Target("multi-text", some_bytes([b'{"image": "a", "caption": ["x", "y"]}\n', *JSON_PARTS]), multitext_bytes),
    Target(
        "multi-text-round-trip",
        st.tuples(
            st.lists(st.tuples(_IMAGES, st.lists(st.none() | texts(3), min_size=2, max_size=2)), max_size=5),
            st.sampled_from(["drop", "pad"]),
        ),
        multitext_round_trip,
    ),
    Target(
        "ranges",
        st.lists(st.tuples(pick(NAMES), st.lists(st.lists(LITTLE, min_size=1, max_size=1), max_size=4)), min_size=1, max_size=4),
        ranges,
    ),
    Target(
        "perspectives", mostly(_PERSPECTIVES, st.one_of(damaged(_PERSPECTIVES), _YAML, texts().map(str.encode))), own_perspectives
    ),
    Target("concepts", st.tuples(st.lists(mostly(_NAMED, _LISTS, share=4), min_size=1, max_size=3)), concepts),
    Target("concept-names", texts(14), concept_names),
    Target(
        "data-set-folder",
        mostly(
            st.tuples(_CARDS, _INFOS),
            st.one_of(
                st.tuples(damaged(_CARDS), damaged(_INFOS)),
                st.tuples(values().map(yaml.safe_dump).map(str.encode), values().map(json.dumps).map(str.encode)),
                st.tuples(_YAML, some_bytes([b'{"_type": "ClassLabel", "names": ["a"]}', *JSON_PARTS])),
            ),
        ),
        dataset_folder,
    ),
    Target("caption-files", st.tuples(st.integers(0, len(READERS) - 1), _CAPTION_FILES), converted),
]
