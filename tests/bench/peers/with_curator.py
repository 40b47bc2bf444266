"""Bespoke Curator: an LLM class with a prompt, a schema and a parse method; its own log of requests and responses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from job import Job, Outcome, main
from pydantic import BaseModel


def _vocabulary() -> str:
    """The folder with the token counter's vocabulary, which litellm brings along; without it that would be fetched."""
    spec = find_spec("litellm")
    assert spec is not None and spec.submodule_search_locations
    return os.path.join(spec.submodule_search_locations[0], "litellm_core_utils", "tokenizers")


os.environ.update(
    TIKTOKEN_CACHE_DIR=_vocabulary(), TELEMETRY_ENABLED="False", CURATOR_DISABLE_RICH_DISPLAY="1", OPENAI_API_KEY="x"
)


class Objects(BaseModel):
    """The answer."""

    objects: list[str]


def run(job: Job) -> None:
    from bespokelabs import curator
    from job import messages_after_system

    class ExtractObjects(curator.LLM):  # type: ignore[misc, name-defined]
        response_format = Objects

        def prompt(self, input: dict[str, Any]) -> list[dict[str, str]]:
            return messages_after_system(input["caption"])

        def parse(self, input: dict[str, Any], response: Objects) -> dict[str, Any]:
            return {"row_id": input["row_id"], "objects": response.objects}

    extract = ExtractObjects(
        model_name=job.model,
        backend="openai",
        system_prompt=job.prompt,
        generation_params={"temperature": 0.0, "max_tokens": 160},
        backend_params={
            "base_url": job.url,
            "max_requests_per_minute": 10**7,
            "max_tokens_per_minute": 10**10,
            "max_concurrent_requests": job.concurrency,
            "require_all_responses": False,
        },
    )
    extract(list(job.rows()), working_dir=str(job.out))


def read(job: Job) -> Iterator[Outcome]:
    from datasets import Dataset

    found = [path for path in job.out.glob("*/*.arrow") if not path.name.startswith("cache-")]
    newest = max(found, key=lambda path: path.stat().st_mtime)
    for row in Dataset.from_file(str(newest)):
        yield {"row_id": row["row_id"], "objects": row["objects"]}
    failed = newest.parent / "failed_requests.jsonl"
    if failed.exists():
        for line in failed.read_text(encoding="utf-8").splitlines():
            yield {"row_id": json.loads(line)["original_row"]["row_id"], "reason": "request failed"}


if __name__ == "__main__":
    main(run, read)
