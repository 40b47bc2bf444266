"""A budget ends a run cleanly: what was begun is finished, nothing is paid for twice, and more budget lets it go on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from faulty_server import FaultyServer, completion
from shardmill.core.shard_runner import run_shard
from shardmill.launch.local import launch_local
from shardmill.monitor.status import read_status
from shardmill.monitor.status_view import render_status
from shardmill.store import spending
from shardmill.store.run_folder import RunFolder
from shardmill.store.spending import BUDGET, SPENDING, Budget, read_budget, read_prices, set_budget, spent_on
from shardmill.util.errors import BudgetSpent, UserError

ONE_EACH = "m: {prompt: 10000, cached_prompt: 10000}\n"
"""A price by which each answer of `completion` costs 1."""


async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "code" in schema.get("properties", {}):
        return web.json_response(completion(json.dumps({"code": schema["properties"]["code"]["enum"][0]})))
    return web.json_response(completion('{"objects": ["dog"]}'))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(spending, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(spending, "FIRST_ROWS", 2)
    monkeypatch.setattr(spending, "_ledgers", {})
    server = FaultyServer(answer)
    yield server
    server.end()


def run_on(server: FaultyServer, make_run: Callable[..., RunFolder], name: str = "run", **options: Any) -> RunFolder:
    spec = json.dumps({"kind": "openai", "model": "m", "base_urls": [server.url]})
    settings = [f"extract_objects.model={spec}", "extract_objects.attempts=1", "extract_objects.stop_after=0"]
    return make_run(name, settings=settings, **options)


def prices(folder: Path, text: str = ONE_EACH) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text)
    return path


def captions_asked(server: FaultyServer) -> list[str]:
    return [body["messages"][-1]["content"] for body in server.bodies if body["messages"][-1]["content"].startswith("Caption")]


def test_a_budget_stops_between_rows_and_more_of_it_finishes_the_rest_without_paying_twice(
    server: FaultyServer, make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    calm, run = (run_on(server, make_run, name, num_shards=1) for name in ("calm", "run"))
    run_shard(calm, "extract_objects", 0)
    wanted = captions_asked(server)
    server.bodies.clear()
    set_budget(run, 5, prices(tmp_path))
    with pytest.raises(BudgetSpent, match=r"budget of 5 is spent \(5.00 so far.*--max-cost AMOUNT"):
        run_shard(run, "extract_objects", 0)
    assert len(captions_asked(server)) == 5 == spent_on(run) and run.manifest("extract_objects", 0) is None
    set_budget(run, 100, None)
    made = run_shard(run, "extract_objects", 0)
    assert made.conserved() and sorted(captions_asked(server)) == sorted(wanted)
    assert spent_on(run) == len(wanted)
    files = [each.files("extract_objects", 0) for each in (calm, run)]
    assert files[0].part.read_bytes() == files[1].part.read_bytes()


def test_what_other_processes_spend_counts_and_what_they_have_in_progress_too(
    server: FaultyServer, make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    run = run_on(server, make_run, num_shards=1)
    set_budget(run, 10, prices(tmp_path))
    (run.path / SPENDING).mkdir(parents=True)
    (run.path / SPENDING / "other.json").write_text('{"spent": 4.5, "reserved": 2.5}')
    for name, text in (("cut.json", '{"spent": 4'), ("odd.json", '{"spent": -7}'), ("huge.json", '{"spent": 1e999}')):
        (run.path / SPENDING / name).write_text(text)
    (run.path / SPENDING / "link.json").symlink_to(run.path / SPENDING / "other.json")
    with pytest.raises(BudgetSpent):
        run_shard(run, "extract_objects", 0)
    assert len(captions_asked(server)) == 3 and spent_on(run) == 7.5


def test_a_launch_ends_when_the_budget_is_spent_and_status_says_so(
    server: FaultyServer, make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    run = run_on(server, make_run, num_shards=3)
    set_budget(run, 1, prices(tmp_path))
    with pytest.raises(BudgetSpent, match="--max-cost AMOUNT"):
        launch_local(run, 1)
    status = read_status(RunFolder(run.path))
    assert status.max_cost == 1 and status.spent is not None and 1 <= status.spent <= 3 * 8
    assert not any(stage.failed for stage in status.stages)
    assert "of at most 1.00 spent on requests so far" in "\n".join(str(part) for part in render_status(status).renderables)


def test_prices_of_the_user_count_instead_of_those_of_the_model_file(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    spec = json.dumps({"file": "openai-api"})
    run = make_run("run", num_shards=1, settings=[f"extract_objects.model={spec}"])
    with pytest.raises(UserError, match=r"'gpt-4o-mini' of extract_objects has no price.*--prices"):
        set_budget(run, 5, None)
    set_budget(run, 5, prices(tmp_path, "gpt-4o-mini: {prompt: 2}"))
    price = read_budget(run).price_of(run.stage("extract_objects"))
    assert price is not None and price.prompt == 2
    set_budget(run, math.inf, None)
    assert read_budget(run) == Budget(prices={"gpt-4o-mini": price})


def test_a_budget_is_a_number(make_run: Callable[..., RunFolder]) -> None:
    with pytest.raises(UserError, match="--max-cost: nan is not an amount"):
        set_budget(make_run("run", num_shards=1), math.nan, None)


def test_a_budget_without_anything_to_pay_for_is_refused(make_run: Callable[..., RunFolder]) -> None:
    with pytest.raises(UserError, match="no model of this run has a price"):
        set_budget(make_run("run", num_shards=1), 5, None)


@pytest.mark.parametrize(
    "text", ["- 1", "m: 3", "m: {prompt: -1}", "m: {token: 1}", "m: {prompt: .nan}", "{", "m: {prompt: !!python/name:os.system }"]
)
def test_a_file_of_prices_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"prices\.yaml"):
        read_prices(prices(tmp_path, text))


def test_a_mistyped_price_is_named_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="m has no price 'promt'; did you mean 'prompt'"):
        read_prices(prices(tmp_path, "m: {promt: 1}"))
    with pytest.raises(UserError, match="there are no prices by model in it"):
        read_prices(prices(tmp_path, ""))


def test_a_budget_that_was_damaged_stops_the_work_instead_of_being_ignored(
    server: FaultyServer, make_run: Callable[..., RunFolder]
) -> None:
    run = run_on(server, make_run, num_shards=1)
    (run.path / BUDGET).parent.mkdir(exist_ok=True)
    (run.path / BUDGET).write_text('{"max_cost": -1}')
    with pytest.raises(UserError, match=r"is not a budget.*remove it, and give --max-cost"):
        run_shard(run, "extract_objects", 0)
    assert captions_asked(server) == []
