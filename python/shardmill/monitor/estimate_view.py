"""An estimate on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shardmill.monitor.estimate import Estimate, size
from shardmill.util.progress import clock
from shardmill.util.words import count_of


def render(made: Estimate) -> Group:
    """The estimate for a terminal."""
    gpus = any(stage.gpus_per_worker for stage in made.stages)
    title = f"{made.run}: {count_of(made.shards, 'shard')}" + (f" on {made.site}" if made.site else "")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ["stage", "rows in", "work", "low-high", *(["GPU h"] if gpus else []), "a shard", "disk"]:
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    for stage in made.stages:
        table.add_row(
            stage.stage,
            f"{stage.rows:,}",
            _time(stage.worker_hours),
            _range(stage.worker_hours_low, stage.worker_hours_high, _time) or "?",
            *([_number(stage.gpu_hours)] if gpus else []),
            clock(stage.minutes_per_shard * 60),
            size(stage.bytes),
        )
    return Group(table, *(Text(line, style="bold") for line in _totals(made)), *(Text(f"note: {note}") for note in made.notes))


def _totals(made: Estimate) -> Iterator[str]:
    if not made.stages:
        return
    wall = _time(made.hours) + _bracketed(_range(made.hours_low, made.hours_high, _time))
    nodes = f"{count_of(made.nodes, 'node')} at once" if made.site else "one worker on this machine"
    yield f"about {wall} with {nodes}, {_time(made.worker_hours)} of work"
    if any(stage.gpu_hours for stage in made.stages):
        allocated = _number(made.gpu_hours) + _bracketed(_range(made.gpu_hours_low, made.gpu_hours_high, _number))
        yield f"{allocated} GPU-hours allocated, {_number(sum(stage.gpu_hours_busy for stage in made.stages))} of them in use"
    prompts, answers = (sum(getattr(stage, name) for stage in made.stages) for name in ("prompt_tokens", "completion_tokens"))
    if prompts:
        cost = "" if made.cost is None else f"; cost {_number(made.cost)} at the prices of the model files"
        yield f"{_number(prompts / 1e6)} million prompt tokens, {_number(answers / 1e6)} million completion tokens{cost}"
    yield f"{size(made.bytes)} of disk, {size(made.bytes_left)} of it still to be written"


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""


def _range(low: float | None, high: float | None, words: Callable[[float], str]) -> str:
    """Two figures as `2.0-3.0 h`; nothing when they are not known."""
    if low is None or high is None:
        return ""
    first, last = words(low), words(high)
    same = first.partition(" ")[2] == last.partition(" ")[2]
    return f"{first.partition(' ')[0] if same else first}-{last}"


def _time(hours: float) -> str:
    """Hours in words, with the unit that suits them."""
    for seconds, unit in ((3600, "h"), (60, "min")):
        if hours * 3600 >= seconds:
            return f"{_number(hours * 3600 / seconds)} {unit}"
    return f"{_number(hours * 3600)} s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
