"""What requests cost: summed over all attempts in the manifest, shown by status and estimate, priced by the model file."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from shardmill.core.shard_runner import run_shard
from shardmill.embedded.rules.extract import extract_objects
from shardmill.models import registry
from shardmill.models.contract import Model, Reply, TextRequest, Usage
from shardmill.monitor.estimate import estimate
from shardmill.monitor.estimate_view import render
from shardmill.monitor.rates import stage_rates
from shardmill.monitor.stage_status import StageStatus
from shardmill.monitor.status import read_status
from shardmill.monitor.status_view import render_status
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import ModelDied, Stopped

STAGE = "extract_objects"
COST = Usage(prompt_tokens=1000, cached_tokens=900, completion_tokens=20, seconds=0.5)


class Counting(Model):
    """The rules, with the cost of a real model."""

    @classmethod
    def identity(cls) -> dict[str, str]:
        return {"version": "1"}

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            answer = json.dumps(extract_objects(request.chat.values, Random(request.seed)))
            yield Reply(request.key, answer, usage=COST)


@pytest.fixture
def run(make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunFolder:
    monkeypatch.setitem(registry.MODELS, ("text", "counting"), f"{__name__}:Counting")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    path = tmp_path / "counting.yaml"
    price = "{prompt: 2, cached_prompt: 0.5, completion: 10, gpu_hour: 3600}"
    path.write_text(f"role: text\nkind: counting\nresources: {{gpus_per_worker: 1}}\nprice: {price}")
    return make_run(settings=[f"{STAGE}.model={path}", f"{STAGE}.attempts=1"])


def of(run: RunFolder) -> StageStatus:
    return next(stage for stage in read_status(run).stages if stage.stage == STAGE)


def test_a_shard_that_was_interrupted_counts_what_every_attempt_paid(run: RunFolder) -> None:
    looks = iter([False] * 12 + [True] * 1000)
    with pytest.raises(Stopped):
        run_shard(run, STAGE, 0, should_stop=lambda: next(looks))
    made = run_shard(run, STAGE, 0)
    assert 0 < made.elsewhere < made.rows_in
    assert made.usage == {
        "requests": made.rows_in,
        "retries": 0,
        "prompt_tokens": 1000 * made.rows_in,
        "cached_tokens": 900 * made.rows_in,
        "completion_tokens": 20 * made.rows_in,
        "request_seconds": 0.5 * made.rows_in,
        "finish_stop": made.rows_in,
    }


def test_status_tells_tokens_and_cost_of_what_is_done_and_what_is_left(run: RunFolder) -> None:
    made = [run_shard(run, STAGE, shard) for shard in range(2)]
    stage = of(run)
    rows, seconds = sum(each.rows_in for each in made), sum(each.seconds for each in made)
    assert stage.usage["prompt_tokens"] == 1000 * rows
    assert stage.tokens_per_second == pytest.approx(20 * rows / seconds)
    per_row = (100 * 2 + 900 * 0.5 + 20 * 10) / 1e6
    assert stage.cost == pytest.approx(rows * per_row + seconds)
    assert stage.rows_left and stage.cost_left == pytest.approx(stage.rows_left * (per_row + seconds / rows))
    out = io.StringIO()
    Console(file=out, width=200).print(render_status(read_status(run)), soft_wrap=True)
    assert f"{STAGE}: {1000 * rows:,} prompt tokens (90% cached), {20 * rows:,} completion tokens" in out.getvalue()
    assert f"cost {stage.cost:,.2f}, {stage.cost_left:,.2f} left" in out.getvalue()


def test_an_estimate_prices_the_whole_run(run: RunFolder) -> None:
    made = run_shard(run, STAGE, 0)
    found = estimate(run, None, stage_rates(run), None)
    rows = found.stages[0].rows
    assert found.stages[0].prompt_tokens == pytest.approx(1000 * rows)
    tokens = rows * (100 * 2 + 900 * 0.5 + 20 * 10) / 1e6
    assert found.cost == pytest.approx(tokens + 3600 * found.gpu_hours)
    out = io.StringIO()
    Console(file=out, width=200).print(render(found))
    assert "million prompt tokens" in out.getvalue() and "at the prices of the model files" in out.getvalue()
    assert made.conserved()


def test_a_run_without_prices_has_no_cost(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    run_shard(run, STAGE, 0)
    assert (of(run).cost, of(run).cost_left, read_status(run).cost) == (None, None, None)


def test_a_model_that_dies_leaves_the_finished_rows_in_the_journal(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(self: Counting, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for number, request in enumerate(requests):
            if number == 6:
                raise ModelDied("CUDA error: device-side assert")
            yield Reply(request.key, '{"objects": []}', usage=COST)

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "stream", dying)
        with pytest.raises(ModelDied):
            run_shard(run, STAGE, 0)
    made = run_shard(run, STAGE, 0)
    assert made.elsewhere == 6 and made.conserved() and made.usage["requests"] == made.rows_in
