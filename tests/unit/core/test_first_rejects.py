"""A stage whose first rows are all rejected for one reason stops, and nothing of it stays; other rejections are rows' own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from conftest import write_captions
from shardmill.core.shard_runner import run_shard
from shardmill.models import registry
from shardmill.models.contract import Model, Reply, TextRequest
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

STAGE = "extract_objects"


class Answering(Model):
    """Answers as `says` does, by the request's number."""

    says: ClassVar[Callable[[int], str]]

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            yield Reply(request.key, type(self).says(int(request.chat.values["caption"].split()[-1])))


@pytest.fixture
def run(make_run: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of 120 rows in two shards."""
    monkeypatch.setitem(registry.MODELS, ("text", "answering"), "test_first_rejects:Answering")
    monkeypatch.setitem(sys.modules, "test_first_rejects", sys.modules[__name__])
    table = write_captions(tmp_path / "many.csv", [f"A dog by a kite {number}" for number in range(120)])
    return make_run(input=table, num_shards=2, settings=[f"{STAGE}.model=answering", f"{STAGE}.attempts=1"])


def answer(monkeypatch: pytest.MonkeyPatch, says: Callable[[int], str]) -> None:
    monkeypatch.setattr(Answering, "says", staticmethod(says), raising=False)


GOOD = json.dumps({"objects": ["dog", "kite"]})


def test_the_stage_stops_with_the_reason_and_no_row_stays_rejected(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, lambda number: "{oops")
    with pytest.raises(UserError, match=r"the first 50 rows of extract_objects .*'malformed answer'.*oops.*stop_after=0"):
        run_shard(run, STAGE, 0)
    assert run.files(STAGE, 0).journals() == []
    answer(monkeypatch, lambda number: GOOD)
    assert run_shard(run, STAGE, 0).rejected == 0


def test_one_row_that_comes_out_or_another_reason_lets_it_go_on(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, lambda number: GOOD if number == 40 else "{oops")
    assert run_shard(run, STAGE, 0).rejected == 59
    answer(monkeypatch, lambda number: '{"objects": []}' if number == 100 else "{oops")
    assert run_shard(run, STAGE, 1).rows_out == 0


def test_rows_of_another_shard_that_came_out_let_it_go_on(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, lambda number: GOOD)
    run_shard(run, STAGE, 0)
    answer(monkeypatch, lambda number: "{oops")
    assert run_shard(run, STAGE, 1).rejected == 60


def test_it_goes_on_where_the_user_says_so(
    run: RunFolder, make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, lambda number: "{oops")
    settings = [f"{STAGE}.model=answering", f"{STAGE}.attempts=1", f"{STAGE}.stop_after=0"]
    other = make_run("other", input=Path(run.plan.input.path), num_shards=2, settings=settings)
    assert run_shard(other, STAGE, 0).rejected == 60
