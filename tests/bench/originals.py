"""Steps of the original pipelines in the way that they were first written, beside Shardmill on the same data.

    python tests/bench/originals.py [--rows 200000]

Written anew here after what is known of them: whole files read by every job, a loop over the rows of a frame, cells evaluated as
Python, all prompts in one list and one call, dicts of everything, "not in" a growing list. Each way runs in a process of its own,
with a fifth of the rows too: memory that does not grow with the rows stays as it is. CPU seconds are compared, since the machine
may be busy; the time of `ingest` and `combine` includes digests and fsync, which the original does without.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random

import join_captions as joining
import mcq as questions
import tables

JOBS = 16
PAIRED = 1_000
"""Draws of pairs are quadratic in their number: a row of the table stands for so many fewer of them."""


@dataclass(frozen=True)
class Step:
    """A step in two ways, and what makes its data in a folder. `share`: for so many rows of the bench it does one."""

    make: Callable[[Path, int], None]
    original: Callable[[Path, int], None]
    ours: Callable[[Path, int], None]
    share: int = 1


def make_captions(folder: Path, rows: int) -> None:
    tables.generate(folder / "captions.csv", rows)


def make_parts(folder: Path, rows: int) -> None:
    make_captions(folder, rows)
    tables.ingest(folder)
    tables.pandas_ingest(folder)


def make_lists(folder: Path, rows: int) -> None:
    questions.generate(folder / "lists.csv", rows)


def original_ingest(folder: Path, rows: int) -> None:
    """Each job reads the whole table, goes over its own rows, and writes them."""
    import pandas as pd

    for job in range(JOBS):
        table = pd.read_csv(folder / "captions.csv")
        mine = table.iloc[len(table) * job // JOBS : len(table) * (job + 1) // JOBS]
        kept = [{"filepath": row["filepath"], "caption": row["caption"]} for _, row in mine.iterrows()]
        pd.DataFrame(kept).to_csv(folder / f"job-{job}.csv", index=False)


def original_questions(folder: Path, rows: int) -> None:
    """Every cell evaluated, every question a dict in a list."""
    import pandas as pd

    rng = Random(0)
    made = []
    for _, row in pd.read_csv(folder / "lists.csv").iterrows():
        positives, negatives = ast.literal_eval(row["positive_objects"]), ast.literal_eval(row["negative_objects"])
        if not negatives:
            continue
        first, second = rng.sample(positives, 2)
        absent = rng.choice(negatives)
        kinds = {
            "positive": f"This image features {first} and {second}.",
            "negative": f"This image does not feature {absent}.",
            "hybrid": f"This image features {first}, but not {absent}.",
        }
        kind = rng.choice(list(kinds))
        options = [kinds[kind], f"This image features {absent}, but not {first}.", f"This image features {absent}."]
        options.append(f"This image does not feature {first}.")
        rng.shuffle(options)
        texts = {f"caption_{place}": text for place, text in enumerate(options)}
        made.append({"correct_answer": options.index(kinds[kind]), **texts, "correct_answer_template": kind})
    pd.DataFrame(made).to_csv(folder / "questions.csv", index=False)


def our_questions(folder: Path, rows: int) -> None:
    questions.stage(folder / "lists.csv")


def original_combine(folder: Path, rows: int) -> None:
    """A list of frames, and all of them in one."""
    tables.pandas_combine(folder)


def original_merge(folder: Path, rows: int) -> None:
    """The shards of each text into a dict and an index file, the index files into dicts, and a line for each image."""
    for name in joining.NAMES:
        index = {entry["image"]: entry["caption"] for entry in json.loads((folder / f"{name}.shard.json").read_text())}
        (folder / f"{name}.index.json").write_text(json.dumps(index))
    indexes = [json.loads((folder / f"{name}.index.json").read_text()) for name in joining.NAMES]
    lines = []
    for line in (folder / "original.jsonl").read_text().splitlines():
        row = json.loads(line)
        lines.append({"image": row["image"], "caption": [row["caption"], *(index[row["image"]] for index in indexes)]})
    (folder / "merged.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_texts(folder: Path, rows: int) -> None:
    joining.generate(folder, rows)
    for name in joining.NAMES:
        index = json.loads((folder / f"{name}.json").read_text())
        entries = [{"image": image, "caption": caption} for image, caption in index.items()]
        (folder / f"{name}.shard.json").write_text(json.dumps(entries))
        (folder / f"{name}.json").unlink()


def our_merge(folder: Path, rows: int) -> None:
    from shardmill.recaption.join import join_captions

    join_captions(
        folder / "original.jsonl", {name: [folder / f"{name}.shard.json"] for name in joining.NAMES}, folder / "ours.jsonl"
    )


def original_ask(folder: Path, rows: int) -> None:
    """All prompts in a list, one call for all of them, and each answer put into the frame."""
    import pandas as pd

    from shardmill.embedded.rules.extract import extract_objects

    table = pd.read_csv(folder / "captions.csv")
    prompts = [f"Captions and their objects.\nCaption: {row['caption']}\nObjects:" for _, row in table.iterrows()]
    captions = [prompt.rpartition("Caption: ")[2].removesuffix("\nObjects:") for prompt in prompts]
    answers = [json.dumps(extract_objects({"caption": caption}, Random(0))) for caption in captions]
    table["objects"] = ""
    for place, answer in enumerate(answers):
        table.at[place, "objects"] = str(json.loads(answer)["objects"])
    table.to_csv(folder / "objects.csv", index=False)


def our_ask(folder: Path, rows: int) -> None:
    from shardmill.core.shard_runner import run_shard
    from shardmill.store.run_folder import RunFolder

    run, models = RunFolder(folder / "run"), {}
    for shard in range(JOBS):
        run_shard(run, "extract_objects", shard, models=models)


def original_pairs(folder: Path, rows: int) -> None:
    """Draw until a pair is new, by looking through the list of those that are there."""
    rng, pairs = Random(0), []
    while len(pairs) < rows:
        first, second = rng.randrange(PAIRED), rng.randrange(PAIRED)
        if first != second and (first, second) not in pairs and (second, first) not in pairs:
            pairs.append((first, second))


def our_pairs(folder: Path, rows: int) -> None:
    from itertools import islice

    from shardmill.anyedit.concepts.pairs import distinct_pairs

    drawn = list(islice(distinct_pairs(PAIRED, 0), rows))
    assert len(set(drawn)) == rows


def nothing(folder: Path, rows: int) -> None:
    """Data that the step makes itself."""


STEPS = {
    "ingest": Step(make_captions, original_ingest, lambda folder, rows: tables.ingest(folder)),
    "extract": Step(make_parts, original_ask, our_ask, share=10),
    "mcq": Step(make_lists, original_questions, our_questions),
    "combine": Step(make_parts, original_combine, lambda folder, rows: tables.combine(folder)),
    "merge captions": Step(make_texts, original_merge, our_merge),
    "draw pairs": Step(nothing, original_pairs, our_pairs, share=20),
}


def peak_mb() -> float:
    """Peak of this process since it began to run this program."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def load_programs(way: str) -> None:
    """Import what a way needs, so that its time is that of the work."""
    if way == "original":
        import_module("pandas")
    else:
        for module in (
            "core.planning",
            "core.shard_runner",
            "store.combine",
            "recaption.join",
            "anyedit.concepts.pairs",
            "negbench.create_mcq",
        ):
            import_module(f"shardmill.{module}")


