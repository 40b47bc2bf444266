"""A pool out of many lists: every name is in it, or told with its reason; meaning is never folded away."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from shardmill.anyedit.concepts.clean import clean, form_problem
from shardmill.anyedit.concepts.fold import concept_of
from shardmill.anyedit.concepts.merge import PoolReport, build_pool
from shardmill.anyedit.concepts.similar import HashedNames, near_duplicates
from shardmill.anyedit.concepts.sources import Name, read_source
from shardmill.cli.main import cli
from shardmill.language.proper_names import proper_problem
from shardmill.language.similarity import cosine, vectors
from shardmill.util.errors import UserError


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def build(folder: Path, *sources: list[Name], **options: Any) -> tuple[PoolReport, list[dict[str, str]], list[dict[str, str]]]:
    """The report, the concepts and the folded names."""
    made = build_pool(sources, folder / "pool", lambda done, total: None, **options)
    tables = []
    for name in ("concepts.csv", "folded.csv"):
        with open(folder / "pool" / name, newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    return made, tables[0], tables[1]


def names(*texts: str, source: str = "list") -> list[Name]:
    return [Name(text, (), source) for text in texts]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("n01440764 tench, Tinca tinca", "tench"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("fire_truck (12)", "fire truck"),
        ("bow_(decorative_ribbons)", "bow"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("043.coin", "coin"),
        ("7_dog", "dog"),
        ("ball-101", "ball"),
        ("kayak 12", "kayak"),
        ("hat x3", "hat"),
        ("airplanes: 800", "airplanes"),
        ("/a/apartment_building/outdoor", "apartment building"),
        ("fire+truck", "fire truck"),
        ("  &quot;lamp&quot; ", "lamp"),
        ("cafe\u0301\u200b table", "café table"),
        ("sailor’s hat", "sailor's hat"),
        ("18-wheeler", "18-wheeler"),
        ("3d printer", "3d printer"),
        ("1950s car", "1950s car"),
        ("notebook", "notebook"),
        ("Boeing 747", "Boeing 747"),
    ],
)
def test_names_are_made_readable(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "no word"), ("12", "no word"), ("犬", "another script"), ("a", "one letter"), ("kayak", None), ("<b", "one letter"),
     ("dog > cat", "stray marks"), ("a b c d e f g", "too long"), ("x" * 61, "too long")],
)  # fmt: skip
def test_what_is_no_name_by_its_form(text: str, problem: str | None) -> None:
    assert form_problem(clean(text)) == problem


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("Red kayaks", "red kayak"),
        ("mountain ash", "mountain ash"),
        ("the scissors", "scissors"),
        ("a pair of scissors", "scissors"),
        ("two dogs", "dog"),
        ("four leaf clover", "four leaf clover"),
        ("no entry sign", "no entry sign"),
        ("birds of paradise", "bird of paradise"),
    ],
)
def test_number_and_case_are_folded_and_names_stay_whole(name: str, concept: str) -> None:
    assert concept_of(name) == concept


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Boeing 747", "make or model"),
        ("Audi R8 2012", "make or model"),
        ("toyota camry", "proper noun"),
        ("Golden Gate Bridge", "proper noun"),
        ("statue of Liberty", "proper noun"),
        ("Tench", "proper noun"),
        ("Kayak", None),
        ("Picnic bench", None),
        ("French horn", None),
        ("Ferris wheel", None),
        ("Christmas tree", None),
        ("CD player", None),
        ("TV", None),
        ("18-wheeler", None),
        ("1950s car", None),
        ("jaguar", None),
    ],
)
def test_proper_nouns_are_told_by_their_capitals_and_digits(name: str, problem: str | None) -> None:
    assert proper_problem(name) == problem


def test_every_name_is_in_the_pool_or_told_with_its_reason(tmp_path: Path) -> None:
    made, concepts, folded = build(tmp_path, names("kayak", "Kayaks", "kayak", "Boeing 747", "12", "tea pot", "teapot", "ash"))
    assert [row["concept"] for row in concepts] == ["kayak", "teapot", "ash"]
    assert [(row["concept"], row["into"], row["reason"]) for row in folded] == [
        ("Kayaks", "kayak", "case or number"),
        ("kayak", "kayak", "same name"),
        ("Boeing 747", "", "make or model"),
        ("12", "", "no word"),
        ("tea pot", "teapot", "written apart"),
    ]
    assert made.names == 8 == len(concepts) + len(folded)
    assert made.line().startswith("8 names in = 3 concepts out + 5 folded or dropped (")


def test_a_multi_word_name_is_never_folded_into_its_head(tmp_path: Path) -> None:
    _, concepts, _ = build(tmp_path, names("ash", "mountain ash", "fire truck", "truck", "hot dog", "dog"))
    assert [row["concept"] for row in concepts] == ["ash", "mountain ash", "fire truck", "truck", "hot dog", "dog"]


def test_backgrounds_and_sources_are_merged_without_doubles(tmp_path: Path) -> None:
    first = [Name("kettle", ("kitchen", "the kitchen"), "a")]
    second = [Name("Kettles", ("campsite", "Kitchens"), "b")]
    _, concepts, _ = build(tmp_path, first, second)
    assert json.loads(concepts[0]["backgrounds"]) == ["kitchen", "campsite"]
    assert concepts[0]["source"] == "a|b"


def test_near_duplicates_are_folded_with_their_similarity_and_pass_on_backgrounds(tmp_path: Path) -> None:
    source = [Name("inflatable swimming pool ring"), Name("inflatable swimming pool rings ring", ("at a pool",)), Name("otter")]
    _, concepts, folded = build(tmp_path, source)
    assert [row["concept"] for row in concepts] == ["inflatable swimming pool ring", "otter"]
    assert (folded[0]["into"], folded[0]["reason"]) == ("inflatable swimming pool ring", "near duplicate")
    assert 0.85 <= float(folded[0]["similarity"]) < 1
    assert json.loads(concepts[0]["backgrounds"]) == ["at a pool"]
    assert len(build(tmp_path, source, similar=1.0)[1]) == 3


def test_what_the_lexicon_knows_is_what_near_duplicates_go_into(tmp_path: Path) -> None:
    _, concepts, folded = build(tmp_path, names("bat baseball", "baseball bat"), similar=0.5)
    assert [row["concept"] for row in concepts] == ["baseball bat"]
    assert folded[0]["concept"] == "bat baseball"


def test_capitals_tell_nothing_in_a_list_that_writes_all_names_with_them(tmp_path: Path) -> None:
    titles = names(
        *(
            f"{color} {thing}"
            for color in ("Red", "Blue", "Green", "White")
            for thing in ("Tench", "Lamp", "Kite", "Vise", "Otter")
        )
    )
    assert build(tmp_path, titles, similar=1.0)[0].concepts == 20
    assert build(tmp_path, names("Golden Gate Bridge", "kite", "lamp"))[0].reasons == {"proper noun": 1}


def test_a_title_that_another_list_writes_plainly_is_no_proper_noun(tmp_path: Path) -> None:
    _, concepts, _ = build(tmp_path, names("Mountain Ash"), names("mountain ash"))
    assert [row["concept"] for row in concepts] == ["mountain ash"]


def test_nothing_left_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make or model"):
        build(tmp_path, names("Boeing 747"))
    assert not (tmp_path / "pool").exists()


def test_the_blocked_product_finds_what_comparing_all_pairs_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardmill.anyedit.concepts.similar.BLOCK", 7)
    monkeypatch.setattr("shardmill.anyedit.concepts.similar.TILE", 5)
    words = ["red wooden chair", "old garden gate", "small paper boat", "striped deck chair", "brass door bell"]
    texts = [f"{word} {end}" for end in ("", "set", "set set", "with legs", "with leg") for word in words] * 2
    found = vectors(texts)
    expected: dict[int, int] = {}
    for place in range(len(texts)):
        likest = [(cosine(found[place], found[other]), -other) for other in range(place) if other not in expected]
        best = max((each for each in likest if each[0] >= 0.85), default=None)
        if best:
            expected[place] = -best[1]
    hashed = HashedNames(texts)
    steps: list[int] = []
    got = near_duplicates(hashed.dense, 0.85, lambda done, total: steps.append(done), hashed.cosine)
    assert {place: into for place, (into, _) in got.items()} == expected
    assert len(expected) > len(texts) // 2
    assert steps[-1] == len(texts) and len(steps) == -(-len(texts) // 7)


def test_dense_vectors_of_a_model_are_compared_as_they_are() -> None:
    rows = np.array([[1, 0], [0.8, 0.6], [0.9, np.sqrt(1 - 0.81)], [0, 1]], dtype=np.float32)
    assert {place: into for place, (into, _) in near_duplicates(rows, 0.85, lambda done, total: None).items()} == {2: 1}


def test_sources_of_all_kinds(tmp_path: Path) -> None:
    lists = {
        "list.json": ["kayak", "otter"],
        "sets.json": {"pets": ["dog", "cat"], "trees": ["oak tree"]},
        "places.json": {"kettle": ["kitchen", "in a tent"], "dog": ["park"]},
        "both.json": {"concepts": ["kettle"], "backgrounds": ["in a kitchen", "on a beach"]},
        "names.txt": "kayak\n\nsea otter\n",
        "table.csv": 'Name,backgrounds\nlamp,"[""desk"", ""on a shelf""]"\nwok,kitchen; camp\n',
        "lines.jsonl": '{"row_id": 3, "concept": "lamp", "all_backgrounds": ["desk"]}\n"otter"\n',
    }
    read = {name: read_source(written(tmp_path / name, content)) for name, content in lists.items()}
    texts = {name: [(each.text, each.backgrounds) for each in found] for name, found in read.items()}
    assert texts == {
        "list.json": [("kayak", ()), ("otter", ())],
        "sets.json": [("dog", ()), ("cat", ()), ("oak tree", ())],
        "places.json": [("kettle", ("kitchen", "in a tent")), ("dog", ("park",))],
        "both.json": [("kettle", ("in a kitchen", "on a beach"))],
        "names.txt": [("kayak", ()), ("sea otter", ())],
        "table.csv": [("lamp", ("desk", "on a shelf")), ("wok", ("kitchen", "camp"))],
        "lines.jsonl": [("lamp", ("desk",)), ("otter", ())],
    }
    assert [each.source for each in read["sets.json"]] == ["sets:pets", "sets:pets", "sets:trees"]


def test_the_class_names_of_a_hugging_face_folder(tmp_path: Path) -> None:
    info = {"features": {"image": {"_type": "Image"}, "label": {"names": ["airplane", "fire_truck"], "_type": "ClassLabel"}}}
    written(tmp_path / "dataset_info.json", info)
    card = "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
    written(tmp_path / "README.md", card + "          '0': airplane\n          '10': frog\n          '2': deer\n---\n# A card\n")
    assert [name.text for name in read_source(tmp_path)] == ["airplane", "fire_truck", "deer", "frog"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", '["kayak", 3]', "entry 2 is a number"),
        ("a.json", '{"pets": ["dog", null]}', "'pets', entry 2 is null"),
        ("a.json", '{"pets": "dog"}', "'pets' holds a text"),
        ("a.json", '{"pets": ["dog"', "is not JSON"),
        ("a.json", "3", "holds a number"),
        ("a.csv", "title\nkayak\n", "has the columns title"),
        ("a.csv", "concept\na,b\n", "line 2"),
        ("a.csv", 'concept,backgrounds\nkayak,"[1, 2]"\n', "entry 1 is a number"),
        ("a.jsonl", '"kayak"\n{"concept": \n', "line 2"),
        ("a.txt", "\n\n", "holds no names"),
    ],
)
def test_a_bad_file_is_told_with_its_entry(tmp_path: Path, name: str, content: str, told: str) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(UserError) as error:
        read_source(path)
    assert str(path) in str(error.value) and told in str(error.value)


def test_a_dictionary_that_may_be_either_is_asked_about(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", {"zzz": ["grelt"], "lamp": ["plinth"]})
    with pytest.raises(UserError, match="--names"):
        read_source(path)
    assert [each.text for each in read_source(path, "names")] == ["grelt", "plinth"]
    assert [each.text for each in read_source(path, "backgrounds")] == ["zzz", "lamp"]


def test_the_command_prints_the_account(tmp_path: Path) -> None:
    source = written(tmp_path / "a.json", ["kayak", "Kayaks", "otter"])
    done = CliRunner().invoke(cli, ["concepts", "build", str(source), "--out", str(tmp_path / "pool")])
    assert done.exit_code == 0, done.output
    assert "3 names in = 2 concepts out + 1 folded or dropped (case or number 1)" in done.output
