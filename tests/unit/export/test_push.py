"""A push to the Hub: nothing is seen by halves, nothing is uploaded twice, and refusals say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest

from exported import export, negbench, parts
from hub_stand_in import TOKEN, Hub, serve_hub
from shardmill.export.make import Exported
from shardmill.export.push import push
from shardmill.util.errors import UserError

NAME = "me/negated-captions"
PUSH = """
import sys
from pathlib import Path
from huggingface_hub import _commit_api
_commit_api.is_xet_available = lambda: False
from shardmill.export.make import Exported
from shardmill.export.push import push
import json
path = Path(sys.argv[1])
push(Exported(path, json.loads((path / "export.json").read_text()), True, None), sys.argv[2])
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on loopback, whose token the environment has; nobody waits between attempts."""
    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def made(tmp_path: Path) -> Exported:
    """An export of two tables in small files."""
    return export(negbench(), "hf", tmp_path / "hf", what=["captions", "questions"], max_size=30_000)


def data_files(made: Exported) -> list[str]:
    return [name for name in made.record["files"] if name.endswith(".parquet")]


def test_what_arrives_is_the_export_with_its_card_in_one_commit(hub: Hub, made: Exported, tmp_path: Path) -> None:
    done = push(made, NAME)
    assert len(hub.commits) == 1 and hub.visibility == "private"
    assert set(hub.files) == {*made.record["files"], "export.json"}
    assert done.url.endswith(f"/datasets/{NAME}") and done.kept == 0
    for name, data in hub.files.items():
        assert data == (made.path / name).read_bytes()
        (tmp_path / "back" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "back" / name).write_bytes(data)
    read = datasets.load_dataset(str(tmp_path / "back"), "captions", split="train", cache_dir=str(tmp_path / "cache"))
    assert read["row_id"] == parts(negbench(), "caption_negated")["row_id"].to_list()


def test_a_second_push_uploads_and_commits_nothing(hub: Hub, made: Exported) -> None:
    push(made, NAME)
    puts = list(hub.puts)
    again = push(made, NAME, private=False)
    assert (again.uploaded, again.removed, again.kept) == ([], [], len(hub.files))
    assert hub.puts == puts and len(hub.commits) == 1 and hub.visibility == "private"


def test_only_what_changed_goes_up_and_files_of_longer_exports_go_away(hub: Hub, made: Exported, tmp_path: Path) -> None:
    push(made, NAME)
    hub.commits[-1]["notes.md"] = b"my own"
    hub.commits[-1]["data/mine.parquet"] = b"my own"
    shorter = export(negbench(), "hf", tmp_path / "shorter", what=["captions", "questions"])
    done = push(shorter, NAME)
    assert len(data_files(shorter)) == 2 < len(data_files(made))
    assert set(done.removed) == set(data_files(made)) - set(data_files(shorter))
    assert set(hub.files) == {*shorter.record["files"], "export.json", "notes.md", "data/mine.parquet"}


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("/lfs/", 503),
        ("/lfs/", "reset"),
        ("batch", 500),
        ("/commit/", 502),
        ("/commit/", "reset"),
        ("create", 504),
        ("tree", 429),
    ],
)
def test_what_fails_in_passing_is_tried_again(hub: Hub, made: Exported, where: str, fault: int | str) -> None:
    hub.faults.append((where, fault))
    push(made, NAME)
    assert len(hub.commits) == 1 and set(hub.files) == {*made.record["files"], "export.json"}
    assert len(hub.puts) == len(set(hub.puts)) == len(data_files(made))


def test_a_hub_that_stays_away_is_named_and_the_next_push_goes_on(hub: Hub, made: Exported) -> None:
    hub.faults += [("/commit/", 503)] * 20
    with pytest.raises(UserError, match=r"the Hub does not answer .*; what is uploaded stays there; run the same command again"):
        push(made, NAME)
    assert hub.commits == [] and len(hub.puts) == len(data_files(made))
    hub.faults.clear()
    push(made, NAME)
    assert len(hub.commits) == 1 and len(hub.puts) == len(data_files(made))


def test_a_push_that_is_killed_in_an_upload_goes_on_with_the_next_file(hub: Hub, made: Exported) -> None:
    files = data_files(made)
    last = made.record["files"][sorted(files)[-1]]["sha256"]
    hub.faults.append((last, "wait"))
    worker = subprocess.Popen([sys.executable, "-c", PUSH, str(made.path), NAME], env=dict(os.environ))
    try:
        assert hub.waiting.wait(60)
    finally:
        worker.kill()
        worker.wait()
    assert hub.commits == [] and len(hub.puts) == len(files) - 1
    hub.released.set()
    hub.faults.clear()
    push(made, NAME)
    assert len(hub.puts) == len(set(hub.puts)) == len(files) and set(hub.files) >= set(files)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "the Hub refuses the token in HF_TOKEN"),
        (403, f"the token in HF_TOKEN may not write to {NAME}"),
        (400, "the Hub refuses: .*a fault of the stand-in"),
    ],
)
def test_refusals_are_not_repeated_and_say_what_to_do(hub: Hub, made: Exported, status: int, message: str) -> None:
    hub.faults += [("/preupload/", status)]
    with pytest.raises(UserError, match=message):
        push(made, NAME)
    assert hub.commits == [] and hub.faults == []


def test_the_token_comes_from_the_environment_alone(hub: Hub, made: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(UserError, match="refuses the token in HF_TOKEN"):
        push(made, NAME)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="the Hub wants a token"):
        push(made, NAME)
    assert hub.puts == [] and TOKEN not in (made.path / "export.json").read_text()


@pytest.mark.parametrize("name", ["captions", "a/b/c", "me/what ever", "me/x..y"])
def test_names_that_are_none_are_refused_before_anything_is_sent(hub: Hub, made: Exported, name: str) -> None:
    with pytest.raises(UserError, match="is not a repository of the Hub"):
        push(made, name)
    assert hub.visibility is None