def child(name: str, way: str, folder: Path, rows: int) -> None:
    load_programs(way)
    started, before = time.perf_counter(), time.process_time()
    getattr(STEPS[name], way)(folder, rows)
    figures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - before, "peak_mb": peak_mb()}
    print(json.dumps(figures))


def measure(name: str, way: str, folder: Path, rows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", name, way, str(folder), "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}, {way}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=list(STEPS))
    parser.add_argument("--child", nargs=3, metavar=("STEP", "WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], Path(options.child[2]), options.rows)
        return
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; memory: at a fifth of the rows -> at all of them")
    print(f"{'step':15}{'rows':>10}{'original CPU s':>16}{'ours':>8}{'ratio':>8}{'original MB':>20}{'ours':>16}")
    for name in options.steps:
        step = STEPS[name]
        found: dict[str, list[dict[str, float]]] = {"original": [], "ours": []}
        rows = options.rows // step.share
        for count in (rows // 5, rows):
            with tempfile.TemporaryDirectory() as folder:
                step.make(Path(folder), count)
                for way, figures in found.items():
                    figures.append(measure(name, way, Path(folder), count))
        theirs, ours = found["original"][-1], found["ours"][-1]
        grown = {way: " -> ".join(f"{each['peak_mb']:,.0f}" for each in figures) for way, figures in found.items()}
        ratio = theirs["cpu"] / ours["cpu"]
        print(f"{name:15}{rows:>10,}{theirs['cpu']:>16.2f}{ours['cpu']:>8.2f}{ratio:>7.1f}x{grown['original']:>20}{grown['ours']:>16}",
              flush=True)  # fmt: skip
        line = {"bench": "originals", "what": f"{name}: CPU of the original's way / ours", "ratio": ratio, "rows": rows}
        print(json.dumps({**line, "peak_mb": ours["peak_mb"], "original_peak_mb": theirs["peak_mb"]}), flush=True)


if __name__ == "__main__":
    main()
