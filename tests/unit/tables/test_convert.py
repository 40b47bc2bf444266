"""Caption files of known data sets as one table: all that fits, and the rest told with its reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shardmill.cli.main import cli
from shardmill.tables import json_stream, open_table
from shardmill.tables.convert.anyword import read_anyword
from shardmill.tables.convert.captions import Captioned, UnusableEntry
from shardmill.tables.convert.coco import read_coco
from shardmill.tables.convert.llava import read_llava
from shardmill.tables.json_stream import json_entries
from shardmill.util.errors import UserError

COCO = {
    "info": {"year": 2017},
    "licenses": [{"id": 1}],
    "images": [{"id": 7, "file_name": "000007.jpg", "height": 4}, {"id": 8, "file_name": "000008.jpg"}],
    "annotations": [
        {"id": 70, "image_id": 7, "caption": "A dog\n on a sofa. "},
        {"id": 71, "image_id": 7, "caption": "A sofa with a dog."},
        {"id": 80, "image_id": 8, "caption": " "},
        {"id": 90, "image_id": 9, "caption": "A kite."},
        {"id": 81, "image_id": 8},
    ],
}


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def write(content: Any) -> Path:
        path = tmp_path / "source.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def converted(kind: str, source: Path, *options: str) -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    """The rows, the rejects and what the command says."""
    out = source.with_name("captions.csv")
    done = CliRunner().invoke(cli, ["convert", kind, str(source), "--out", str(out), *options], catch_exceptions=False)
    tables = []
    for path in (out, source.with_name("captions.rejects.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    return tables[0], tables[1], done.output


def test_the_official_coco_file_gives_a_row_per_caption(put: Any) -> None:
    rows, rejects, said = converted("coco", put(COCO))
    assert rows == [
        {"image": "000007.jpg", "caption": "A dog on a sofa.", "texts": "[]", "source": "coco", "source_id": "70"},
        {"image": "000007.jpg", "caption": "A sofa with a dog.", "texts": "[]", "source": "coco", "source_id": "71"},
    ]
    assert [(each["entry"].split(" (")[0], each["reason"]) for each in rejects] == [
        ("annotations 3", "no caption"),
        ("annotations 4", "no such image"),
        ("annotations 5", "wrong shape"),
    ]
    assert "5 in = 2 rows out + 3 rejected" in said


def test_annotations_may_stand_before_the_images(put: Any) -> None:
    turned = {"annotations": COCO["annotations"], "images": COCO["images"]}
    assert len([each for each in read_coco(put(turned)) if isinstance(each, Captioned)]) == 2


def test_coco_captions_by_image_id(put: Any) -> None:
    source = {
        "77": {"image_file": "img_77.jpg", "captions": ["a heron", "", "a grey heron"]},
        "78": {"image_file": "x.jpg"},
        "79": ["a"],
    }
    found = list(read_coco(put(source)))
    assert found[0] == Captioned("img_77.jpg", "a heron", "77#0")
    assert found[2] == Captioned("img_77.jpg", "a grey heron", "77#2")
    assert [each.reason for each in found if isinstance(each, UnusableEntry)] == ["no caption", "wrong shape", "wrong shape"]


def test_llava_chats_and_plain_lists(put: Any) -> None:
    chat = {
        "id": "00453",
        "image": "00453/a.jpg",
        "conversations": [{"from": "human", "value": "Describe it.\n<image>"}, {"from": "gpt", "value": "a harbour at dusk"}],
    }
    silent = {"id": 1, "image": "b.jpg", "conversations": [{"from": "human", "value": "Hi"}]}
    plain = {"caption": "two kites", "image_file": "c.jpg"}
    found = list(read_llava(put([chat, silent, plain, "text", {"caption": "no picture"}])))
    assert found[0] == Captioned("00453/a.jpg", "a harbour at dusk", "00453")
    assert found[2] == Captioned("c.jpg", "two kites", "2")
    assert [each.reason for each in found if isinstance(each, UnusableEntry)] == ["no caption", "wrong shape", "wrong shape"]


def test_all_latin_texts_of_anyword_are_kept(put: Any) -> None:
    annotations = [
        {"text": "营业", "language": "Chinese"},
        {"text": "open late", "language": "Latin"},
        {"text": "###", "language": "Latin"},
        {"text": "blurred", "language": "Latin", "valid": False},
        {"text": "since 1950", "language": "latin", "polygon": [[0, 0]]},
        {"text": "open late", "language": "Latin"},
    ]
    source = {
        "data_root": "/data",
        "data_list": [
            {"img_name": "gt_1.jpg", "caption": "a shop sign", "annotations": annotations},
            {"img_name": "gt_2.jpg", "caption": "a shop sign", "annotations": annotations[:1]},
            {"img_name": "gt_3.jpg", "caption": "", "annotations": annotations},
            {"img_name": "gt_4.jpg", "caption": "a shop sign"},
        ],
    }
    rows, rejects, _ = converted("anyword", put(source), "--name", "anyword-lsvt")
    assert [(row["image"], json.loads(row["texts"]), row["source"]) for row in rows] == [
        ("gt_1.jpg", ["open late", "since 1950"], "anyword-lsvt")
    ]
    assert [each["reason"] for each in rejects] == ["no Latin text", "no caption", "no Latin text"]
    assert json.loads(rejects[0]["raw"])["img_name"] == "gt_2.jpg"


@pytest.mark.parametrize(
    ("read", "content", "told"),
    [
        (read_coco, '{"images": [], "annotations": [{"id": 1', "malformed JSON on line"),
        (read_llava, "[{}, \n{]", "malformed JSON on line 2"),
        (read_anyword, "text", "a list or an object is expected"),
        (read_coco, {"annotations": COCO["annotations"]}, 'has no "images"'),
    ],
)
def test_a_broken_file_is_told_with_its_line(put: Any, read: Any, content: Any, told: str) -> None:
    path = put(content)
    with pytest.raises(UserError) as error:
        list(read(path))
    assert str(path) in str(error.value) and told in str(error.value)


def test_another_kind_of_file_is_an_error_that_names_its_first_entry_and_writes_nothing(put: Any, tmp_path: Path) -> None:
    source = put([{"title": "a kite"}])
    for kind in ("coco", "llava", "anyword"):
        with pytest.raises(UserError) as error:
            converted(kind, source)
        assert str(source) in str(error.value)
        if kind == "llava":
            assert "entry 1 (line 1): wrong shape, image_file" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source.json"]


def test_texts_that_no_encoding_holds_do_not_stop_the_conversion(put: Any) -> None:
    rows, _, _ = converted("llava", put('[{"caption": "a \\ud800 kite", "image_file": "c.jpg"}]'))
    assert rows[0]["caption"] == "a ? kite"


def test_entries_are_read_across_blocks(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "BLOCK_SIZE", 16)
    path = put({"a": [{"x": "é" * 40}, [1, 2]], "b": {"c": 1}, "d": [], "e": [3]})
    found = [(entry.key, entry.position, entry.value) for entry in json_entries(path, ("a", "d"))]
    assert found == [("a", 0, {"x": "é" * 40}), ("a", 1, [1, 2]), ("b", None, {"c": 1}), ("e", None, [3])]
    assert [(entry.key, entry.position) for entry in json_entries(path)] == [("a", 0), ("a", 1), ("b", None), ("e", 0)]


def test_a_nul_in_json_makes_no_table_that_is_refused(put: Any) -> None:
    source = put([{"caption": "A dog\0 on a sofa.", "image_file": "7.jpg"}])
    rows, _, _ = converted("llava", source)
    assert [row["caption"] for row in rows] == ["A dog\ufffd on a sofa."]
    assert open_table(source.with_name("captions.csv")).columns == list(rows[0])
