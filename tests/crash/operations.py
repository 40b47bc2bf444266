"""What is crashed: the commands that write to a run folder, each on a small run that is ready for it."""

from __future__ import annotations

import csv
import importlib
import logging
import os
import pkgutil
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

CAPTIONS = [
    "A dog runs on the beach with a red ball.",
    "Two cats sleep on a sofa next to a lamp.",
    "The meaning of true happiness",
    "",
    "A bowl of fruit and a cup of coffee on a wooden table",
    "A white boat near the pier at sunset",
    'A sign that says "stop",\nnext to a fire hydrant',
    "A man rides a bicycle past a parked car.",
]
SUSPENDED_SECONDS = 0.6
IMPORTED = (
    "shardmill.negbench",
    "shardmill.export",
    "shardmill.store",
    "shardmill.embedded.rules",
    "shardmill.language",
    "shardmill.launch",
    "shardmill.quality",
    "shardmill.monitor",
)


@dataclass(frozen=True)
class Operation:
    """A command, what makes the run that it needs, and what is done `after` it before its result is looked at.

    `settled` is what the command may say, with exit code 2, when it is run again though nothing was left to do. `shared`: it may
    be run by two at once.
    """

    command: str
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    settled: str = ""
    shared: bool = True


def shard(options: str = "") -> str:
    return f"shard INPUT --run RUN --num-shards 2 --set filter_objects.unverified=keep {options}"


ALL = "extract_objects propose_negatives draw_questions filter_objects validate_objects caption_negated create_mcq paraphrase_mcq"
EXTRACTED = (shard(), "run RUN extract_objects")
WHOLE = (shard(), f"run RUN {ALL}")
OPERATIONS = {
    "ingest": Operation(shard()),
    "ingest, drawn": Operation(shard("--total 3"), shared=False),
    "ingest into Parquet": Operation(shard("--format parquet"), shared=False),
    "text stage": Operation("run RUN extract_objects --shard 0", [shard()]),
    "text stage, claimed": Operation("worker extract_objects 0", [shard()]),
    "text stage, taken over": Operation("worker extract_objects 0 stale", [shard()]),
    "text stage, Parquet": Operation("run RUN extract_objects --shard 0", [shard("--format parquet")], shared=False),
    "text stage, JSONL": Operation("run RUN extract_objects --shard 0", [shard("--format jsonl")], shared=False),
    "table stage": Operation("run RUN create_mcq --shard 0", [shard(), f"run RUN {ALL.partition(' create_mcq')[0]}"]),
    "table stage, claimed": Operation("worker create_mcq 0", [shard(), f"run RUN {ALL.partition(' create_mcq')[0]}"]),
    "combine": Operation("combine RUN extract_objects --out RUN/out.csv", EXTRACTED),
    "combine into JSONL": Operation("combine RUN extract_objects --out RUN/new/out.jsonl", EXTRACTED, shared=False),
    "combine into Parquet": Operation("combine RUN extract_objects --out RUN/out.parquet", EXTRACTED, shared=False),
    "build": Operation("build RUN", WHOLE),
    "export, texts": Operation("export RUN --format csv --images copy", WHOLE, shared=False),
    "export, tars": Operation("export RUN --format webdataset --max-size 16KB", WHOLE, shared=False),
    "export, Parquet": Operation("export RUN --format parquet", WHOLE, shared=False),
    "export, data set": Operation("export RUN --format hf --images copy", WHOLE, shared=False),
    "export, several texts": Operation("export RUN --format jsonl", WHOLE, shared=False),
    "export, questions": Operation("export RUN --format llava", WHOLE, shared=False),
    "retry of rejects": Operation(
        "retry RUN extract_objects --rejects --no-launch", [shard(), "run RUN extract_objects propose_negatives"],
        after=["run RUN extract_objects propose_negatives"], shared=False,
    ),
    "stale input": Operation(
        "run RUN propose_negatives --shard 0",
        [
            shard(),
            "run RUN extract_objects propose_negatives",
            "retry RUN extract_objects --rejects --no-launch",
            "other-answers extract_objects",
        ],
    ),
    "redo": Operation(
        "run RUN extract_objects --redo --set extract_objects.attempts=4", [shard(), "run RUN extract_objects propose_negatives"],
        shared=False,
    ),
    "redo of ingest": Operation("run RUN ingest --redo", EXTRACTED, shared=False),
    "replan": Operation(
        "replan RUN --num-shards 3", [shard(), "run RUN extract_objects", "run RUN propose_negatives --shard 1"],
        after=["run RUN extract_objects propose_negatives"], settled="has 3 shards already", shared=False,
    ),
}  # fmt: skip


def write_input(path: Path) -> None:
    """A table of captions, with pictures beside it."""
    for row in range(len(CAPTIONS)):
        Image.new("RGB", (24, 16), (20 * row, 90, 10)).save(path.with_name(f"{row}.png"))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption"])
        writer.writerows([f"{row}.png", caption] for row, caption in enumerate(CAPTIONS))


def write_pictured_input(folder: Path) -> Path:
    """The same captions with toy images, in which the embedded detector finds something; returns the table."""
    from shardmill.embedded.toy_images import make_toy_images

    folder.mkdir()
    write_input(folder / "plain.csv")
    return make_toy_images(folder / "plain.csv", folder / "pictured").table


