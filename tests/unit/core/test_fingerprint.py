"""The digest of source code: what changes it, what does not, and what a run says of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.core.fingerprint import changed_files, source_digests
from shardmill.core.registry import stage_class
from shardmill.core.user_code import allow_code, load_code
from shardmill.negbench.create_mcq import CreateMcq
from shardmill.negbench.extract_objects import ExtractObjects

STAGE = '''
from words import COLOURS
from shardmill import RowStage


class KeepColours(RowStage):
    """caption (text) -> colours (list)."""

    name, reads, adds = "keep_colours", ("caption",), {"colours": "list"}

    def decide(self, row, rng):
        # every colour
        return {"colours": [word for word in row["caption"].split() if word in COLOURS]}
'''
PIPELINE = 'from shardmill import Pipeline\nfrom stage import KeepColours\n\nPIPELINE = Pipeline("kept", stages=[KeepColours])\n'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A pipeline of three files."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "words.py").write_text('COLOURS = {"red", "blue"}\n')
    (folder / "stage.py").write_text(STAGE)
    (folder / "kept.py").write_text(PIPELINE)
    (folder / "captions.csv").write_text("caption\n" + "".join(f"a red and blue kite {number}\n" for number in range(40)))
    return folder


def digests(folder: Path, change: Callable[[Path], None] = lambda folder: None) -> dict[str, str]:
    """The digests of the stage as a new process sees them."""
    change(folder)
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); from kept import KeepColours\n"
        "from shardmill.core.fingerprint import source_digests; print(json.dumps(source_digests(KeepColours)))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, cwd=folder)
    return dict(__import__("json").loads(found.stdout))


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    "change",
    [
        edit("stage.py", "        # every colour\n", ""),
        edit("stage.py", '    """caption (text) -> colours (list)."""\n', '    """Other words."""\n'),
        edit("stage.py", "[word for word in row", "[\n            word for word in row"),
        edit("kept.py", "kept", "other"),
    ],
)
def test_comments_docstrings_layout_and_files_that_shape_nothing_do_not_count(own: Path, change: Callable[[Path], None]) -> None:
    before = digests(own)
    assert set(before) == {"stage.py", "words.py"}
    assert digests(own, change) == before


@pytest.mark.parametrize(
    ("change", "file"),
    [(edit("stage.py", "if word in", "if word not in"), "stage.py"), (edit("words.py", "blue", "green"), "words.py")],
)
def test_the_file_whose_meaning_changed_is_named(own: Path, change: Callable[[Path], None], file: str) -> None:
    before = digests(own)
    assert changed_files(before, digests(own, change)) == [file]


def test_a_bundled_stage_is_shaped_by_its_language_rules_and_not_by_the_machinery() -> None:
    found = source_digests(ExtractObjects)
    assert {"shardmill/negbench/extract_objects.py", "shardmill/language/relations.py"} <= found.keys()
    assert not [name for name in found if name.startswith(("shardmill/core/", "shardmill/store/", "shardmill/util/"))]
    assert "shardmill/negbench/extract_objects.py" not in source_digests(CreateMcq)


def test_data_files_beside_a_module_count() -> None:
    assert "shardmill/language/lexicon.csv" in source_digests(stage_class("negbench", "extract_objects"))


def shardmill(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shardmill", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


def launch(folder: Path) -> None:
    planned = shardmill(folder, "shard", "captions.csv", "--run", "run", "--pipeline", "kept.py:PIPELINE", "--num-shards", 2)
    assert planned.returncode == 0, planned.stderr
    assert shardmill(folder, "run", "run", "keep_colours", "--shard", 0).returncode == 0


def test_a_stage_edited_between_two_shards_is_refused_by_file_and_redone_on_demand(own: Path) -> None:
    launch(own)
    edit("words.py", '"red", ', "")(own)
    done = shardmill(own, "run", "run", "keep_colours", "--shard", 1)
    assert done.returncode == 2
    assert "words.py" in done.stderr and "--redo" in done.stderr and "--accept-code-change" in done.stderr
    assert "Traceback" not in done.stderr
    assert shardmill(own, "run", "run", "keep_colours", "--redo").returncode == 0
    parts = [(own / "run" / "keep_colours" / f"part-0000{shard}-of-00002.csv").read_text() for shard in (0, 1)]
    assert not any('""red""' in part for part in parts)


def test_an_accepted_change_keeps_finished_shards_and_is_recorded(own: Path) -> None:
    launch(own)
    first = own / "run" / "keep_colours" / "part-00000-of-00002.csv"
    before = first.read_bytes()
    edit("words.py", '"red", ', "")(own)
    done = shardmill(own, "launch", "kept.py:PIPELINE", "--run", "run", "--accept-code-change", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert first.read_bytes() == before and '""red""' in first.read_text()
    second = first.with_name("part-00001-of-00002.csv")
    assert '""red""' not in second.read_text()
    manifest = __import__("json").loads(second.with_suffix(".json").read_text())
    assert len(manifest["accepted_code"]) == 1 and manifest["fingerprint"]["code"] not in manifest["accepted_code"]
    assert shardmill(own, "combine", "run", "keep_colours", "--out", "all.csv").returncode == 0


def test_options_and_prompts_of_the_user_are_not_accepted_as_code(own: Path) -> None:
    launch(own)
    plan = own / "run" / "plan.json"
    plan.write_text(plan.read_text().replace('"options": "{}"', '"options": "{\\"other\\":1}"'))
    done = shardmill(own, "launch", "kept.py:PIPELINE", "--run", "run", "--accept-code-change")
    assert done.returncode == 2 and "options of stage keep_colours changed" in done.stderr


def test_a_file_that_is_loaded_here_has_the_same_digest_as_elsewhere(own: Path) -> None:
    kind = load_code(allow_code(str(own / "stage.py") + ":KeepColours"))
    assert source_digests(kind) == digests(own)
