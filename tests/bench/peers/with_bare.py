"""The floor of cost: a bare asyncio loop that appends answers to a file. It resumes, retries and validates nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator

import aiohttp
from job import Job, Outcome, main, parse


def run(job: Job) -> None:
    asyncio.run(_run(job))


async def _run(job: Job) -> None:
    job.out.mkdir(parents=True, exist_ok=True)
    rows = job.rows()
    connector = aiohttp.TCPConnector(limit=0)
    with open(job.out / "answers.jsonl", "a", encoding="utf-8") as file:
        async with aiohttp.ClientSession(connector=connector) as session:

            async def work() -> None:
                for row in rows:
                    body = {"model": job.model, "messages": job.messages(row["caption"]), "temperature": 0, "max_tokens": 160}
                    async with session.post(f"{job.url}/chat/completions", json=body) as response:
                        answer = await response.json()
                    try:
                        content = answer["choices"][0]["message"]["content"]
                        outcome = {"row_id": row["row_id"], "objects": parse(content)}
                    except (KeyError, ValueError):
                        continue
                    file.write(json.dumps(outcome) + "\n")

            await asyncio.gather(*(work() for _ in range(job.concurrency)))
        file.flush()
        os.fsync(file.fileno())


def read(job: Job) -> Iterator[Outcome]:
    with open(job.out / "answers.jsonl", encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.endswith("\n"))


if __name__ == "__main__":
    main(run, read)