def act(commands: Sequence[str], root: Path, table: Path, settled: str = "") -> int:
    """Run commands of `shardmill` in this process, RUN being the folder `root`, INPUT the file `table`.

    Returns the first exit code that is not 0. The first command may also end with 2 and the words `settled`.
    """
    for command in commands:
        code = _act(command, root, table, settled)
        if code:
            return code
        settled = ""
    return 0


def _act(command: str, root: Path, table: Path, settled: str) -> int:
    told = {"RUN": str(root), "INPUT": str(table)}
    words = [told.get(word, word.replace("RUN/", f"{root}/").replace("OUT/", f"{root.parent}/out/")) for word in command.split()]
    if words[0] in OWN:
        return OWN[words[0]](root, *words[1:])
    from shardmill.cli.main import main

    sys.argv = ["shardmill", *words]
    try:
        main()
    except SystemExit as end:
        cause = str(end.__context__)
        return 0 if settled and settled in cause else end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _work(root: Path, stage: str, shard: str, stale: str = "") -> int:
    """One shard as a worker of a launcher does it, with claims on each row: it comes again while others hold rows.

    To one that is `stale` all claims of others are those of workers that live no more, though they do.
    """
    from shardmill.core import fitting
    from shardmill.launch.worker_main import Outbox, do_task
    from shardmill.store import leases as claims
    from shardmill.store.run_folder import RunFolder

    logging.disable()
    claims.MIN_ROWS, fitting.WAIT_SECONDS = 1, 0.01
    claims.STALE_SECONDS = -1.0 if stale else claims.STALE_SECONDS
    outbox = Outbox(os.open(os.devnull, os.O_WRONLY))
    while True:
        ended = do_task(RunFolder(root), {"stage": stage, "shard": int(shard), "lease": {}}, {}, outbox, lambda: False)
        if ended["end"] != "busy":
            break
        time.sleep(0.01)
    if ended["end"] == "done":
        return 0
    print(f"shardmill: {ended['message']}", file=sys.stderr)
    return 1 if re.match(r"\w*(Error|Exception|exit): ", ended["message"]) else 2


def _tidy(root: Path) -> int:
    from shardmill.launch.finish import tidy
    from shardmill.store.run_folder import RunFolder

    if (root / "plan.json").exists():
        tidy(RunFolder(root))
    return 0


def _other_answers(root: Path, stage: str) -> int:
    """Finish what was opened again with a model that now answers what it refused, so that later stages have new rows."""
    from shardmill.core.shard_runner import run_shard
    from shardmill.negbench.extract_objects import ExtractObjects
    from shardmill.store.run_folder import RunFolder

    accept = ExtractObjects.accept
    ExtractObjects.accept = lambda self, row, answers: {"objects": ["dog"]} if row["row_id"] == 2 else accept(self, row, answers)
    run = RunFolder(root)
    for index in range(run.num_shards):
        run_shard(run, stage, index)
    return 0


def _careless(root: Path, lines: str) -> int:
    """Writes without fsync, under a temporary name that nobody tidies away when it is killed."""
    if not (root / "out.txt").exists():
        root.mkdir(exist_ok=True)
        temporary = root / f"{os.getpid()}.tmp"
        with open(temporary, "w", buffering=1) as file:
            file.writelines(f"{line}\n" for line in range(int(lines)))
        os.replace(temporary, root / "out.txt")
    return 0


def _hasty(root: Path, lines: str) -> int:
    """Says that it is done before it is."""
    root.mkdir(exist_ok=True)
    if not (root / "done").exists():
        (root / "done").touch()
        (root / "out.txt").write_text(lines)
    return 0


OWN = {"worker": _work, "tidy": _tidy, "other-answers": _other_answers, "careless": _careless, "hasty": _hasty}


def hurry() -> None:
    """Make all time limits a fraction of a second, so that a process can be suspended for longer than any of them."""
    from shardmill.core import fitting, model_shard
    from shardmill.launch import supervisor
    from shardmill.store import leases
    from shardmill.util import signals

    leases.RENEW_SECONDS, leases.STALE_SECONDS, leases.MIN_ROWS = 0.05, SUSPENDED_SECONDS / 2, 1
    model_shard.DRAIN_SECONDS = fitting.WAIT_SECONDS = supervisor.POLL_SECONDS = signals.POLL_SECONDS = 0.02
    signals.GRACE_SECONDS, supervisor.STOP_SECONDS = SUSPENDED_SECONDS / 2, SUSPENDED_SECONDS / 2


def warm_up() -> None:
    """Import all that the commands import. Every record is flushed at once from here on: each row is a place to crash at."""
    from shardmill.store import journal

    journal.FLUSH_SECONDS = -1.0
    for package in IMPORTED:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            importlib.import_module(module.name)
    importlib.import_module("shardmill.cli.main")
    from shardmill.core.pipeline_file import plan_stages
    from shardmill.core.planning import NewRun
    from shardmill.core.stage import Context
    from shardmill.language.noun_phrases import extract_objects

    for caption in CAPTIONS:
        extract_objects(caption)
    plan_stages(
        NewRun(Path("input.csv")).pipeline_file,
        {"row_id": "int", "image": "text", "caption": "text"},
        Context(0),
        ["image", "caption"],
    )
