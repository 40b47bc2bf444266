"""Fixtures for all tests: small input tables and runs in a temporary folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.store.run_folder import RunFolder

CAPTIONS = [
    "A dog runs on the beach with a red ball.",
    "Two cats sleep on a sofa next to a lamp.",
    "A man rides a bicycle past a parked car.",
    "A bowl of fruit and a cup of coffee on a wooden table",
    "Children fly a kite in the park near a tree.",
    "A white boat near the pier at sunset",
    "A woman in a hat reads a book on a bench.",
    "The joy of it all",
    'A sign that says "stop", next to a fire hydrant',
    "A horse and a cow in a field,\nbehind a fence",
    "None",
    "",
]


def write_captions(path: Path, captions: Sequence[str], image: str = "{index}.png") -> Path:
    """A CSV with the columns filepath, caption, source."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "caption", "source"])
        for index, caption in enumerate(captions):
            writer.writerow([image.format(index=index), caption, "test"])
    return path


FOLDERS = {"slurm": "slurm", "models": "models", "browser": "browser", "crash": "slow", "pipelines": "slow"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests are marked by their folder: `pytest -m "not slow"`."""
    for item in items:
        parts = Path(item.path).relative_to(Path(__file__).parent).parts
        if parts[0] in FOLDERS:
            item.add_marker(FOLDERS[parts[0]])


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test knows the code that another one named, or what the user's own runs have remembered."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("SHARDMILL_CODE", "{}")


def run_of_text_stages(folder: Path, table: Path, shards: int, **options: object) -> RunFolder:
    """A run in which no stage learns from other shards."""
    stages = "  - {stage: extract_objects, model: rules}\n  - {stage: propose_negatives, model: rules}\n"
    (folder / "text.yaml").write_text(f"pipeline: negbench\nstages:\n{stages}")
    return start_run(folder / "text", NewRun(input=table, pipeline=str(folder / "text.yaml"), num_shards=shards, **options))  # type: ignore[arg-type]


def run_first_shards(run: RunFolder, count: int = 1) -> None:
    """Take the first shards of a run through all stages, and the others as far as those learn from them."""
    for index, stage in enumerate(run.stages):
        needed = {each for later in run.stages[index:] for shard in range(count) for each in _made_from(run, later, stage, shard)}
        for shard in sorted(needed):
            run_shard(run, stage, shard)


def _made_from(run: RunFolder, later: str, stage: str, shard: int) -> set[int]:
    """The shards of a stage that a shard of a later one is made from."""
    found: set[int] = {shard}
    while later != stage:
        above = run.after(later)
        if above is None or above == "ingest":
            return set()
        found = {each for own in found for each in run.needed_by(later, own)}
        later = above
    return found


@pytest.fixture
def captions_csv(tmp_path: Path) -> Path:
    return write_captions(tmp_path / "captions.csv", CAPTIONS * 5)


@pytest.fixture
def make_run(tmp_path: Path, captions_csv: Path) -> Callable[..., RunFolder]:
    """Starts a NegBench run that needs no images; keywords are those of `NewRun`."""

    def make(name: str = "run", **options: object) -> RunFolder:
        settings = ("filter_objects.unverified=keep", *options.pop("settings", ()))  # type: ignore[misc]
        return start_run(tmp_path / name, NewRun(**{"input": captions_csv, "num_shards": 4, **options}, settings=settings))  # type: ignore[arg-type]

    return make
