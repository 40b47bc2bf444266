"""How long a look at a large run takes: all stages finished on half of the shards, and journals and claims on some others.

python tests/bench/status.py --shards 1000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from shardmill.core.planning import NewRun, start_run
from shardmill.monitor.status import Seen, read_status
from shardmill.store.manifest import FileRecord, InputRecord, Manifest
from shardmill.store.run_folder import RunFolder

ROWS, RUNNING = 4, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=1000)
    shards = parser.parse_args().shards
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "captions.csv"
        table.write_text("caption\n" + "".join(f"A dog in room {row}.\n" for row in range(shards * ROWS)))
        settings = ("filter_objects.unverified=keep",)
        run = start_run(Path(folder) / "run", NewRun(input=table, num_shards=shards, settings=settings))
        done = range(shards // 2)
        for stage in run.stages:
            run.folder(stage).mkdir(exist_ok=True)
            for shard in done:
                run.files(stage, shard).manifest.write_bytes(made_up(run, stage, shard).to_bytes())
        for shard in range(done.stop, done.stop + RUNNING):
            run.files(run.stages[0], shard).journal("1700000000000-n1-1-abcdef").write_text("row\n" * 10_000)
        seen = Seen()
        for what in ("first look", "next look"):
            begin = time.perf_counter()
            status = read_status(RunFolder(run.path), seen)
            print(f"{what}: {shards} shards x {len(run.stages)} stages in {time.perf_counter() - begin:.2f} s")
        assert [stage.done for stage in status.stages] == [shards] + [len(done)] * len(run.stages)
        assert status.stages[1].running == RUNNING


def made_up(run: RunFolder, stage: str, shard: int) -> Manifest:
    """The manifest of a part that need not exist: a status reads no parts."""
    source = run.after(stage)
    above = run.manifest(source, shard) if source else None
    assert source is not None and above is not None
    record = FileRecord(name=run.files(stage, shard).part.name, sha256=sha256(f"{stage} {shard}".encode()).hexdigest(), bytes=100)
    return Manifest(
        stage=stage, shard=shard, num_shards=run.num_shards, rows_in=ROWS, rows_out=ROWS, rejected=0, lines_out=ROWS,
        columns=run.kinds(stage), part=record, rejects=record, input=InputRecord(stage=source, sha256=above.part.sha256),
        fingerprint=run.fingerprint(stage), seconds=600 + shard, host="n1",
    )  # fmt: skip


if __name__ == "__main__":
    main()
