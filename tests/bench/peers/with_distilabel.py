"""distilabel: a pipeline of one task over a data set, with its cache on; what the task cannot read becomes None."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

os.environ["DISTILABEL_LOG_LEVEL"] = "WARNING"  # it silences a client that openai no longer uses: a line for each request

from distilabel.models.llms import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps.tasks import Task
from job import SYSTEM, Job, Outcome, main, messages_after_system, parse


class ExtractObjects(Task):
    """caption -> objects."""

    system: str = SYSTEM

    @property
    def inputs(self) -> list[str]:
        return ["caption"]

    @property
    def outputs(self) -> list[str]:
        return ["objects", "model_name"]

    def format_input(self, input: dict[str, Any]) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}, *messages_after_system(input["caption"])]

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"objects": parse(output)}


def run(job: Job) -> None:
    from datasets import Dataset

    llm = OpenAILLM(model=job.model, base_url=job.url, api_key="x", generation_kwargs={"temperature": 0.0, "max_new_tokens": 160})
    with Pipeline(name="objects", cache_dir=str(job.out / "cache")) as pipeline:
        ExtractObjects(name="extract_objects", llm=llm, input_batch_size=job.concurrency, system=job.prompt)
    distiset = pipeline.run(dataset=Dataset.from_list(list(job.rows())), use_cache=True)
    distiset.save_to_disk(str(job.out / "distiset"))


def read(job: Job) -> Iterator[Outcome]:
    from distilabel.distiset import Distiset

    for row in Distiset.load_from_disk(str(job.out / "distiset"))["default"]["train"]:
        objects = row["objects"]
        yield {"row_id": row["row_id"], **({"reason": "None"} if objects is None else {"objects": objects})}


if __name__ == "__main__":
    main(run, read)
