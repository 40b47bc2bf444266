"""datatrove: its InferenceRunner against an endpoint, with its request cache and chunks; the rollout asks thrice for a list.

What a rollout does with a malformed answer is the user's code there: as its documentation says, None leaves the document out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from job import Job, Outcome, main, parse

CHUNK = 1_000
ATTEMPTS = 3


async def rollout(document: Any, generate: Any, job: Job) -> list[str] | None:
    """The objects of a document's caption."""
    for attempt in range(ATTEMPTS):
        chat = {"messages": job.messages(document.text), "temperature": 0.0, "max_tokens": 160, "seed": attempt}
        try:
            return parse((await generate(chat)).text)
        except ValueError:
            continue
    return None


def run(job: Job) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.readers.csv import CsvReader
    from datatrove.pipeline.writers import JsonlWriter

    job.out.mkdir(parents=True, exist_ok=True)
    config = InferenceConfig(
        server_type="endpoint",
        endpoint_url=job.url.removesuffix("/v1"),
        model_name_or_path=job.model,
        max_concurrent_generations=job.concurrency,
    )
    runner = InferenceRunner(
        rollout_fn=partial(rollout, job=job),
        config=config,
        output_writer=JsonlWriter(str(job.out / "answers"), "${rank}_chunk_${chunk_index}.jsonl", compression=None),
        checkpoints_local_dir=str(job.out / "checkpoints"),
        records_per_chunk=CHUNK,
    )
    reader = CsvReader(str(job.table.parent), glob_pattern=job.table.name, text_key="caption", id_key="row_id")
    LocalPipelineExecutor(pipeline=[reader, runner], tasks=1, logging_dir=str(job.out / "logs")).run()


def read(job: Job) -> Iterator[Outcome]:
    for file in sorted((job.out / "answers").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            document = json.loads(line)
            found = document["metadata"]["rollout_results"]
            yield {"row_id": int(document["id"]), **({"objects": found[0]} if found else {"reason": "no rollout"})}


if __name__ == "__main__":
    main(run, read)
